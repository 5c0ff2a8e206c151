"""Whose growth it is: of all functions that grew with one that did, only that one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from otelprof.gate.comparison import Comparison

    Stacks = NDArray[np.bool_]
    Sparse = Any  # scipy ships no types

_OWN_PART: Final = 0.5
_CARRIES: Final = 0.7
_CALLED_ELSEWHERE: Final = 0.5
_BELOW: Final = 0.9
_SEVERAL: Final = 2
_REST_SHARE: Final = 0.15
_AS_FAST: Final = 0.5
_REST_GREW: Final = 0.05


def attribute(comparison: Comparison, grown: Sequence[int]) -> dict[int, int]:
    """The functions that growth belongs to, each with the one of `grown` that it was found by.

    From the leaves up: a caller of functions that grew is left out when little of its growth is not theirs.
    When the rest of it grew as they did, or there is no rest and none of them carries most of it, then it
    does more of everything, and stands for them.

    Args:
        comparison: of both sides.
        grown: functions that grew too much, by place.
    """
    kept: dict[int, Stacks] = {}
    for function in sorted(grown, key=lambda place: (-comparison.depths[place], place)):
        stacks = comparison.stacks_with(function)
        without = stacks & ~_any(kept.values(), stacks)
        before, after = comparison.cost_of_stacks(stacks)
        rest_before, rest_after = comparison.cost_of_stacks(without)
        below = [its for its in kept.values() if _is_below(comparison, its, stacks)]
        is_shared = rest_before < _REST_SHARE * before and _is_shared(comparison, stacks, below)
        if is_shared or _grew_as_a_whole(comparison, stacks, stacks & ~without):
            kept = {one: its for one, its in kept.items() if not _is_below(comparison, its, stacks)}
            kept[function] = stacks
        elif rest_after - rest_before >= _OWN_PART * (after - before):
            kept[function] = stacks
    found: dict[int, int] = {}
    for function in kept:
        found.setdefault(_walk_down(comparison, function), function)
    return found


def rest_of_total(comparison: Comparison, grown: Sequence[int]) -> float:
    """The part of the total's growth that is in no stack of these functions."""
    before, after = comparison.cost_of_stacks(~comparison.stacks_with_any(grown))
    growth = comparison.totals[1] - comparison.totals[0]
    return (after - before) / growth if growth > 0 else 0.0


def _any(masks: Iterable[Stacks], like: Stacks) -> Stacks:
    union = np.zeros_like(like)
    for mask in masks:
        union |= mask
    return union


def _is_below(comparison: Comparison, stacks: Stacks, above: Stacks) -> bool:
    """Whether nearly all that some stacks cost is in others."""
    whole, shared = (sum(comparison.cost_of_stacks(one)) for one in (stacks, stacks & above))
    return shared >= _BELOW * whole


def _is_shared(comparison: Comparison, stacks: Stacks, parts: Sequence[Stacks]) -> bool:
    """Whether no part carries most of the growth of all stacks, or the others grew as the largest did."""
    if len(parts) < _SEVERAL:
        return False
    (before, after), *of_parts = (comparison.cost_of_stacks(one) for one in (stacks, *parts))
    growths = [one[1] - one[0] for one in of_parts]
    largest = parts[int(np.argmax(growths))]
    is_carried = max(growths) >= _CARRIES * (after - before)
    return not is_carried or _grew_as_a_whole(comparison, stacks, stacks & largest)


def _grew_as_a_whole(comparison: Comparison, stacks: Stacks, part: Stacks) -> bool:
    """Whether the rest of some stacks grew as a part of them did.

    Args:
        comparison: of both sides.
        stacks: all of them.
        part: some of them.
    """
    (before, after), (part_before, part_after) = (comparison.cost_of_stacks(one) for one in (stacks, part))
    rest_before, rest_after = before - part_before, after - part_after
    if part_before <= 0 or rest_before < _REST_SHARE * before:
        return False
    if rest_after / rest_before - 1 < _AS_FAST * (part_after / part_before - 1):
        return False
    return bool(comparison.test(comparison.table.cost_of(stacks & ~part)).p[0] <= _REST_GREW)


def _walk_down(comparison: Comparison, function: int) -> int:
    """The callee below all that carry most of a growth; the function itself if none does."""
    stacks = comparison.stacks_with(function)
    before, after = comparison.cost_of_stacks(stacks)
    wanted = _CARRIES * (after - before)
    at, seen = function, {function}
    while True:
        presence = _below(comparison, at, stacks)
        mean_before, mean_after = comparison.means((presence @ comparison.table.values).toarray())
        growth = mean_after - mean_before
        growth[[*seen, -1]] = 0.0  # not again, and not everything else
        best = int(np.argmax(growth))
        is_to_blame = (
            growth[best] >= wanted
            and not _is_called_more(comparison, best, mean_before[best], mean_after[best])
            and not _grew_as_a_whole(comparison, stacks, presence[[best]].toarray().ravel() > 0)
        )
        if not is_to_blame:
            return at
        at = best
        seen.add(best)


def _below(comparison: Comparison, function: int, stacks: Stacks) -> Sparse:
    """Functions x stacks, sparse: 1 where a function stands below another, of some stacks."""
    table = comparison.table
    place = np.arange(len(table.frames))
    of_stack = np.repeat(np.arange(len(stacks)), np.diff(table.starts))
    first = np.full(len(stacks), len(place))
    is_at = (table.frames == function) & stacks[of_stack]
    np.minimum.at(first, of_stack[is_at], place[is_at])
    below = place > first[of_stack]
    presence = sparse.csr_matrix(
        (np.ones(int(below.sum())), (table.frames[below], of_stack[below])),
        shape=(len(table.functions), len(stacks)),
    )
    presence.data[:] = 1.0
    return presence


def _is_called_more(comparison: Comparison, callee: int, before: float, after: float) -> bool:
    """Whether a callee grew below this caller alone, not where others call it: the caller is to blame.

    Args:
        comparison: of both sides.
        callee: by place.
        before: what it costs below the caller.
        after: the same of the candidate.
    """
    costs = comparison.means(comparison.table.cumulative[callee][None, :])
    elsewhere, elsewhere_after = float(costs[0][0]) - before, float(costs[1][0]) - after
    if elsewhere < _CALLED_ELSEWHERE * before or elsewhere <= 0 or before <= 0:
        return False
    return elsewhere_after / elsewhere - 1 < (after / before - 1) / 2
