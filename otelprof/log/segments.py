"""Where the bodies of the durable log's requests are: files beside `queue.db`, which are only appended to.

    append ─► the last segment ─► full ─► confirmed, with queue.db ─► a new one
                                    └─► nothing in it is outstanding ─► removed, or the next one

What is in a segment `queue.db` knows alone: which requests, where, and the checksum of each. So a body is
written before the transaction that names its place, and one that no transaction names is never read. No run
appends to a segment of another. Of a segment that is removed the file may become the next one.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

SEGMENT_BYTES: Final = 16 << 20
"""A segment takes nothing more when it is as large as this; its last body may reach beyond."""
# Waste that is let be: below it nothing is copied to give room back.
_MAX_WASTE_BYTES: Final = 128 << 20
_NAME: Final = re.compile(r"queue-(\d{1,18})\.segment")
_PRIVATE: Final = 0o600


class Place(NamedTuple):
    """Where a body is.

    Attributes:
        segment: the number of the file.
        position: of its first byte.
        size: in bytes.
    """

    segment: int
    position: int
    size: int


def segment_files(directory: Path) -> dict[int, Path]:
    """The segments that are in a directory, by number."""
    names = ((_NAME.fullmatch(path.name), path) for path in directory.iterdir())
    return {int(match[1]): path for match, path in names if match}


class Segments:
    """The segments of a directory. Not safe for several threads: the journal's lock is held.

    Args:
        directory: of `queue.db`.
        fsync: have the disk confirm each body.
    """

    def __init__(self, directory: Path, *, fsync: bool) -> None:
        self._directory = directory
        self._fsync = fsync
        self._descriptor: int | None = None
        # Of the last segment, to which bodies are appended; it is none of those that are there.
        self._number = max(segment_files(directory), default=0)
        self._size_bytes = 0
        # The disk has confirmed that it is there.
        self._is_named = False
        # Of each segment: its size, and the bytes of what is outstanding in it.
        self._sizes: dict[int, int] = {}
        # A file that holds nothing outstanding, for the next segment: its room need not be had anew.
        self._spare: Path | None = None
        self._live_bytes: dict[int, int] = {}

    @property
    def is_full(self) -> bool:
        """The last segment takes nothing more: it is to be confirmed, and left."""
        return self._size_bytes >= SEGMENT_BYTES

    @property
    def is_in_use(self) -> bool:
        """The last segment holds something that is outstanding, or is new."""
        return not self._size_bytes or self._live_bytes[self._number] > 0

    @property
    def size_bytes(self) -> int:
        """What all of them take on the disk."""
        return sum(self._sizes.values())

    def adopt(self, places: Iterable[Place]) -> None:
        """Know what is there, of which these are outstanding, and have the disk confirm them.

        The run that wrote them may have ended before it did.

        Raises:
            OSError: it does not, or the directory cannot be read.
        """
        files = segment_files(self._directory)
        self._sizes = {number: path.stat().st_size for number, path in files.items()}
        self._live_bytes = dict.fromkeys(self._sizes, 0)
        self._number = max(self._sizes, default=self._number)
        for place in places:
            self._live_bytes.setdefault(place.segment, 0)
            self._number = max(self._number, place.segment)
            self.hold(place)
        for number, size in self._live_bytes.items():
            if size:
                # One that is not there holds what everybody has passed: all else was read before.
                with suppress(FileNotFoundError):
                    _sync(self._path(number))
        if any(self._live_bytes.values()):
            _sync(self._directory)

    def append(self, bodies: Collection[bytes]) -> list[Place]:
        """Write bodies, each in one piece, and where `fsync` is on wait until the disk has them.

        Raises:
            OSError: not all were written. Of what was, nothing may be named.
        """
        if not bodies:
            return []
        descriptor = self._begin() if self._descriptor is None else self._descriptor
        places = []
        position = self._size_bytes
        for body in bodies:
            _write(descriptor, body, position)
            places.append(Place(self._number, position, len(body)))
            position += len(body)
        if self._fsync:
            self._sync()
        # Whatever becomes of the transaction that names them: these places are taken.
        self._sizes[self._number] = self._size_bytes = position
        return places

    def hold(self, place: Place) -> None:
        """A body is outstanding: its segment stays."""
        self._live_bytes[place.segment] += max(place.size, 1)

    def release(self, place: Place) -> None:
        """It is not any more."""
        self._live_bytes[place.segment] -= max(place.size, 1)

    def read(self, place: Place) -> bytes | None:
        """A body; None when not all of it is there. Whether it is as it was written is for who asks."""
        number, position, size = place
        try:
            descriptor = os.open(self._path(number), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            if not 0 <= position <= os.fstat(descriptor).st_size - size:
                return None
            body = os.pread(descriptor, size, position)
        except (OSError, ValueError):
            return None
        finally:
            os.close(descriptor)
        return body if len(body) == size else None

    def confirm(self) -> None:
        """Wait until the disk has all that is outstanding of the last segment.

        Raises:
            OSError: it does not.
        """
        if not self._fsync and self._live_bytes.get(self._number):
            self._sync()

    def leave(self) -> None:
        """Append nothing more to the last segment. Safe where there is none."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
            self._size_bytes = 0

    @property
    def dead(self) -> list[int]:
        """Those that hold nothing outstanding, the last one only when it is left."""
        last = self._number if self._descriptor is not None else None
        return [number for number, size in self._live_bytes.items() if not size and number != last]

    @property
    def sparse(self) -> list[int]:
        """Those whose outstanding bodies are to be copied, so that the disk holds little else."""
        waste_bytes = self.size_bytes - sum(self._live_bytes.values())
        most_bytes = max(_MAX_WASTE_BYTES, sum(self._live_bytes.values()))
        found = []
        for number in sorted(self._sizes, key=lambda one: self._live_bytes[one]):
            if waste_bytes <= most_bytes:
                break
            if number != self._number:
                found.append(number)
                waste_bytes -= self._sizes[number] - self._live_bytes[number]
        return found

    def remove_dead(self) -> None:
        """Remove what holds nothing outstanding; what cannot be removed now is the next time.

        Only when the disk has confirmed that nothing in them is: a power cut would bring it back otherwise.
        """
        for number in self.dead:
            path = self._path(number)
            with suppress(OSError):
                if self._spare is None and SEGMENT_BYTES <= self._sizes.get(number, 0) <= 2 * SEGMENT_BYTES:
                    self._spare = path
                else:
                    path.unlink(missing_ok=True)
                del self._live_bytes[number]
                self._sizes.pop(number, None)

    def remove_spare(self) -> None:
        """Give up the file that is kept for the next segment."""
        if self._spare is not None:
            with suppress(OSError):
                self._spare.unlink(missing_ok=True)
            self._spare = None

    def _begin(self) -> int:
        number = self._number + 1
        path = self._path(number)
        spare, self._spare = self._spare, None
        if spare is not None:
            with suppress(FileNotFoundError):
                spare.rename(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, _PRIVATE)
        self._descriptor, self._number, self._size_bytes = descriptor, number, 0
        self._sizes[number] = self._live_bytes[number] = 0
        self._is_named = False
        return descriptor

    def _sync(self) -> None:
        if self._descriptor is None:
            return
        os.fdatasync(self._descriptor)
        if not self._is_named:
            _sync(self._directory)
            self._is_named = True

    def _path(self, number: int) -> Path:
        return self._directory / f"queue-{number:08}.segment"


def _write(descriptor: int, body: bytes, position: int) -> None:
    written = os.pwrite(descriptor, body, position)
    while written < len(body):
        written += os.pwrite(descriptor, memoryview(body)[written:], position + written)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
