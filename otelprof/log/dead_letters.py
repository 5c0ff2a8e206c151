"""Requests of a queue on disk that could not be delivered, kept aside with the reason: a folder.

Two files a request: `ID.otlp.zst`, which `otelprof inspect` reads, and `ID.json`, which says what it is. The
second makes it a dead letter: it is written last and removed first. Its name becomes `ID.retry` when the
request is to be tried again. Whoever may write the folder may do that, and the running otelprof sees it.
"""

from __future__ import annotations

import os
import re
import secrets
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from otelprof.errors import PermanentError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FOLDER_NAME: Final = "dead_letters"
_PRIVATE: Final = 0o600
_PRIVATE_FOLDER: Final = 0o700
_TIME: Final = "%Y%m%dT%H%M%S.%f"
_NAME: Final = re.compile(r"(\d{8}T\d{6}\.\d{6}-[0-9a-f]{8})\.(json|retry|otlp\.zst)")
_BODY: Final = "otlp.zst"
# What a small file takes on a disk; it keeps many small letters within the bound, too.
_BLOCK_BYTES: Final = 4096
_MAX_LETTER_BYTES: Final = 64 << 10
_LEVEL: Final = 1


class DeadLetter(BaseModel):
    """What is known of a request that was kept aside.

    Attributes:
        exporter: the id of the one that could not deliver it.
        reason: the far side, or the exporter, refused it for good; or otelprof ended in the middle of it.
        error_type: the class of the error; empty for a crash.
        message: of the error, on one line, cut.
        first_attempt: when it was first tried by the process that gave it up, or that crashed.
        last_attempt: when it was last tried.
        attempts: how often, in that process; for a crash how often one ended in it.
        samples: how many it holds.
    """

    model_config = ConfigDict(frozen=True)

    exporter: str
    reason: Literal["permanent_error", "crashed"]
    error_type: str = ""
    message: str
    first_attempt: datetime
    last_attempt: datetime
    attempts: int = Field(ge=0)
    samples: int = Field(ge=0)


@dataclass(frozen=True)
class Kept:
    """A dead letter in the folder.

    Attributes:
        id: its name.
        kept_at: when it came here, seconds since the UNIX epoch.
        size_bytes: what both files take.
        to_retry: it is to be tried again.
    """

    id: str
    kept_at: float
    size_bytes: int
    to_retry: bool = False


class DeadLetters:
    """The folder. Several processes may read it and take letters away; only the log adds to it.

    Args:
        folder: where it is; made by the first letter.
        fsync: have the disk confirm what is added.
    """

    def __init__(self, folder: Path, *, fsync: bool = False) -> None:
        self.folder = folder
        self._fsync = fsync

    def add(self, letter: DeadLetter, body: bytes, at: float) -> Kept:
        """Keep a request, in OTLP, from now on.

        Raises:
            OSError: it cannot be written; nothing of it is left.
        """
        import zstandard  # noqa: PLC0415 - most never need it

        self.folder.mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)
        moment = datetime.fromtimestamp(at, UTC)
        id_ = f"{moment:{_TIME}}-{secrets.token_hex(4)}"
        compressed = zstandard.compress(body, _LEVEL)
        text = f"{letter.model_dump_json(indent=2)}\n".encode()
        new = self.folder / f"{id_}.new"
        try:
            self._write(self._path(id_, _BODY), compressed)
            self._write(new, text)
            new.rename(self._path(id_, "json"))
            self._sync_folder()
        except OSError:
            for path in (self._path(id_, "json"), new, self._path(id_, _BODY)):
                with suppress(OSError):
                    path.unlink(missing_ok=True)
            raise
        return Kept(id_, at, _on_disk(len(compressed)) + _on_disk(len(text)))

    def all(self) -> list[Kept]:
        """What is in the folder, the oldest first."""
        sizes: dict[str, dict[str, int]] = {}
        for id_, ending, size_bytes in self._files():
            sizes.setdefault(id_, {})[ending] = size_bytes
        found = []
        for id_, endings in sorted(sizes.items()):
            if endings.keys() & {"json", "retry"}:
                size_bytes = sum(map(_on_disk, endings.values()))
                found.append(Kept(id_, _kept_at(id_), size_bytes, "retry" in endings))
        return found

    def find(self, id_: str) -> Kept:
        """One of them, by its name or the beginning of it.

        Raises:
            PermanentError: there is none, or more than one.
        """
        found = [one for one in self.all() if one.id.startswith(id_)]
        if len(found) != 1:
            what = f"{len(found)} dead letters begin with" if found else "there is no dead letter"
            message = f"{what} {id_!r} in {self.folder}; `otelprof deadletter list` names them"
            raise PermanentError(message)
        return found[0]

    def read(self, kept: Kept) -> DeadLetter:
        """What is known of one.

        Raises:
            PermanentError: it is gone, or cannot be read.
        """
        path = self._sidecar(kept)
        try:
            with path.open("rb") as file:
                return DeadLetter.model_validate_json(file.read(_MAX_LETTER_BYTES))
        except (OSError, ValidationError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not what otelprof wrote"
            message = f"{path} cannot be read: {reason}"
            raise PermanentError(message) from error

    def body_path(self, kept: Kept) -> Path:
        """The file with the request."""
        return self._path(kept.id, _BODY)

    def retry(self, kept: Kept) -> Kept:
        """Have it tried again by the otelprof that has the folder, now or when it starts.

        Raises:
            PermanentError: it is gone, or the folder cannot be written.
        """
        return self._rename(kept, to_retry=True)

    def give_back(self, kept: Kept) -> Kept:
        """Have it tried no more.

        Raises:
            PermanentError: it is gone, or the folder cannot be written.
        """
        return self._rename(kept, to_retry=False)

    def remove(self, kept: Kept) -> bool:
        """Remove one; False when somebody else did.

        Raises:
            PermanentError: the folder cannot be written.
        """
        try:
            gone = [self._unlinked(kept.id, ending) for ending in ("json", "retry", _BODY)]
        except OSError as error:
            message = f"{self._sidecar(kept)} cannot be removed: {error.strerror}"
            raise PermanentError(message) from error
        return any(gone)

    def remove_leftovers(self) -> None:
        """Remove what a crash left half written. For the log alone, while nothing is added."""
        letters = {one.id for one in self.all()}
        with suppress(OSError):
            for id_, ending, _ in self._files():
                if ending == _BODY and id_ not in letters:
                    self._path(id_, ending).unlink(missing_ok=True)
            for path in self.folder.glob("*.new"):
                path.unlink(missing_ok=True)

    def _files(self) -> Iterator[tuple[str, str, int]]:
        """Of each file the name, the ending and the size."""
        try:
            entries = list(os.scandir(self.folder))
        except OSError:
            return
        for entry in entries:
            match = _NAME.fullmatch(entry.name)
            # What cannot be looked at is gone, and what is of no time is not ours.
            with suppress(OSError, ValueError):
                if match is not None and _kept_at(match[1]):
                    yield match[1], match[2], entry.stat(follow_symlinks=False).st_size

    def _rename(self, kept: Kept, *, to_retry: bool) -> Kept:
        if kept.to_retry == to_retry:
            return kept
        renamed = replace(kept, to_retry=to_retry)
        try:
            self._sidecar(kept).rename(self._sidecar(renamed))
        except OSError as error:
            message = f"{self._sidecar(kept)} cannot be renamed: {error.strerror}"
            raise PermanentError(message) from error
        return renamed

    def _sidecar(self, kept: Kept) -> Path:
        return self._path(kept.id, "retry" if kept.to_retry else "json")

    def _path(self, id_: str, ending: str) -> Path:
        return self.folder / f"{id_}.{ending}"

    def _unlinked(self, id_: str, ending: str) -> bool:
        try:
            self._path(id_, ending).unlink()
        except FileNotFoundError:
            return False
        return True

    def _write(self, path: Path, content: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, _PRIVATE), "wb") as file:
            file.write(content)
            if self._fsync:
                file.flush()
                os.fsync(file.fileno())

    def _sync_folder(self) -> None:
        if not self._fsync:
            return
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _kept_at(id_: str) -> float:
    """When a letter of a name was kept.

    Raises:
        ValueError: the name says no time.
    """
    return datetime.strptime(id_.partition("-")[0], _TIME).replace(tzinfo=UTC).timestamp()


def _on_disk(size_bytes: int) -> int:
    return -(-size_bytes // _BLOCK_BYTES) * _BLOCK_BYTES
