"""Decisions of a tail sampler, simulated: what it keeps is kept whole, and no total is ever wrong."""

from __future__ import annotations

import pytest

from tests.simulation.tail_sampler import Simulation, World

MIB = 1 << 20
SEEDS = (1, 2, 3)


@pytest.mark.parametrize("seed", SEEDS)
def test_kept_traces_are_kept_whole(seed: int) -> None:
    """With profiles up to 8 s before and after, kept traces stay whole, and the rest is demoted exactly."""
    simulation = Simulation(World(seed, trace_count=2_000))
    outcome = simulation.run()

    assert outcome.wanted == outcome.linked
    assert outcome.total_in == outcome.total_out
    assert outcome.requests == sum(outcome.released.values())
    assert {"waited", "decided", "shutdown"} >= outcome.released.keys()
    assert 0 == simulation.log.memory_bytes


@pytest.mark.parametrize("seed", SEEDS)
def test_short_memory_lets_the_oldest_go(seed: int) -> None:
    """With too little memory to wait in, it stays within its bound; links are lost, values never."""
    simulation = Simulation(World(seed, trace_count=10_000, duration_secs=10), decision_max_bytes=MIB)
    outcome = simulation.run()

    assert outcome.released["decision_max_bytes"] > 0
    assert outcome.max_waiting_bytes <= MIB
    assert outcome.kept_whole < 1
    assert not outcome.linked - outcome.wanted
    assert outcome.total_in == outcome.total_out


def test_a_small_queue_is_not_overrun() -> None:
    """What waits takes no more than half of the smallest queue: the other half is for what goes on."""
    simulation = Simulation(World(4, trace_count=10_000, duration_secs=10), queue_size=2 * MIB)
    outcome = simulation.run()

    assert outcome.released["queue_size"] > 0
    assert outcome.max_waiting_bytes <= MIB
    assert outcome.total_in == outcome.total_out


def test_forgotten_traces_are_unknown() -> None:
    """With too little memory for traces they stay within their bound, and the newest are the ones known."""
    simulation = Simulation(
        World(5, trace_count=20_000, kept_share=1.0, duration_secs=5, samples_per_trace=1),
        trace_max_bytes=MIB,
    )
    outcome = simulation.run()

    assert outcome.max_trace_bytes <= MIB
    assert 0.5 < outcome.kept_whole < 1
    assert outcome.total_in == outcome.total_out


@pytest.mark.parametrize("seed", SEEDS)
def test_shutdown_lets_everything_go(seed: int) -> None:
    """At shutdown what waits is decided by what is known, and nothing is left behind."""
    simulation = Simulation(World(seed, trace_count=2_000))
    outcome = simulation.run(until_secs=20)

    assert outcome.released["shutdown"] > 0
    assert not outcome.linked - outcome.wanted
    assert outcome.total_in == outcome.total_out
    assert 0 == simulation.log.memory_bytes
