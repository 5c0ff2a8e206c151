"""The dead letters of a running otelprof: bounded, counted, and given back when somebody asks."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING, Final

from otelprof.errors import PermanentError
from otelprof.log.dead_letters import FOLDER_NAME, DeadLetter, DeadLetters
from otelprof.telemetry.log_metrics import (
    DEAD_LETTERS,
    DEAD_LETTERS_REMOVED,
    DEAD_LETTERS_SIZE,
    DEAD_LETTERS_WRITTEN,
)
from otelprof.telemetry.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import structlog

    from otelprof.clock import Clock
    from otelprof.config.dead_letter import DeadLetterConfig
    from otelprof.log.cursor import Item
    from otelprof.log.dead_letters import Kept
    from otelprof.log.stored import Crashes
    from otelprof.model import ComponentId
    from otelprof.telemetry.metrics import Metrics

_CRASHED: Final = "otelprof ended in the middle of an attempt, without a shutdown"


class DeadLetterQueue:
    """The folder beside the log's file. Safe for several threads.

    Args:
        directory: of the log.
        config: how much is kept.
        clock: how old a letter is.
        metrics: where letters are counted.
        logger: for what becomes of them.
        fsync: have the disk confirm each letter.
    """

    def __init__(  # noqa: PLR0913 - as wide as what it stands between
        self,
        directory: Path,
        config: DeadLetterConfig,
        clock: Clock,
        metrics: Metrics,
        logger: structlog.stdlib.BoundLogger,
        *,
        fsync: bool,
    ) -> None:
        self._letters = DeadLetters(directory / FOLDER_NAME, fsync=fsync)
        self._config = config
        self._clock = clock
        self._metrics = metrics
        self._logger = logger
        self._lock = Lock()
        # What is in the folder, by name, the oldest first; what others take away is noticed by `refresh`.
        self._kept: dict[str, Kept] = {}
        self._size_bytes = 0

    def start(self) -> None:
        """See what is there."""
        self._letters.remove_leftovers()
        self.refresh()
        self._metrics.observe(DEAD_LETTERS, lambda: len(self._kept))
        self._metrics.observe(DEAD_LETTERS_SIZE, lambda: self._size_bytes)

    def add_refused(self, exporter: ComponentId, item: Item, error: Exception) -> None:
        """Keep what an exporter has refused for good.

        Raises:
            OSError: it cannot be written.
        """
        now = self._clock.now()
        tried_since = item.first_attempt_at
        tried_for_secs = 0.0 if tried_since is None else self._clock.monotonic() - tried_since
        letter = DeadLetter(
            exporter=str(exporter),
            reason="permanent_error",
            error_type=type(error).__name__,
            message=printable(str(error)),
            first_attempt=_moment(now - tried_for_secs),
            last_attempt=_moment(now),
            attempts=item.attempts + 1,
            samples=item.profiles.sample_count,
        )
        self._add(letter, item.profiles.to_otlp())

    def add_crashed(self, exporter: str, body: bytes, samples: int, crashes: Crashes) -> None:
        """Keep a request, in OTLP, in the middle of which the process has ended too often.

        Raises:
            OSError: it cannot be written.
        """
        letter = DeadLetter(
            exporter=exporter,
            reason="crashed",
            message=_CRASHED,
            first_attempt=_moment(crashes.first_at),
            last_attempt=_moment(crashes.last_at),
            attempts=crashes.count,
            samples=samples,
        )
        self._add(letter, body)

    def refresh(self) -> None:
        """See what others have taken away, and remove what is too old."""
        with self._lock:
            self._kept = {one.id: one for one in self._letters.all()}
            self._size_bytes = sum(one.size_bytes for one in self._kept.values())
            oldest = self._clock.now() - self._config.max_age
            while self._config.max_age and self._kept and self._oldest().kept_at < oldest:
                self._remove_oldest("max_age")

    def to_retry(self) -> Sequence[tuple[Kept, DeadLetter]]:
        """What is to be tried again, as of the last `refresh`."""
        with self._lock:
            asked = [one for one in self._kept.values() if one.to_retry]
        found = []
        for kept in asked:
            try:
                found.append((kept, self._letters.read(kept)))
            except PermanentError as error:
                self._logger.warning("a dead letter cannot be tried again", id=kept.id, error=str(error))
                with suppress(PermanentError):
                    self._letters.give_back(kept)
        return found

    def take(self, kept: Kept) -> bytes:
        """The request of a letter that is to be tried again.

        From here on nobody asks for it any more: a request that ends the process does so once.

        Raises:
            PermanentError: it is gone, or cannot be read.
        """
        path = self._letters.body_path(self._letters.give_back(kept))
        try:
            return path.read_bytes()
        except OSError as error:
            message = f"{path} cannot be read: {error.strerror}"
            raise PermanentError(message) from error

    def ask_again(self, kept: Kept) -> None:
        """A letter that was taken cannot be tried now: have it tried later.

        Raises:
            PermanentError: it is gone, or the folder cannot be written.
        """
        self._letters.retry(replace(kept, to_retry=False))

    def remove(self, kept: Kept) -> None:
        """It is in the log again."""
        with self._lock:
            try:
                self._letters.remove(kept)
            except PermanentError as error:
                self._logger.warning("a dead letter stays, and is also tried again", error=str(error))
            if self._kept.pop(kept.id, None) is not None:
                self._size_bytes -= kept.size_bytes

    def _add(self, letter: DeadLetter, body: bytes) -> None:
        if not self._config.max_size:
            return
        with self._lock:
            kept = self._letters.add(letter, body, self._clock.now())
            self._kept[kept.id] = kept
            self._size_bytes += kept.size_bytes
            self._metrics.add(DEAD_LETTERS_WRITTEN, exporter=letter.exporter, reason=letter.reason)
            while self._size_bytes > self._config.max_size:
                self._remove_oldest("max_size")

    def _oldest(self) -> Kept:
        return next(iter(self._kept.values()))

    def _remove_oldest(self, reason: str) -> None:
        """Remove one, counted unless somebody else has. The lock is held."""
        oldest = self._oldest()
        del self._kept[oldest.id]
        self._size_bytes -= oldest.size_bytes
        try:
            if self._letters.remove(oldest):
                self._metrics.add(DEAD_LETTERS_REMOVED, reason=reason)
        except PermanentError as error:
            self._logger.warning("a dead letter is over the bound, and stays", error=str(error))


def _moment(secs: float) -> datetime:
    return datetime.fromtimestamp(secs, UTC)
