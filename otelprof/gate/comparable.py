"""Whether two sides can be compared: what runs and profiles say of how they were made."""

from __future__ import annotations

from statistics import fmean, median
from typing import TYPE_CHECKING, Final

from otelprof.errors import PermanentError
from otelprof.telemetry.quantity import human
from otelprof.telemetry.text import counted, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from otelprof.gate.profile_file import RunProfile
    from otelprof.gate.runs import Run, Work

HARDWARE_KEYS: Final = (
    "hardware",
    "machine",
    "instance_type",
    "cpu_model",
    "cpu",
    "cpus",
    "cores",
    "arch",
    "os",
)
"""Of `run.json`: what should be the same of all runs."""
SHARE: Final = "share"
"""The unit of work that is none: each run's cost is 1."""
_PERIOD_DIFFERS: Final = 1.01
_DURATION_DIFFERS: Final = 1.5
_SAMPLES_DIFFER: Final = 2.0
_START_KEY: Final = "start_unix"
# What the procedure was tried with: at least so many runs a side, with so many samples each.
_ADVISED: Final = ((10, 400), (5, 1000))


def check_units(profiles: Sequence[RunProfile]) -> None:
    """Refuse profiles whose values mean different things.

    Raises:
        PermanentError: they do; names both.
    """
    units = {(one.sample_type[0], one.unit) for one in profiles}
    if len({unit for _, unit in units}) > 1:
        found = ", ".join(sorted(f"{printable(name)} in {unit}" for name, unit in units))
        message = (
            f"profiles of the type {profiles[0].type} cannot be compared: they are {found};"
            " capture both sides the same way"
        )
        raise PermanentError(message)


def amounts_of_work(runs: Sequence[Run], work: Work) -> list[float] | None:
    """What each run did; None when no run says.

    Raises:
        PermanentError: some say and some do not; names one of these.
    """
    amounts = [work.of(run) for run in runs]
    missing = [run.name for run, amount in zip(runs, amounts, strict=True) if amount is None]
    if len(missing) == len(runs):
        return None
    if missing:
        message = (
            f"{counted(len(missing), 'run')} of {len(runs)} do not say what they did, as {missing[0]}:"
            f" its run.json has no {work.key} above zero; write it, or give --work {work.key}=N"
        )
        raise PermanentError(message)
    return [amount for amount in amounts if amount is not None]


def hardware_warnings(before: Sequence[Run], after: Sequence[Run]) -> Iterator[str]:
    """Where runs say that they were made on different machines."""
    for key in HARDWARE_KEYS:
        found = [{str(run.metadata[key]) for run in side if key in run.metadata} for side in (before, after)]
        if all(found) and found[0] != found[1]:
            words = [printable(", ".join(sorted(one)), 80) for one in found]
            yield f"{key} differs: {words[0]} before, {words[1]} after: growth may be that of the machine"


def profile_warnings(before: Sequence[RunProfile], after: Sequence[RunProfile]) -> Iterator[str]:
    """Where profiles of two sides were made differently, and where they hold little."""
    what, unit = before[0].type, before[0].unit
    periods = [median(one.period for one in side) for side in (before, after)]
    if min(periods) > 0 and max(periods) / min(periods) > _PERIOD_DIFFERS:
        words = [human(one, "ns" if unit == "nanoseconds" else unit) for one in periods]
        yield f"{what}: the sampling period differs: {words[0]} before, {words[1]} after; costs are scaled"
    durations = [median(one.duration_seconds for one in side) for side in (before, after)]
    if min(durations) > 0 and max(durations) / min(durations) > _DURATION_DIFFERS:
        words = [human(one, "s") for one in durations]
        yield f"{what}: the duration differs: {words[0]} before, {words[1]} after"
    samples = [fmean(one.samples for one in side) for side in (before, after)]
    if min(samples) > 0 and max(samples) / min(samples) > _SAMPLES_DIFFER:
        yield f"{what}: samples differ: {samples[0]:.0f} a run before, {samples[1]:.0f} after"
    runs = min(len(before), len(after))
    if not any(runs >= needed and min(samples) >= each for needed, each in _ADVISED):
        advised = " or ".join(f"{needed} runs of {each:,} samples" for needed, each in _ADVISED)
        yield (
            f"{what}: {len(before)} against {len(after)} runs of {min(samples):.0f} samples;"
            f" advised are {advised} a side"
        )


def age_seconds(runs: Sequence[Run], now: float) -> float | None:
    """How old the newest run is; None when none says when it was."""
    started = [
        run.number(_START_KEY) or max((one.started for one in run.profiles.values()), default=0.0)
        for run in runs
    ]
    newest = max(started, default=0.0)
    return now - newest if newest > 0 else None
