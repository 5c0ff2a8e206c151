"""Files that are read again when they change: certificates and tokens."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from otelprof.clock import Clock

    _State = tuple[tuple[int, int, int, int] | None, ...]


class FileWatch:
    """Says when one of some files is another than before. Safe to use from any thread.

    Looking is cheap and asked for where the files matter, so there is no thread that waits for a change.

    Args:
        paths: of the files; links are followed.
        interval_secs: how long a look at them is enough.
        clock: what that is measured with.
    """

    def __init__(self, paths: Iterable[Path], interval_secs: float, clock: Clock) -> None:
        self._paths = tuple(paths)
        self._interval_secs = interval_secs
        self._clock = clock
        self._lock = Lock()
        self._state = self._look()
        self._look_at = clock.monotonic() + interval_secs

    def has_changed(self) -> bool:
        """Whether a file changed since this said so before, or since the beginning: told to one caller."""
        if not self._paths or self._clock.monotonic() < self._look_at:
            return False
        with self._lock:
            now = self._clock.monotonic()
            if now < self._look_at:
                return False
            self._look_at = now + self._interval_secs
            before, self._state = self._state, self._look()
            return self._state != before

    def _look(self) -> _State:
        return tuple(_state_of(path) for path in self._paths)


def _state_of(path: Path) -> tuple[int, int, int, int] | None:
    """What changes when a file is written, replaced or allowed to be read; None when it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
