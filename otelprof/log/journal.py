"""The file of the durable log (SQLite in WAL mode): which requests there are, and who has not passed them.

A request is one row, whoever it is for: where its body is (`segments.py`), and a checksum over all of it.
Beside it stands a row for each exporter that has passed it, until the last one has, and all of it is deleted:
what is not known to be passed is delivered, whatever of this is damaged.

A body is written before the transaction of its row, and confirmed by the disk before the row is: what is in
the file after a power cut has its body, unless both were written in the last seconds and `fsync` is off.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, Final

from otelprof._core import crc32
from otelprof.log.earlier_file import read_earlier
from otelprof.log.segments import Place, Segments
from otelprof.log.steps import Step
from otelprof.log.stored import About, Found, Stored, read_crashes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from otelprof.log.marks import Attempt

FILE_NAME: Final = "queue.db"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS requests (
    id INTEGER PRIMARY KEY AUTOINCREMENT, checksum INTEGER NOT NULL, about BLOB NOT NULL,
    segment INTEGER NOT NULL, position INTEGER NOT NULL, size INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS passed (
    request INTEGER NOT NULL, exporter TEXT NOT NULL, checksum INTEGER NOT NULL,
    PRIMARY KEY (request, exporter)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS crashes (
    request INTEGER NOT NULL, exporter TEXT NOT NULL, count INTEGER NOT NULL,
    first_at REAL NOT NULL, last_at REAL NOT NULL, PRIMARY KEY (request, exporter)
) WITHOUT ROWID;
"""
_CRASHED: Final = """
INSERT INTO crashes SELECT id, ?3, 1, ?1, ?1 FROM requests WHERE id = ?2
AND NOT EXISTS (SELECT 1 FROM passed WHERE request = ?2 AND exporter = ?3)
ON CONFLICT (request, exporter) DO UPDATE SET count = count + 1, last_at = ?1
"""
_APPENDED: Final = "INSERT INTO requests (checksum, about, segment, position, size) VALUES (?, ?, ?, ?, ?)"
_ROWS_AFTER: Final = "SELECT id FROM requests WHERE id > ? ORDER BY id"
_MOVED: Final = "UPDATE requests SET segment = ?, position = ?, size = ? WHERE id = ?"
# SQLite's smallest: a row is a hundred bytes, a commit writes each page that it changes twice, and damage to
# one costs what is on it.
_PAGE_BYTES: Final = 512
_MAX_RUN: Final = (1 << 31) - 1
# Some seconds, where it is not a page that is damaged, but all of it.
_MAX_PROBES: Final = 100_000
# So many rows and steps at most wait in the -wal file.
_MAX_CHANGES: Final = 10_000
_STATEMENTS: Final = (
    (Step.PASSED, "INSERT OR IGNORE INTO passed VALUES (?, ?, ?)"),
    (Step.SETTLED, "DELETE FROM requests WHERE id = ?"),
    (Step.SETTLED, "DELETE FROM passed WHERE request = ?"),
    (Step.SPARED, "DELETE FROM crashes WHERE request = ? AND exporter = ?"),
)


class Journal:
    """The open file. Safe for several threads.

    It is locked while it is open: no other process can read or write it. Each time it is opened is a run;
    `run` is the number of this one, `earlier_run` of the one before. `has_bodies` says that the file is of a
    version that kept bodies in it: it can be read, and takes nothing.

    Args:
        path: of the file; made when it is not there. Segments are beside it.
        fsync: have the disk confirm each append. Without it a power cut may lose the last ones, and nothing
            else; the end of the process loses nothing either way.

    Raises:
        sqlite3.Error: it cannot be opened.
    """

    def __init__(self, path: Path, *, fsync: bool) -> None:
        self._lock = Lock()
        self._append_mode = "FULL" if fsync else "NORMAL"
        self._synchronous = "NORMAL"
        self._segments = Segments(path.parent, fsync=fsync)
        # Of what is in the file.
        self._places: dict[int, Place] = {}
        self._changes = 0
        self._connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            # The order matters: pages before the first write, the exclusive lock before the WAL.
            for pragma in (
                f"page_size = {_PAGE_BYTES}",
                "locking_mode = EXCLUSIVE",
                "journal_mode = WAL",
                "synchronous = NORMAL",
                # It would not wait for the segments.
                "wal_autocheckpoint = 0",
                "cell_size_check = ON",
                # Some builds of SQLite write zeros over all that is deleted, which is as much again.
                "secure_delete = FAST",
            ):
                self._connection.execute(f"PRAGMA {pragma}")
            with self._transaction():
                for statement in _SCHEMA.split(";"):
                    self._connection.execute(statement)
                # What is only read would leave the file unlocked.
                self.earlier_run = int(self._connection.execute("PRAGMA user_version").fetchone()[0])
                self.run = self.earlier_run % _MAX_RUN + 1
                self._connection.execute(f"PRAGMA user_version = {self.run}")
                columns = self._connection.execute("PRAGMA table_info(requests)").fetchall()
                self.has_bodies = any(name == "body" for _, name, *_ in columns)
        except BaseException:
            self._connection.close()
            raise

    def number_after(self, last_row: int) -> None:
        """Give no request of an empty file a number that another one had.

        Raises:
            sqlite3.Error: nothing was written.
        """
        with self._lock, self._transaction():
            self._connection.execute("INSERT INTO sqlite_sequence VALUES ('requests', ?)", (last_row,))

    def adopt(self) -> None:
        """Know where everything in the file is, and remove segments that hold nothing of it.

        Raises:
            sqlite3.Error: it cannot be read.
            OSError: the directory cannot be.
        """
        with self._lock:
            rows = self._connection.execute("SELECT id, segment, position, size FROM requests")
            self._places = {int(row): Place(*place) for row, *place in rows}
            self._segments.adopt(self._places.values())
            self._checkpoint()

    def append(
        self,
        requests: Sequence[tuple[About, bytes]],
        steps: Sequence[tuple[Step, int, str]] = (),
    ) -> list[int]:
        """Write requests, all or none, and what became of earlier ones.

        Returns:
            Their rows.

        Raises:
            sqlite3.Error, OSError: none was written.
        """
        encoded = [(about.encode(), body) for about, body in requests]
        checksums = [crc32(about, body) for about, body in encoded]
        with self._lock:
            if self.is_due:
                self._checkpoint()
            places = self._segments.append([body for _, body in encoded])
            written = [
                (checksum, about, *place)
                for checksum, (about, _), place in zip(checksums, encoded, places, strict=True)
            ]
            # A statement by itself is a transaction, and costs half of one.
            is_one = len(written) == 1 and not steps
            self._synchronise(self._append_mode)
            with nullcontext() if is_one else self._transaction(self._append_mode):
                rows = [int(self._connection.execute(_APPENDED, one).lastrowid or 0) for one in written]
                self._take(steps)
            for row, place in zip(rows, places, strict=True):
                self._places[row] = place
                self._segments.hold(place)
            self._release(steps)
            self._changes += len(rows) + len(steps)
        return rows

    @property
    def is_due(self) -> bool:
        """The disk is to confirm what there is before anything comes."""
        return self._segments.is_full or self._changes >= _MAX_CHANGES

    def write(self, steps: Sequence[tuple[Step, int, str]]) -> None:
        """Write what became of requests: of each step the row, and the exporter.

        Raises:
            sqlite3.Error: nothing was written.
        """
        with self._lock:
            with self._transaction():
                self._take(steps)
            self._release(steps)
            self._changes += len(steps)

    def confirm(self) -> None:
        """Wait until the disk has everything.

        Raises:
            sqlite3.Error, OSError: it does not.
        """
        with self._lock:
            self._checkpoint()

    def give_back(self) -> None:
        """Give the disk back what segments hold beside what is outstanding, where that is much.

        Raises:
            sqlite3.Error, OSError: not all of it could be.
        """
        with self._lock:
            for number in self._segments.sparse:
                self._empty(number)
                if self._segments.is_full:
                    self._checkpoint()
            if not self._segments.is_in_use:
                self._segments.leave()
            if self._segments.dead:
                self._checkpoint()
            self._segments.remove_spare()

    def count_crashes(self, attempts: Sequence[Attempt]) -> None:
        """Count an end of the process in the middle of attempts, for requests that are still to be delivered.

        Raises:
            sqlite3.Error: nothing was written.
        """
        with self._lock, self._transaction():
            self._connection.execute("DELETE FROM crashes WHERE request NOT IN (SELECT id FROM requests)")
            # The marks may tell once more what the file knew.
            self._connection.execute("DELETE FROM passed WHERE request NOT IN (SELECT id FROM requests)")
            for attempt in attempts:
                for row in attempt.rows:
                    self._connection.execute(_CRASHED, (attempt.begun_at, row, attempt.exporter))

    def read(self) -> Found:
        """Everything in the file: each request by itself, so that one that is damaged costs no other."""
        with self._lock:
            if self.has_bodies:
                return read_earlier(self._connection)
            rows, damaged = self._rows()
            passed, damaged_passed = self._passed()
            crashes, last_row, damaged_crashes = read_crashes(self._connection)
            found, settled, lost = [], [], []
            for row in rows:
                one = self._request(row, passed.get(row, set()))
                if one is None:
                    lost.append(row)
                elif one.pending:
                    found.append(replace(one, crashes=crashes.get(row, {})))
                else:
                    settled.append(row)
        damaged |= damaged_passed or damaged_crashes or bool(lost)
        return Found(found, settled, lost, damaged, max([last_row, *rows]))

    def close(self) -> None:
        """Let go of the file. Safe more than once."""
        with self._lock:
            # What cannot be confirmed now was not before either.
            with suppress(sqlite3.Error, OSError):
                if not self._segments.is_in_use:
                    self._segments.leave()
                self._checkpoint()
                self._segments.remove_spare()
            self._segments.leave()
            self._connection.close()

    def _rows(self) -> tuple[list[int], bool]:
        """The rows of requests, oldest first, and whether some of it cannot be read."""
        rows: list[int] = []
        after = probes = 0
        # Behind a page that is damaged are others that are not: the next number that can be looked for.
        while probes <= _MAX_PROBES:
            try:
                for (row,) in self._connection.execute(_ROWS_AFTER, (after,)):
                    after = int(row)
                    rows.append(after)
            except sqlite3.Error:
                after += 1
                probes += 1
            else:
                break
        return rows, probes > 0

    def _passed(self) -> tuple[dict[int, set[str]], bool]:
        """Who has passed which row for sure, and whether some of it cannot be read."""
        passed: dict[int, set[str]] = {}
        damaged = False
        try:
            for row, exporter, checksum in self._connection.execute("SELECT * FROM passed"):
                if checksum == _checksum_of_passed(row, exporter):
                    passed.setdefault(int(row), set()).add(str(exporter))
                else:
                    damaged = True
        except (sqlite3.Error, ValueError):
            damaged = True
        return passed, damaged

    def _request(self, row: int, passed: set[str]) -> Stored | None:
        """A request, of which these have passed it, without a body when all have; None when it is damaged."""
        try:
            found = self._connection.execute("SELECT * FROM requests WHERE id = ?", (row,)).fetchone()
            if found is None:
                return None
            _, checksum, data, *place = found
            about = About.decode(data)
            pending = tuple(name for name in about.exporters if name not in passed)
            if not pending:
                return Stored(row, about, (), b"")
            one = Stored.checked(row, checksum, data, self._segments.read(Place(*map(int, place))))
            return None if one is None else replace(one, pending=pending)
        except (sqlite3.Error, ValueError, TypeError):
            return None

    def _take(self, steps: Sequence[tuple[Step, int, str]]) -> None:
        """Write steps."""
        values: dict[Step, list[tuple[object, ...]]] = {}
        for step, row, exporter in steps:
            value: tuple[object, ...]
            match step:
                case Step.PASSED:
                    value = (row, exporter, _checksum_of_passed(row, exporter))
                case Step.SETTLED:
                    value = (row,)
                case Step.SPARED:
                    value = (row, exporter)
            values.setdefault(step, []).append(value)
        for step, statement in _STATEMENTS:
            if step in values:
                self._connection.executemany(statement, values[step])

    def _release(self, steps: Sequence[tuple[Step, int, str]]) -> None:
        """What is settled is not in the file any more."""
        for step, row, _ in steps:
            # Before `adopt` it is known of none.
            place = self._places.pop(row, None) if step is Step.SETTLED else None
            if place is not None:
                self._segments.release(place)

    def _checkpoint(self) -> None:
        """Have the disk confirm everything: bodies, then the file. What nothing is in is removed after it."""
        self._segments.confirm()
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._changes = 0
        if self._segments.is_full:
            self._segments.leave()
        self._segments.remove_dead()

    def _empty(self, number: int) -> None:
        """Copy what is outstanding out of a segment."""
        moved = {row: place for row, place in self._places.items() if place.segment == number}
        bodies = {row: self._segments.read(place) for row, place in moved.items()}
        # What cannot be read stays: it is counted at the next start.
        kept = {row: body for row, body in bodies.items() if body is not None}
        places = dict(zip(kept, self._segments.append(kept.values()), strict=True))
        with self._transaction(self._append_mode):
            self._connection.executemany(_MOVED, [(*place, row) for row, place in places.items()])
        for row, place in places.items():
            self._segments.release(moved[row])
            self._segments.hold(place)
        self._places |= places

    def _synchronise(self, synchronous: str) -> None:
        # It does nothing in the middle of a transaction.
        if synchronous != self._synchronous:
            self._connection.execute(f"PRAGMA synchronous = {synchronous}")
            self._synchronous = synchronous

    @contextmanager
    def _transaction(self, synchronous: str = "NORMAL") -> Iterator[None]:
        self._synchronise(synchronous)
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            # A full disk has rolled it back already.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise


def _checksum_of_passed(row: object, exporter: object) -> int:
    return crc32(str(row).encode(), str(exporter).encode())
