"""The only doors to time and chance, so that a simulation can stand behind them."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import threading


class Clock(Protocol):
    """Time and chance as the pipeline sees them."""

    def now(self) -> float:
        """Seconds since the UNIX epoch."""

    def monotonic(self) -> float:
        """Seconds that never go back; only differences mean something."""

    def random(self) -> float:
        """A number in [0, 1)."""

    def wait(self, condition: threading.Condition, timeout_secs: float | None) -> bool:
        """Wait on a held condition until it is notified (True) or the time is over (False)."""


class SystemClock:
    """The machine's own time and chance."""

    def now(self) -> float:
        """Seconds since the UNIX epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    def random(self) -> float:
        """A number in [0, 1)."""
        return random.random()  # noqa: S311 - jitter, not a secret

    def wait(self, condition: threading.Condition, timeout_secs: float | None) -> bool:
        """Wait on a held condition until it is notified (True) or the time is over (False)."""
        return condition.wait(timeout_secs)
