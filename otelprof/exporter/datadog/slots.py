"""What OTLP's sample types are to Datadog: each goes to one or two slots, or to none.

A slot has the name that Datadog's libdatadog gives to the values (`libdd-profiling`, `SampleType`); how a
slot is called in a pprof is the dialect's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from otelprof._core import ProfileOutline

_NANOSECONDS: Final = frozenset(("nanoseconds", "ns"))
# async-profiler calls a CPU profile after the engine that made it.
_CPU: Final = frozenset(("cpu", "cpu-time", "perf_events", "ctimer", "itimer"))
_WALL: Final = frozenset(("wall", "wall-time"))
_SAMPLES: Final = frozenset(("samples", "sample"))

OFF_CPU: Final = frozenset(("off_cpu", "off-cpu"))
"""Sample types of time that a thread waits; Datadog's own reporter of eBPF profiles drops them."""

LIBDATADOG: Final = (
    ("cpu-time", "nanoseconds"),
    ("cpu-samples", "count"),
    ("wall-time", "nanoseconds"),
    ("wall-samples", "count"),
    ("exception-samples", "count"),
    ("lock-acquire-wait", "nanoseconds"),
    ("lock-acquire", "count"),
    ("lock-release-hold", "nanoseconds"),
    ("lock-release", "count"),
    ("alloc-space", "bytes"),
    ("alloc-samples", "count"),
    ("heap-space", "bytes"),
    ("heap-live-samples", "count"),
    ("gpu-time", "nanoseconds"),
    ("gpu-samples", "count"),
    ("gpu-space", "bytes"),
    ("gpu-alloc-samples", "count"),
    ("gpu-flops", "count"),
    ("gpu-flops-samples", "count"),
)
"""The sample types of a Python upload, in their order."""

_NAMED: Final = {
    **{one: one[0] for one in LIBDATADOG},
    # async-profiler, and its converter of JFR.
    ("object_sampler", "count"): "alloc-samples",
    ("allocations", "count"): "alloc-samples",
    ("allocations", "bytes"): "alloc-space",
    ("alloc_objects", "count"): "alloc-samples",
    ("alloc_space", "bytes"): "alloc-space",
    ("alloc-size", "bytes"): "alloc-space",
    ("inuse_objects", "count"): "heap-live-samples",
    ("inuse_space", "bytes"): "heap-space",
    ("heap-live-size", "bytes"): "heap-space",
    ("objects", "count"): "heap-live-samples",
    ("space", "bytes"): "heap-space",
    ("contentions", "count"): "contentions",
    ("delay", "nanoseconds"): "delay",
    ("goroutine", "count"): "goroutine",
}


class Slot(NamedTuple):
    """Where values go.

    Attributes:
        name: of the slot.
        is_scaled: whether each value counts `period` times.
    """

    name: str
    is_scaled: bool = False


def slots_of(outline: ProfileOutline, *, takes_off_cpu: bool) -> tuple[Slot, ...]:
    """The slots of a Profile's values.

    Args:
        outline: of the Profile.
        takes_off_cpu: whether off-CPU time is wall time.
    """
    name, unit = outline.sample_type
    unit = "nanoseconds" if unit in _NANOSECONDS else unit
    if name in OFF_CPU:
        return (Slot("wall-time"),) if takes_off_cpu and unit == "nanoseconds" else ()
    if unit == "nanoseconds" and name in _CPU | _WALL:
        return (Slot("cpu-time" if name in _CPU else "wall-time"),)
    if unit == "count" and name in _SAMPLES | _CPU | _WALL:
        return _counted(outline)
    slot = _NAMED.get((name, unit))
    if slot in {"contentions", "delay"} and "block" in outline.scope.lower():
        # OTLP does not tell the two profiles of Go apart that have these types.
        slot = f"block-{slot}"
    return () if slot is None else (Slot(slot),)


def _counted(outline: ProfileOutline) -> tuple[Slot, ...]:
    """Samples of a clock: as many as there are, and as much time as they stand for."""
    name, unit = outline.period_type
    if not name and outline.sample_type[0] in _SAMPLES | _CPU:
        return (Slot("cpu-samples"),)
    clock = "cpu" if name in _CPU else "wall" if name in _WALL else None
    if clock is None:
        return ()
    time = (Slot(f"{clock}-time", is_scaled=True),) if unit in _NANOSECONDS and outline.period > 0 else ()
    return (Slot(f"{clock}-samples"), *time)
