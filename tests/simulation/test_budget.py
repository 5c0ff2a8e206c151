"""A day of load against a budget, with a restart in between, on a simulated clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.simulation.budget_day import SECS_PER_DAY, Day, World

if TYPE_CHECKING:
    from pathlib import Path

WORLD = World(
    seed=1,
    steps=(1, 10, 1, 1, 10, 1),
    services=("checkout",),
    interval_secs=120,
    budget_share=0.3,
    variants=10,
)


def test_a_day(tmp_path: Path) -> None:
    """The day comes to its budget, error traces stay, probabilities are calm, a restart forgets nothing."""
    outcome = Day(WORLD, tmp_path / "budget.json", restart_after_secs=SECS_PER_DAY / 2).run()
    minutes = outcome.minutes["checkout"]
    offered_bytes = sum(minute.offered_bytes for minute in minutes)
    errors = sum(minute.errors for minute in minutes)

    assert offered_bytes > 2 * outcome.budget_bytes
    assert sum(minute.bytes_ for minute in minutes) == pytest.approx(outcome.budget_bytes, rel=0.1)
    assert errors > 0
    assert sum(minute.errors_kept for minute in minutes) >= 0.95 * errors
    assert outcome.direction_changes["checkout"] < 10 * 24
    assert outcome.before_restart == outcome.after_restart
    assert outcome.before_restart["checkout"] > 0


def test_without_a_file() -> None:
    """Without a file a restart in the middle of the day costs no more than the day's budget, either."""
    outcome = Day(WORLD, restart_after_secs=SECS_PER_DAY / 2).run()
    minutes = outcome.minutes["checkout"]

    assert {"checkout": 0} == outcome.after_restart
    assert sum(minute.bytes_ for minute in minutes) <= 1.1 * outcome.budget_bytes
