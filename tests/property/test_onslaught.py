"""Hostile input is read or refused, quickly; `benchmarks/hostile.py` says so of millions."""

from __future__ import annotations

from random import Random

import pytest

from tests.reference.mutate import Mutator, fields
from tests.reference.onslaught import Onslaught, corpus

INPUTS = 10_000


@pytest.mark.parametrize("block", range(2))
def test_hostile_input(block: int) -> None:
    """Nothing panics, hangs, or comes back as something else than it was written."""
    result = Onslaught(seed=0).block(block, INPUTS)
    assert [] == result.found
    assert corpus().keys() == result.inputs.keys()
    # What is changed is not all broken: it reaches the verbs.
    assert result.read["otlp"] > result.inputs["otlp"] / 10
    assert result.read["json"] > 0
    assert result.read["pprof"] > 0
    assert result.read["traces"] > result.inputs["traces"] / 10


def test_fields_are_taken_apart() -> None:
    """Every field of a nested message is found, with the lengths that it stands behind."""
    inner = b"\x08\x96\x01"  # field 1, 150
    body = b"\x12\x03" + inner + b"\x18\x07"
    assert [(0, 2, 5, 1), (2, 3, 5, 1), (5, 6, 7, 0)] == [
        (one.tag, one.value, one.end, len(one.lengths)) for one in fields(body)
    ]


def test_lengths_stay_true() -> None:
    """Most mutated bodies are still whole: the change is where it was made, not in the lengths around it."""
    mutator = Mutator(corpus()["otlp"], Random(1))  # noqa: S311 - repeatable, not secret
    whole = sum(bool(fields(mutator.mutated())) for _ in range(1_000))
    assert whole > 500
