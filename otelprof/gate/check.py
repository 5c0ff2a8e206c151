"""The gate: runs of two versions in, a verdict out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from statistics import fmean
from typing import TYPE_CHECKING, Final

import numpy as np

from otelprof.errors import PermanentError
from otelprof.gate.comparable import (
    SHARE,
    age_seconds,
    amounts_of_work,
    check_units,
    hardware_warnings,
    profile_warnings,
)
from otelprof.gate.comparison import Comparison
from otelprof.gate.config import Limits
from otelprof.gate.costs import MIN_SHARE, cost_table
from otelprof.gate.displacement import Displacement
from otelprof.gate.judgement import Judge, Judgement, adjusted, runs_needed
from otelprof.gate.statistics import MIN_RUNS
from otelprof.telemetry.quantity import human

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from numpy.typing import NDArray

    from otelprof.gate.config import GateConfig
    from otelprof.gate.runs import Run, Work

    Floats = NDArray[np.float64]

_ALIKE: Final = 0.1
_ALIKE_WIDTH: Final = 0.05


class Verdict(StrEnum):
    """What the gate says."""

    PASS = "PASS"  # noqa: S105 - a verdict
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"

    @property
    def exit_code(self) -> int:
        """Of the command: 0, 1 or 2."""
        return {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.INCONCLUSIVE: 2}[self]


@dataclass(frozen=True, eq=False)
class Compared:
    """One type of profile of one variant.

    Attributes:
        label: `cpu`, or `cpu, flag-on`.
        displacement: of its comparison; None when a side has too few runs for one.
        judgement: what it says.
        unit: of costs; `share` when shares were compared.
        work: what costs are per, as `requests`; empty for a run.
        sample_cost: what a sample costs, in `unit`, per unit of work.
        runs: how many of each side.
        samples: of a run, in the mean over each side.
        runs_needed: of each side, to cover what has to be; None when it is covered, or cannot be.
    """

    label: str
    displacement: Displacement | None
    judgement: Judgement
    unit: str
    work: str
    sample_cost: float
    runs: tuple[int, int]
    samples: tuple[float, float]
    runs_needed: int | None = None


@dataclass(frozen=True, eq=False)
class Checked:
    """What the gate says of two sides.

    Attributes:
        verdict: in one word.
        compared: each type and variant.
        warnings: what a reader should know.
        needs: what would make the verdict conclusive; empty when it is.
        missing: names of variants without runs on a side.
        limits: what was too large.
        config: what was asked.
        baseline_age_seconds: of the newest run of the baseline; None when it does not say.
    """

    verdict: Verdict
    compared: tuple[Compared, ...]
    warnings: tuple[str, ...]
    needs: tuple[str, ...]
    missing: tuple[str, ...]
    limits: Limits
    config: GateConfig
    baseline_age_seconds: float | None = None


@dataclass
class _Sides:
    """Runs of one variant that are compared."""

    variant: str
    before: list[Run]
    after: list[Run]

    def label(self, of_type: str) -> str:
        return f"{of_type}, {self.variant}" if self.variant else of_type


@dataclass
class _Progress:
    """What was found so far."""

    warnings: list[str] = field(default_factory=list)
    needs: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def check(  # noqa: PLR0913 - what a gate run is made of
    before: Sequence[Run],
    after: Sequence[Run],
    config: GateConfig,
    work: Work,
    *,
    now: float,
    keep: Collection[str] = (),
) -> Checked:
    """Compare the runs of two versions.

    Args:
        before: of the baseline.
        after: of the candidate.
        config: what counts.
        work: what costs are divided by; the key `share` compares shares.
        now: unix seconds.
        keep: functions that are looked at whatever they cost.

    Raises:
        PermanentError: the sides cannot be compared.
    """
    progress = _Progress()
    limits = Limits.of(config.thresholds, datetime.fromtimestamp(now, UTC))
    age = _note_age(before, config, now, progress)
    progress.warnings += hardware_warnings(before, after)
    if config.thresholds.tighten is not None and config.thresholds.tighten.starting is None:
        progress.warnings.append("thresholds.tighten has no starting: its first threshold holds")
    compared = [
        one
        for sides in _variants(before, after, config, progress)
        for one in _types(sides, config, work, progress, keep)
    ]
    judged = [_judged(one, p, config, limits) for one, p in _adjusted(compared)]
    for one in judged:
        _note(one, config, limits, progress)
    return Checked(
        _verdict(judged, progress),
        tuple(judged),
        tuple(dict.fromkeys(progress.warnings)),
        tuple(dict.fromkeys(progress.needs)),
        tuple(progress.missing),
        limits,
        config,
        age,
    )


def _note_age(before: Sequence[Run], config: GateConfig, now: float, progress: _Progress) -> float | None:
    age = age_seconds(before, now)
    if age is not None and age > config.refresh:
        progress.warnings.append(
            f"the baseline is stale: its newest run is {human(age, 's')} old, and is to be taken again"
            f" every {human(config.refresh, 's')}"
        )
    return age


def _variants(
    before: Sequence[Run], after: Sequence[Run], config: GateConfig, progress: _Progress
) -> Iterator[_Sides]:
    """The runs of each variant; those without runs on a side are noted as missing."""
    if not config.variants:
        yield _Sides("", list(before), list(after))
    for name, conditions in config.variants.items():
        sides = [
            [run for run in side if all(run.metadata.get(key) == value for key, value in conditions.items())]
            for side in (before, after)
        ]
        if all(sides):
            yield _Sides(name, sides[0], sides[1])
            continue
        where = [word for word, side in zip(("baseline", "candidate"), sides, strict=True) if not side]
        progress.missing.append(f"{name} ({' and '.join(where)})")


def _types(
    sides: _Sides, config: GateConfig, work: Work, progress: _Progress, keep: Collection[str]
) -> Iterator[Compared]:
    """Each type that both sides have, compared; of others it is said that they are missing."""
    for of_type in config.types:
        before, after = (
            [run for run in side if of_type in run.profiles] for side in (sides.before, sides.after)
        )
        if before and after:
            yield _compare(sides.label(of_type), before, after, of_type, config, work, progress, keep)
            continue
        where = " and ".join(
            word for word, side in (("the baseline", before), ("the candidate", after)) if not side
        )
        progress.warnings.append(f"{sides.label(of_type)} was not compared: no such profiles in {where}")
        if of_type in config.required_types:
            progress.needs.append(f"profiles of the type {of_type} in {where}")


def _compare(  # noqa: PLR0913, PLR0917 - as above
    label: str,
    before: list[Run],
    after: list[Run],
    of_type: str,
    config: GateConfig,
    work: Work,
    progress: _Progress,
    keep: Collection[str],
) -> Compared:
    runs = [*before, *after]
    profiles = [run.profiles[of_type] for run in runs]
    check_units(profiles)
    split = len(before)
    progress.warnings += profile_warnings(profiles[:split], profiles[split:])
    samples = tuple(fmean(one.samples for one in side) for side in (profiles[:split], profiles[split:]))
    amounts = None if work.key == SHARE else amounts_of_work(runs, work)
    unit, per = (SHARE, "") if work.key == SHARE else (profiles[0].unit, work.key if amounts else "")
    if work.key == SHARE:
        progress.warnings.append(
            "shares are compared, not costs: a share moves when anything moves, and half of the regressions"
            " are missed; give --work"
        )
    elif amounts is None:
        progress.warnings.append(
            f"no run.json has {work.key}: every run is taken to have done the same work; give --work"
        )
    counts = (len(before), len(after))
    if min(counts) < MIN_RUNS or not sum(one.total for one in profiles):
        return Compared(label, None, Judgement(), unit, per, 0.0, counts, (samples[0], samples[1]))
    table = cost_table(profiles, config.names.rules(), min_share=min(MIN_SHARE, config.min_share), keep=keep)
    done = np.array(amounts) if amounts else np.ones(len(runs))
    scale = table.totals.mean() / table.totals if work.key == SHARE else done.mean() / done
    places = np.arange(len(runs))
    comparison = Comparison(table, places[:split], places[split:], scale, config.min_share, config.alpha)
    each = sum(one.total for one in profiles) / max(float(table.totals.sum()), 1e-300)
    cost = 1 / float(table.totals.mean()) if work.key == SHARE else each / float(done.mean())
    return Compared(
        label, Displacement(comparison), Judgement(), unit, per, cost, counts, (samples[0], samples[1])
    )


def _adjusted(
    compared: Sequence[Compared],
) -> Iterator[tuple[Compared, Floats]]:
    """Each comparison with its p-values, adjusted over all of them."""
    p_of = {
        one.label: one.displacement.comparison.tested.p for one in compared if one.displacement is not None
    }
    together = adjusted(p_of)
    for one in compared:
        yield one, together.get(one.label, np.empty(0))


def _judged(one: Compared, p: Floats, config: GateConfig, limits: Limits) -> Compared:
    if one.displacement is None:
        return one
    judgement = Judge(one.displacement, p, config, limits).judge()
    needed = None
    if judgement.covered_share > config.max_covered_share:
        needed = runs_needed(one.displacement, config, limits)
    return replace(one, judgement=judgement, runs_needed=needed)


def _note(one: Compared, config: GateConfig, limits: Limits, progress: _Progress) -> None:
    """What a reader should know of a comparison, and what it lacks."""
    judgement = one.judgement
    if one.displacement is None:
        progress.needs.append(f"{one.label}: {MIN_RUNS} runs a side at least: one says nothing of its noise")
        return
    for finding in judgement.redistributed:
        progress.warnings.append(
            f"{one.label}: {finding.function} became dearer ({finding.why}) while the whole became cheaper:"
            " redistributed, no failure (fail_on_masked)"
        )
    for finding in judgement.moved:
        progress.warnings.append(f"{one.label}: {finding.function} {finding.why}")
    if config.fail_on_masked and judgement.total_fell:
        progress.warnings.append(
            f"{one.label}: fail_on_masked is on and the whole became cheaper: work that merely moved may fail"
        )
    if _grew_alike(one):
        progress.warnings.append(
            f"{one.label}: everything grew alike: another machine, load or amount of work, rather"
            " than the code"
        )
    if judgement.covered_share > config.max_covered_share:
        more = (
            f"{one.runs_needed} runs a side as these"
            if one.runs_needed
            else "runs with more samples or less noise: more runs alone do not help"
        )
        progress.needs.append(
            f"{one.label}: {more}, so that +{limits.growth:.0%} is seen of functions of"
            f" {config.max_covered_share:.0%} of the cost"
        )
    for finding in judgement.suspects:
        progress.needs.append(
            f"{one.label}: twice the runs, since {finding.function} may have grown too much"
            f" ({finding.growth:+.0%}, adjusted p {finding.p_adjusted:.2g})"
        )


def _grew_alike(one: Compared) -> bool:
    if one.displacement is None:
        return False
    tested = one.displacement.comparison.tested
    growth, total = tested.growth[:-1], float(tested.growth[-1])
    finite = growth[np.isfinite(growth)]
    if total < _ALIKE or not len(finite):
        return False
    low, high = np.percentile(finite, [25, 75])
    return bool(low >= total - _ALIKE_WIDTH - total / 2 and high <= total + _ALIKE_WIDTH + total / 2)


def _verdict(judged: Sequence[Compared], progress: _Progress) -> Verdict:
    if progress.missing or any(one.judgement.findings for one in judged):
        return Verdict.FAIL
    if not judged:
        message = "the sides have no type of profile in common that is asked for: see types in gate.yaml"
        raise PermanentError(message)
    return Verdict.INCONCLUSIVE if progress.needs else Verdict.PASS
