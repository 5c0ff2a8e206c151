"""Which part of a change in latency is CPU, and which is waiting, and where.

CPU comes from cpu profiles and from nothing else; waiting from wall or off-CPU profiles or, without them,
from block and mutex profiles: what several of them hold is counted once. A profile holds means: it cannot
tell what a percentile is made of, but it tells which of two sides waits more, and where.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from otelprof.errors import PermanentError
from otelprof.gate.antipatterns import single_run
from otelprof.gate.cause import Verdict, cause
from otelprof.gate.double_counting import counted_once
from otelprof.gate.sites import SECONDS, Change, Comparison
from otelprof.gate.waiting import CAUSES, Kind
from otelprof.telemetry.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from otelprof.gate.figures import Figures
    from otelprof.gate.runs import Run, Work

_NAMED: Final = 0.25
"""Of the largest change: what is named beside it."""


@dataclass(frozen=True)
class Explanation:
    """What changed.

    Attributes:
        verdict: what the change comes from.
        named: the sites that make it, largest first.
        doubtful: sites that would make it, and are within the noise of the runs.
        is_single: there is one run of a side.
        each: what costs are of: `a request`, or `a second` of the run.
        figures: latency and CPU, as told or measured.
        cpu: sites on a CPU, largest change first.
        waiting: sites that wait for a cause of their own, likewise.
        others: sites that wait for other threads, likewise: their time is counted where those are.
        holders: where locks were let go, by mutex profiles.
        all_cpu: all on a CPU together; None when neither cpu nor wall profiles of both sides are there.
        all_waiting: of `waiting` together, what changed by more than noise; None without such profiles.
        notes: what is there twice and was counted once, and what limits the answer.
        missing: profiles that would tell more.
    """

    verdict: Verdict
    named: tuple[Change, ...]
    doubtful: tuple[Change, ...]
    is_single: bool
    each: str
    figures: Figures
    cpu: tuple[Change, ...]
    waiting: tuple[Change, ...]
    others: tuple[Change, ...]
    holders: tuple[Change, ...]
    all_cpu: Change | None
    all_waiting: float | None
    notes: tuple[str, ...]
    missing: tuple[str, ...]


def explain(
    before: Sequence[Run], after: Sequence[Run], figures: Figures, work: Work | None = None
) -> Explanation:
    """Say what a change of latency comes from.

    Args:
        before: runs, each with profiles by type: `cpu`, and `wall` or `offcpu`, or `block` and `mutex`.
        after: likewise.
        figures: latency and CPU of both sides.
        work: what the cost of a run is divided by; seconds of the run where one does not say.

    Raises:
        PermanentError: the sides have neither profiles of one type nor figures, or a run says neither how
            long it was nor what it did.
    """
    compared = Comparison(before, after, work)
    changes = compared.changes
    if not changes and not figures.latency:
        message = (
            "there is nothing to compare: both sides need profiles of one type (cpu, wall, offcpu, block,"
            " mutex) or figures of latency"
        )
        raise PermanentError(message)
    waits = compared.waiting(CAUSES)
    waits = [one for one in waits if one.site.kind is not Kind.SLEEP or not one.is_in_background]
    others = [one for one in compared.waiting({Kind.OTHERS}) if not one.is_steady]
    all_cpu = compared.all_cpu
    all_waiting = None if compared.waits is None else _clear(waits)
    verdict = cause(
        figures.main,
        cpu=None if all_cpu is None else (all_cpu.before, 0.0 if all_cpu.is_noise else all_cpu.delta),
        waiting=all_waiting,
        others=_clear(others),
    )
    rows = _to_name(verdict, compared.cpu, waits, others)
    delta = figures.main.delta if figures.main is not None else _clear(rows)
    return Explanation(
        verdict=verdict,
        named=_named(rows, delta),
        doubtful=_doubtful([*compared.cpu, *waits], figures) if verdict is Verdict.UNEXPLAINED else (),
        is_single=bool(changes and single_run(len(before), len(after))),
        each=compared.each,
        figures=figures,
        cpu=_ordered(compared.cpu),
        waiting=_ordered(waits),
        others=_ordered(others),
        holders=_ordered(one for one in changes.get("mutex", ()) if one.site.kind is Kind.LOCK),
        all_cpu=all_cpu,
        all_waiting=all_waiting,
        notes=tuple(_notes(compared, all_cpu, figures, (len(before), len(after)))),
        missing=tuple(_missing(compared)),
    )


def _clear(changes: Iterable[Change]) -> float:
    """What is more than noise, together."""
    return sum((one.delta for one in changes if not one.is_noise), start=0.0)


def _ordered(changes: Iterable[Change]) -> tuple[Change, ...]:
    return tuple(sorted(changes, key=lambda one: (-abs(one.delta), one.site)))


def _to_name(verdict: Verdict, cpu: list[Change], waits: list[Change], others: list[Change]) -> list[Change]:
    """The sites among which those are that make the change."""
    match verdict:
        case Verdict.ON_CPU:
            return cpu
        case Verdict.OFF_CPU:
            return waits if _clear(waits) else others
        case Verdict.BOTH:
            return [*cpu, *waits]
        case _:
            return []


def _named(rows: Iterable[Change], delta: float) -> tuple[Change, ...]:
    """Those that went the way of the latency, by more than noise, and not by little."""
    clear = _ordered(one for one in rows if not one.is_noise and one.delta * delta > 0)
    return tuple(one for one in clear if abs(one.delta) >= _NAMED * abs(clear[0].delta))


def _doubtful(rows: Iterable[Change], figures: Figures) -> tuple[Change, ...]:
    """Those that are large enough to be the change of the latency, were they no noise."""
    latency = figures.main
    if latency is None:
        return ()
    found = (one for one in rows if one.is_noise and one.delta * latency.delta > 0)
    return _ordered(one for one in found if abs(one.delta) >= _NAMED * abs(latency.delta))


def _notes(
    compared: Comparison, all_cpu: Change | None, figures: Figures, runs: tuple[int, int]
) -> Iterator[str]:
    yield from counted_once(compared.changes, compared.each)
    yield from _utilisation(compared, all_cpu, figures)
    latency = figures.main
    if latency is not None and not latency.is_middle:
        yield (
            f"{latency.name} is no mean, and a profile holds means: it tells which side waits more, and"
            f" where, not what {latency.name} is made of"
        )
    for name in compared.left_out:
        yield f"{printable(name, 60)} was left out: it counts something else than time"
    if compared.changes:
        if compared.unit == SECONDS:
            yield (
                "no work is known (--work): costs are of a second of the run, and a run that does more in a"
                " second costs more in it"
            )
        yield from map(str, single_run(*runs))


def _utilisation(compared: Comparison, all_cpu: Change | None, figures: Figures) -> Iterator[str]:
    """Why busy CPU says nothing of what a request costs."""
    cpu, throughput = figures.cpu, figures.throughput
    if cpu is None:
        return
    told = [f"busy CPU went from {cpu.before:.3g} to {cpu.after:.3g}"]
    if all_cpu is not None and all_cpu.before and compared.unit != SECONDS:
        told.append(f"the cost {compared.each} by {all_cpu.delta / all_cpu.before:+.0%}")
    if throughput is not None:
        told.append(f"{throughput.name} by {throughput.relative:+.0%}")
    yield f"{', '.join(told)}: busy CPU is cost x throughput, and by itself no cost"


def _missing(compared: Comparison) -> Iterator[str]:
    if "cpu" not in compared.changes:
        yield "cpu of both sides: which part is CPU"
    match compared.waits:
        case None:
            yield "wall or offcpu of both sides, or block and mutex: where it waits"
        case "mutex":
            yield "wall or offcpu of both sides, or block: a mutex profile knows of locks alone"
        case "block":
            yield "wall or offcpu of both sides: a block profile knows of no sleep and of no IO"
        case _:
            pass
