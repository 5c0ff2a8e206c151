"""A socket in the file system that is its owner's alone, from the moment it is there."""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_OWNER_ONLY: Final = 0o177
"""What a mask takes away from a socket, so that 0600 is left."""
_ANSWER_SECS: Final = 1.0


def make_room(path: Path) -> None:
    """Remove a socket that a process left behind.

    Raises:
        OSError: the folder is not there or not to be written to, somebody answers on the socket, or something
            else is at the path. Says which.
    """
    if not path.parent.is_dir():
        message = f"the folder {path.parent} is not there: create it, for otelprof's user alone"
        raise NotADirectoryError(errno.ENOTDIR, message)
    if not os.access(path.parent, os.W_OK | os.X_OK):
        message = f"the folder {path.parent} cannot be written to: give it to otelprof's user"
        raise PermissionError(errno.EACCES, message)
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        message = f"{path} is no socket, and is not touched: remove it, or choose another path"
        raise FileExistsError(errno.EEXIST, message)
    if _is_answered(path):
        message = f"another process answers on {path}: stop it, or choose another path"
        raise FileExistsError(errno.EADDRINUSE, message)
    path.unlink()


@contextmanager
def owner_only() -> Iterator[None]:
    """What is created meanwhile is its owner's alone, sockets included.

    The mask is the process's: a file that another thread creates in these microseconds has fewer rights than
    it would have, never more.
    """
    before = os.umask(_OWNER_ONLY)
    try:
        yield
    finally:
        os.umask(before)


def _is_answered(path: Path) -> bool:
    """Whether a process listens; one that is too busy to say so does.

    Raises:
        OSError: that cannot be found out.
    """
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_ANSWER_SECS)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
        except (TimeoutError, BlockingIOError):
            return True
    return True
