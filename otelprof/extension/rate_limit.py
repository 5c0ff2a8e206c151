"""How much one sender may send a second."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Final

from otelprof.errors import OverloadedError

if TYPE_CHECKING:
    from otelprof.clock import Clock

_MIN_RETRY_SECS: Final = 0.1


class RateLimit:
    """A bucket that fills with time, and holds what may come in a second. Safe to use from any thread.

    A request is taken while there is anything in the bucket, and may leave it with a debt: so one that is
    larger than the bucket is taken as well, and waited for afterwards.

    Args:
        bytes_per_second: more than 0.
        clock: what fills it.
    """

    def __init__(self, bytes_per_second: int, clock: Clock) -> None:
        self._bytes_per_second = bytes_per_second
        self._clock = clock
        self._lock = Lock()
        self._left_bytes = float(bytes_per_second)
        self._filled_at = clock.monotonic()

    def charge(self, size_bytes: int) -> None:
        """Take a request out of the bucket.

        Raises:
            OverloadedError: it is empty; says when it is not.
        """
        rate = self._bytes_per_second
        with self._lock:
            now = self._clock.monotonic()
            filled = self._left_bytes + (now - self._filled_at) * rate
            self._left_bytes, self._filled_at = min(float(rate), filled), now
            if self._left_bytes > 0:
                self._left_bytes -= size_bytes
                return
            wait_secs = max(_MIN_RETRY_SECS, -self._left_bytes / rate)
        message = f"more came with this token than {rate} bytes a second (bytes_per_second)"
        raise OverloadedError(message, retry_after_secs=wait_secs)
