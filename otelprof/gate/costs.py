"""What every function cost in every run: stacks of all runs as one sparse table.

Functions that are too small to matter are taken out of the stacks, and what they cost stays with their
nearest caller that is left. So the tables are small, and stacks that differ in small things are the same.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy import sparse

from otelprof._core import distinct_frames, merge_stacks

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from otelprof.gate.names import NameRules
    from otelprof.gate.profile_file import RunProfile

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Places = NDArray[np.uint32] | NDArray[np.int64]
    Sparse = Any  # scipy ships no types

MIN_SHARE: Final = 0.002
"""Of all costs of a run: a function that is below in every run is part of its callers."""
REST: Final = "(everything else)"
LEFT_OUT: Final = 2**32 - 1
"""The place of a function that the core leaves out."""
_THREADS: Final = 4
_KINDS: Final = ("<u4", "<u8", "<u4")
"""Of the core's columns: frames, ends, and which stack another one is."""


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

    def cost_of(self, chosen: NDArray[np.bool_]) -> Floats:
        """What some stacks cost in each run, as a row."""
        costs: Floats = np.asarray(self.values[chosen].sum(axis=0)).reshape(1, -1)
        return costs

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

    frames: Places
    ends: Ints
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
    # Most of it is done in the core, without the GIL.
    with ThreadPoolExecutor(_THREADS, "otelprof-gate-costs") as pool:
        cumulative = np.column_stack(list(pool.map(partial(_cumulative, count=len(names)), runs)))
    totals = np.array([run.values.sum() for run in runs])
    # One run is enough: a function that only one version has is not lost among the runs of the other.
    large = (cumulative / np.maximum(totals, 1e-300)).max(axis=1) >= min_share
    kept = frozenset(keep)
    if kept:
        large |= np.array([name in kept for name in names])
    return _table(names, large, cumulative, runs)


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
    place = np.fromiter(map(places.__getitem__, profile.names), dtype=np.uint32, count=len(profile.names))
    folded = np.array(places.folded, dtype=bool)[place]
    if not folded.any():
        return _Stacks(place[profile.frames], profile.ends, profile.values / each)
    starts = np.concatenate(([0], profile.ends[:-1]))
    lengths = profile.ends - starts
    at = np.arange(len(profile.frames))
    cut = np.where(folded[profile.frames], at, len(at)) if len(at) else at
    first = np.minimum.reduceat(cut, starts) if len(starts) else starts
    # A stack of nothing else keeps its root.
    left = np.maximum(np.minimum(first - starts, lengths), 1)
    is_left = at < np.repeat(starts + left, lengths)
    return _Stacks(place[profile.frames[is_left]], np.cumsum(left), profile.values / each)


def _cumulative(run: _Stacks, count: int) -> Floats:
    cumulative: Floats = presence_of(run.frames, run.ends, count).T @ run.values
    return cumulative


def _table(
    names: Sequence[str], large: NDArray[np.bool_], cumulative: Floats, runs: Sequence[_Stacks]
) -> CostTable:
    """The stacks of all runs, without functions that are too small, each stack once."""
    functions = [name for name, is_large in zip(names, large, strict=True) if is_large]
    rest = len(functions)
    place = np.full(len(large), LEFT_OUT, dtype=np.uint32)
    place[large] = np.arange(rest)
    columns = [(as_frames(run.frames), as_ends(run.ends)) for run in runs]
    # A stack without any large function is one of the rest.
    merged = merge_stacks(columns, as_frames(place), rest + 1, rest)
    frames, ends, which = (np.frombuffer(one, kind) for one, kind in zip(merged, _KINDS, strict=True))
    values = np.concatenate([run.values for run in runs])
    of_run = np.repeat(np.arange(len(runs)), [len(run.ends) for run in runs])
    table = sparse.csr_matrix((values, (which, of_run)), shape=(len(ends), len(runs)))
    starts = np.concatenate(([0], ends.astype(np.int64)))
    of_rest = np.asarray(table[frames[starts[:-1]] == rest].sum(axis=0))
    return CostTable(
        functions=(*functions, REST),
        frames=frames.astype(np.int64),
        starts=starts,
        values=table,
        presence=presence_of(frames, starts[1:], rest + 1),
        # What a function costs with all below it is the same when others are taken out of the stacks.
        cumulative=np.vstack([cumulative[large], of_rest.reshape(1, -1)]),
        totals=np.asarray(table.sum(axis=0)).ravel(),
    )


def presence_of(frames: Places, ends: Ints, count: int) -> Sparse:
    """Stacks x functions, sparse: 1 where the function is in the stack.

    Args:
        frames: of all stacks: places of functions.
        ends: where in `frames` each stack ends.
        count: how many functions there are.
    """
    columns = distinct_frames(as_frames(frames), as_ends(ends), count)
    places, starts = np.frombuffer(columns[0], _KINDS[0]), np.frombuffer(columns[1], _KINDS[1])
    return sparse.csr_matrix(
        (np.ones(len(places)), places.astype(np.int32), np.concatenate(([0], starts.astype(np.int64)))),
        shape=(len(starts), count),
    )


def as_frames(places: Places) -> bytes:
    """Places of functions as the core has them."""
    return places.astype(_KINDS[0], copy=False).tobytes()


def as_ends(ends: Ints) -> bytes:
    """Ends of stacks as the core has them."""
    return ends.astype(_KINDS[1], copy=False).tobytes()
