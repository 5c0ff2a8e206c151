"""How Datadog's own uploaders speak, by the language of the profiled program.

Each of them has a `family`, names for attachments and sample types, and its own forms of labels; what is
written here was read in their uploads (`docs/exporters/datadog.md`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from otelprof._core import PprofLayout
from otelprof.exporter.datadog.slots import LIBDATADOG

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_LOCATIONS: Final = 600
"""Frames of one stack that Datadog's backend takes (dd-trace-py)."""

_EBPF_SCOPE: Final = "ebpf-profiler"


@dataclass(frozen=True)
class Column:
    """A sample type of an attachment.

    Attributes:
        name: and
        unit: as the pprof has them.
        slot: whose values it holds.
        is_snapshot: what they say is true of a moment, or since the program began: two are never added up.
    """

    name: str
    unit: str
    slot: str
    is_snapshot: bool = False


@dataclass(frozen=True)
class Attachment:
    """A pprof of an upload.

    Attributes:
        name: of the file.
        columns: in the order of the values.
        period_type: name and unit; that of the Profiles when None.
        default_sample_type: what to look at first; empty says nothing.
    """

    name: str
    columns: tuple[Column, ...]
    period_type: tuple[str, str] | None = None
    default_sample_type: str = ""


@dataclass(frozen=True)
class Framing:
    """How the parts of an upload stand in its body.

    Attributes:
        event_first: the event before the attachments, or behind them.
        attachment_type: the Content-Type of attachments; None writes none.
        event_end: what stands behind the event's JSON.
        writes_absent: the event says `null` of what it does not have, instead of nothing.
    """

    event_first: bool
    attachment_type: str | None
    event_end: bytes = b""
    writes_absent: bool = False


# Each is made once, below: it is itself, and quick to look up.
@dataclass(frozen=True, eq=False)
class Dialect:
    """How one uploader speaks.

    Attributes:
        family: of the event; what it may be is Datadog's to say.
        framing: of the body.
        attachments: that an upload may have.
        number_form: of thread ids: `number` or `text`.
        id_suffix: of the forms of span ids: empty for numbers, `_text` for decimal texts.
        timestamp_label: of a timeline.
        is_ebpf: frames keep their types and addresses, for Datadog to find symbols for, and several processes
            of a service share an upload.
        announces: whether the event lists custom attributes.
    """

    family: str
    framing: Framing
    attachments: tuple[Attachment, ...]
    number_form: str = "text"
    id_suffix: str = "_text"
    timestamp_label: str = "end_timestamp_ns"
    is_ebpf: bool = False
    announces: bool = False

    def labels(self) -> tuple[tuple[str, str, str], ...]:
        """What becomes of sample attributes that Datadog has a name for: (attribute, label, form)."""
        hexadecimal, decimal = f"id{self.id_suffix}", f"decimal_id{self.id_suffix}"
        own = "process.context.label."
        root = "local root span id"
        # What a profiler of Datadog's made has its names already, and comes out as it went in.
        return (
            *((key, "thread id", self.number_form) for key in ("thread.id", "thread id")),
            *((key, "thread name", "text") for key in ("thread.name", "thread name")),
            *((key, key, self.number_form) for key in ("thread native id", "task id")),
            (self.timestamp_label, self.timestamp_label, "number"),
            ("bytes", "bytes", "number" if self.family == "go" else "text"),
            ("http.route", "trace endpoint", "text"),
            *((f"{prefix}trace endpoint", "trace endpoint", "text") for prefix in ("", own)),
            *((f"{prefix}span id", "span id", decimal) for prefix in ("", own)),
            *((f"{prefix}{root}", root, decimal) for prefix in ("", own)),
            *((f"{prefix}datadog.local_root_span_id", root, hexadecimal) for prefix in ("", own)),
        )

    def known_labels(self) -> frozenset[str]:
        """Labels that need no announcement."""
        return frozenset(
            (*(label for _, label, _ in self.labels()), "process_id", "process name", self.timestamp_label)
        )

    def layout(
        self, attachment: Attachment, custom_attributes: Iterable[str] | None, *, timeline: bool
    ) -> PprofLayout:
        """What the core is told of an attachment."""
        return PprofLayout(
            [(column.name, column.unit) for column in attachment.columns],
            default_sample_type=attachment.default_sample_type,
            labels=self.labels(),
            other_labels=None if custom_attributes is None else list(custom_attributes),
            span_id_label="span id",
            span_id_form=f"id{self.id_suffix}",
            timestamp_label=self.timestamp_label if timeline else None,
            native_names=not self.is_ebpf,
            frame_types=self.is_ebpf,
            max_locations=MAX_LOCATIONS,
        )


def _columns(*named: tuple[str, str, str], is_snapshot: bool = False) -> tuple[Column, ...]:
    return tuple(Column(name, unit, slot, is_snapshot) for name, unit, slot in named)


_IN_USE: Final = (
    ("inuse_objects", "count", "heap-live-samples"),
    ("inuse_space", "bytes", "heap-space"),
)
_ALLOCATED: Final = (("alloc_objects", "count", "alloc-samples"), ("alloc_space", "bytes", "alloc-space"))
_OCTETS: Final = "application/octet-stream"
_CPU_TIME: Final = ("cpu-time", "nanoseconds")
_GO_FRAMING: Final = Framing(event_first=False, attachment_type=_OCTETS, event_end=b"\n")
_IS_SNAPSHOT: Final = frozenset(("heap-space", "heap-live-samples"))

_LIBDATADOG: Final = Dialect(
    family="python",
    framing=Framing(event_first=True, attachment_type=None, writes_absent=True),
    attachments=(
        Attachment(
            "profile.pprof",
            tuple(Column(name, unit, name, name in _IS_SNAPSHOT) for name, unit in LIBDATADOG),
            _CPU_TIME,
        ),
    ),
    number_form="number",
    id_suffix="",
)

_GO: Final = Dialect(
    family="go",
    framing=_GO_FRAMING,
    attachments=(
        Attachment(
            "cpu.pprof", _columns(("samples", "count", "cpu-samples"), ("cpu", "nanoseconds", "cpu-time"))
        ),
        Attachment("heap.pprof", _columns(*_ALLOCATED, *_IN_USE, is_snapshot=True)),
        *(
            Attachment(
                f"{name}.pprof",
                _columns(
                    ("contentions", "count", f"{prefix}contentions"),
                    ("delay", "nanoseconds", f"{prefix}delay"),
                    is_snapshot=True,
                ),
            )
            for name, prefix in (("mutex", ""), ("block", "block-"))
        ),
        Attachment("goroutines.pprof", _columns(("goroutine", "count", "goroutine"), is_snapshot=True)),
    ),
    announces=True,
)

_NODE: Final = Dialect(
    family="node",
    framing=Framing(event_first=True, attachment_type=_OCTETS),
    attachments=(
        Attachment(
            "wall.pprof",
            _columns(
                ("sample", "count", "wall-samples"),
                ("wall", "nanoseconds", "wall-time"),
                ("cpu", "nanoseconds", "cpu-time"),
            ),
        ),
        Attachment("space.pprof", _columns(*_IN_USE, is_snapshot=True)),
    ),
    id_suffix="",
    announces=True,
)

EBPF: Final = Dialect(
    family="ebpf",
    framing=_GO_FRAMING,
    attachments=(
        Attachment(
            "cpu.pprof",
            (
                *_columns(
                    ("cpu-samples", "count", "cpu-samples"),
                    ("cpu-time", "nanoseconds", "cpu-time"),
                    ("wall-samples", "count", "wall-samples"),
                    ("wall-time", "nanoseconds", "wall-time"),
                    ("alloc-samples", "count", "alloc-samples"),
                    ("alloc-space", "bytes", "alloc-space"),
                ),
                *_columns(
                    ("heap-live-samples", "count", "heap-live-samples"),
                    ("heap-space", "bytes", "heap-space"),
                    is_snapshot=True,
                ),
            ),
            _CPU_TIME,
            "cpu-time",
        ),
    ),
    timestamp_label="timestamp_ns",
    is_ebpf=True,
)
"""That of Datadog's host profiler, and of every language without an uploader of pprofs."""

BY_FAMILY: Final = {
    "ebpf": EBPF,
    "go": _GO,
    "node": _NODE,
    **{family: replace(_LIBDATADOG, family=family) for family in ("python", "ruby", "php", "dotnet")},
}
"""Every dialect by its family."""

# `telemetry.sdk.language` and `process.runtime.name`, in lower case.
_LANGUAGES: Final = {
    **{family: family for family in BY_FAMILY if family != "ebpf"},
    "nodejs": "node",
    "node.js": "node",
    "cpython": "python",
    "pypy": "python",
    ".net": "dotnet",
}


def dialect_of(resource: Mapping[str, str], scope: str) -> Dialect:
    """The dialect for a Profile.

    Args:
        resource: its attributes.
        scope: the name of its instrumentation scope, by which an eBPF profiler is told, whatever it profiles.
    """
    if _EBPF_SCOPE in scope:
        return EBPF
    for key in ("telemetry.sdk.language", "process.runtime.name"):
        family = _LANGUAGES.get(resource.get(key, "").lower())
        if family is not None:
            return BY_FAMILY[family]
    return EBPF
