"""What every function cost in every run: stacks of all runs as one sparse table.

Functions that are too small to matter are taken out of the stacks, and what they cost stays with their
nearest caller that is left. So the tables are small, and stacks that differ in small things are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from otelprof.gate.names import NameRules
    from otelprof.gate.profile_file import RunProfile

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Sparse = Any  # scipy ships no types

MIN_SHARE: Final = 0.002
"""Of all costs of a run: a function that is below in every run is part of its callers."""
REST: Final = "(everything else)"


@dataclass(frozen=True, eq=False)
class CostTable:
    """Costs of functions and stacks by run.

    Attributes:
        functions: those that are large enough, by name.
        frames: of all stacks, each root first: places in `functions`.
        starts: where in `frames` each stack begins; one more than there are stacks.
        values: stacks x runs, sparse: what each cost, in samples.
        presence: stacks x functions, sparse: 1 where the function is in the stack.
        cumulative: functions x runs: what stacks cost that the function is in; recursion counts once.
        totals: of each run.
    """

    functions: tuple[str, ...]
    frames: Ints
    starts: Ints
    values: Sparse
    presence: Sparse
    cumulative: Floats
    totals: Floats

    @property
    def leaves(self) -> Ints:
        """The last frame of each stack."""
        last: Ints = self.frames[self.starts[1:] - 1]
        return last

    @property
    def own(self) -> Floats:
        """Functions x runs: what stacks cost that end in the function."""
        count = len(self.starts) - 1
        ends = sparse.csr_matrix(
            (np.ones(count), (self.leaves, np.arange(count))), shape=(len(self.functions), count)
        )
        own: Floats = (ends @ self.values).toarray()
        return own

    def place(self, function: str) -> int | None:
        """Where a function stands; None when it is not there."""
        return self.functions.index(function) if function in self.functions else None

    def of_runs(self, runs: Ints) -> CostTable:
        """The same of some runs; one may be there more than once."""
        return CostTable(
            self.functions,
            self.frames,
            self.starts,
            self.values[:, runs],
            self.presence,
            self.cumulative[:, runs],
            self.totals[runs],
        )


@dataclass(frozen=True, eq=False)
class _Stacks:
    """Stacks of one run, in places of functions that all runs share."""

    frames: Ints
    lengths: Ints
    values: Floats


def cost_table(
    profiles: Sequence[RunProfile],
    rules: NameRules,
    *,
    min_share: float = MIN_SHARE,
    keep: Collection[str] = (),
) -> CostTable:
    """The costs of runs, in samples of a size that is the same for all of them.

    Args:
        profiles: of one type, and with values in one unit.
        rules: for names.
        min_share: a function whose share is below in every run is part of its callers.
        keep: functions that are large enough whatever they cost.
    """
    total = sum(one.total for one in profiles)
    each = total / max(sum(one.samples for one in profiles), 1.0) or 1.0
    places = _Places(rules)
    runs = [_stacks(one, places, each) for one in profiles]
    names = places.names
    cumulative = np.column_stack([_cumulative(run, len(names)) for run in runs])
    totals = np.array([run.values.sum() for run in runs])
    # One run is enough: a function that only one version has is not lost among the runs of the other.
    large = (cumulative / np.maximum(totals, 1e-300)).max(axis=1) >= min_share
    kept = frozenset(keep)
    if kept:
        large |= np.array([name in kept for name in names])
    return _table([name for name, is_large in zip(names, large, strict=True) if is_large], large, runs)


class _Places(dict[str, int]):
    """Places of functions by the names that profiles have; a name is looked at once."""

    def __init__(self, rules: NameRules) -> None:
        super().__init__()
        self.names: list[str] = []
        self.folded: list[bool] = []
        self._rules = rules
        self._by_name: dict[str, int] = {}

    def __missing__(self, raw: str) -> int:
        name = self._rules.name(raw)
        place = self._by_name.setdefault(name, len(self.names))
        if place == len(self.names):
            self.names.append(name)
            self.folded.append(self._rules.is_folded(name))
        self[raw] = place
        return place


def _stacks(profile: RunProfile, places: _Places, each: float) -> _Stacks:
    """The stacks of a run, with names as they are compared, and cut where frames are folded."""
    place = np.fromiter(map(places.__getitem__, profile.names), dtype=np.int64, count=len(profile.names))
    folded = np.array(places.folded, dtype=bool)[place]
    starts = np.concatenate(([0], profile.ends[:-1]))
    lengths = profile.ends - starts
    at = np.arange(len(profile.frames))
    cut = np.where(folded[profile.frames], at, len(at)) if len(at) else at
    first = np.minimum.reduceat(cut, starts) if len(starts) else starts
    # A stack of nothing else keeps its root.
    left = np.maximum(np.minimum(first - starts, lengths), 1)
    is_left = at < np.repeat(starts + left, lengths)
    return _Stacks(place[profile.frames[is_left]], left, profile.values / each)


def _presence(frames: Ints, lengths: Ints, count: int) -> Sparse:
    starts = np.concatenate(([0], np.cumsum(lengths)))
    # Counting sort, not a comparison: a function that is in a stack twice is there once.
    presence = sparse.csr_matrix((np.ones(len(frames)), frames, starts), shape=(len(lengths), count))
    presence.sum_duplicates()
    presence.data[:] = 1.0
    return presence


def _cumulative(run: _Stacks, count: int) -> Floats:
    cumulative: Floats = _presence(run.frames, run.lengths, count).T @ run.values
    return cumulative


def _table(functions: list[str], large: NDArray[np.bool_], runs: Sequence[_Stacks]) -> CostTable:
    """The stacks of all runs, without functions that are too small, each stack once."""
    rest = len(functions)
    place = np.full(len(large), -1, dtype=np.int64)
    place[large] = np.arange(rest)
    frames, lengths = [], []
    for run in runs:
        mapped = place[run.frames]
        of_stack = np.repeat(np.arange(len(run.lengths)), run.lengths)
        left = np.bincount(of_stack[mapped >= 0], minlength=len(run.lengths))
        # A stack without any large function is one of the rest: its first frame stays as that.
        first = np.concatenate(([0], np.cumsum(run.lengths)[:-1]))
        mapped[first[left == 0]] = rest
        frames.append(mapped[mapped >= 0])
        lengths.append(np.maximum(left, 1))
    all_frames, all_lengths = np.concatenate(frames), np.concatenate(lengths)
    values = np.concatenate([run.values for run in runs])
    of_run = np.repeat(np.arange(len(runs)), [len(run.lengths) for run in runs])
    starts = np.concatenate(([0], np.cumsum(all_lengths)))
    _, chosen, same = np.unique(
        _digests(all_frames, starts, rest + 1), return_index=True, return_inverse=True
    )
    table = sparse.csr_matrix((values, (same, of_run)), shape=(len(chosen), len(runs)))
    pieces = np.repeat(starts[chosen], all_lengths[chosen])
    new_starts = np.concatenate(([0], np.cumsum(all_lengths[chosen])))
    within = np.arange(new_starts[-1]) - np.repeat(new_starts[:-1], all_lengths[chosen])
    of_unique = all_frames[pieces + within]
    presence = _presence(of_unique, all_lengths[chosen], rest + 1)
    return CostTable(
        functions=(*functions, REST),
        frames=of_unique,
        starts=new_starts,
        values=table,
        presence=presence,
        cumulative=(presence.T @ table).toarray(),
        totals=np.asarray(table.sum(axis=0)).ravel(),
    )


def _digests(frames: Ints, starts: Ints, count: int) -> NDArray[np.uint64]:
    """A number for each stack that is the same for the same frames in the same order, and for no others.

    A polynomial over 2^64 with a random number for each function: two of a million stacks meet with a
    probability of 3e-8.
    """
    random = np.random.default_rng(20260101)
    of_function = random.integers(0, 2**64, size=count, dtype=np.uint64)
    lengths = np.diff(starts)
    of_depth = random.integers(0, 2**64, size=int(lengths.max(initial=1)), dtype=np.uint64) | np.uint64(1)
    depth = np.arange(len(frames)) - np.repeat(starts[:-1], lengths)
    terms = of_function[frames] * of_depth[depth]
    digests: NDArray[np.uint64] = np.add.reduceat(terms, starts[:-1])
    return digests
