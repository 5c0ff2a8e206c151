"""The file of the durable log (SQLite in WAL mode): requests, and who has not passed them.

A request is one row, whoever it is for, with a checksum over all of it. Beside it stands a row for each
exporter that has not passed it. A request that everybody has passed is deleted; its pages are used again.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from otelprof.log.marks import Attempt

FILE_NAME: Final = "queue.db"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS requests (
    id INTEGER PRIMARY KEY AUTOINCREMENT, checksum INTEGER NOT NULL, about BLOB NOT NULL, body BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS pending (
    request INTEGER NOT NULL, exporter TEXT NOT NULL, PRIMARY KEY (request, exporter)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS crashes (
    request INTEGER NOT NULL, exporter TEXT NOT NULL, count INTEGER NOT NULL,
    first_at REAL NOT NULL, last_at REAL NOT NULL, PRIMARY KEY (request, exporter)
) WITHOUT ROWID;
"""
_CRASHED: Final = """
INSERT INTO crashes SELECT request, exporter, 1, ?1, ?1 FROM pending WHERE request = ?2 AND exporter = ?3
ON CONFLICT (request, exporter) DO UPDATE SET count = count + 1, last_at = ?1
"""
# Fewer and larger pages than SQLite's 4 KiB: a request is a hundred kilobytes and more.
_PAGE_BYTES: Final = 16 << 10
_MAX_RUN: Final = (1 << 31) - 1
# What the -wal file is cut to after a checkpoint.
_WAL_BYTES: Final = 64 << 20


class Step(StrEnum):
    """What is written of a request after its append."""

    PASSED = "DELETE FROM pending WHERE request = ? AND exporter = ?"
    """An exporter has passed it."""
    SETTLED = "DELETE FROM requests WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM pending WHERE request = ?1)"
    """Some exporter has passed it, and maybe all have."""
    SPARED = "DELETE FROM crashes WHERE request = ? AND exporter = ?"
    """An attempt has ended without a crash, or no further one is made."""


@dataclass(frozen=True)
class About:
    """What is kept of a request beside its body.

    Attributes:
        appended_at: seconds since the UNIX epoch.
        samples: how many it holds.
        exporters: whom it was appended for, by their ids.
        pipeline: the id of the pipeline at whose gate it waits; empty when it waits for nothing.
    """

    appended_at: float
    samples: int
    exporters: tuple[str, ...]
    pipeline: str = ""

    def encode(self) -> bytes:
        """As it stands in the file."""
        return json.dumps(vars(self)).encode()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read what `encode` wrote.

        Raises:
            ValueError: it did not.
        """
        fields: dict[str, Any] = json.loads(data)
        try:
            return cls(**{**fields, "exporters": tuple(fields["exporters"])})
        except (KeyError, TypeError) as error:
            message = f"not what is kept of a request: {error}"
            raise ValueError(message) from error


@dataclass(frozen=True)
class Crashes:
    """How often in a row the process ended while an exporter tried a request.

    Attributes:
        count: how often.
        first_at: when the first of these attempts began, seconds since the UNIX epoch.
        last_at: when the last one did.
    """

    count: int
    first_at: float
    last_at: float


@dataclass(frozen=True)
class Stored:
    """A request as it was found in the file.

    Attributes:
        row: its number.
        about: what is kept of it.
        pending: the exporters that have not passed it, in the order of `about`.
        body: OTLP, plain.
        crashes: of exporters that it may have brought down.
    """

    row: int
    about: About
    pending: tuple[str, ...]
    body: bytes
    crashes: Mapping[str, Crashes] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """What a file holds.

    Attributes:
        requests: what can be read, oldest first.
        lost: the rows of requests that cannot.
        damaged: something in the file is not as it was written.
        last_row: the newest that was ever appended, as far as the file knows.
    """

    requests: Sequence[Stored]
    lost: Sequence[int]
    damaged: bool
    last_row: int


class Journal:
    """The open file. Safe for several threads.

    It is locked while it is open: no other process can read or write it. Each time it is opened is a run;
    `run` is the number of this one, `earlier_run` of the one before.

    Args:
        path: of the file; made when it is not there.
        fsync: have the disk confirm each append. Without it a power cut may lose the last ones, and nothing
            else; the end of the process loses nothing either way.

    Raises:
        sqlite3.Error: it cannot be opened.
    """

    def __init__(self, path: Path, *, fsync: bool) -> None:
        self._lock = Lock()
        self._append_mode = "FULL" if fsync else "NORMAL"
        self._synchronous = "NORMAL"
        self._connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            # The order matters: pages before the first write, the exclusive lock before the WAL.
            for pragma in (
                f"page_size = {_PAGE_BYTES}",
                "locking_mode = EXCLUSIVE",
                "journal_mode = WAL",
                "synchronous = NORMAL",
                f"journal_size_limit = {_WAL_BYTES}",
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

    def append(
        self,
        requests: Sequence[tuple[About, bytes]],
        steps: Sequence[tuple[Step, int, str]] = (),
    ) -> list[int]:
        """Write requests, all or none, and what became of earlier ones.

        Returns:
            Their rows.

        Raises:
            sqlite3.Error: none was written.
        """
        rows = []
        encoded = [(about, about.encode(), body) for about, body in requests]
        checksums = [_checksum(data, body) for _, data, body in encoded]
        with self._lock, self._transaction(self._append_mode):
            for (about, data, body), checksum in zip(encoded, checksums, strict=True):
                cursor = self._connection.execute(
                    "INSERT INTO requests (checksum, about, body) VALUES (?, ?, ?)", (checksum, data, body)
                )
                row = int(cursor.lastrowid or 0)
                pending = [(row, exporter) for exporter in about.exporters]
                self._connection.executemany("INSERT INTO pending VALUES (?, ?)", pending)
                rows.append(row)
            self._take(steps)
        return rows

    def write(self, steps: Sequence[tuple[Step, int, str]]) -> None:
        """Write what became of requests: of each step the row, and the exporter.

        Raises:
            sqlite3.Error: nothing was written.
        """
        with self._lock, self._transaction():
            self._take(steps)

    def count_crashes(self, attempts: Sequence[Attempt]) -> None:
        """Count an end of the process in the middle of attempts, for requests that are still to be delivered.

        Raises:
            sqlite3.Error: nothing was written.
        """
        with self._lock, self._transaction():
            self._connection.execute("DELETE FROM crashes WHERE request NOT IN (SELECT request FROM pending)")
            for attempt in attempts:
                for row in attempt.rows:
                    self._connection.execute(_CRASHED, (attempt.begun_at, row, attempt.exporter))

    def read(self) -> Found:
        """Everything in the file: each request by itself, so that one that is damaged costs no other."""
        with self._lock:
            requests, pending, damaged = self._index()
            crashes, last_row, unread = self._crashes()
            found, lost = [], []
            for row in sorted(requests | pending.keys()):
                one = self._request(row, pending.get(row, ()))
                if one is None:
                    lost.append(row)
                else:
                    found.append(replace(one[0], crashes=crashes.get(row, {})))
                    damaged |= one[1]
        return Found(found, lost, damaged or unread or bool(lost), max([last_row, *requests]))

    def close(self) -> None:
        """Let go of the file. Safe more than once."""
        with self._lock:
            self._connection.close()

    def _index(self) -> tuple[set[int], dict[int, tuple[str, ...]], bool]:
        """The rows of requests, who has not passed which, and whether some of it cannot be read."""
        requests: set[int] = set()
        pending: dict[int, tuple[str, ...]] = {}
        damaged = False
        try:
            for (row,) in self._connection.execute("SELECT id FROM requests"):
                requests.add(int(row))
        except sqlite3.Error:
            damaged = True
        try:
            for row, exporter in self._connection.execute("SELECT request, exporter FROM pending"):
                pending[int(row)] = (*pending.get(int(row), ()), str(exporter))
        except (sqlite3.Error, ValueError):
            damaged = True
        return requests, pending, damaged

    def _crashes(self) -> tuple[dict[int, dict[str, Crashes]], int, bool]:
        """What crashed on which row, the newest row that ever was, and whether some of it cannot be read."""
        crashes: dict[int, dict[str, Crashes]] = {}
        last_row, damaged = 0, False
        try:
            for (last,) in self._connection.execute(
                "SELECT seq FROM sqlite_sequence WHERE name = 'requests'"
            ):
                last_row = int(last)
            for row, exporter, count, first_at, last_at in self._connection.execute("SELECT * FROM crashes"):
                known = Crashes(int(count), float(first_at), float(last_at))
                crashes.setdefault(int(row), {})[str(exporter)] = known
        except (sqlite3.Error, ValueError, TypeError):
            damaged = True
        return crashes, last_row, damaged

    def _request(self, row: int, pending: tuple[str, ...]) -> tuple[Stored, bool] | None:
        """A request, and whether it is not known for sure who has passed it; None when it is damaged."""
        try:
            found = self._connection.execute(
                "SELECT checksum, about, body FROM requests WHERE id = ?", (row,)
            ).fetchone()
            if found is None:
                return None
            checksum, data, body = found
            if not isinstance(data, bytes) or not isinstance(body, bytes):
                return None
            if checksum != _checksum(data, body):
                return None
            about = About.decode(data)
        except (sqlite3.Error, ValueError):
            return None
        known = tuple(exporter for exporter in about.exporters if exporter in pending)
        # Whoever is not known to have passed it gets it: rather twice than never.
        in_doubt = not known or len(known) != len(pending)
        return Stored(row, about, about.exporters if in_doubt else known, body), in_doubt

    def _take(self, steps: Sequence[tuple[Step, int, str]]) -> None:
        for step, row, exporter in steps:
            self._connection.execute(step.value, (row,) if step is Step.SETTLED else (row, exporter))

    @contextmanager
    def _transaction(self, synchronous: str = "NORMAL") -> Iterator[None]:
        if synchronous != self._synchronous:
            self._connection.execute(f"PRAGMA synchronous = {synchronous}")
            self._synchronous = synchronous
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            # A full disk has rolled it back already.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise


def _checksum(about: bytes, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(about))
