"""Costs that moved and did not grow: functions that were renamed, extracted or inlined.

Who takes code out of a function makes a new one that costs something, and the old one cheaper by as much. A
gate that looks at single functions fails on that; this says how much of a growth is taken from elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from otelprof.gate.comparison import Comparison
    from otelprof.gate.costs import CostTable

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

GONE: Final = 0.1
"""A function with less of its cost on one side is new there, or has vanished."""
_MIN_SAMPLES: Final = 10.0
_FRAMES_ABOVE: Final = 3
_CALLER_SHARE: Final = 0.3
_SAME_CALLERS: Final = 0.5
_BELOW: Final = 0.5
_ROOT: Final = -1


@dataclass(frozen=True)
class Moved:
    """What of a function's growth came from elsewhere, per run.

    Attributes:
        amount: in samples; 0 or more.
        callers: places of callers that became cheaper themselves.
        from_others: of `amount`, what functions cost that vanished beside it.
    """

    amount: float
    callers: tuple[int, ...]
    from_others: float


@dataclass(frozen=True, eq=False)
class _Spare:
    """What a function that vanished cost, beyond what the one costs that it became."""

    ancestors: Mapping[int, float]
    amount: float


class Displacement:
    """What moved between two sides.

    Args:
        comparison: as it came.

    Attributes:
        renamed: places of functions of the candidate, each with that of the baseline's which it was.
        comparison: the same as it came, with what was renamed under its new name.
    """

    def __init__(self, comparison: Comparison) -> None:
        new, vanished = _changed(comparison)
        unstable = np.zeros(len(comparison.table.functions), dtype=bool)
        unstable[[*new, *vanished]] = True
        above = {one: _ancestors(comparison, one, unstable, after=True) for one in new}
        above |= {one: _ancestors(comparison, one, unstable, after=False) for one in vanished}
        self.renamed = _pairs(comparison, new, vanished, above)
        self._new = frozenset(new)
        self._above = above
        self._spare = _spare(comparison, vanished, self.renamed, above, unstable)
        self.comparison = _under_new_names(comparison, self.renamed) if self.renamed else comparison
        self._own = self.comparison.table.own

    def is_new(self, function: int) -> bool:
        """Whether only the candidate has a function."""
        return function in self._new

    def is_beside(self, other: int, function: int) -> bool:
        """Whether most of what another function costs now is not below this one."""
        comparison = self.comparison
        stacks = comparison.stacks_with(other)
        _, below = comparison.cost_of_stacks(stacks & comparison.stacks_with(function))
        return below < _BELOW * comparison.cost_of_stacks(stacks)[1]

    def of(self, function: int, grown: Sequence[int] = ()) -> Moved:
        """What of a function's growth came from elsewhere.

        Args:
            function: its place.
            grown: functions of which it is known that they grew: beside it they hide what its callers lost.
        """
        callers = self._callers(function)
        from_others = self._from_others(function)
        if not len(callers):
            return Moved(from_others, (), from_others)
        if function in self._new:
            # What was taken out of a caller may call others, which then are below it as well.
            those = [function, *(one for one in grown if self.is_beside(one, function))]
            falls = [self._fall(self._without(int(one), those)) for one in callers]
            best = int(np.argmax(falls))
            chosen, from_callers = callers[[best]], max(falls[best], 0.0)
        else:
            chosen, from_callers = callers, max(self._fall(self._own[callers].sum(axis=0)), 0.0)
        fell = tuple(int(one) for one in chosen) if from_callers > 0 else ()
        return Moved(from_callers + from_others, fell, from_others)

    def stacks_with(self, function: int, moved: Moved) -> NDArray[np.bool_]:
        """The stacks that a function is in, and those of its callers that its growth may be taken from."""
        comparison = self.comparison
        stacks = comparison.stacks_with(function)
        if function in self._new:
            return stacks | comparison.stacks_with(moved.callers[0])
        return stacks | np.isin(comparison.table.leaves, moved.callers)

    def _fall(self, costs: Floats) -> float:
        before, after = self.comparison.means(costs[None, :])
        return float(before[0] - after[0])

    def _without(self, caller: int, functions: Sequence[int]) -> Floats:
        """What a caller cost in each run, without the stacks that functions are in."""
        stacks = self.comparison.stacks_with(caller) & ~self.comparison.stacks_with_any(functions)
        costs: Floats = self.comparison.table.cost_of(stacks)[0]
        return costs

    def _from_others(self, function: int) -> float:
        """What functions cost that vanished beside a new one."""
        if function not in self._new:
            return 0.0
        above = self._above[function]
        return sum(one.amount for one in self._spare if _overlap(one.ancestors, above) >= _SAME_CALLERS)

    def _callers(self, function: int) -> Ints:
        """Functions near above that carry enough of a function's samples."""
        table = self.comparison.table
        first, stacks = _first(table, function)
        weights = _weights(self.comparison, after=True)[stacks]
        carried: dict[int, float] = {}
        seen = np.full((len(first), _FRAMES_ABOVE), _ROOT)
        for up in range(1, _FRAMES_ABOVE + 1):
            at = first - up
            is_there = at >= table.starts[stacks]
            caller = np.where(is_there, table.frames[np.maximum(at, 0)], _ROOT)
            # Recursion: the same caller twice carries a stack once.
            caller[(seen == caller[:, None]).any(axis=1)] = _ROOT
            seen[:, up - 1] = caller
            for one in np.unique(caller[caller >= 0]):
                carried[int(one)] = carried.get(int(one), 0.0) + float(weights[caller == one].sum())
        enough = _CALLER_SHARE * weights.sum()
        found = [one for one, weight in carried.items() if weight >= enough and one != function]
        return np.array(sorted(found), dtype=np.int64)


def _changed(comparison: Comparison) -> tuple[list[int], list[int]]:
    """Functions that are new, and those that have vanished; large enough on their side to say so."""
    before, after = comparison.means(comparison.table.cumulative)
    shares = np.maximum(*comparison.shares)
    shares[-1] = 0.0
    large = shares >= comparison.min_share / 2
    enough_after = after * len(comparison.after) >= _MIN_SAMPLES
    enough_before = before * len(comparison.before) >= _MIN_SAMPLES
    new = np.flatnonzero(large & enough_after & (before < GONE * after))
    vanished = np.flatnonzero(large & enough_before & (after <= GONE * before))
    return [int(one) for one in new], [int(one) for one in vanished]


def _weights(comparison: Comparison, *, after: bool) -> Floats:
    """What each stack cost on one side."""
    runs = comparison.after if after else comparison.before
    weights: Floats = comparison.table.values[:, runs] @ comparison.scale[runs]
    return weights


def _first(table: CostTable, function: int) -> tuple[Ints, Ints]:
    """Where a function stands first in each stack that it is in, and which stacks those are."""
    at = np.flatnonzero(table.frames == function)
    stacks, first = np.unique(np.searchsorted(table.starts, at, side="right") - 1, return_index=True)
    return at[first], stacks


def _ancestors(
    comparison: Comparison, function: int, unstable: NDArray[np.bool_], *, after: bool
) -> dict[int, float]:
    """The nearest callers that both sides have, each with the part of the function's samples below it."""
    table = comparison.table
    at, stacks = _first(table, function)
    weights = _weights(comparison, after=after)[stacks]
    starts = table.starts[stacks]
    at = at - 1
    going = (at >= starts) & unstable[table.frames[np.maximum(at, 0)]]
    while going.any():
        at = np.where(going, at - 1, at)
        going = (at >= starts) & unstable[table.frames[np.maximum(at, 0)]]
    nearest = np.where(at >= starts, table.frames[np.maximum(at, 0)], _ROOT)
    total = max(float(weights.sum()), 1e-300)
    return {int(one): float(weights[nearest == one].sum()) / total for one in np.unique(nearest)}


def _overlap(one: Mapping[int, float], other: Mapping[int, float]) -> float:
    return sum(min(part, other.get(place, 0.0)) for place, part in one.items())


def _pairs(
    comparison: Comparison, new: list[int], vanished: list[int], above: Mapping[int, Mapping[int, float]]
) -> dict[int, int]:
    """Each new function with the one that it was: under the same callers, and nearest in cost."""
    before, after = comparison.means(comparison.table.cumulative)
    depths = comparison.depths
    left = set(vanished)
    pairs: dict[int, int] = {}
    for one in sorted(new, key=lambda place: -after[place]):
        beside = [other for other in left if _overlap(above[other], above[one]) >= _SAME_CALLERS]
        if beside:
            # Of a chain that was renamed as a whole all cost the same: depth tells them apart.
            pairs[one] = min(
                beside,
                key=lambda other: (
                    round(abs(float(np.log(before[other] / after[one]))), 1),
                    abs(depths[other] - depths[one]),
                    other,
                ),
            )
            left.discard(pairs[one])
    return pairs


def _spare(
    comparison: Comparison,
    vanished: list[int],
    renamed: Mapping[int, int],
    above: Mapping[int, Mapping[int, float]],
    unstable: NDArray[np.bool_],
) -> list[_Spare]:
    """What is left of functions that vanished; of those that call each other, of the topmost."""
    table = comparison.table
    before, after = comparison.means(table.cumulative)
    became = {old: new for new, old in renamed.items()}
    spare = []
    for one in vanished:
        amount = before[one] - (after[became[one]] if one in became else after[one])
        at, stacks = _first(table, one)
        below_unstable = (at - 1 >= table.starts[stacks]) & unstable[table.frames[np.maximum(at - 1, 0)]]
        weights = _weights(comparison, after=False)[stacks]
        is_topmost = weights[below_unstable].sum() <= weights.sum() / 2
        if amount > 0 and is_topmost:
            spare.append(_Spare(above[one], float(amount)))
    return spare


def _under_new_names(comparison: Comparison, renamed: Mapping[int, int]) -> Comparison:
    """The comparison with functions of the baseline under the names that they have now."""
    table = comparison.table
    place = np.arange(len(table.functions))
    for new, old in renamed.items():
        place[old] = new
    frames = place[table.frames]
    presence = sparse.csr_matrix((np.ones(len(frames)), frames, table.starts), shape=table.presence.shape)
    presence.sum_duplicates()
    presence.data[:] = 1.0
    changed = replace(
        table, frames=frames, presence=presence, cumulative=(presence.T @ table.values).toarray()
    )
    return replace(comparison, table=changed)
