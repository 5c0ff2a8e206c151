"""What OTLP's sample types are to Datadog: each goes to one or two slots, or to none.

A slot has the name that Datadog's libdatadog gives to the values (`libdd-profiling`, `SampleType`); how a
slot is called in a pprof is the dialect's.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

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

# Few are ever seen; but their names come from the wire, and may be long. No slot's is.
_MAX_KINDS: Final = 1_000
_MAX_NAME_CHARS: Final = 64
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


def slots_of(
    sample_type: tuple[str, str],
    period_type: tuple[str, str] = ("", ""),
    *,
    is_block: bool = False,
    takes_off_cpu: bool = False,
) -> tuple[Slot, ...]:
    """The slots of a Profile's values.

    Args:
        sample_type: name and unit.
        period_type: name and unit of the period; no unit when there is no period.
        is_block: whether Go's `contentions` and `delay` are of a block profile, and not of a mutex profile.
        takes_off_cpu: whether off-CPU time is wall time.
    """
    name, unit, period_name, period_unit = (text[:_MAX_NAME_CHARS] for text in (*sample_type, *period_type))
    return _slots(name, unit, (period_name, period_unit), is_block, takes_off_cpu)


@lru_cache(_MAX_KINDS)
def _slots(
    name: str,
    unit: str,
    period_type: tuple[str, str],
    is_block: bool,  # noqa: FBT001 - what the cache is by
    takes_off_cpu: bool,  # noqa: FBT001 - likewise
) -> tuple[Slot, ...]:
    unit = "nanoseconds" if unit in _NANOSECONDS else unit
    if name in OFF_CPU:
        return (Slot("wall-time"),) if takes_off_cpu and unit == "nanoseconds" else ()
    if unit == "nanoseconds" and name in _CPU | _WALL:
        return (Slot("cpu-time" if name in _CPU else "wall-time"),)
    if unit == "count" and name in _SAMPLES | _CPU | _WALL:
        return _counted(name, *period_type)
    slot = _NAMED.get((name, unit))
    if slot is None:
        return ()
    return (Slot(f"block-{slot}" if is_block and slot in {"contentions", "delay"} else slot),)


def _counted(name: str, period_name: str, period_unit: str) -> tuple[Slot, ...]:
    """Samples of a clock: as many as there are, and as much time as they stand for."""
    if not period_name and name in _SAMPLES | _CPU:
        return (Slot("cpu-samples"),)
    clock = "cpu" if period_name in _CPU else "wall" if period_name in _WALL else None
    if clock is None:
        return ()
    time = (Slot(f"{clock}-time", is_scaled=True),) if period_unit in _NANOSECONDS else ()
    return (Slot(f"{clock}-samples"), *time)
