"""Tends the log on disk while the service runs, in a thread of its own."""

from __future__ import annotations

from threading import Condition, Thread
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import structlog

    from otelprof.clock import Clock
    from otelprof.log.durable import DurableLog
    from otelprof.model import ComponentId

INTERVAL_SECS: Final = 5.0
"""How often it is looked for what is too old, and for what is to be tried again."""


class Upkeep:
    """Has what is due done, once in an interval.

    Args:
        log: what is tended; it is started before, and shut down after.
        storage: the id of the extension that keeps it.
        clock: time.
        logger: for what fails.
    """

    def __init__(
        self, log: DurableLog, storage: ComponentId, clock: Clock, logger: structlog.stdlib.BoundLogger
    ) -> None:
        self._log = log
        self._storage = storage
        self._clock = clock
        self._logger = logger
        self._changed = Condition()
        self._is_stopped = False
        self._thread: Thread | None = None

    def start(self) -> None:
        """Begin, with what is due now."""
        self._thread = Thread(target=self._work, name=f"otelprof-{self._storage}", daemon=True)
        self._thread.start()

    def shutdown(self) -> None:
        """Stop after what is done now. Safe before `start`, and more than once."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _work(self) -> None:
        while not self._is_stopped:
            try:
                self._log.tend()
            except Exception:
                self._logger.exception("the log on disk cannot be tended")
            with self._changed:
                if not self._is_stopped:
                    self._clock.wait(self._changed, INTERVAL_SECS)
