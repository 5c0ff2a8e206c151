"""The collector's exponential backoff."""

from __future__ import annotations

import pytest

from otelprof.config.exporter import RetryConfig
from otelprof.delivery.retry import Failure, backoff_secs, next_attempt_at

DEFAULTS = RetryConfig()


def test_intervals_grow_to_the_maximum() -> None:
    """5 s, times 1.5 with each failure, up to 30 s: the collector's defaults."""
    waits = [backoff_secs(DEFAULTS, failures, 0.5) for failures in range(1, 8)]
    assert [5.0, 7.5, 11.25, 16.875, 25.3125, 30.0, 30.0] == waits


@pytest.mark.parametrize(("randomness", "expected"), [(0.0, 2.5), (0.5, 5.0), (0.999, 7.495)])
def test_jitter_is_within_the_factor(randomness: float, expected: float) -> None:
    """A wait is spread by the randomization factor on both sides."""
    assert expected == pytest.approx(backoff_secs(DEFAULTS, 1, randomness))


def test_without_jitter_the_interval_is_exact() -> None:
    """A factor of 0 leaves nothing to chance."""
    config = RetryConfig(randomization_factor=0.0)
    assert 5.0 == backoff_secs(config, 1, 0.9)


def test_many_failures_do_not_overflow() -> None:
    """The millionth failure waits as long as the tenth."""
    config = RetryConfig(multiplier=1000.0)
    assert 30.0 == backoff_secs(config, 1_000_000, 0.5)


def test_the_first_interval_is_not_over_the_maximum() -> None:
    """max_interval bounds the initial interval, too."""
    config = RetryConfig(initial_interval=60.0, max_interval=10.0)
    assert 10.0 == backoff_secs(config, 1, 0.5)


def test_retry_after_is_a_lower_bound() -> None:
    """The server's wish is obeyed when it is longer, and does not shorten the backoff."""
    longer = next_attempt_at(DEFAULTS, Failure(1, 100.0, 100.0, retry_after_secs=20.0), 0.5)
    shorter = next_attempt_at(DEFAULTS, Failure(1, 100.0, 100.0, retry_after_secs=0.1), 0.5)
    assert (120.0, 105.0) == (longer, shorter)


def test_it_is_given_up_when_the_next_attempt_is_too_late() -> None:
    """The last attempt is within max_elapsed_time of the first."""
    within = next_attempt_at(DEFAULTS, Failure(1, 0.0, 295.0), 0.5)
    after = next_attempt_at(DEFAULTS, Failure(1, 0.0, 295.1), 0.5)
    assert (300.0, None) == (within, after)


def test_zero_max_elapsed_time_never_gives_up() -> None:
    """0 retries for ever."""
    config = RetryConfig(max_elapsed_time=0.0)
    assert 1_000_005.0 == next_attempt_at(config, Failure(1, 0.0, 1_000_000.0), 0.5)


def test_disabled_gives_up_at_once() -> None:
    """Without retry the first failure is the last."""
    config = RetryConfig(enabled=False)
    assert next_attempt_at(config, Failure(1, 0.0, 0.0, retry_after_secs=1.0), 0.5) is None
