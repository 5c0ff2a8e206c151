"""What is acknowledged is delivered or counted, whatever happens: simulated runs of the service."""

from __future__ import annotations

from unittest.mock import patch

import pytest

from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.service import COMMAND, simulate

SEEDS = 300
MUTANT_SEEDS = 300


def test_everything_acknowledged_is_delivered_or_counted() -> None:
    """No seed breaks the promise; one that does is named with the command that runs it again."""
    failed = {COMMAND.format(seed=seed): simulate(seed).violations for seed in range(SEEDS)}
    assert {} == {command: violations for command, violations in failed.items() if violations}


def test_a_seed_runs_always_the_same_way() -> None:
    """Whoever runs a seed again sees what was seen."""
    first, second = simulate(11), simulate(11)
    assert first.ledger == second.ledger
    assert first.ledger.requests > 0


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_a_bug_is_found(mutant: Mutant) -> None:
    """A service with a bug breaks the promise in one of the seeds."""
    owner, method, instead = mutant
    with patch.object(owner, method, instead):
        runs = (simulate(seed).violations for seed in range(MUTANT_SEEDS))
        assert any(not one.startswith("Traceback") for violations in runs for one in violations)
