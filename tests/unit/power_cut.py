"""What a disk has confirmed: the bytes of files as they were when they were last synced.

SQLite's own way to the system (its VFS) is changed for a while: each file it opens tells when it is synced.
What Python syncs is told by `os`; of these files also the name must have been, by a sync of the folder.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_Sync: Final = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
_Open: Final = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p
)
# Of sqlite3_io_methods: a version, then 18 functions, of which xSync is the fifth.
_METHODS: Final = 19
_SYNC: Final = 5
_Methods: Final = ctypes.c_void_p * _METHODS


class _Vfs(ctypes.Structure):
    """The beginning of sqlite3_vfs."""

    _fields_ = (
        ("version", ctypes.c_int),
        ("file_bytes", ctypes.c_int),
        ("max_path", ctypes.c_int),
        ("next", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("app_data", ctypes.c_void_p),
        ("open", ctypes.c_void_p),
    )


class Disk:
    """Keeps the content of each file as of its last sync."""

    def __init__(self) -> None:
        self.confirmed: dict[Path, bytes] = {}
        """By path; a file that was never synced is not there."""
        self._of_python: dict[Path, bytes] = {}
        """What becomes confirmed with the name of the file."""
        self._alive: list[Any] = []

    def after_cut(self, folder: Path, target: Path) -> None:
        """Write what is left of a folder's files into another folder; what was removed is not there."""
        for path, content in self.confirmed.items():
            if path.parent == folder and path.exists():
                (target / path.name).write_bytes(content)

    def synced(self, descriptor: int) -> None:
        """Python has synced a file, or a folder."""
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.is_dir():
            self.confirmed |= {file: data for file, data in self._of_python.items() if file.parent == path}
            return
        self._of_python[path] = path.read_bytes()
        if path in self.confirmed:
            self.confirmed[path] = self._of_python[path]

    def watch(self, file: int, path: Path) -> None:
        """Have a file tell when it is synced; `file` is SQLite's, just opened."""
        place = ctypes.c_void_p.from_address(file)
        if not place.value:
            return
        if not path.stat().st_size:
            # A new file in the place of one that was removed.
            self.confirmed.pop(path, None)
        methods = _Methods.from_address(place.value)
        original = _Sync(methods[_SYNC] or 0)

        def sync(file: int, flags: int) -> int:
            result = int(original(file, flags))
            if path.exists():
                self.confirmed[path] = path.read_bytes()
            return result

        replaced, callback = _Methods(*methods), _Sync(sync)
        replaced[_SYNC] = ctypes.cast(callback, ctypes.c_void_p).value
        self._alive += [replaced, callback]
        place.value = ctypes.addressof(replaced)


@contextmanager
def watched() -> Iterator[Disk]:
    """A disk that knows what it is made to confirm of the files that are opened inside."""
    library = ctypes.CDLL(_sqlite3.__file__)
    library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
    vfs = library.sqlite3_vfs_find(None).contents
    disk, original, address = Disk(), _Open(vfs.open), vfs.open

    # The name is passed on as it is: SQLite keeps the pointer.
    def open_(vfs: int, name: int | None, file: int, flags: int, out_flags: int) -> int:
        result = int(original(vfs, name, file, flags, out_flags))
        if name is not None:
            disk.watch(file, Path(ctypes.string_at(name).decode()))
        return result

    def told(sync: Callable[[int], None]) -> Callable[[int], None]:
        def synced(descriptor: int) -> None:
            sync(descriptor)
            disk.synced(descriptor)

        return synced

    callback = _Open(open_)
    vfs.open = ctypes.cast(callback, ctypes.c_void_p).value
    try:
        with (
            patch.object(os, "fsync", told(os.fsync)),
            patch.object(os, "fdatasync", told(os.fdatasync)),
        ):
            yield disk
    finally:
        vfs.open = address
