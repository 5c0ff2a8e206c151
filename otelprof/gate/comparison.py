"""Two sides of one type of profile: which functions are compared, in which unit, and what the test says."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from otelprof._core import joint_weights
from otelprof.gate.costs import LEFT_OUT, as_ends, as_frames
from otelprof.gate.statistics import Noise, Tested, growth_test, noise_of, winsorised

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from otelprof.gate.costs import CostTable

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

SAME_SAMPLES: Final = 0.98
"""Functions that share so much of their samples are one: a wrapper and what it calls."""
_DOUBLED: Final = 1.0
_HALF_OF_THE_TIME: Final = 0.5


@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs of two sides.

    Attributes:
        table: of all runs of both.
        before: places of the baseline's runs in the table.
        after: places of the candidate's.
        scale: of each run of the table: what its costs are multiplied by, so that all did the same work.
        min_share: of a function that is compared.
        alpha: the p-value that all of them are tested by together.
    """

    table: CostTable
    before: Ints
    after: Ints
    scale: Floats
    min_share: float
    alpha: float

    def sides(self, costs: Floats) -> tuple[Floats, Floats]:
        """Costs (rows x runs of the table) of each side, per unit of work."""
        scaled = costs * self.scale
        return scaled[:, self.before], scaled[:, self.after]

    def means(self, costs: Floats) -> tuple[Floats, Floats]:
        """The mean cost of a run of each side, per unit of work; odd runs as the test takes them."""
        before, after = (winsorised(one).mean(axis=1) for one in self.sides(costs))
        return before, after

    @cached_property
    def totals(self) -> tuple[float, float]:
        """The mean cost of a run in all, of each side."""
        before, after = self.means(self.table.totals[None, :])
        return float(before[0]), float(after[0])

    @cached_property
    def shares(self) -> tuple[Floats, Floats]:
        """Functions' shares in the cost of each side."""
        before, after = self.means(self.table.cumulative)
        return before / max(self.totals[0], 1e-300), after / max(self.totals[1], 1e-300)

    @cached_property
    def depths(self) -> Floats:
        """How deep a function stands in stacks, in the mean; the root at 0."""
        table, weights = self.table, self._weights
        lengths = np.diff(table.starts)
        depth = np.arange(len(table.frames)) - np.repeat(table.starts[:-1], lengths)
        of_frame = np.repeat(weights, lengths)
        count = len(table.functions)
        summed = np.bincount(table.frames, of_frame * depth, count)
        depths: Floats = summed / np.maximum(np.bincount(table.frames, of_frame, count), 1e-300)
        return depths

    @cached_property
    def universe(self) -> Ints:
        """Functions that are large enough, by place."""
        shares = (self.shares[0] + self.shares[1]) / 2
        shares[-1] = 0.0  # everything else is no function
        return np.flatnonzero(shares >= self.min_share)

    @cached_property
    def groups(self) -> dict[int, tuple[int, ...]]:
        """Functions of the universe that are tested, each with itself and the wrappers that it stands for."""
        universe = self.universe
        joint = self._joint(universe)
        costs = np.diag(joint)
        same = joint >= SAME_SAMPLES * np.maximum(costs[:, None], costs[None, :])
        left = np.ones(len(universe), dtype=bool)
        groups: dict[int, tuple[int, ...]] = {}
        for deepest in np.argsort(-self.depths[universe], kind="stable"):
            if left[deepest]:
                members = np.flatnonzero(same[deepest] & left)
                left[members] = False
                others = [int(universe[one]) for one in members if one != deepest]
                groups[int(universe[deepest])] = (int(universe[deepest]), *others)
        return groups

    @cached_property
    def rows(self) -> Ints:
        """Functions that are tested, by place: those of which at least a doubling would be seen.

        To leave out the others costs nothing and makes the rest easier to see. They are chosen by their mean
        over both sides, which says nothing of the difference.
        """
        places = np.array(list(self.groups), dtype=np.int64)
        means = sum(self.means(self.table.cumulative[places])) / 2
        alpha = self.alpha / (len(places) + 1)
        return places[means >= self.noise.smallest_mean(_DOUBLED, alpha, _HALF_OF_THE_TIME)]

    @cached_property
    def noise(self) -> Noise:
        """How the runs scatter."""
        before, after = self.sides(self.table.cumulative[list(self.groups)])
        return noise_of(winsorised(before), winsorised(after))

    @cached_property
    def tested(self) -> Tested:
        """The test of each of `rows`, and last of the total."""
        return self.test(np.vstack([self.table.cumulative[self.rows], self.table.totals[None, :]]))

    def test(self, costs: Floats) -> Tested:
        """The test of other rows (rows x runs of the table), with the noise of this comparison."""
        before, after = self.sides(costs)
        return growth_test(winsorised(before), winsorised(after), self.noise)

    def cost_of_stacks(self, chosen: NDArray[np.bool_]) -> tuple[float, float]:
        """The mean cost of a run in some stacks, of each side."""
        before, after = self.means(self.table.cost_of(chosen))
        return float(before[0]), float(after[0])

    def stacks_with(self, function: int) -> NDArray[np.bool_]:
        """Which stacks a function is in."""
        return self.stacks_with_any([function])

    def stacks_with_any(self, functions: Sequence[int]) -> NDArray[np.bool_]:
        """Which stacks one or more of some functions are in."""
        columns: Any = self.table.presence[:, list(functions)].sum(axis=1)
        is_in: NDArray[np.bool_] = np.asarray(columns).ravel() > 0
        return is_in

    def _joint(self, functions: Ints) -> Floats:
        """What stacks cost that both of two functions are in: functions x functions."""
        table, count = self.table, len(functions)
        rows = np.full(len(table.functions), LEFT_OUT)
        rows[functions] = np.arange(count)
        columns = as_frames(table.frames), as_ends(table.starts[1:])
        joint = joint_weights(*columns, self._weights.astype("<f8").tobytes(), as_frames(rows), count)
        return np.frombuffer(joint, "<f8").reshape(count, count)

    @cached_property
    def _weights(self) -> Floats:
        """What each stack cost in all runs of both sides."""
        runs = np.concatenate((self.before, self.after))
        weights: Floats = np.asarray(self.table.values[:, runs].sum(axis=1)).ravel()
        return weights
