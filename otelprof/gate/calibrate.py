"""What the gate can see in runs as these, and how often it cries wolf, from runs without a change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from otelprof.errors import PermanentError
from otelprof.gate.check import Verdict
from otelprof.gate.comparable import SHARE, amounts_of_work, check_units
from otelprof.gate.comparison import Comparison
from otelprof.gate.costs import cost_table
from otelprof.gate.displacement import Displacement
from otelprof.gate.judgement import Judge, Judgement
from otelprof.gate.statistics import Noise, holm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from otelprof.gate.config import GateConfig, Limits
    from otelprof.gate.costs import CostTable
    from otelprof.gate.runs import Run, Work

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

T = TypeVar("T")
SIZES: Final = (3, 5, 10, 20)
SHARES: Final = (0.05, 0.1, 0.2)
MIN_RUNS: Final = 6
_GROWTHS: Final = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
_MAX_RUNS: Final = 50
_MAX_TIMES: Final = 64


@dataclass(frozen=True, eq=False)
class Pool:
    """Runs from which sides are drawn.

    Attributes:
        table: of all of them.
        scale: of each, as `Comparison` takes it.
    """

    table: CostTable
    scale: Floats

    def judge(
        self, before: Ints, after: Ints, config: GateConfig, limits: Limits
    ) -> tuple[Verdict, Judgement]:
        """What the gate says of some runs against others, of one type of profile."""
        comparison = Comparison(self.table, before, after, self.scale, config.min_share, config.alpha)
        displacement = Displacement(comparison)
        p = holm(displacement.comparison.tested.p)
        judgement = Judge(displacement, p, config, limits).judge()
        return verdict_of(judgement, config), judgement


@dataclass(frozen=True)
class Size:
    """What so many runs a side say.

    Attributes:
        runs: of each side.
        pairs: how many times two sides were drawn; 0 when there are too few runs for that.
        failed: of these, how many failed.
        inconclusive: of these, how many were INCONCLUSIVE.
        covered_share: functions of a larger share are covered; infinite when none are.
        smallest_growth: by share of a function: what is found in enough of the cases; None when nothing is.
    """

    runs: int
    pairs: int
    failed: int
    inconclusive: int
    covered_share: float
    smallest_growth: dict[float, float | None]


@dataclass(frozen=True)
class Calibration:
    """What is known of runs as these.

    Attributes:
        runs: how many there are.
        samples_per_run: in the mean.
        excess_noise: how runs scatter beyond sampling, as a coefficient of variation.
        tests: functions that are tested.
        sizes: for numbers of runs a side.
        runs_to_buy: of each side, so that a growth to the limit is found of a function of 5 % of the cost;
            None when no number of them is enough.
        samples_to_buy: the same by more samples a run, in 5 or as many runs as there are for each side, as a
            multiple; None when no multiple is.
    """

    runs: int
    samples_per_run: float
    excess_noise: float
    tests: int
    sizes: tuple[Size, ...]
    runs_to_buy: int | None
    samples_to_buy: int | None


def pool_of(runs: Sequence[Run], of_type: str, config: GateConfig, work: Work) -> Pool:
    """Runs from which sides are drawn.

    Raises:
        PermanentError: they are too few, or cannot be compared.
    """
    having = [run for run in runs if of_type in run.profiles]
    if len(having) < MIN_RUNS:
        message = f"{len(having)} runs have a {of_type} profile; at least {MIN_RUNS} are needed: capture more"
        raise PermanentError(message)
    profiles = [run.profiles[of_type] for run in having]
    check_units(profiles)
    table = cost_table(profiles, config.names.rules())
    if work.key == SHARE:
        return Pool(table, table.totals.mean() / table.totals)
    amounts = amounts_of_work(having, work)
    done = np.array(amounts) if amounts else np.ones(len(having))
    return Pool(table, done.mean() / done)


def calibrate(pool: Pool, config: GateConfig, limits: Limits, *, pairs: int, seed: int) -> Calibration:
    """Draw sides from runs without a change, and work out what others would say.

    Args:
        pool: the runs.
        config: what counts.
        limits: what is too large.
        pairs: how many times, for each number of runs.
        seed: of chance: the same makes the same.
    """
    count = len(pool.table.totals)
    places = np.arange(count)
    whole = Comparison(
        pool.table, places[: count // 2], places[count // 2 :], pool.scale, config.min_share, config.alpha
    )
    noise, total, tests = whole.noise, float(np.mean(whole.totals)), len(whole.rows) + 1
    sizes = []
    for size in SIZES:
        counts = dict.fromkeys(Verdict, 0)
        drawn = pairs if 2 * size <= count else 0
        for before, after in no_change_pairs(places, size, drawn, seed):
            counts[pool.judge(before, after, config, limits)[0]] += 1
        of_size = noise.of_runs(size, size)
        sizes.append(
            Size(
                size,
                drawn,
                counts[Verdict.FAIL],
                counts[Verdict.INCONCLUSIVE],
                of_size.smallest_mean(limits.growth, config.alpha, config.power) / total,
                {share: smallest_growth(of_size, share * total, tests, config) for share in SHARES},
            )
        )
    wanted = SHARES[0] * total
    return Calibration(
        count,
        total,
        noise.excess**0.5,
        tests,
        tuple(sizes),
        _first(
            lambda runs: _is_found(noise.of_runs(runs, runs), wanted, limits.growth, tests, config),
            range(2, _MAX_RUNS + 1),
        ),
        _first(
            lambda times: _is_found(
                noise.of_runs(min(count, 5), min(count, 5)), wanted * times, limits.growth, tests, config
            ),
            range(1, _MAX_TIMES + 1),
        ),
    )


def no_change_pairs(places: Ints, size: int, pairs: int, seed: int) -> Iterator[tuple[Ints, Ints]]:
    """Two sides of so many runs each, drawn from the same runs without putting one back."""
    random = np.random.default_rng([seed, size])
    for _ in range(pairs):
        drawn = random.permutation(places)
        yield drawn[:size], drawn[size : 2 * size]


def smallest_growth(noise: Noise, mean: float, tests: int, config: GateConfig) -> float | None:
    """The smallest growth that is found in enough of the cases, of a function with so many samples a run."""
    return _first(lambda growth: _is_found(noise, mean, growth, tests, config), _GROWTHS)


def verdict_of(judgement: Judgement, config: GateConfig) -> Verdict:
    """The verdict of one comparison."""
    if judgement.findings:
        return Verdict.FAIL
    is_open = judgement.covered_share > config.max_covered_share or judgement.suspects
    return Verdict.INCONCLUSIVE if is_open else Verdict.PASS


def _is_found(noise: Noise, mean: float, growth: float, tests: int, config: GateConfig) -> bool:
    # Holm asks of the first to fall what Bonferroni asks of all.
    return noise.power(growth, mean * (1 + growth / 2), config.alpha / tests) >= config.power


def _first(is_enough: Callable[[T], bool], candidates: Iterable[T]) -> T | None:
    return next((one for one in candidates if is_enough(one)), None)
