"""What a profile is called in Pyroscope: `__name__:type:unit:period_type:period_unit`.

Grafana finds CPU, memory, locks and goroutines under the names that Pyroscope's own clients use; profilers
that speak OTLP use others. Sources: `pkg/og/convert` and `pkg/og/storage/tree/pprof.go` of grafana/pyroscope,
and the profile types of its clients for Go and Java.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Kind = tuple[str, str]
"""A name and a unit."""

_NANOS: Final = {
    "ns": 1,
    "nanoseconds": 1,
    "us": 10**3,
    "microseconds": 10**3,
    "ms": 10**6,
    "milliseconds": 10**6,
    "s": 10**9,
    "seconds": 10**9,
}
_SAMPLES: Final = ("samples", "sample")
# Names that are clocks. async-profiler's are those of its engines, fgprof's is `time`.
_CLOCKS: Final = {
    "cpu": ("cpu", "process_cpu"),
    "perf_events": ("cpu", "process_cpu"),
    "ctimer": ("cpu", "process_cpu"),
    "itimer": ("cpu", "process_cpu"),
    "wall": ("wall", "wall"),
    "time": ("wall", "wall"),
}
_SPACE: Final = ("space", "bytes")
_LOCKS: Final = ("mutex", "count")
_CONTENTIONS: Final = ("contentions", "count")
_GOROUTINES: Final = ("goroutine", "count")
# By sample type: `__name__`, type, unit, period type.
_KNOWN: Final[dict[Kind, tuple[str, Kind, Kind]]] = {
    **{
        (name, unit): ("memory", (name, unit), _SPACE)
        for name, unit in (
            ("alloc_objects", "count"),
            ("alloc_space", "bytes"),
            ("inuse_objects", "count"),
            ("inuse_space", "bytes"),
        )
    },
    **{
        (name, unit): ("memory", kind, _SPACE)
        for name in ("object_sampler", "allocations")
        for unit, kind in (
            ("count", ("alloc_in_new_tlab_objects", "count")),
            ("bytes", ("alloc_in_new_tlab_bytes", "bytes")),
        )
    },
    **{
        (name, unit): ("mutex", kind, _LOCKS)
        for name in ("lock_tracer", "locks")
        for unit, kind in (
            ("count", ("contentions", "count")),
            ("ns", ("delay", "nanoseconds")),
            ("nanoseconds", ("delay", "nanoseconds")),
        )
    },
    # Go's mutex and block profiles differ in nothing. A goroutine that waits for a mutex is blocked, too.
    ("contentions", "count"): ("block", ("contentions", "count"), _CONTENTIONS),
    ("delay", "nanoseconds"): ("block", ("delay", "nanoseconds"), _CONTENTIONS),
    ("goroutine", "count"): ("goroutine", _GOROUTINES, _GOROUTINES),
    ("goroutines", "count"): ("goroutine", _GOROUTINES, _GOROUTINES),
    ("off_cpu", "nanoseconds"): ("off_cpu", ("off_cpu", "nanoseconds"), ("", "")),
}
# What is between the colons of a profile type; the server refuses a dash.
_NO_WORD: Final = re.compile(r"[^0-9A-Za-z_.]")
_MAX_INT64: Final = 2**63 - 1


@dataclass(frozen=True)
class Naming:
    """What one pprof is called.

    Attributes:
        name: `__name__`.
        sample_types: name and unit of each, and what its values are multiplied by.
        period_type: name and unit; both empty when there is none.
        period: in that unit.
        respelled: how many names had characters that the server does not take.
    """

    name: str
    sample_types: tuple[tuple[str, str, int], ...]
    period_type: Kind
    period: int
    respelled: int = 0


def naming(
    sample_types: Sequence[Kind], period_type: Kind, period: int, names: Mapping[str, str] | None = None
) -> Naming:
    """What a pprof of these types is called.

    Args:
        sample_types: name and unit of each.
        period_type: name and unit; both empty when there is none.
        period: in that unit.
        names: `__name__` by the name of a sample type, in place of the one that it would have.
    """
    found = _clock(sample_types, period_type, period) or _known(sample_types, period)
    if found is None:
        name = period_type[0] or sample_types[0][0]
        name = _CLOCKS[name][1] if name in _CLOCKS else name
        found = Naming(name, tuple((*kind, 1) for kind in sample_types), period_type, period)
    chosen = next((names[kind] for kind, _ in sample_types if kind in names), None) if names else None
    return _spelled(found, chosen)


def _clock(sample_types: Sequence[Kind], period_type: Kind, period: int) -> Naming | None:
    """CPU and wall-clock time. Counts of samples become time, unless the time stands beside them."""
    timed = [kind for kind in sample_types if kind[0] in _CLOCKS and kind[1] in _NANOS]
    every = period * _NANOS.get(period_type[1], 0) if period_type[0] in _CLOCKS else 0
    every = every if 0 < every <= _MAX_INT64 else 0
    counted = [name for name, unit in sample_types if unit == "count" and name in (*_SAMPLES, *_CLOCKS)]
    if not timed and not (counted and every):
        return None
    # With both clocks in one pprof, the server moves what is CPU by a rule of its own.
    clocks = {_CLOCKS[name] for name, _ in timed} or {_CLOCKS[period_type[0]]}
    clock, name = ("wall", "wall") if len(clocks) > 1 else next(iter(clocks))
    made = []
    for kind, unit in sample_types:
        if (kind, unit) in timed:
            made.append((_CLOCKS[kind][0], "nanoseconds", _NANOS[unit]))
        elif unit == "count" and kind in counted:
            made.append(("samples", "count", 1) if timed else (clock, "nanoseconds", every))
        else:
            made.append((kind, unit, 1))
    return Naming(name, tuple(made), (clock, "nanoseconds"), every)


def _known(sample_types: Sequence[Kind], period: int) -> Naming | None:
    found = [_KNOWN.get(kind) for kind in sample_types]
    first = next((one for one in found if one is not None), None)
    if first is None:
        return None
    kinds = [kind if one is None else one[1] for one, kind in zip(found, sample_types, strict=True)]
    return Naming(first[0], tuple((*kind, 1) for kind in kinds), first[2], period if any(first[2]) else 0)


def _spelled(named: Naming, chosen: str | None) -> Naming:
    """The same in characters that the server takes, under the name that was chosen."""
    respelled = 0

    def spelled(text: str, otherwise: str) -> str:
        nonlocal respelled
        word = _NO_WORD.sub("_", text) or otherwise
        respelled += word != text
        return word

    types = tuple(
        (spelled(kind, "unknown"), spelled(unit, "count"), factor)
        for kind, unit, factor in named.sample_types
    )
    period_type = named.period_type
    if any(period_type):
        period_type = spelled(period_type[0], "unknown"), spelled(period_type[1], "count")
    name = chosen or spelled(named.name, "unknown")
    return Naming(name, types, period_type, named.period, respelled)
