"""Calls that wait for their message are looked after, at next to no cost for the many that do not."""

from __future__ import annotations

import time
from typing import Any
from unittest.mock import Mock

from otelprof.clock import SystemClock
from otelprof.receiver.slow_calls import SlowCalls

CALLS = 50


class CountingClock(SystemClock):
    """Counts how often somebody asks what time it is: each call does once, and so does each look."""

    def __init__(self) -> None:
        self.asked = 0

    def monotonic(self) -> float:
        """As the machine's."""
        self.asked += 1
        return super().monotonic()


def test_call_after_call_wakes_the_thread_that_looks_once() -> None:
    """It stays awake while calls come, and looks no more often than it would anyway."""
    clock = CountingClock()
    calls = SlowCalls(60.0, 1 << 20, clock, "otelprof-slow-calls")
    anything: Any = Mock()
    calls.start()
    try:
        for _ in range(CALLS):
            with calls.bounded(anything, anything):
                pass
            time.sleep(0.001)
    finally:
        calls.close()

    assert clock.asked - CALLS in range(1, 10)
