"""Files that are read again when they change: certificates and tokens."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Generic, TypeVar

from otelprof.errors import ConfigError
from otelprof.telemetry.admission_metrics import FILE_RELOADS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from otelprof.clock import Clock
    from otelprof.component import ComponentSettings

    _State = tuple[tuple[int, int, int, int] | None, ...]

T = TypeVar("T")


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


class WatchedContent(Generic[T]):
    """What some files hold, read again when they change; when it cannot be used, what was before stays.

    Args:
        what: they hold, for the log.
        watch: over the files.
        read: reads them; raises ConfigError when they cannot be used.
        component: whose files they are.

    Raises:
        ConfigError: they cannot be used.
    """

    def __init__(
        self, what: str, watch: FileWatch, read: Callable[[], T], component: ComponentSettings
    ) -> None:
        self._what = what
        self._watch = watch
        self._read = read
        self._component = component
        self._lock = Lock()
        self._current = read()

    def current(self) -> T:
        """What to use now."""
        if self._watch.has_changed():
            with self._lock:
                self._read_again()
        return self._current

    def _read_again(self) -> None:
        id_, logger = str(self._component.id), self._component.logger
        try:
            self._current = self._read()
        except ConfigError as error:
            self._component.metrics.add(FILE_RELOADS, component=id_, outcome="failed")
            logger.error("files cannot be used, those from before stay", what=self._what, error=str(error))  # noqa: TRY400 - whose traceback says nothing
        else:
            self._component.metrics.add(FILE_RELOADS, component=id_, outcome="reloaded")
            logger.info("files were read again", what=self._what)


def _state_of(path: Path) -> tuple[int, int, int, int] | None:
    """What changes when a file is written, replaced or allowed to be read; None when it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
