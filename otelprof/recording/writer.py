"""Writes records to a file that is rotated; what stands in it is whole records, whatever fails."""

from __future__ import annotations

import fcntl
import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from otelprof.recording.framing import FIRST_BYTES, end_of_records

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from otelprof.clock import Clock

# As the Collector names old files (its `lumberjack`): 2022-09-14T05-02-14.173
_TIME: Final = "%Y-%m-%dT%H-%M-%S"
_TIME_PATTERN: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d)\.(\d{3})")
_MILLISECOND: Final = timedelta(milliseconds=1)


class WriterError(Exception):
    """The file holds, or is, what must not be written to."""


@dataclass(frozen=True)
class Rotation:
    """When a new file is begun, and which old ones stay.

    Attributes:
        max_bytes: that a file does not grow over, unless by a single record.
        max_age_secs: after which the next record begins a new file; 0 never.
        keep_secs: after which an old file is removed; 0 never.
        keep_files: how many old ones stay; 0 all.
        localtime: times in names are local; UTC otherwise.
    """

    max_bytes: int
    max_age_secs: float
    keep_secs: float
    keep_files: int
    localtime: bool


class RecordingWriter:
    """Writes to one file. Not safe from several threads: its owner has a lock.

    Args:
        path: the file.
        clock: of the times in names, and of ages.
        mode: permissions of new files.
        append: go on with a recording that is there.
        rotation: when a new file is begun; None never.
    """

    def __init__(
        self, path: Path, clock: Clock, *, mode: int, append: bool, rotation: Rotation | None
    ) -> None:
        self._path = path
        self._clock = clock
        self._mode = mode
        self._append = append
        self._rotation = rotation
        self._fd: int | None = None
        self._size = 0
        self._is_torn = False
        self._began = 0.0

    def open(self) -> int:
        """Open the file; how many bytes of a torn record a file that was there ends with: it is moved aside.

        Raises:
            OSError: it cannot be opened.
            WriterError: it is there and not to be gone on with, no plain file, or in use.
        """
        fd = self._open()
        if not self._size:
            return 0
        try:
            return self._take_over(fd)
        except BaseException:
            self.close()
            raise

    def write(self, record: bytes) -> None:
        """Append a record, all of it or nothing.

        Raises:
            OSError: it cannot be written.
            WriterError: the new file that was begun for it is written by somebody else, too.
        """
        fd = self._open(os.O_EXCL) if self._fd is None else self._fd
        if self._is_torn:
            fd = self._mend(fd)
        if self._rotation is not None and self._size and self._is_due(self._rotation, len(record)):
            fd = self._rotate()
        left = memoryview(record)
        try:
            while left:
                left = left[os.write(fd, left) :]
        except OSError:
            self._is_torn = True
            with suppress(OSError):  # it is tried again before the next record
                self._mend(fd)
            raise
        self._size += len(record)

    def flush(self) -> None:
        """Put what was written on the disk.

        Raises:
            OSError: it may not be there.
        """
        if self._fd is not None:
            os.fsync(self._fd)

    def close(self) -> None:
        """Put what was written on the disk, and let go of the file.

        Raises:
            OSError: it may not be there; the file is closed all the same.
        """
        fd, self._fd = self._fd, None
        if fd is not None:
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def _open(self, new: int = 0) -> int:
        """Open the file; with `O_EXCL` only one that is not there yet."""
        flags = new | os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        fd = os.open(self._path, flags, self._mode)
        try:
            self._size = self._lock(fd)
        except BaseException:
            os.close(fd)
            raise
        self._fd, self._began = fd, self._clock.now()
        return fd

    def _lock(self, fd: int) -> int:
        """Make the file this writer's alone; its size."""
        state = os.fstat(fd)
        if not stat.S_ISREG(state.st_mode):
            message = f"{self._path} is no plain file"
            raise WriterError(message)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = f"{self._path} is written by another exporter or process: give each a path of its own"
            raise WriterError(message) from error
        return state.st_size

    def _take_over(self, fd: int) -> int:
        """Go on with a recording, or move it aside: nothing of what is there is changed."""
        with open(fd, "rb", closefd=False) as file:
            is_recording = file.read(1) in FIRST_BYTES
            file.seek(0)
            torn_bytes = self._size - end_of_records(file, self._size)
        if not is_recording:
            message = f"{self._path} is there and no recording of otelprof: remove it, or give another path"
            raise WriterError(message)
        if not self._append and self._rotation is None:
            message = f"{self._path} is there: write append: true or rotation: {{}}, or remove it"
            raise WriterError(message)
        if torn_bytes or not self._append:
            self._rotate()
        return torn_bytes

    def _mend(self, fd: int) -> int:
        """Cut off the part of a record that was written; where that fails, go on in a new file."""
        try:
            os.ftruncate(fd, self._size)
        except OSError:
            fd = self._rotate()
        self._is_torn = False
        return fd

    def _is_due(self, rotation: Rotation, record_bytes: int) -> bool:
        if self._size + record_bytes > rotation.max_bytes:
            return True
        return 0 < rotation.max_age_secs <= self._clock.now() - self._began

    def _rotate(self) -> int:
        """Move the present file aside, and begin a new one."""
        with suppress(FileNotFoundError):  # somebody else has moved it
            self._path.rename(self._aside())
        self.close()
        fd = self._open(os.O_EXCL)
        if self._rotation is not None:
            self._remove_old(self._rotation)
        return fd

    def _aside(self) -> Path:
        """Where the present file is moved: the time stands before its ending."""
        local = self._rotation is not None and self._rotation.localtime
        time = datetime.fromtimestamp(self._clock.now(), UTC)
        while True:
            written = time.astimezone() if local else time
            name = f"{written:{_TIME}}.{written.microsecond // 1000:03}"
            path = self._path.with_name(f"{self._path.stem}-{name}{self._path.suffix}")
            if not path.exists():
                return path
            time += _MILLISECOND

    def _remove_old(self, rotation: Rotation) -> None:
        newest_first = sorted(self._old(rotation), reverse=True)
        now = self._clock.now()
        for place, (time, path) in enumerate(newest_first):
            too_many = 0 < rotation.keep_files <= place
            if too_many or 0 < rotation.keep_secs < now - time:
                with suppress(OSError):  # it is tried again at the next rotation
                    path.unlink()

    def _old(self, rotation: Rotation) -> Iterator[tuple[float, Path]]:
        before, after = f"{self._path.stem}-", self._path.suffix
        for path in self._path.parent.iterdir():
            name = path.name
            if not (name.startswith(before) and name.endswith(after)):
                continue
            match = _TIME_PATTERN.fullmatch(name[len(before) : len(name) - len(after)])
            if match is None:
                continue
            with suppress(ValueError):
                time = datetime.strptime(match[1], _TIME).replace(tzinfo=None if rotation.localtime else UTC)
                yield time.timestamp() + int(match[2]) / 1000, path
