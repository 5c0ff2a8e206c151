"""How much one sender may send a second."""

from __future__ import annotations

import pytest

from otelprof.errors import OverloadedError
from otelprof.extension.rate_limit import RateLimit
from otelprof.testing.clock import SimulatedClock


def wait_secs(limit: RateLimit) -> float:
    """What a request is told that finds the bucket empty."""
    with pytest.raises(OverloadedError) as caught:
        limit.charge(1)
    assert caught.value.retry_after_secs is not None
    return caught.value.retry_after_secs


def test_a_second_may_come_at_once() -> None:
    """What comes in a second may come at once; then nothing may, until the bucket has filled."""
    clock = SimulatedClock()
    limit = RateLimit(100, clock)
    limit.charge(60)
    limit.charge(40)
    assert 0.1 == wait_secs(limit)
    clock.advance(0.5)
    limit.charge(30)
    limit.charge(30)
    assert 0.1 == wait_secs(limit)


def test_a_large_request_is_waited_for() -> None:
    """A request larger than the bucket is taken, and paid for afterwards."""
    clock = SimulatedClock()
    limit = RateLimit(100, clock)
    limit.charge(1000)
    assert 9.0 == wait_secs(limit)
    clock.advance(8.9)
    assert 0.1 == pytest.approx(wait_secs(limit))
    clock.advance(0.2)
    limit.charge(5)


def test_the_bucket_does_not_overflow() -> None:
    """Who was silent for an hour may send no more at once than who was for a second."""
    clock = SimulatedClock()
    limit = RateLimit(100, clock)
    clock.advance(3600)
    limit.charge(100)
    wait_secs(limit)
