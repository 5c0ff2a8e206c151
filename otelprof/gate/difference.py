"""What two sides cost, function by function, made comparable: no test, no verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from otelprof._core import svg_diff
from otelprof.errors import PermanentError
from otelprof.gate.comparable import amounts_of_work, check_units, hardware_warnings, profile_warnings
from otelprof.gate.comparison import Comparison
from otelprof.gate.costs import cost_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from otelprof.gate.names import NameRules
    from otelprof.gate.profile_file import RunProfile
    from otelprof.gate.runs import Run, Work

    Floats = NDArray[np.float64]

_DRAWN: Final = 10**7
"""The width of a flame graph, in what its values are given in."""


@dataclass(frozen=True)
class Changed:
    """A function on both sides, in the unit of the difference.

    Attributes:
        function: its name.
        own_before: what it cost itself.
        own_after: the same of the other side.
        before: what it cost with all that it calls.
        after: the same of the other side.
    """

    function: str
    own_before: float
    own_after: float
    before: float
    after: float


@dataclass(frozen=True, eq=False)
class Difference:
    """Two sides of one type of profile.

    Attributes:
        type: as `cpu`.
        unit: of costs, as `nanoseconds`.
        per: what they are per: a unit of work, `second`, or `run`.
        totals: of each side.
        functions: largest change first.
        comparison: the same as tables.
        warnings: what a reader should know.
    """

    type: str
    unit: str
    per: str
    totals: tuple[float, float]
    functions: tuple[Changed, ...]
    comparison: Comparison
    warnings: tuple[str, ...]

    def svg(self) -> str:
        """The differential flame graph: as wide as the second side, red where it grew."""
        return svg_of(self.comparison, f"{self.type}, {self.unit} per {self.per}")


def difference(
    before: Sequence[Run], after: Sequence[Run], of_type: str | None, work: Work, rules: NameRules
) -> Difference:
    """Compare two sides; the mean of each when it has several runs.

    Costs are per unit of work where runs say what they did, otherwise per second where profiles say how long
    they took, otherwise per run. Periods of sampling need nothing: costs are not samples.

    Raises:
        PermanentError: the sides cannot be compared; says why.
    """
    of_type = _type(before, after, of_type)
    sides = [[run for run in side if of_type in run.profiles] for side in (before, after)]
    runs = [*sides[0], *sides[1]]
    profiles = [run.profiles[of_type] for run in runs]
    check_units(profiles)
    split = len(sides[0])
    warnings = [
        *hardware_warnings(*sides),
        *(one for one in profile_warnings(profiles[:split], profiles[split:]) if "advised" not in one),
    ]
    done, per = _done(runs, profiles, work)
    if per != work.key:
        warnings.append(f"no run says what it did ({work.key}): costs are per {per}; give --work")
    table = cost_table(profiles, rules, min_share=0.0)
    total = sum(one.total for one in profiles)
    each = total / max(float(table.totals.sum()), 1e-300)
    places = np.arange(len(runs))
    comparison = Comparison(table, places[:split], places[split:], each / np.array(done), 0.0, 0.5)
    return Difference(
        of_type,
        profiles[0].unit,
        per,
        (_mean(comparison, table.totals[None, :])[0][0], _mean(comparison, table.totals[None, :])[1][0]),
        _functions(comparison),
        comparison,
        tuple(dict.fromkeys(warnings)),
    )


def svg_of(comparison: Comparison, title: str) -> str:
    """The differential flame graph of a comparison.

    Raises:
        PermanentError: the second side has no cost.
    """
    table = comparison.table
    scaled = [
        (table.values[:, runs] @ comparison.scale[runs]) / len(runs)
        for runs in (comparison.before, comparison.after)
    ]
    factor = _DRAWN / max(float(scaled[1].sum()), 1e-300)
    pieces = np.split(table.frames, table.starts[1:-1])
    stacks = [";".join(table.functions[frame] for frame in piece) for piece in pieces]
    drawn = [
        [
            (stack, round(float(value)))
            for stack, value in zip(stacks, side * factor, strict=True)
            if value >= 1
        ]
        for side in scaled
    ]
    growth = float(scaled[1].sum()) / max(float(scaled[0].sum()), 1e-300) - 1
    try:
        return svg_diff(
            drawn[0],
            drawn[1],
            title=f"{title}: what changed",
            subtitle=f"{growth:+.1%} in all; red grew, blue shrank",
            unit="parts of 10 M",
            inverted=True,
        )
    except ValueError as error:
        raise PermanentError(str(error)) from error


def _type(before: Sequence[Run], after: Sequence[Run], of_type: str | None) -> str:
    """The type that is compared: cpu, or the first that both sides have.

    Raises:
        PermanentError: a side does not have it; says what there is.
    """
    found = [list(dict.fromkeys(name for run in side for name in run.profiles)) for side in (before, after)]
    both = [name for name in found[0] if name in found[1]]
    wanted = of_type or ("cpu" if "cpu" in both or not both else both[0])
    if wanted not in both:
        message = (
            f"{wanted} profiles are not on both sides: there are {', '.join(found[0])} before, and"
            f" {', '.join(found[1])} after"
        )
        raise PermanentError(message)
    return wanted


def _done(runs: Sequence[Run], profiles: Sequence[RunProfile], work: Work) -> tuple[list[float], str]:
    amounts = amounts_of_work(runs, work)
    if amounts is not None:
        return amounts, work.key
    durations = [one.duration_seconds for one in profiles]
    return (durations, "second") if min(durations) > 0 else ([1.0] * len(runs), "run")


def _mean(comparison: Comparison, costs: Floats) -> tuple[Floats, Floats]:
    before, after = (one.mean(axis=1) for one in comparison.sides(costs))
    return before, after


def _functions(comparison: Comparison) -> tuple[Changed, ...]:
    table = comparison.table
    own, total = _mean(comparison, table.own), _mean(comparison, table.cumulative)
    columns = [one.tolist() for one in (*own, *total)]
    changed = [
        Changed(name, *values)
        for name, *values in zip(table.functions, *columns, strict=True)
        if max(values[2], values[3]) > 0
    ]
    changed.sort(key=lambda one: (-abs(one.after - one.before), one.function))
    return tuple(changed)
