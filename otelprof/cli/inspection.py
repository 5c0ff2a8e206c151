"""What recordings hold, gathered request by request: nothing of a request is kept but sums and stacks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from otelprof._core import REVISIONS, Merger, Policy, Rule
from otelprof.errors import PermanentError
from otelprof.processor.linkage import DEFAULT_RECOVER
from otelprof.recording.reader import Format, open_recording

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from otelprof._core import Profiles
    from otelprof.recording.reader import Record

MAX_STACKS: Final = 200_000
"""Of one sample type; of more, the coldest half is summed up as one."""
MAX_FAULTS: Final = 20
OTHER: Final = "(other)"

TypeKey = tuple[str, str]
"""A sample type: its name and its unit."""


@dataclass(frozen=True)
class Chosen:
    """What is looked at; None is all.

    Attributes:
        service: a `service.name`.
        sample_type: the name of a sample type.
    """

    service: str | None = None
    sample_type: str | None = None

    def of(self, profiles: Profiles) -> Profiles:
        """A request without anything else."""
        if self.service is None and self.sample_type is None:
            return profiles
        keep = Rule(
            "keep",
            resource=None if self.service is None else [("service.name", [self.service])],
            sample_types=None if self.sample_type is None else [self.sample_type],
        )
        return profiles.select(Policy([keep, Rule("drop")])).profiles


@dataclass
class Sums:
    """Of one service and sample type: Profiles, Samples, what they stand for, how many are linked."""

    profiles: int = 0
    samples: int = 0
    linked_samples: int = 0
    recoverable_samples: int = 0
    value: int = 0

    def add(self, other: Sums) -> None:
        """Add those of another request."""
        self.profiles += other.profiles
        self.samples += other.samples
        self.linked_samples += other.linked_samples
        self.recoverable_samples += other.recoverable_samples
        self.value += other.value


@dataclass
class Facts:
    """What a file holds, or all of them.

    Attributes:
        name: of the file.
        format: of the file; empty for all of them.
        requests: that were read.
        stored_bytes: in the file.
        body_bytes: of the requests, inflated, as they came; of formats other than OTLP, as OTLP.
        wire_bytes: of the requests as otelprof writes them.
        sums: by service, sample type and unit.
        window: unix nanoseconds, from the first start to the last end.
        revisions: how many requests, by a word of `REVISIONS`; of OTLP, and not of the current one.
        repairs: by a word of `REPAIRS`.
        rejections: how many Profiles, by a word of `REJECTION_REASONS`; with the first message of each.
        orphans: dictionary entries that nothing reaches, by table.
        duplicates: dictionary entries that are there twice, by table.
        table_bytes: as `Profiles.table_bytes`.
        faults: what could not be read, up to `MAX_FAULTS`.
        unreadable: how many requests those are.
        torn_bytes: of a record at the end of which a part is missing.
    """

    name: str
    format: str = ""
    requests: int = 0
    stored_bytes: int = 0
    body_bytes: int = 0
    wire_bytes: int = 0
    sums: dict[tuple[str, str, str], Sums] = field(default_factory=dict)
    window: tuple[int, int] | None = None
    revisions: Counter[str] = field(default_factory=Counter)
    repairs: Counter[str] = field(default_factory=Counter)
    rejections: Counter[str] = field(default_factory=Counter)
    first_messages: dict[str, str] = field(default_factory=dict)
    orphans: Counter[str] = field(default_factory=Counter)
    duplicates: Counter[str] = field(default_factory=Counter)
    table_bytes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    unreadable: int = 0
    torn_bytes: int = 0

    @property
    def whole(self) -> Sums:
        """Of all services and types; `value` means nothing, since units differ."""
        whole = Sums()
        for sums in self.sums.values():
            whole.add(sums)
        return whole

    def fault(self, message: str) -> None:
        """Something could not be read."""
        self.unreadable += 1
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(message)

    def add(self, other: Facts) -> None:
        """Add another file."""
        self.requests += other.requests
        self.stored_bytes += other.stored_bytes
        self.body_bytes += other.body_bytes
        self.wire_bytes += other.wire_bytes
        for key, sums in other.sums.items():
            self.sums.setdefault(key, Sums()).add(sums)
        self._widen(other.window)
        for mine, others in (
            (self.revisions, other.revisions),
            (self.repairs, other.repairs),
            (self.rejections, other.rejections),
            (self.orphans, other.orphans),
            (self.duplicates, other.duplicates),
            (self.table_bytes, other.table_bytes),
        ):
            mine.update(others)
        self.first_messages = {**other.first_messages, **self.first_messages}
        self.unreadable += other.unreadable
        self.torn_bytes += other.torn_bytes

    def add_request(self, record: Record, profiles: Profiles, chosen: Profiles) -> None:
        """Add a request: what it was, and what is looked at of it."""
        self.requests += 1
        self.stored_bytes += record.stored_bytes
        self.body_bytes += profiles.body_bytes if record.format is Format.OTLP else chosen.wire_bytes
        if record.format in {Format.OTLP, Format.OTLP_JSON}:  # what becomes OTLP here breaks no rule of it
            self._add_rules(profiles)
        self.wire_bytes += chosen.wire_bytes
        self.table_bytes.update(chosen.table_bytes)
        self._widen(chosen.window)
        for row in chosen.summary:
            sums = Sums(row.profile_count, row.sample_count, row.linked_sample_count, 0, row.value)
            self.sums.setdefault((row.service, row.sample_type, row.unit), Sums()).add(sums)
        for link in chosen.link(DEFAULT_RECOVER).coverage:
            if link.state == "recovered":
                name, _, unit = link.sample_type.rpartition(":")
                sums = Sums(recoverable_samples=link.sample_count)
                self.sums.setdefault((link.service, name, unit), Sums()).add(sums)

    def _add_rules(self, profiles: Profiles) -> None:
        if profiles.revision != REVISIONS[-1]:
            self.revisions[profiles.revision] += 1
        self.repairs.update(profiles.repairs)
        for rejection in profiles.rejections:
            self.rejections[rejection.reason] += rejection.profile_count
            self.first_messages.setdefault(rejection.reason, rejection.message)
        if not profiles.rejections:  # what only a refused Profile reaches is not unused
            merged = Merger().merge([profiles])
            self.orphans.update(merged.orphans_removed)
            self.duplicates.update(merged.duplicates_removed)

    def _widen(self, window: tuple[int, int] | None) -> None:
        if window is not None:
            start, end = self.window or window
            self.window = min(start, window[0]), max(end, window[1])


class Stacks:
    """Stacks and functions of one sample type, over any number of requests.

    Attributes:
        samples: how many there are.
        value: what they stand for.
        left_out: how many stacks were summed up as `(other)`.
    """

    def __init__(self) -> None:
        self.samples = 0
        self.value = 0
        self.left_out = 0
        self._stacks: Counter[str] = Counter()
        self._own: Counter[str] = Counter()
        self._total: Counter[str] = Counter()

    def add(self, profiles: Profiles, sample_type: str) -> None:
        """Add what a request holds of a sample type."""
        for name, own, total in profiles.top_functions(2**31, sample_type=sample_type):
            self._own[name] += own
            self._total[name] += total
        for stack, value in profiles.fold(sample_type=sample_type):
            self._stacks[stack] += value
            self.value += value
        if len(self._stacks) > MAX_STACKS:
            hottest = self.folded()[: MAX_STACKS // 2]
            self.left_out += len(self._stacks) - len(hottest)
            rest = self.value - sum(value for _, value in hottest)
            self._stacks = Counter(dict(hottest))
            self._stacks[OTHER] += rest

    def folded(self) -> list[tuple[str, int]]:
        """Stacks as `root;...;leaf`, largest first; ties by stack."""
        return sorted(self._stacks.items(), key=lambda item: (-item[1], item[0]))

    def top(self, count: int) -> list[tuple[str, int, int]]:
        """Functions as (name, self value, total value), largest self value first; ties by name."""
        names = sorted(self._total, key=lambda name: (-self._own[name], -self._total[name], name))
        return [(name, self._own[name], self._total[name]) for name in names[:count]]


class Inspection:
    """What recordings hold.

    Attributes:
        files: each file, in order.
        stacks: by sample type, in order of first appearance.
    """

    def __init__(self, chosen: Chosen) -> None:
        self._chosen = chosen
        self.files: list[Facts] = []
        self.stacks: dict[TypeKey, Stacks] = {}

    def read(self, path: Path) -> Iterator[Profiles]:
        """Read a file; each of its requests, without what was not chosen, when it has been looked at.

        What cannot be read is in the `faults` of its facts.
        """
        facts = Facts(str(path))
        self.files.append(facts)
        try:
            with open_recording(path) as recording:
                facts.format = recording.format.value
                for record in recording:
                    yield from self._record(facts, record)
                facts.torn_bytes = recording.torn_bytes
        except OSError as error:
            facts.fault(f"cannot be read: {error.strerror or error}")
        except PermanentError as error:
            facts.fault(str(error))

    def _record(self, facts: Facts, record: Record) -> Iterator[Profiles]:
        try:
            profiles = record.decode()
        except PermanentError as error:
            facts.fault(f"request {facts.requests + facts.unreadable + 1}: {error}")
            return
        chosen = self._chosen.of(profiles)
        facts.add_request(record, profiles, chosen)
        units = {row.sample_type: row.unit for row in chosen.summary}
        for name, unit in units.items():
            self.stacks.setdefault((name, unit), Stacks()).add(chosen, name)
        for row in chosen.summary:
            self.stacks[row.sample_type, units[row.sample_type]].samples += row.sample_count
        yield chosen

    @property
    def total(self) -> Facts:
        """All files together."""
        total = Facts("total")
        for facts in self.files:
            total.add(facts)
        return total

    @property
    def leading(self) -> TypeKey | None:
        """The sample type to look at first: of most Samples; of several, the last, as pprof has it."""
        if not self.stacks:
            return None
        most = max(stacks.samples for stacks in self.stacks.values())
        return [key for key, stacks in self.stacks.items() if stacks.samples == most][-1]
