"""What the next start has to know beside the file of the log: how far it had come, what was passed and tried.

A small file, written over in one piece without a wait for the disk: what it says outlives the process,
which is all that is asked of it. It says nothing of a request, only of rows.
"""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

FILE_NAME: Final = "queue.marks"
_PRIVATE: Final = 0o600
# A checksum and a length before the text.
_HEAD_BYTES: Final = 8
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
            size = int.from_bytes(data[4:_HEAD_BYTES], "big")
            sized = data[4 : _HEAD_BYTES + size]
            if data[:4] != zlib.crc32(sized).to_bytes(4, "big"):
                return cls()
            run, last_row, outstanding, passed, attempts = json.loads(sized[4:])
            return cls(
                int(run),
                int(last_row),
                int(outstanding),
                [(int(row), str(exporter)) for row, exporter in passed],
                [Attempt(str(exporter), float(at), _rows(ranges)) for exporter, at, ranges in attempts],
            )
        except (OSError, ValueError, TypeError):
            return cls()


class Marks:
    """The file, open to be written. Safe for several threads.

    Args:
        path: of the file; what was in it is gone.
        run: the number of this run in the file of the log.
        state: how many requests some exporter has not passed, and what was passed that the file of the log
            may not know: requests and exporters.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(
        self, path: Path, run: int, state: Callable[[], tuple[int, Sequence[tuple[int, str]]]]
    ) -> None:
        self._lock = Lock()
        self._run = run
        self._state = state
        # By identity, since two attempts may be alike; as they are written.
        self._attempts: dict[int, str] = {}
        self._last_row = 0
        self._is_ending = False
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor: int | None = os.open(path, flags, _PRIVATE)

    def write(self, last_row: int = 0) -> None:
        """Something of the state has changed, or a request was appended.

        Raises:
            OSError: it cannot be written.
        """
        with self._lock:
            self._last_row = max(self._last_row, last_row)
            self._write()

    def begin(self, attempt: Attempt) -> None:
        """An attempt begins.

        Raises:
            OSError: it cannot be written; `end` is to be called all the same.
        """
        if self._is_ending:
            return
        text = json.dumps((attempt.exporter, attempt.begun_at, _ranges(attempt.rows)))
        with self._lock:
            self._attempts[id(attempt)] = text
            self._write()

    def end(self, attempt: Attempt) -> None:
        """An attempt has ended, whatever came of it.

        Raises:
            OSError: it cannot be written.
        """
        with self._lock:
            self._attempts.pop(id(attempt), None)
            self._write()

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
        outstanding, passed = self._state()
        attempts = ",".join(self._attempts.values())
        passed_text = json.dumps(passed) if passed else "[]"
        text = f"[{self._run},{self._last_row},{outstanding},{passed_text},[{attempts}]]".encode()
        sized = len(text).to_bytes(4, "big") + text
        os.pwrite(self._descriptor, zlib.crc32(sized).to_bytes(4, "big") + sized, 0)


def _ranges(rows: Sequence[int]) -> list[tuple[int, int]]:
    """The first and the last of all rows that follow each other: those of a batch are few ranges."""
    known = set(rows)
    firsts = sorted(row for row in known if row - 1 not in known)
    lasts = sorted(row for row in known if row + 1 not in known)
    return list(zip(firsts, lasts, strict=True))


def _rows(ranges: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    return tuple(row for first, last in ranges for row in range(int(first), int(last) + 1))
