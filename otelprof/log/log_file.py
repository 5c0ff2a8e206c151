"""Opens the file of the durable log, in whatever state the last run has left it."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from otelprof.log.journal import FILE_NAME, Journal
from otelprof.log.segments import segment_files
from otelprof.log.steps import Step
from otelprof.telemetry.log_metrics import LOG_FILES_MOVED_ASIDE

if TYPE_CHECKING:
    from collections.abc import Mapping

    import structlog

    from otelprof.clock import Clock
    from otelprof.log.marks import Left
    from otelprof.log.stored import Found
    from otelprof.telemetry.metrics import Metrics


class LogFile:
    """Where the file is, and how a damaged one is replaced.

    Args:
        directory: of the file.
        clock: time, for the names of damaged files.
        metrics: where they are counted.
        logger: where they are told.
        fsync: have the disk confirm each append.
    """

    def __init__(
        self,
        directory: Path,
        clock: Clock,
        metrics: Metrics,
        logger: structlog.stdlib.BoundLogger,
        *,
        fsync: bool,
    ) -> None:
        self.path = directory / FILE_NAME
        self._rebuilt = directory / f"{FILE_NAME}.new"
        self._clock = clock
        self._metrics = metrics
        self._logger = logger
        self._fsync = fsync

    def open(self, left: Left) -> tuple[Journal, Found]:
        """Open the file and read what is in it; where it is damaged, begin a new one with what can be read.

        Args:
            left: what the run before has left beside the file.

        Raises:
            sqlite3.Error: it cannot be opened, read or written.
            OSError: a damaged one cannot be moved.
        """
        if self._rebuilt.exists() and not self.path.exists():
            # An earlier start ended in the middle of the renames of `_rebuild`.
            self._move_beside(self._aside())
            self._rebuilt.rename(self.path)
        journal = self._try_open()
        if journal is None:
            self._keep_aside(segment_files(self.path.parent))
            journal = self._begin()
        if left.run == journal.earlier_run:
            self._catch_up(journal, left)
        found = journal.read()
        if found.damaged or journal.has_bodies:
            journal.close()
            found = self._rebuild(found)
            journal = self._begin()
        journal.adopt()
        journal.write([(Step.SETTLED, row, "") for row in found.settled])
        return journal, found

    @staticmethod
    def _catch_up(journal: Journal, left: Left) -> None:
        """Write into a file what its own last run knew beside it; a damaged one stays as it is."""
        passed = [(Step.PASSED, row, exporter) for row, exporter in left.passed]
        try:
            journal.write(passed)
            journal.count_crashes(left.attempts)
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise

    def _rebuild(self, found: Found) -> Found:
        """Put a new file with what was found in the place of one that is damaged, or of an earlier version.

        The old one stays until then, and a damaged one also after it.
        """
        segments = segment_files(self.path.parent)
        for leftover in (self._rebuilt, Path(f"{self._rebuilt}-wal")):
            leftover.unlink(missing_ok=True)
        journal = Journal(self._rebuilt, fsync=True)
        try:
            journal.number_after(found.last_row)
            rows = journal.append(
                [(replace(one.about, exporters=one.pending), one.body) for one in found.requests]
            )
            journal.confirm()
        finally:
            journal.close()
        if found.damaged:
            self._keep_aside(segments)
            self._rebuilt.rename(self.path)
        else:
            aside = self._move_aside()
            self._rebuilt.rename(self.path)
            for leftover in (aside, Path(f"{aside}-wal")):
                leftover.unlink(missing_ok=True)
        requests = [replace(one, row=row) for one, row in zip(found.requests, rows, strict=True)]
        return replace(found, requests=requests)

    def _try_open(self) -> Journal | None:
        """The file; None when it is there, and is none that SQLite can open."""
        try:
            return self._begin()
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise
        return None

    def _begin(self) -> Journal:
        return Journal(self.path, fsync=self._fsync)

    def _keep_aside(self, segments: Mapping[int, Path]) -> None:
        """Keep a damaged file for whoever wants to look at it, and its segments."""
        aside = self._move_aside()
        for segment in segments.values():
            segment.rename(f"{segment}{aside.name.removeprefix(FILE_NAME)}")
        self._metrics.add(LOG_FILES_MOVED_ASIDE)
        self._logger.error("the file of the log is damaged, and was moved aside", path=str(aside))

    def _move_aside(self) -> Path:
        """Give the file a name that is not in use."""
        aside = self._aside()
        self.path.rename(aside)
        self._move_beside(aside)
        return aside

    def _move_beside(self, aside: Path) -> None:
        """What SQLite has beside the file would be taken for that of the next one."""
        for suffix in ("-wal", "-shm"):
            beside = Path(f"{self.path}{suffix}")
            if beside.exists():
                beside.rename(f"{aside}{suffix}")

    def _aside(self) -> Path:
        taken_at = int(self._clock.now())
        number = 0
        while (aside := self.path.with_name(f"{FILE_NAME}.damaged-{taken_at}-{number}")).exists():
            number += 1
        return aside


def _is_damage(error: sqlite3.Error) -> bool:
    return error.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
