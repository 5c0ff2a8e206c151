"""What several profiles of one run hold twice, and is counted once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otelprof.gate.waiting import CAUSES, IN_WORDS, Kind
from otelprof.telemetry.quantity import human
from otelprof.telemetry.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from otelprof.gate.sites import Change

_ENOUGH: Final = 0.02
"""Of all that a profile holds, below which an overlap is not worth a word."""


def counted_once(changes: Mapping[str, Sequence[Change]], each: str) -> list[str]:
    """What is there twice, in words.

    Args:
        changes: by source: `cpu`, `wall`, `offcpu`, `block`, `mutex`.
        each: `a request`, or what costs are divided by.
    """
    notes = [*_running_in_wall(changes, each), *_locks(changes, each)]
    source = next((name for name in ("wall", "offcpu", "block") if name in changes), None)
    if source is not None:
        notes += _others(changes[source], source, each)
        notes += _idle(changes[source], source)
    return notes


def _running_in_wall(changes: Mapping[str, Sequence[Change]], each: str) -> list[str]:
    wall = changes.get("wall", ())
    running = _sum(wall, {Kind.CPU})
    if running <= _ENOUGH * _sum(wall, set(Kind)):
        return []
    if "cpu" not in changes:
        note = (
            f"the wall profile contains what runs, {_time(running)} {each}: without a cpu profile it is taken"
            " for CPU, though it may wait for one"
        )
        return [note]
    cpu = _sum(changes["cpu"], {Kind.CPU})
    note = (
        f"the wall profile contains what runs, {_time(running)} {each}, of which the cpu profile has"
        f" {_time(cpu)}: on-CPU is taken from the cpu profile alone"
    )
    return [note]


def _locks(changes: Mapping[str, Sequence[Change]], each: str) -> list[str]:
    present = [name for name in ("wall", "offcpu", "block", "mutex") if name in changes]
    held = {name: _sum(changes[name], {Kind.LOCK}) for name in present}
    first, *others = present or [""]
    least = _ENOUGH * _sum(changes.get(first, ()), set(CAUSES))
    overlapping = [name for name in others if held[name] > least]
    if not overlapping or held[first] <= least:
        return []
    told = " and ".join(f"{_time(held[name])} {each} of {name}" for name in overlapping)
    note = (
        f"{told} are the waits for locks that {first} has ({_time(held[first])}), and are not added to them;"
        " a mutex profile of Go shows them where the lock was let go"
    )
    return [note]


def _others(changes: Iterable[Change], source: str, each: str) -> list[str]:
    waiting = _sum(changes, {Kind.OTHERS})
    if waiting <= 0:
        return []
    note = (
        f"{source} contains {_time(waiting)} {each} that {IN_WORDS[Kind.OTHERS]}: what that one does is"
        " counted where it does it"
    )
    return [note]


def _idle(changes: Iterable[Change], source: str) -> list[str]:
    threads = sum(one.threads_before for one in changes if one.site.kind is Kind.IDLE)
    if threads < 1:
        return []
    return [f"{source} contains {counted(round(threads), 'thread')} that wait for work, which are left out"]


def _sum(changes: Iterable[Change], kinds: set[Kind]) -> float:
    return sum(one.before for one in changes if one.site.kind in kinds)


def _time(seconds: float) -> str:
    return human(seconds, "s")
