"""Which Profiles go into which upload: grouped by origin and minute."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from otelprof.exporter.datadog.dialects import dialect_of
from otelprof.exporter.datadog.origin import origin_of, process_labels
from otelprof.exporter.datadog.slots import OFF_CPU, slots_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otelprof._core import ProfileOutline, Profiles
    from otelprof.exporter.datadog.config import DatadogExporterConfig
    from otelprof.exporter.datadog.dialects import Attachment, Dialect
    from otelprof.exporter.datadog.origin import Origin
    from otelprof.exporter.datadog.slots import Slot

WINDOW_NANOS: Final = 60 * 10**9
"""How long an upload of Datadog's own uploaders is."""

# Few sample types are ever seen; but their names come from the wire.
_MAX_KINDS: Final = 1_000

Member = tuple[int, tuple[tuple[int, bool], ...], tuple[tuple[str, str], ...]]
"""A Profile of a pprof, as `PprofLayout.join` wants it."""


class Lost(NamedTuple):
    """Why samples are not sent, and of which type they are."""

    reason: str
    sample_type: str


@dataclass
class PlannedAttachment:
    """A pprof to be made.

    Attributes:
        attachment: what it is.
        period_type: name and unit.
        period: in that unit.
        members: what goes into it.
    """

    attachment: Attachment
    period_type: tuple[str, str]
    period: int
    members: list[Member] = field(default_factory=list)


@dataclass
class PlannedUpload:
    """An upload to be made.

    Attributes:
        origin: who was profiled.
        start_nanos: the first start; 0 when no Profile has one.
        end_nanos: the last end.
        attachments: by name.
    """

    origin: Origin
    start_nanos: int
    end_nanos: int = 0
    attachments: dict[str, PlannedAttachment] = field(default_factory=dict)

    def add(self, placed: _Placed, member: Member) -> None:
        """Put a Profile into one of the pprofs."""
        outline, attachment = placed.outline, placed.attachment
        self.end_nanos = max(self.end_nanos, outline.time_unix_nano + outline.duration_nano)
        planned = self.attachments.get(attachment.name)
        if planned is None:
            is_own = attachment.period_type is None
            planned = self.attachments[attachment.name] = PlannedAttachment(
                attachment, attachment.period_type or outline.period_type, outline.period if is_own else 1
            )
        if attachment.period_type is not None and any(is_scaled for _, is_scaled in placed.columns):
            planned.period = outline.period
        planned.members.append(member)


class _Placed(NamedTuple):
    """A Profile, and where its values go."""

    at: int
    outline: ProfileOutline
    attachment: Attachment
    columns: tuple[tuple[int, bool], ...]

    @property
    def is_snapshot(self) -> bool:
        return any(self.attachment.columns[column].is_snapshot for column, _ in self.columns)


@dataclass
class Plan:
    """What is made of a request.

    Attributes:
        uploads: in the order of origins, then of time.
        lost: samples that no upload has a place for.
    """

    uploads: list[PlannedUpload]
    lost: Counter[Lost]


class Planner:
    """Plans uploads of a request: what it sees of Profiles is their outlines.

    Args:
        config: of the exporter.
    """

    def __init__(self, config: DatadogExporterConfig) -> None:
        self._takes_off_cpu = config.off_cpu == "wall"
        self._tags = config.tags
        self._has_agent = config.mode == "agent"

    def plan(self, profiles: Profiles) -> Plan:
        """Every Profile of a request that has samples stands in one upload, or is counted as lost."""
        resources = profiles.resources
        outlines = [
            (at, one, self._slots(one)) for at, one in enumerate(profiles.outlines) if one.sample_count
        ]
        # Equal Resources are one: a batch may hold a process more than once.
        first: dict[tuple[tuple[str, str], ...], int] = {}
        same = [first.setdefault(tuple(resource.items()), at) for at, resource in enumerate(resources)]
        # What a Profile says is not said again by scaling the one beside it.
        told = {
            (*_side_by_side(outline), slot.name)
            for _, outline, slots in outlines
            for slot in slots
            if not slot.is_scaled
        }
        origins: dict[tuple[int, str], Origin] = {}
        placed: defaultdict[Origin, list[_Placed]] = defaultdict(list)
        lost: Counter[Lost] = Counter()
        for at, outline, slots in outlines:
            key = (same[outline.resource], outline.scope)
            if key not in origins:
                resource = resources[key[0]]
                dialect = dialect_of(resource, outline.scope)
                origins[key] = origin_of(resource, dialect, self._tags, has_agent=self._has_agent)
            beside = _side_by_side(outline)
            own = tuple(slot for slot in slots if not (slot.is_scaled and (*beside, slot.name) in told))
            found = _columns(own, origins[key].dialect)
            if found is None:
                lost[_lost(outline)] += outline.sample_count
            else:
                placed[origins[key]].append(_Placed(at, outline, *found))
        uploads = [
            upload
            for origin, members in placed.items()
            for window in _windows(members)
            for upload in _uploads(origin, window, same, resources)
        ]
        return Plan(uploads, lost)

    def _slots(self, outline: ProfileOutline) -> tuple[Slot, ...]:
        return slots_of(
            outline.sample_type,
            outline.period_type if outline.period > 0 else (outline.period_type[0], ""),
            is_block="block" in outline.scope.lower(),
            takes_off_cpu=self._takes_off_cpu,
        )


@lru_cache(_MAX_KINDS)
def _columns(
    slots: tuple[Slot, ...], dialect: Dialect
) -> tuple[Attachment, tuple[tuple[int, bool], ...]] | None:
    """The attachment that values of some slots go to, and their columns; None when there is none."""
    for attachment in dialect.attachments:
        columns = tuple(
            (index, slot.is_scaled)
            for slot in slots
            for index, column in enumerate(attachment.columns)
            if column.slot == slot.name
        )
        if columns:
            return attachment, columns
    return None


def _side_by_side(outline: ProfileOutline) -> tuple[object, ...]:
    """What Profiles have in common that are the sample types of one."""
    return outline.resource, outline.scope, outline.time_unix_nano, outline.duration_nano


def _lost(outline: ProfileOutline) -> Lost:
    name, unit = outline.sample_type
    return Lost("off_cpu" if name in OFF_CPU else "no_slot", f"{name}:{unit}")


def _windows(members: list[_Placed]) -> Iterator[list[_Placed]]:
    """Profiles in order of time, as many together as began within a minute of the first."""
    window: list[_Placed] = []
    for one in sorted(members, key=lambda one: one.outline.time_unix_nano):
        start = window[0].outline.time_unix_nano if window else 0
        if window and (
            one.outline.time_unix_nano >= start + WINDOW_NANOS or (not start and one.outline.time_unix_nano)
        ):
            yield window
            window = []
        window.append(one)
    if window:
        yield window


def _uploads(
    origin: Origin, window: list[_Placed], same: list[int], resources: list[dict[str, str]]
) -> list[PlannedUpload]:
    """The uploads of a minute: one, or as many as a process has snapshots of a kind in it."""
    uploads: list[PlannedUpload] = []
    snapshots: defaultdict[tuple[int, str], dict[tuple[int, int], int]] = defaultdict(dict)
    for placed in window:
        outline = placed.outline
        resource, number = same[outline.resource], 0
        if placed.is_snapshot:
            moments = snapshots[resource, placed.attachment.name]
            moment = (outline.time_unix_nano, outline.duration_nano)
            number = moments.setdefault(moment, len(moments))
        while len(uploads) <= number:
            uploads.append(PlannedUpload(origin, outline.time_unix_nano))
        labels = process_labels(resources[resource]) if origin.dialect.is_ebpf else ()
        uploads[number].add(placed, (placed.at, placed.columns, labels))
    return uploads
