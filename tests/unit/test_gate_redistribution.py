"""The gate: whether functions grew, or what a program does was divided anew."""

from __future__ import annotations

import numpy as np
import pytest

from otelprof.gate.comparison import Comparison
from otelprof.gate.config import GateConfig, Limits
from otelprof.gate.costs import cost_table
from otelprof.gate.displacement import Displacement
from otelprof.gate.judgement import Judge, Judgement
from otelprof.gate.names import NameRules
from otelprof.gate.redistribution import Whole, whole
from otelprof.gate.statistics import Noise, holm
from tests.gate_programs import Stacks, run_profile

CONFIG = GateConfig(types=("cpu",))
LIMITS = Limits(0.3, 0.01, 0.1)
BEFORE = (100, 900)
"""Samples of what grows, and of everything else."""


def compared(after: tuple[int, int], runs: int) -> Comparison:
    """Runs of a program of two functions that all cost the same on each side."""
    sides: list[Stacks] = [
        {("main", "grows"): grows, ("main", "other"): rest} for grows, rest in (BEFORE, after)
    ]
    table = cost_table([run_profile(side) for side in sides for _ in range(runs)], NameRules())
    places = np.arange(2 * runs)
    return Comparison(table, places[:runs], places[runs:], np.ones(2 * runs), 0.01, 0.01)


def judged(after: tuple[int, int], runs: int, **settings: bool) -> Judgement:
    """What is said of them."""
    displacement = Displacement(compared(after, runs))
    p = holm(displacement.comparison.tested.p)
    return Judge(displacement, p, CONFIG.model_copy(update=settings), LIMITS).judge()


@pytest.mark.parametrize(
    ("after", "runs", "expected"),
    [
        ((190, 900), 3, Whole.DID_NOT_FALL),
        ((190, 870), 3, Whole.DID_NOT_FALL),
        ((190, 800), 3, Whole.MAY_HAVE_FALLEN),
        ((190, 800), 30, Whole.DID_NOT_FALL),
        ((190, 740), 3, Whole.MAY_HAVE_FALLEN),
        ((190, 740), 30, Whole.FELL),
        ((120, 880), 3, Whole.DID_NOT_FALL),
        ((90, 910), 3, Whole.DID_NOT_FALL),
    ],
)
def test_what_the_whole_did(after: tuple[int, int], runs: int, expected: Whole) -> None:
    """Few runs leave open whether the whole fell when it did not grow with a function; many do not."""
    comparison = compared(after, runs)
    place = comparison.table.place("grows")

    assert place is not None
    assert expected == whole(comparison, [place])


@pytest.mark.parametrize(
    ("after", "runs", "settings", "where"),
    [
        ((190, 900), 3, {}, "findings"),
        ((190, 800), 3, {}, "suspects"),
        ((190, 800), 3, {"fail_on_masked": True}, "findings"),
        ((190, 740), 30, {}, "redistributed"),
        ((205, 700), 30, {}, "suspects"),
        ((300, 500), 30, {}, "findings"),
    ],
)
def test_where_a_growth_goes(
    after: tuple[int, int], runs: int, settings: dict[str, bool], where: str
) -> None:
    """Ten points fail a function although the whole fell, where it is certain that they are ten."""
    judgement = judged(after, runs, **settings)

    assert {where: ["grows"]} == {
        kind: [one.function for one in found]
        for kind in ("findings", "suspects", "redistributed")
        if (found := getattr(judgement, kind))
    }


def test_likelihood() -> None:
    """What the means show is likeliest, and what is as far from it on both sides is as likely."""
    noise = Noise(0.05**2, 5, 5)

    assert 1.0 == pytest.approx(noise.likelihood(1000, 1100, 0.1), abs=1e-4)
    assert noise.likelihood(1000, 1000, 0.25) == pytest.approx(noise.likelihood(1000, 1000, -0.2))
    assert noise.likelihood(1000, 1000, 0.2) < noise.likelihood(1000, 1000, 0.1)
    assert noise.likelihood(1000, 1000, 0.2) > noise.of_runs(20, 20).likelihood(1000, 1000, 0.2)


def test_bounds_of_a_growth() -> None:
    """The lower bound is the upper one of the opposite, and both close in on the growth."""
    noise = Noise(0.05**2, 5, 5)
    low, high = noise.lower_growth(1000, 1300, 0.95), noise.upper_growth(1000, 1300, 0.95)

    assert low < 0.3 < high
    assert (1 + low) * (1 + high) == pytest.approx(1.3**2, rel=1e-3)
    assert noise.of_runs(100, 100).lower_growth(1000, 1300, 0.95) > low
