"""Programs that the gate is tried on: runs made by chance, and changes that are made to recorded ones.

A run is a mapping from stacks, root first, to counts of samples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from otelprof.gate.profile_file import RunProfile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.random import Generator

Stack = tuple[str, ...]
Stacks = dict[Stack, int]

PERIOD: Final = 10_000_000
"""Nanoseconds of CPU time that a sample stands for."""


def run_profile(stacks: Mapping[Stack, int]) -> RunProfile:
    """A run as the gate reads it."""
    names = tuple(dict.fromkeys(name for stack in stacks for name in stack))
    place = {name: at for at, name in enumerate(names)}
    total = sum(stacks.values())
    return RunProfile(
        type="cpu",
        sample_type=("cpu", "nanoseconds"),
        unit="nanoseconds",
        names=names,
        frames=np.array([place[name] for stack in stacks for name in stack], dtype=np.uint32),
        ends=np.cumsum([len(stack) for stack in stacks]),
        values=np.array(list(stacks.values()), dtype=float) * PERIOD,
        samples=float(total),
        period=PERIOD,
        duration_seconds=0.0,
        started=0.0,
    )


def stacks_of(profile: RunProfile) -> Stacks:
    """The stacks of a recorded run, as counts of samples."""
    stacks: Stacks = {}
    for piece, value in zip(np.split(profile.frames, profile.ends[:-1]), profile.values, strict=True):
        stack = tuple(profile.names[frame] for frame in piece)
        stacks[stack] = stacks.get(stack, 0) + round(value / profile.period)
    return stacks


def folded(stacks: Mapping[Stack, int]) -> str:
    """A run as a file of folded stacks."""
    return "".join(f"{';'.join(stack)} {count}\n" for stack, count in stacks.items() if count)


class Program:
    """A program of functions that call each other, whose runs scatter by more than sampling does.

    Args:
        random: chance.
        functions: how many there are below the root.
        noise: coefficient of variation of each function's cost from run to run.
        odd_share: of runs in which one function costs twice as much, as when a compiler inlines differently.
    """

    def __init__(
        self, random: Generator, functions: int = 60, noise: float = 0.06, odd_share: float = 0.05
    ) -> None:
        self._random = random
        self._noise = noise
        self._odd_share = odd_share
        self.names = [f"app.f{number:02}" for number in range(functions)]
        parents = [-1, *(int(random.integers(max(0, at - 12), at)) for at in range(1, functions))]
        self.stacks: list[Stack] = []
        for at, name in enumerate(self.names):
            above = ("main",) if parents[at] < 0 else self.stacks[parents[at]]
            self.stacks.append((*above, name))
        weights = random.gamma(0.7, size=functions)
        self.weights = weights / weights.sum()

    def shares(self) -> dict[str, float]:
        """What each function costs with all that it calls, of the whole."""
        costs = dict(zip(self.stacks, self.weights.tolist(), strict=True))
        return {name: sum(cost for stack, cost in costs.items() if name in stack) for name in self.names}

    def own_shares(self) -> dict[str, float]:
        """What each function costs itself, of the whole."""
        return dict(zip(self.names, self.weights.tolist(), strict=True))

    def below(self, function: str) -> list[str]:
        """A function, and all that it calls."""
        return [stack[-1] for stack in self.stacks if function in stack]

    def run(
        self,
        samples: int,
        slower: Mapping[str, float] | None = None,
        dearer: Mapping[str, float] | None = None,
    ) -> Stacks:
        """One run.

        Args:
            samples: of the program as it is, in the mean.
            slower: functions that cost so many times as much, with all that they call.
            dearer: functions that cost so many times as much themselves.
        """
        factors = np.exp(self._random.normal(0, self._noise, len(self.names)))
        if self._random.random() < self._odd_share:
            factors[self._random.integers(len(factors))] *= 2
        for name, times in (slower or {}).items():
            factors *= [times if name in stack else 1.0 for stack in self.stacks]
        for name, times in (dearer or {}).items():
            factors[self.names.index(name)] *= times
        counts = self._random.poisson(self.weights * factors * samples)
        return {stack: int(count) for stack, count in zip(self.stacks, counts, strict=True) if count}


def inlined(stacks: Mapping[Stack, int], function: str) -> Stacks:
    """A function is compiled into its callers."""
    return _changed(stacks, lambda stack: tuple(name for name in stack if name != function) or stack)


def renamed(stacks: Mapping[Stack, int], function: str, name: str) -> Stacks:
    """A function has another name."""
    return _changed(stacks, lambda stack: tuple(name if one == function else one for one in stack))


def extracted(
    stacks: Mapping[Stack, int], function: str, name: str, part: float, random: Generator
) -> Stacks:
    """A part of what a function does itself, and half of what it calls, moves to a new function below it."""
    changed: Stacks = {}
    for stack, count in stacks.items():
        if function not in stack:
            changed[stack] = changed.get(stack, 0) + count
            continue
        at = len(stack) - 1 - stack[::-1].index(function)
        below = stack[at + 1 :]
        moved = count if below and sum(map(ord, below[0])) % 2 else 0
        moved = moved if below else int(random.binomial(count, part))
        new = (*stack[: at + 1], name, *below)
        changed[new] = changed.get(new, 0) + moved
        changed[stack] = changed.get(stack, 0) + count - moved
    return {stack: count for stack, count in changed.items() if count}


def slower(stacks: Mapping[Stack, int], function: str, growth: float, random: Generator) -> Stacks:
    """A function costs more, with all that it calls."""
    return {
        stack: count + (int(random.poisson(growth * count)) if function in stack else 0)
        for stack, count in stacks.items()
    }


def _changed(stacks: Mapping[Stack, int], change: Callable[[Stack], Stack]) -> Stacks:
    changed: Stacks = {}
    for stack, count in stacks.items():
        new = change(stack)
        changed[new] = changed.get(new, 0) + count
    return changed


def functions_of(runs: Sequence[Mapping[Stack, int]], at_least: float) -> list[str]:
    """Functions of at least a share of all runs, without the roots."""
    total = sum(sum(run.values()) for run in runs)
    costs: dict[str, int] = {}
    for run in runs:
        for stack, count in run.items():
            for name in set(stack[1:]):
                costs[name] = costs.get(name, 0) + count
    return sorted(name for name, cost in costs.items() if cost >= at_least * total)
