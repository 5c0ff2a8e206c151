"""One log line where a failing far side would write thousands."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Final

from otelprof.telemetry.logging import is_debugging

if TYPE_CHECKING:
    from collections.abc import Hashable

    from otelprof.clock import Clock

PERIOD_SECS: Final = 10.0


class Throttle:
    """Lets one event of a kind through in a period, and counts the others. Safe to use from any thread.

    While logs are written at debug level it lets all of them through.

    Args:
        clock: what the period is measured with.
        period_secs: at least this long between two events of a kind.
    """

    def __init__(self, clock: Clock, period_secs: float = PERIOD_SECS) -> None:
        self._clock = clock
        self._period_secs = period_secs
        self._lock = Lock()
        self._seen: dict[Hashable, tuple[float, int]] = {}

    def passed(self, kind: Hashable) -> int | None:
        """How many events of a kind were held back since the last that passed; None when this one is, too.

        Kinds are kept for good: take them from a short list, as the types of errors.
        """
        now = self._clock.monotonic()
        with self._lock:
            last, held_back = self._seen.get(kind, (None, 0))
            if last is not None and now - last < self._period_secs and not is_debugging():
                self._seen[kind] = (last, held_back + 1)
                return None
            self._seen[kind] = (now, 0)
            return held_back
