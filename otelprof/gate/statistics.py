"""The test: has a function become dearer, in runs whose noise is more than that of sampling?

Counts of samples scatter by sampling (Poisson) and by everything else that differs between runs. The excess
is estimated over all functions of a comparison, and moderated for each by what its own runs show, so that
five runs say as much as they can. A permutation test cannot do this: five against five have 252 orders, so
that no p-value is below 0.4 %, and nothing is left after a correction for a hundred functions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy import special

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MIN_RUNS: Final = 2
"""Of each side: one run says nothing of its noise."""
WINSORISE_RUNS: Final = 7
_WINSORISE_WIDTH: Final = 3.5
_MAD_TO_SD: Final = 1.4826
_FLOOR_OF_MEDIAN: Final = 0.03
_MIN_SAMPLES: Final = 20
_MIN_EXCESS: Final = 0.05**2
_PRIOR_DEGREES: Final = 8.0


@dataclass(frozen=True, eq=False)
class Noise:
    """How runs of one comparison scatter.

    Attributes:
        excess: the squared coefficient of variation that sampling does not explain.
        runs_before: how many.
        runs_after: how many.
    """

    excess: float
    runs_before: int
    runs_after: int

    @property
    def degrees(self) -> float:
        """Of freedom."""
        return _PRIOR_DEGREES + self.runs_before + self.runs_after - 2

    @property
    def per_run(self) -> float:
        """What the variance of one run is multiplied by for that of the difference of two means."""
        return 1 / self.runs_before + 1 / self.runs_after

    def of_runs(self, runs_before: int, runs_after: int) -> Noise:
        """The same of other numbers of runs."""
        return Noise(self.excess, runs_before, runs_after)

    def upper_growth(self, before: float, after: float, confidence: float) -> float:
        """What a growth is at most, with a one-sided confidence, from mean samples of a run."""
        growth, error = self._logarithm(before, after)
        return float(np.expm1(min(growth + float(special.stdtrit(self.degrees, confidence)) * error, 50.0)))

    def lower_growth(self, before: float, after: float, confidence: float) -> float:
        """What a growth is at least, likewise; below zero when it may be a fall."""
        return self.upper_growth(before, after, 1 - confidence)

    def likelihood(self, before: float, after: float, growth: float) -> float:
        """How likely mean samples of a run are when a growth is the true one; 1 when it is what they show."""
        found, error = self._logarithm(before, after)
        deviation = (found - np.log1p(growth)) / error
        return float((1 + deviation**2 / self.degrees) ** (-(self.degrees + 1) / 2))

    def _logarithm(self, before: float, after: float) -> tuple[float, float]:
        """Of the ratio of mean samples of a run, and its standard error."""
        mean = max((before + after) / 2, 0.5)
        return float(np.log((after + 0.5) / (before + 0.5))), float(
            np.sqrt((1 / mean + self.excess) * self.per_run)
        )

    def smallest_mean(self, growth: float, alpha: float, power: float) -> float:
        """Samples a run that a function needs for a growth to be seen; infinite when none are enough.

        Args:
            growth: as 0.3 for +30 %.
            alpha: the p-value that it has to reach.
            power: how often, as 0.8.
        """
        wanted = float(special.stdtrit(self.degrees, 1 - alpha) + special.stdtrit(self.degrees, power))
        variance = (np.log1p(growth) / wanted) ** 2 / self.per_run
        return 1 / (variance - self.excess) if variance > self.excess else float("inf")

    def power(self, growth: float, mean: float, alpha: float) -> float:
        """How often a growth of a function with so many samples a run reaches a p-value."""
        error = np.sqrt((1 / max(mean, 1e-9) + self.excess) * self.per_run)
        needed = float(special.stdtrit(self.degrees, 1 - alpha))
        return float(special.stdtr(self.degrees, np.log1p(growth) / error - needed))


@dataclass(frozen=True, eq=False)
class Tested:
    """What the test says of each row.

    Attributes:
        before: mean samples of a run.
        after: the same of the other side.
        p: one-sided, of growth; not adjusted.
        noise: of the comparison.
    """

    before: Floats
    after: Floats
    p: Floats
    noise: Noise

    @property
    def growth(self) -> Floats:
        """As 0.3 for +30 %; infinite for what is new."""
        with np.errstate(divide="ignore", invalid="ignore"):
            growth: Floats = np.where(self.before > 0, self.after / self.before - 1, np.inf)
        return np.where((self.before <= 0) & (self.after <= 0), 0.0, growth)

    @property
    def p_of_fall(self) -> Floats:
        """One-sided, of the opposite."""
        return 1 - self.p


def winsorised(counts: Floats) -> Floats:
    """Rows of counts with what is far from the median of its row set to where that begins.

    Of fewer than `WINSORISE_RUNS` runs nothing is changed: an odd one cannot be told.
    """
    if counts.shape[1] < WINSORISE_RUNS:
        return counts
    median = np.median(counts, axis=1, keepdims=True)
    deviation = _MAD_TO_SD * np.median(np.abs(counts - median), axis=1, keepdims=True)
    width = np.maximum(np.maximum(deviation, np.sqrt(np.maximum(median, 0))), _FLOOR_OF_MEDIAN * median)
    clipped: Floats = np.clip(counts, median - _WINSORISE_WIDTH * width, median + _WINSORISE_WIDTH * width)
    return clipped


def noise_of(before: Floats, after: Floats) -> Noise:
    """The noise of a comparison, from rows of counts (functions x runs) of each side, winsorised."""
    mean, variance, _ = _pooled(before, after)
    large = mean >= _MIN_SAMPLES
    excess = (variance[large] - mean[large]) / mean[large] ** 2
    found = float(np.median(excess)) if large.any() else 0.0
    return Noise(max(found, _MIN_EXCESS), before.shape[1], after.shape[1])


def growth_test(before: Floats, after: Floats, noise: Noise) -> Tested:
    """Test rows of counts (functions x runs) of each side, winsorised, for growth."""
    mean, variance, degrees = _pooled(before, after)
    mean = np.maximum(mean, 0.5)
    expected = mean + noise.excess * mean**2
    # Larger where the runs of this function scatter more than those of others; never smaller.
    ratio = np.maximum(1.0, (_PRIOR_DEGREES + degrees * variance / expected) / (_PRIOR_DEGREES + degrees))
    error = np.sqrt(ratio * expected / mean**2 * noise.per_run)
    means = before.mean(axis=1), after.mean(axis=1)
    logs = [np.log(np.maximum(one, 0) + 0.5) for one in means]
    p: Any = special.stdtr(noise.degrees, -(logs[1] - logs[0]) / error)
    return Tested(means[0], means[1], p, noise)


def holm(p: Floats) -> Floats:
    """P-values adjusted for their number (Holm 1979): below alpha, one is wrong in alpha of all cases."""
    order = np.argsort(p)
    scaled = p[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted


def _pooled(before: Floats, after: Floats) -> tuple[Floats, Floats, int]:
    """Mean of the sides' means, variance within sides, and its degrees of freedom."""
    degrees = before.shape[1] + after.shape[1] - 2
    squares = [((one - one.mean(axis=1, keepdims=True)) ** 2).sum(axis=1) for one in (before, after)]
    mean: Floats = (before.mean(axis=1) + after.mean(axis=1)) / 2
    # Within each side its own mean is what counts scatter by; the mean of the sides is close enough.
    variance: Floats = (squares[0] + squares[1]) / max(degrees, 1)
    return mean, variance, degrees
