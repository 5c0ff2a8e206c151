"""What a change of latency comes from, by the parts of what changed with it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from otelprof.gate.figures import Figure

MOST: Final = 0.75
"""The part of what changed that is called the change."""
ENOUGH: Final = 0.25
"""The part of a latency's change that has to be found for it to be explained."""
NO_CHANGE: Final = 0.05
"""Of latency, below which there is nothing to explain."""


class Verdict(StrEnum):
    """What a change of latency comes from."""

    ON_CPU = "on-CPU"
    OFF_CPU = "off-CPU"
    BOTH = "both"
    UNEXPLAINED = "unexplained"
    NO_CHANGE = "no change"


def cause(
    latency: Figure | None, *, cpu: tuple[float, float] | None, waiting: float | None, others: float = 0.0
) -> Verdict:
    """The verdict.

    Args:
        latency: what is to be explained; None takes the direction of what changed most.
        cpu: on a CPU before, and what changed of it beyond noise, seconds a unit; None when not known.
        waiting: what changed of waiting for causes of their own; None when not known.
        others: what changed of waiting for other threads.
    """
    if latency is not None and (abs(latency.relative) < NO_CHANGE or latency.is_noise):
        return Verdict.NO_CHANGE
    if waiting is None:
        return _by_cpu_alone(latency, cpu)
    of_cpu = cpu[1] if cpu is not None else 0.0
    sign = 1 if (of_cpu + waiting if latency is None else latency.delta) > 0 else -1
    # What went the other way made nothing of it.
    on, off = (max(sign * part, 0.0) for part in (of_cpu, waiting))
    least = ENOUGH * abs(latency.delta) if latency is not None and latency.is_middle else 0.0
    if on + off <= least:
        return Verdict.OFF_CPU if sign * others > least else Verdict.UNEXPLAINED
    if off >= MOST * (on + off):
        return Verdict.OFF_CPU
    return Verdict.ON_CPU if on >= MOST * (on + off) else Verdict.BOTH


def _by_cpu_alone(latency: Figure | None, cpu: tuple[float, float] | None) -> Verdict:
    """Without a profile of waiting: what CPU cannot have made is waiting."""
    if cpu is None or not cpu[0]:
        return Verdict.UNEXPLAINED
    relative = cpu[1] / cpu[0]
    if latency is None:
        return Verdict.ON_CPU if abs(relative) >= NO_CHANGE else Verdict.NO_CHANGE
    is_it = relative * latency.relative > 0 and abs(relative) >= ENOUGH * abs(latency.relative)
    return Verdict.ON_CPU if is_it else Verdict.OFF_CPU
