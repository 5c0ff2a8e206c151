"""The audit log: who decided what, in a file that cannot be changed without being seen to have been.

A line is a record: JSON in canonical form (sorted keys, no spaces; for what is in it the same as RFC 8785),
with the SHA-256 of the line before and, over all else of the record, its own. So no record can be changed,
removed or put in between, but for the last ones: a chain that was cut off at its end, or written anew as a
whole, is a good chain. What is missing there is seen only by somebody who remembers the head, the hash of the
last record. That is the anchor: keep it where those who can write the log cannot.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from otelprof.errors import PermanentError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

NO_HASH: Final = "0" * 64
"""What stands for the hash before that of the first record."""
MAX_LINE_BYTES: Final = 64 << 10
MAX_LOG_BYTES: Final = 64 << 20
_ATTEMPTS: Final = 5
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_ANCHOR: Final = re.compile(r"otelprof audit head: ([0-9]{1,9}) records?, sha256 ([0-9a-f]{64})\b")
_KEYS: Final = frozenset({"data", "event", "hash", "previous", "sequence", "time"})


@dataclass(frozen=True)
class Head:
    """How far a log goes.

    Attributes:
        records: how many it holds; None when only the hash is known.
        hash: of the last one; `NO_HASH` of an empty log.
    """

    records: int | None
    hash: str

    def __str__(self) -> str:
        noun = "record" if self.records == 1 else "records"
        return f"otelprof audit head: {self.records} {noun}, sha256 {self.hash}"

    @classmethod
    def parse(cls, text: str) -> Head:
        """Read an anchor: a hash, or a text with a line as `str` makes it, as a file or a tag's message.

        Raises:
            ValueError: there is none, or two that differ.
        """
        if _HASH.fullmatch(text.strip()):
            return cls(None, text.strip())
        found = {(int(records), sha256) for records, sha256 in _ANCHOR.findall(text)}
        if len(found) != 1:
            what = f"{len(found)} heads that differ" if found else "no head"
            message = (
                f"there is {what} in it: give 64 hexadecimal digits, or what `otelprof audit verify` prints"
            )
            raise ValueError(message)
        return cls(*found.pop())


@dataclass(frozen=True)
class Record:
    """One thing that happened.

    Attributes:
        sequence: 1 for the first.
        time: when it was written, UTC.
        event: what it was, as `override`.
        data: what there is to say of it: texts, whole numbers, null, and lists and mappings of these.
        previous: the hash of the record before.
        hash: its own.
    """

    sequence: int
    time: datetime
    event: str
    data: Mapping[str, Any]
    previous: str
    hash: str


@dataclass(frozen=True)
class Verified:
    """What a log holds.

    Attributes:
        records: those before the first that is wrong.
        line: the first that is wrong; None when all are right.
        problem: what is wrong with it.
    """

    records: tuple[Record, ...]
    line: int | None = None
    problem: str = ""

    @property
    def head(self) -> Head:
        """Of what is right."""
        return Head(len(self.records), self.records[-1].hash if self.records else NO_HASH)

    def missing(self, anchor: Head) -> str | None:
        """What the log lacks that the anchor knows of; None when it goes on from there."""
        hashes = [NO_HASH, *(record.hash for record in self.records)]
        if anchor.records is None:
            if anchor.hash in hashes:
                return None
            return f"the record with the hash {anchor.hash} is not there: cut off at its end, or written anew"
        if anchor.records >= len(hashes):
            held = len(self.records)
            return f"{anchor.records} records were anchored and {held} are there: it was cut off at its end"
        if hashes[anchor.records] != anchor.hash:
            found = hashes[anchor.records]
            return (
                f"record {anchor.records} was anchored as {anchor.hash} and is {found}: it was written anew"
            )
        return None


class Anchor(Protocol):
    """Where each record stands a second time, and cannot be replaced: `gate/anchor.py`."""

    def newest(self) -> int:
        """The number of the newest record; 0 when there is none."""

    def line(self, sequence: int) -> bytes:
        """A record, as it stands in the log."""

    def add(self, sequence: int, line: bytes) -> bool:
        """Put a record there; False when there is another one of this number."""


def verify(content: bytes) -> Verified:
    """The records of a log, up to the first line that is wrong."""
    records: list[Record] = []
    previous = NO_HASH
    lines = content.split(b"\n")
    for number, line in enumerate(lines, start=1):
        if number == len(lines):
            # What is behind the last line feed.
            problem = "it is torn: there is no line feed at its end" if line else ""
            return Verified(tuple(records), number if problem else None, problem)
        try:
            record = _parse(line)
            _check(record, line, number, previous)
        except (ValueError, RecursionError) as error:
            return Verified(tuple(records), number, str(error))
        records.append(record)
        previous = record.hash
    return Verified(tuple(records))


def read(path: Path) -> bytes:
    """A log as it is on disk; nothing when there is none yet.

    Raises:
        PermanentError: it cannot be read, or has more than `MAX_LOG_BYTES`.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_LOG_BYTES + 1)
    except FileNotFoundError:
        return b""
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror or error}"
        raise PermanentError(message) from error
    return _limited(content, path)


def append(  # noqa: PLR0913, PLR0917 - what a record is made of
    path: Path,
    event: str,
    data: Mapping[str, Any],
    now: datetime,
    unless: Callable[[Sequence[Record]], bool] | None = None,
    anchor: Anchor | None = None,
) -> Verified:
    """Write a record behind all others; it is on disk when this returns.

    Args:
        path: the log; begun when there is none.
        event: what happened.
        data: see `Record.data`.
        now: with a time zone.
        unless: says of the records that are there that nothing is to be added; nobody writes in between.
        anchor: gets the record before the log does. What it has and the log lacks is written to the log
            first: others appended it, or the log could not be written after it.

    Returns:
        The log as it is then.

    Raises:
        PermanentError: the log is broken or not the one that is anchored, or it cannot be written; nothing
            has changed then, but for what was anchored.
        UnavailableError: the anchor cannot be reached; the log has not changed.
    """
    with _locked(path) as descriptor:
        content = _limited(_whole(descriptor), path)
        found = verify(content)
        if found.line is not None:
            message = f"{path}, line {found.line}: {found.problem}; nothing is added to a log that is broken"
            raise PermanentError(message)
        for _ in range(_ATTEMPTS):
            if anchor is not None:
                found, content = _caught_up(descriptor, found, content, anchor, path)
            if unless is not None and unless(found.records):
                return found
            record = _record(event, data, now, found.head)
            line = _canonical(_fields(record)) + b"\n"
            if len(line) > MAX_LINE_BYTES or len(content) + len(line) > MAX_LOG_BYTES:
                message = f"{path}: a record has at most {MAX_LINE_BYTES} bytes, and a log {MAX_LOG_BYTES}"
                raise PermanentError(message)
            if anchor is None or anchor.add(record.sequence, line):
                _write(descriptor, line, len(content), path)
                return Verified((*found.records, record))
        message = f"{path}: {_ATTEMPTS} times somebody else appended a record first: try again"
        raise UnavailableError(message)


def anchored_head(anchor: Anchor) -> Head | None:
    """The newest record that is anchored; None when there is none.

    Raises:
        PermanentError: it is no record of that number.
        UnavailableError: the anchor cannot be reached.
    """
    newest = anchor.newest()
    return Head(newest, _anchored(anchor, newest).hash) if newest else None


def _anchored(anchor: Anchor, sequence: int) -> Record:
    """A record of the anchor, with the hash of what it holds.

    Raises:
        PermanentError: it is none.
    """
    line = anchor.line(sequence)
    try:
        record = _parse(line.removesuffix(b"\n"))
        _check(record, line.removesuffix(b"\n"), sequence, record.previous)
    except (ValueError, RecursionError) as error:
        message = f"record {sequence} of the anchor is none: {error}"
        raise PermanentError(message) from error
    return record


def _caught_up(
    descriptor: int, found: Verified, content: bytes, anchor: Anchor, path: Path
) -> tuple[Verified, bytes]:
    """The log with what the anchor knows of beyond it.

    Raises:
        PermanentError: the log does not go on from the anchor, nor the anchor from the log.
    """
    newest = anchor.newest()
    if newest and newest <= len(found.records):
        lack = found.missing(Head(newest, _anchored(anchor, newest).hash))
        if lack is not None:
            message = f"{path}: {lack}; nothing is added to a log that is not the one that is anchored"
            raise PermanentError(message)
    for sequence in range(len(found.records) + 1, newest + 1):
        record = _anchored(anchor, sequence)
        if record.previous != found.head.hash:
            message = (
                f"{path}: record {sequence} is anchored behind {record.previous}, and the log ends with"
                f" {found.head.hash}: it was written anew, or is another log"
            )
            raise PermanentError(message)
        line = _canonical(_fields(record)) + b"\n"
        _write(descriptor, line, len(content), path)
        content = _limited(content + line, path)
        found = Verified((*found.records, record))
    return found, content


def _parse(line: bytes) -> Record:
    """A record of a line.

    Raises:
        ValueError: it is none.
    """
    if len(line) > MAX_LINE_BYTES:
        message = f"it has more than {MAX_LINE_BYTES} bytes"
        raise ValueError(message)
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict) or fields.keys() != _KEYS:
        message = f"it is no JSON object with the keys {', '.join(sorted(_KEYS))}"
        raise ValueError(message)
    is_record = (
        type(fields["sequence"]) is int
        and isinstance(fields["data"], dict)
        and all(isinstance(fields[key], str) for key in ("event", "hash", "previous", "time"))
    )
    if not is_record:
        message = "a key of it has a value of another type"
        raise ValueError(message)
    return Record(**{**fields, "time": _time(fields["time"])})


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        message = f"its time {text!r} has no zone"
        raise ValueError(message)
    return time


def _check(record: Record, line: bytes, number: int, previous: str) -> None:
    """See that a record is what was written, in its place.

    Raises:
        ValueError: it is not.
    """
    if record.hash != _hash(record):
        message = "its hash is not that of what it holds: it was changed"
    elif line != _canonical(_fields(record)):
        message = "it is not in canonical form: it was changed, as by an editor or by other line ends"
    elif record.previous != previous:
        message = "its `previous` is not the hash of the line before: a line was removed, added or moved"
    elif record.sequence != number:
        message = f"its `sequence` is {record.sequence} on line {number}"
    else:
        return
    raise ValueError(message)


def _record(event: str, data: Mapping[str, Any], now: datetime, head: Head) -> Record:
    time = now.astimezone(UTC).replace(microsecond=0)
    unsigned = Record((head.records or 0) + 1, time, event, dict(data), head.hash, "")
    return Record(unsigned.sequence, time, event, unsigned.data, head.hash, _hash(unsigned))


def _fields(record: Record) -> dict[str, Any]:
    return {
        "data": record.data,
        "event": record.event,
        "hash": record.hash,
        "previous": record.previous,
        "sequence": record.sequence,
        "time": record.time.isoformat(),
    }


def _hash(record: Record) -> str:
    fields = _fields(record)
    del fields["hash"]
    return hashlib.sha256(_canonical(fields)).hexdigest()


def _canonical(fields: Mapping[str, Any]) -> bytes:
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """The log, for reading and appending, while nobody else does that.

    Raises:
        PermanentError: it cannot be opened.
    """
    try:
        # A link could lead to a file of somebody else's.
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o644)
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror or error}"
        raise PermanentError(message) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)  # and with it the lock


def _whole(descriptor: int) -> bytes:
    os.lseek(descriptor, 0, os.SEEK_SET)
    parts: list[bytes] = []
    size = 0
    while size <= MAX_LOG_BYTES and (part := os.read(descriptor, 1 << 20)):
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def _write(descriptor: int, line: bytes, before: int, path: Path) -> None:
    """Append a line as a whole, or leave the log as it was.

    Raises:
        PermanentError: the disk does not take it.
    """
    try:
        written = os.write(descriptor, line)
        if written != len(line):
            message = "the disk is full"
            raise OSError(message)  # noqa: TRY301 - a short write is handled as every other failure
        os.fsync(descriptor)
        _sync_folder(path)
    except OSError as error:
        os.ftruncate(descriptor, before)
        message = f"{path} cannot be written: {error.strerror or error}"
        raise PermanentError(message) from error


def _sync_folder(path: Path) -> None:
    """Have the disk confirm that the file is there, and not only what is in it."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _limited(content: bytes, path: Path) -> bytes:
    if len(content) > MAX_LOG_BYTES:
        message = f"{path} has more than {MAX_LOG_BYTES} bytes: begin a new log, and keep this one"
        raise PermanentError(message)
    return content
