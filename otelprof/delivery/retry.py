"""When to try again: the collector's exponential backoff, as pure functions.

Source: `configretry.BackOffConfig` and `exporterhelper/internal/retry_sender.go` of the collector.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from otelprof.config.exporter import RetryConfig


def backoff_secs(config: RetryConfig, failures: int, randomness: float) -> float:
    """How long to wait after a failure.

    Args:
        config: the bounds.
        failures: how many there were, at least 1.
        randomness: in [0, 1), from `Clock.random`.
    """
    mean = config.initial_interval
    for _ in range(failures - 1):
        if mean >= config.max_interval:
            break
        mean *= config.multiplier
    mean = min(mean, config.max_interval)
    return mean * (1 + config.randomization_factor * (2 * randomness - 1))


@dataclass(frozen=True)
class Failure:
    """A retryable failure of one request.

    Attributes:
        failures: how many there were, this one included.
        first_attempt_at: when the request was first tried.
        now: the present; both on the monotonic clock, in seconds.
        retry_after_secs: what the far side asked for.
    """

    failures: int
    first_attempt_at: float
    now: float
    retry_after_secs: float | None = None


def next_attempt_at(config: RetryConfig, failure: Failure, randomness: float) -> float | None:
    """When to try again, on the monotonic clock; None when the request is to be given up.

    What the far side asked for is a lower bound.
    """
    if not config.enabled:
        return None
    wait_secs = max(backoff_secs(config, failure.failures, randomness), failure.retry_after_secs or 0.0)
    attempt_at = failure.now + wait_secs
    give_up_at = failure.first_attempt_at + config.max_elapsed_time
    if config.max_elapsed_time > 0 and attempt_at > give_up_at:
        return None
    return attempt_at
