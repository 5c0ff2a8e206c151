"""What the next start has to know beside the file of the log: how far it had come, what was passed and tried.

A small file, written over without a wait for the disk: what it says outlives the process, which is all that
is asked of it. It says nothing of a request, only of rows. First stands how far appends had come, which is
written most often, and then the rest; each part has a checksum, and is written in one piece.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Final, Self

from otelprof.log.steps import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

FILE_NAME: Final = "queue.marks"
_PRIVATE: Final = 0o600
# A checksum; then the run, the newest row, and how many requests are outstanding.
_HEAD: Final = struct.Struct("<IQQQ")
# A checksum and a length before the text.
_SIZE: Final = struct.Struct("<II")
_TEXT_AT: Final = _HEAD.size + _SIZE.size
_MAX_BYTES: Final = 64 << 20


@dataclass(frozen=True)
class Attempt:
    """An exporter's attempt that had not ended.

    Attributes:
        exporter: its id.
        begun_at: seconds since the UNIX epoch.
        rows: the requests, by their numbers in the log.
    """

    exporter: str
    begun_at: float
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Left:
    """What an earlier run left.

    Attributes:
        run: its number in the file of the log.
        last_row: the newest request that it had appended.
        outstanding: how many requests some exporter had not passed.
        passed: requests, and the exporters that had passed them, which the file of the log may not know.
        attempts: what was tried when it ended; nothing after a shutdown.
    """

    run: int = 0
    last_row: int = 0
    outstanding: int = 0
    passed: Sequence[tuple[int, str]] = ()
    attempts: Sequence[Attempt] = ()

    @classmethod
    def read(cls, path: Path) -> Self:
        """What stands in a file; nothing when it is not there, or is damaged."""
        try:
            with path.open("rb") as file:
                data = file.read(_MAX_BYTES)
            head_checksum, run, last_row, outstanding = _HEAD.unpack_from(data)
            checksum, size = _SIZE.unpack_from(data, _HEAD.size)
            text = data[_TEXT_AT : _TEXT_AT + size]
            if (head_checksum, checksum) != (zlib.crc32(data[4 : _HEAD.size]), _checksum_of(text)):
                return cls()
            text_run, passed, attempts = json.loads(text)
            if text_run != run:
                return cls()
            return cls(
                run,
                last_row,
                outstanding,
                [(int(row), str(exporter)) for row, exporter in passed],
                [Attempt(str(exporter), float(at), _rows(ranges)) for exporter, at, ranges in attempts],
            )
        except (OSError, ValueError, TypeError, struct.error):
            return cls()


class Marks:
    """The file, open to be written; `write` comes first. Safe for several threads.

    Args:
        path: of the file; what was in it is gone.
        run: the number of this run in the file of the log.
        state: how many requests some exporter has not passed, and what was passed that the file of the log
            may not know: pairs of a row and an exporter, in JSON, with commas between them.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, path: Path, run: int, state: Callable[[], tuple[int, str]]) -> None:
        self._lock = Lock()
        self._run = run
        self._state = state
        # By identity, since two attempts may be alike; as they are written.
        self._attempts: dict[int, str] = {}
        self._last_row = self._outstanding = 0
        self._passed = ""
        self._is_ending = False
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor: int | None = os.open(path, flags, _PRIVATE)

    def appended(self, last_row: int, outstanding: int) -> None:
        """Requests were appended, the newest of this row.

        Raises:
            OSError: it cannot be written.
        """
        with self._lock:
            self._last_row = max(self._last_row, last_row)
            self._outstanding = outstanding
            if self._descriptor is not None:
                os.pwrite(self._descriptor, self._head(), 0)

    def write(self) -> None:
        """Something of the state has changed.

        Raises:
            OSError: it cannot be written.
        """
        with self._lock:
            self._write()

    def begin(self, attempt: Attempt) -> None:
        """An attempt begins.

        Raises:
            OSError: it cannot be written; `end` is to be called all the same.
        """
        if self._is_ending:
            return
        text = f"[{quoted(attempt.exporter)},{attempt.begun_at!r},{_ranges_text(attempt.rows)}]"
        with self._lock:
            self._attempts[id(attempt)] = text
            self._write_text()

    def end(self, attempt: Attempt, *, is_urgent: bool = True) -> None:
        """An attempt has ended, whatever came of it; where that is not urgent it goes with the next write.

        Raises:
            OSError: it cannot be written.
        """
        with self._lock:
            self._attempts.pop(id(attempt), None)
            if is_urgent:
                self._write_text()

    def end_all(self) -> None:
        """The process is being shut down: what happens to attempts from here on is no crash.

        Raises:
            OSError: it cannot be written.
        """
        with self._lock:
            self._is_ending = True
            self._attempts.clear()
            self._write()

    def close(self) -> None:
        """Let go of the file, as it stands. Safe more than once."""
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def _write(self) -> None:
        if self._descriptor is None:
            return
        self._outstanding, self._passed = self._state()
        os.pwrite(self._descriptor, self._head() + self._text(), 0)

    def _write_text(self) -> None:
        # What was passed since the last write is told by one of its own.
        if self._descriptor is not None:
            os.pwrite(self._descriptor, self._text(), _HEAD.size)

    def _text(self) -> bytes:
        text = f"[{self._run},[{self._passed}],[{','.join(self._attempts.values())}]]".encode()
        return _SIZE.pack(_checksum_of(text), len(text)) + text

    def _head(self) -> bytes:
        head = _HEAD.pack(0, self._run, self._last_row, self._outstanding)[4:]
        return zlib.crc32(head).to_bytes(4, "little") + head


def _checksum_of(text: bytes) -> int:
    return zlib.crc32(text, len(text))


def _ranges_text(rows: Sequence[int]) -> str:
    """The first and the last of all rows that follow each other: those of a batch are few ranges."""
    if len(rows) == 1:
        return f"[[{rows[0]},{rows[0]}]]"
    known = set(rows)
    firsts = sorted(row for row in known if row - 1 not in known)
    lasts = sorted(row for row in known if row + 1 not in known)
    return json.dumps(list(zip(firsts, lasts, strict=True)))


def _rows(ranges: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    return tuple(row for first, last in ranges for row in range(int(first), int(last) + 1))
