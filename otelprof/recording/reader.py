"""Reads profiles from files, in every format that otelprof knows, told by what they hold, not by their names.

In this order, in which nothing can be taken for something else:

1. gzip or zstd, by magic number: what is in it is looked at in its place
2. length-delimited records: the first byte is below 8 (`framing.py`)
3. JSON: the first character is `{`; one request, or one a line
4. folded stacks: text whose first line ends in a number
5. pprof: protobuf with field 6 (`string_table`), which OTLP lacks
6. OTLP: other protobuf
"""

from __future__ import annotations

import io
import re
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, BinaryIO, Final

from otelprof._core import Limits, Profiles, inflate, length_delimited_fields
from otelprof.errors import InvalidRequestError, PermanentError, RequestTooLargeError
from otelprof.recording.framing import FIRST_BYTES, Frames

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_REQUEST_BYTES: Final = 256 << 20
"""One request, inflated; files that are no sequence of requests are one request."""

LIMITS: Final = Limits(max_body_bytes=MAX_REQUEST_BYTES)

_MAGIC: Final = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd")
_JFR_MAGIC: Final = b"FLR\0"
JFR: Final = (
    "Java Flight Recorder's format is not read: convert it with async-profiler's jfrconv, as"
    " `jfrconv --cpu recording.jfr cpu.pb.gz` (or --alloc, --wall, --lock), and give that file"
)
"""What to do with a recording of Java Flight Recorder."""
_OTLP_SUFFIXES: Final = (".otlp", ".pb")
_HEAD_BYTES: Final = 4096
_FOLDED: Final = re.compile(rb"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]+ -?[0-9]+")
_PPROF_STRING_TABLE: Final = 6


class Format(StrEnum):
    """What a file holds."""

    OTLP = "OTLP"
    OTLP_RECORDS = "OTLP records"
    OTLP_JSON = "OTLP/JSON"
    PPROF = "pprof"
    FOLDED = "folded stacks"


@dataclass(frozen=True)
class Record:
    """One request of a file.

    Attributes:
        format: how `body` is to be read: `OTLP`, `OTLP_JSON`, `PPROF` or `FOLDED`.
        body: not compressed, but for an OTLP body that was when it was recorded.
        stored_bytes: what it takes in the file.
    """

    format: Format
    body: bytes
    stored_bytes: int

    def decode(self) -> Profiles:
        """Read it.

        Raises:
            PermanentError: it is damaged, or over a limit.
        """
        match self.format:
            case Format.PPROF:
                return Profiles.from_pprof(self.body, LIMITS)
            case Format.FOLDED:
                return Profiles.from_folded(self.body, LIMITS)
            case Format.OTLP_JSON:
                return Profiles.from_json(self.body, LIMITS)
            case _:
                return Profiles.decode(self.body, LIMITS)


@dataclass
class Recording:
    """The requests of one file, read as they are asked for.

    Attributes:
        format: what the file holds; known when it was opened.
        records: what `iter` gives.
        torn_bytes: what is behind the last whole record at the end; known when all was read.
    """

    format: Format
    records: Iterator[Record] = field(default_factory=lambda: iter(()), repr=False)
    torn_bytes: int = 0

    def __iter__(self) -> Iterator[Record]:
        """Each request, in the order of the file. Memory: one request.

        Raises:
            OSError: the file cannot be read.
            RequestTooLargeError: a line of JSON is longer than `MAX_REQUEST_BYTES`.
        """
        return self.records


@contextmanager
def open_recording(path: Path) -> Iterator[Recording]:
    """The requests of a file.

    Raises:
        OSError: it cannot be read.
        InvalidRequestError: it is in no format that is known; says which were tried.
        RequestTooLargeError: it holds more than `MAX_REQUEST_BYTES` where it has to be read as a whole.
    """
    with path.open("rb") as file:
        head = file.peek(_HEAD_BYTES)[:_HEAD_BYTES]
        if not head.startswith(_MAGIC):
            yield _recording(file, head, path.name)
            return
        stored = _whole(file)
        content = inflate(stored, MAX_REQUEST_BYTES)
        recording = _recording(io.BytesIO(content), content[:_HEAD_BYTES], path.name)
        if recording.format is Format.OTLP:
            # A compressed body of a request goes on as it was recorded.
            recording = Recording(Format.OTLP, iter([Record(Format.OTLP, stored, len(stored))]))
        elif recording.format in {Format.PPROF, Format.FOLDED}:
            recording.records = (replace(record, stored_bytes=len(stored)) for record in recording.records)
        yield recording


def _recording(file: BinaryIO, head: bytes, name: str) -> Recording:
    if head.startswith(_JFR_MAGIC):
        raise InvalidRequestError(JFR)
    if head[:1] and head[:1] in FIRST_BYTES:
        return _framed(file)
    if head.lstrip()[:1] == b"{":
        return _json(file)
    body = _whole(file)
    try:
        kind = format_of(body)
    except InvalidRequestError:
        # A damaged request is told by where the damage is, when its name says what it should have been.
        if not name.endswith(_OTLP_SUFFIXES):
            raise
        kind = Format.OTLP
    return Recording(kind, iter([Record(kind, body, len(body))]))


def format_of(body: bytes) -> Format:
    """What one request, not compressed, is written in; nothing at all is an OTLP request without Profiles.

    Raises:
        InvalidRequestError: in no format that is known.
    """
    if body.lstrip()[:1] == b"{":
        return Format.OTLP_JSON
    if _is_folded(body):
        return Format.FOLDED
    fields = length_delimited_fields(body)
    if fields is None:
        message = (
            "it is in no format that is known; tried: length-delimited records, OTLP/JSON, folded stacks, "
            "pprof, OTLP; plain, gzip or zstd"
        )
        raise InvalidRequestError(message)
    return Format.PPROF if _PPROF_STRING_TABLE in fields else Format.OTLP


def _is_folded(body: bytes) -> bool:
    first = next((line for line in io.BytesIO(body[:_HEAD_BYTES]) if line.strip()), b"")
    # A first line that is longer than what is looked at ends in no number.
    long = len(first) == _HEAD_BYTES and b"\n" in body
    line = body[: body.index(b"\n")] if long else first
    return _FOLDED.fullmatch(line.strip()) is not None


def _framed(file: BinaryIO) -> Recording:
    recording = Recording(Format.OTLP_RECORDS)

    def records() -> Iterator[Record]:
        frames = Frames(file)
        for stored in frames:
            yield _record(stored)
        recording.torn_bytes = frames.torn_bytes

    recording.records = records()
    return recording


def _record(stored: bytes) -> Record:
    try:
        body = inflate(stored, MAX_REQUEST_BYTES) if stored.startswith(_MAGIC) else stored
        return Record(format_of(body), body, len(stored))
    except PermanentError:
        # One damaged record does not hide those behind it: to decode this one will say what is wrong with it.
        return Record(Format.OTLP, stored, len(stored))


def _json(file: BinaryIO) -> Recording:
    """One request a line; or one that is all of the file, when its first line is no whole object.

    A line that ends in `}` is whole unless the next one goes on with `,`, `]` or `}`.
    """
    recording = Recording(Format.OTLP_JSON)

    def records() -> Iterator[Record]:
        line, following = _line(file), _line(file)
        if not line.rstrip().endswith(b"}") or following.strip()[:1] not in {b"", b"{"}:
            body = _limited(line + following + file.read(MAX_REQUEST_BYTES + 1))
            yield Record(Format.OTLP_JSON, body, len(body))
            return
        while line:
            if not line.endswith((b"\n", b"}")):
                recording.torn_bytes = len(line)
                return
            if line.strip():
                yield Record(Format.OTLP_JSON, line, len(line))
            line, following = following, _line(file)

    recording.records = records()
    return recording


def _line(file: BinaryIO) -> bytes:
    return _limited(file.readline(MAX_REQUEST_BYTES + 1))


def _whole(file: BinaryIO) -> bytes:
    return _limited(file.read(MAX_REQUEST_BYTES + 1))


def _limited(body: bytes) -> bytes:
    if len(body) > MAX_REQUEST_BYTES:
        message = f"one request of it has more than {MAX_REQUEST_BYTES} bytes: it cannot be read as a whole"
        raise RequestTooLargeError(message)
    return body
