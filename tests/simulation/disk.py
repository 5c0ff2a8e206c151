"""The disk of a simulation: what is on it when a process ends, and when it takes nothing.

They are real files. A process that is killed leaves what was written; a power cut, of what was written to
each since it was last synced, only a beginning.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

from otelprof._core import Profiles
from otelprof.log.durable import DurableLog
from otelprof.log.journal import FILE_NAME
from otelprof.log.marks import FILE_NAME as MARKS
from otelprof.log.marks import Left
from otelprof.log.segments import Place, Segments, segment_files
from otelprof.log.steps import Step
from otelprof.log.stored import About
from tests.simulation.loop import CrashError
from tests.simulation.requests import names_in
from tests.simulation.scenario import DiskFault

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from otelprof.log.memory import MemoryLog
    from tests.simulation.ledger import Ledger
    from tests.simulation.loop import Loop

Pending = set[tuple[str, int]]
"""Who has not passed which row."""

# What `PRAGMA synchronous` says when each transaction is synced.
_FULL: Final = 2
_ALL: Final = 1 << 62
_FAULTS: Final = {
    DiskFault.FULL: ("PRAGMA max_page_count = 1", "PRAGMA max_page_count = 1000000"),
    DiskFault.READ_ONLY: ("PRAGMA query_only = ON", "PRAGMA query_only = OFF"),
}
_ERRORS: Final = {DiskFault.FULL: errno.ENOSPC, DiskFault.READ_ONLY: errno.EROFS}


class Disk:
    """The file of the log, over all lives of the service.

    Args:
        folder: of the file.
        crashes: how likely the process ends in the middle of a write.
        loop: chance.
        ledger: where it is written what is not as promised.
    """

    def __init__(self, folder: Path, *, crashes: float, loop: Loop, ledger: Ledger) -> None:
        self.folder = folder
        self._crashes = crashes
        self._loop = loop
        self._ledger = ledger
        self._journal: Any = None
        self._may_crash = False
        self._bodies: dict[int, bytes] = {}
        self._at_start: Pending = set()
        self._written: list[tuple[int, Pending, Pending]] = []
        """Of each write since the last checkpoint: where the -wal file ends after it, what came and went."""
        self._synced_bytes = 0
        self._fault: DiskFault | None = None
        self._segment_bytes: dict[int, int] = {}
        """Of each segment, what was synced."""
        self.unwritten: Pending = set()
        """What was passed, or was to be added, and perhaps never written."""
        self.torn: set[int] = set()
        """Rows whose bodies the last power cut took."""

    def attach(self, log: MemoryLog, *, may_crash: bool) -> None:
        """A process has started; it has opened the file when its log is on disk."""
        if not isinstance(log, DurableLog):
            return
        journal: Any = log._journal  # noqa: SLF001 - between the log and its file
        self._journal = journal
        self._at_start = set(self._pending(journal._connection))  # noqa: SLF001 - as above
        for _, row in self._at_start:
            # Its number may be that of one that a power cut took.
            body = journal._segments.read(journal._places[row])  # noqa: SLF001 - as above
            if body is not None:
                self._bodies[row] = body
        self._written, self._synced_bytes, self.unwritten = [], self._wal_bytes(), set()
        self._may_crash = may_crash
        append, write = journal.append, journal.write
        journal.append = lambda requests, steps=(): self._append(append, requests, steps)
        journal.write = lambda steps: self._write(write, steps)
        checkpoint, segments = journal._checkpoint, journal._segments  # noqa: SLF001 - as above
        append_bodies, sync, remove = segments.append, segments._sync, segments.remove_dead  # noqa: SLF001 - as above
        journal._checkpoint = lambda: self._checkpoint(checkpoint)  # noqa: SLF001 - as above
        segments.append = lambda bodies: self._append_bodies(append_bodies, bodies)
        segments._sync = lambda: self._sync(sync)  # noqa: SLF001 - as above
        segments.remove_dead = lambda: self._remove(remove)
        self._segment_bytes = {
            number: path.stat().st_size for number, path in segment_files(self.folder).items()
        }

    def fault(self, fault: DiskFault, *, begins: bool) -> None:
        """The disk takes nothing, or takes again."""
        self._fault = fault if begins else None
        if self._journal is not None:
            self._journal._connection.execute(_FAULTS[fault][0 if begins else 1])  # noqa: SLF001 - SQLite's own

    def end(self, *, power_cut: bool) -> Pending:
        """The process has ended without a word: what is left for the next one, of what was written."""
        if self._journal is None:
            return self._left()
        cut_bytes = self._wal_bytes()
        if power_cut:
            cut_bytes = self._loop.chance.randint(min(self._synced_bytes, cut_bytes), cut_bytes)
        expected, synced = self._as_written(cut_bytes), dict(self._segment_bytes)
        # Whoever lets go of the file in order would tidy it up: the copy is as it lies there.
        left = self.folder.with_name("left")
        shutil.copytree(self.folder, left)
        self._may_crash, self._fault = False, None
        self._journal.close()
        self._journal = None
        shutil.rmtree(self.folder)
        left.rename(self.folder)
        wal = self.folder / f"{FILE_NAME}-wal"
        if wal.exists():
            with wal.open("r+b") as file:
                file.truncate(cut_bytes)
        if power_cut:
            self._cut_segments(synced)
        found = self._in_file()
        if not expected <= found or not found <= expected | self.unwritten:
            self._ledger.found.append(f"on disk is {found}, not {expected}")
        if power_cut and self._loop.chance.random() < 0.5:
            # Nobody waits for the disk to have the marks.
            (self.folder / MARKS).unlink(missing_ok=True)
        left_over = self._left()
        self.torn = {row for _, row in left_over if self._body(row) != self._bodies[row]}
        return {(name, row) for name, row in left_over if row not in self.torn}

    def closed(self) -> Pending:
        """The process has ended in order: what is left for the next one."""
        self._journal = None
        self.torn = set()
        return self._left()

    def names(self, row: int) -> Counter[str]:
        """The samples of a row."""
        return Counter(names_in(Profiles.decode(self._bodies[row])))

    def _left(self) -> Pending:
        """What the next process will find not passed: the marks know more than the file."""
        return self._in_file() - {(name, row) for row, name in Left.read(self.folder / MARKS).passed}

    def _in_file(self) -> Pending:
        path = self.folder / FILE_NAME
        if not path.exists():
            return set()
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            found = set(self._pending(connection))
            for _, row in found:
                body = None if row in self._bodies else self._body(row)
                if body is not None:
                    self._bodies[row] = body
        return found

    def _body(self, row: int) -> bytes | None:
        """What is in the place of a row's body."""
        with closing(sqlite3.connect(self.folder / FILE_NAME, isolation_level=None)) as connection:
            place = connection.execute("SELECT segment, position, size FROM requests WHERE id = ?", (row,))
            return Segments(self.folder, fsync=False).read(Place(*place.fetchone()))

    def _as_written(self, wal_bytes: int) -> Pending:
        """Who has not passed which row, by a beginning of the -wal file."""
        expected = set(self._at_start)
        for end_bytes, added, taken in self._written:
            if end_bytes <= wal_bytes:
                expected = (expected | added) - taken
        return expected

    def _cut_segments(self, synced: Mapping[int, int]) -> None:
        """Leave of each segment what was synced, and maybe some of the rest."""
        for number, path in segment_files(self.folder).items():
            size_bytes, synced_bytes = path.stat().st_size, synced.get(number)
            if synced_bytes is None and self._loop.chance.random() < 0.2:
                path.unlink()
            else:
                os.truncate(path, self._loop.chance.randint(synced_bytes or 0, size_bytes))

    @staticmethod
    def _pending(connection: sqlite3.Connection) -> Iterable[tuple[str, int]]:
        try:
            requests = connection.execute("SELECT id, about FROM requests").fetchall()
            passed = set(connection.execute("SELECT exporter, request FROM passed"))
        except sqlite3.OperationalError:
            # A power cut before the tables were there.
            return []
        return [
            (name, int(row))
            for row, about in requests
            for name in About.decode(about).exporters
            if (name, row) not in passed
        ]

    def _append(
        self, append: Any, requests: Sequence[tuple[About, bytes]], steps: Sequence[tuple[Step, int, str]]
    ) -> list[int]:
        taken = _passed(steps)
        self.unwritten = self.unwritten | taken
        if self._crashes_now():
            raise CrashError
        rows: list[int] = append(requests, steps)
        added = {
            (name, row) for row, (about, _) in zip(rows, requests, strict=True) for name in about.exporters
        }
        self._bodies |= {row: body for row, (_, body) in zip(rows, requests, strict=True)}
        self._written.append((self._wal_bytes(), added, taken))
        (level,) = self._journal._connection.execute("PRAGMA synchronous").fetchone()  # noqa: SLF001 - SQLite's own
        if level == _FULL:
            self._synced_bytes = self._wal_bytes()
        self.unwritten = self.unwritten - taken
        if self._crashes_now():
            self.unwritten = self.unwritten | added
            raise CrashError
        return rows

    def _write(self, write: Any, steps: Sequence[tuple[Step, int, str]]) -> None:
        taken = _passed(steps)
        # What could not be written is in the next write again.
        self.unwritten = taken
        if self._crashes_now():
            raise CrashError
        write(steps)
        self.unwritten = set()
        self._written.append((self._wal_bytes(), set(), taken))
        if self._crashes_now():
            raise CrashError

    def _append_bodies(self, append: Callable[..., list[Place]], bodies: Collection[bytes]) -> list[Place]:
        places = append(bodies)
        if self._fault is not None:
            # Some of it was written, and nobody knows.
            raise OSError(_ERRORS[self._fault], "the disk takes nothing")
        if self._crashes_now():
            raise CrashError
        return places

    def _sync(self, sync: Callable[[], None]) -> None:
        sync()
        segments = segment_files(self.folder)
        last = max(segments, default=0)
        if last:
            self._segment_bytes[last] = segments[last].stat().st_size

    def _checkpoint(self, checkpoint: Callable[[], None]) -> None:
        if self._crashes_now():
            raise CrashError
        checkpoint()

    def _remove(self, remove: Callable[[], None]) -> None:
        """A checkpoint has come so far that the disk has everything, and the -wal file is empty."""
        self._at_start, self._written, self._synced_bytes = self._as_written(_ALL), [], 0
        if self._crashes_now():
            raise CrashError
        remove()

    def _crashes_now(self) -> bool:
        return self._may_crash and self._crashes > 0 and self._loop.chance.random() < self._crashes

    def _wal_bytes(self) -> int:
        wal = self.folder / f"{FILE_NAME}-wal"
        return wal.stat().st_size if wal.exists() else 0


def _passed(steps: Sequence[tuple[Step, int, str]]) -> Pending:
    return {(name, row) for step, row, name in steps if step is not Step.SPARED}
