"""Time and chance that a test holds in its hand."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import threading

__all__ = ("EPOCH_SECS", "SimulatedClock")

EPOCH_SECS: Final = 1_767_225_600.0  # 2026-01-01T00:00:00Z


class SimulatedClock:
    """A `Clock` that moves only when it is told to, or when somebody waits on it. For a single thread.

    Args:
        seed: of `random`; the same seed gives the same numbers.
        start_secs: the first answer of `now`.
    """

    def __init__(self, seed: int = 0, start_secs: float = EPOCH_SECS) -> None:
        self._start_secs = start_secs
        self._elapsed_secs = 0.0
        self._random = random.Random(seed)  # noqa: S311 - repeatable, not secret

    def advance(self, secs: float) -> None:
        """Let time pass.

        Raises:
            ValueError: time would go back.
        """
        if secs < 0:
            message = f"time does not go back: {secs} s"
            raise ValueError(message)
        self._elapsed_secs += secs

    def now(self) -> float:
        """Seconds since the UNIX epoch."""
        return self._start_secs + self._elapsed_secs

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self._elapsed_secs

    def random(self) -> float:
        """The next number of the seed, in [0, 1)."""
        return self._random.random()

    def wait(self, condition: threading.Condition, timeout_secs: float | None) -> bool:
        """Let the time pass that was asked for; nobody can notify in the meantime.

        Raises:
            RuntimeError: the wait would never end.
        """
        if timeout_secs is None:
            message = f"nothing in this thread can notify {condition}"
            raise RuntimeError(message)
        self.advance(timeout_secs)
        return False
