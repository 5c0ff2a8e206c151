"""What a file holds is told from its bytes, and one that is damaged is read as far as it goes."""

from __future__ import annotations

import gzip
import re
from typing import TYPE_CHECKING

import pytest
import zstandard

from otelprof._core import Profiles
from otelprof.errors import InvalidRequestError, PermanentError, RequestTooLargeError
from otelprof.recording import reader
from otelprof.recording.framing import framed
from otelprof.recording.reader import Format, Record, format_of, open_recording
from otelprof.testing.contract import small_profiles
from tests.recordings import OWN, SHARED, name, old_recordings, recordings

if TYPE_CHECKING:
    from pathlib import Path

BODY = small_profiles().to_otlp()
FOLDED = b"main;run;leaf 3\nmain;other 2\n"
BENCH = sorted((SHARED.parent / "bench").rglob("*.pb"))
PPROF = sorted({*(OWN / "pprof").rglob("*.pb.gz"), *(SHARED.parent / "pprof").rglob("*.pb.gz")})


def read(path: Path) -> tuple[Format, list[Record], int]:
    """The format of a file, its records, and the bytes of its torn end."""
    with open_recording(path) as recording:
        records = list(recording)
        return recording.format, records, recording.torn_bytes


def written(folder: Path, content: bytes, name: str = "recording") -> Path:
    """A file of a name that says nothing."""
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("path", [*recordings(), *old_recordings(), *BENCH], ids=name)
def test_otlp(path: Path) -> None:
    """Every recorded request is OTLP, and comes out byte for byte; OTLP of any age is not taken for pprof."""
    body = path.read_bytes()
    if "sig-profiling-k8s" in path.stem:  # a stream of a test that is longer than a record may be
        return
    assert (Format.OTLP, [Record(Format.OTLP, body, len(body))], 0) == read(path)


@pytest.mark.parametrize("path", PPROF, ids=name)
def test_pprof(path: Path) -> None:
    """Every recorded pprof is pprof, whatever its name, compressed or not."""
    content = (
        gzip.decompress(path.read_bytes()) if path.read_bytes()[:2] == b"\x1f\x8b" else path.read_bytes()
    )
    kind, (record,), torn_bytes = read(path)
    assert (Format.PPROF, content, 0) == (kind, record.body, torn_bytes)
    assert Format.PPROF == format_of(content)


def test_pprof_is_decoded() -> None:
    """A pprof is decoded as a pprof."""
    path = PPROF[0]
    _, (record,), _ = read(path)
    assert Profiles.from_pprof(path.read_bytes()).to_otlp() == record.decode().to_otlp()


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstandard.ZstdCompressor().compress])
def test_folded(tmp_path: Path, compress: object) -> None:
    """Folded stacks are text whose first line ends in a number, also behind a first line of any length."""
    for text in (
        FOLDED,
        b"\n" + FOLDED,
        b"main;" * 2000 + b"x 1\n" + FOLDED,
        b"main 1",
        "größe;日本 4".encode(),
    ):
        kind, (record,), _ = read(written(tmp_path, compress(text)))  # type: ignore[operator]
        assert (Format.FOLDED, text) == (kind, record.body)
        assert record.stored_bytes == (tmp_path / "recording").stat().st_size
        assert record.decode().sample_count > 0


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.ZstdCompressor().compress])
def test_compressed_otlp(tmp_path: Path, compress: object) -> None:
    """A compressed request goes on as it was recorded, and is read."""
    stored = compress(BODY)  # type: ignore[operator]
    kind, (record,), _ = read(written(tmp_path, stored))
    assert (Format.OTLP, stored) == (kind, record.body)
    assert BODY == record.decode().to_otlp()


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_flight_recordings(tmp_path: Path, compress: object) -> None:
    """A recording of Java Flight Recorder is told by its magic number, and it is said how to convert it."""
    recorded = sorted((SHARED.parent / "pprof").rglob("*.jfr"))
    for content in (b"FLR\0\0\x02\0\0" + bytes(60), *(path.read_bytes() for path in recorded)):
        path = written(tmp_path, compress(content), "cpu.jfr")  # type: ignore[operator]
        with pytest.raises(InvalidRequestError, match="jfrconv --cpu"):
            read(path)


def test_nothing(tmp_path: Path) -> None:
    """An empty file is a request without Profiles, as it is on the wire."""
    kind, (record,), _ = read(written(tmp_path, b""))
    assert (Format.OTLP, 0) == (kind, record.decode().profile_count)


def test_records(tmp_path: Path) -> None:
    """Records may be compressed one by one, and in a file that is compressed as a whole."""
    stored = framed(BODY) + framed(zstandard.ZstdCompressor().compress(BODY)) + framed(gzip.compress(BODY))
    for content in (stored, gzip.compress(stored)):
        kind, records, torn_bytes = read(written(tmp_path, content))
        assert (Format.OTLP_RECORDS, [BODY] * 3, 0) == (kind, [one.body for one in records], torn_bytes)


def test_torn_records(tmp_path: Path) -> None:
    """The records before a torn one are read, and it is counted."""
    whole = framed(BODY) * 3
    _, records, torn_bytes = read(written(tmp_path, whole[:-5]))
    assert (2, len(framed(BODY)) - 5) == (len(records), torn_bytes)


def test_a_damaged_record_hides_no_other(tmp_path: Path) -> None:
    """A record that cannot be read says so when it is decoded, and those behind it are read."""
    damaged = zstandard.ZstdCompressor().compress(BODY)[:-3]
    _, records, torn_bytes = read(
        written(tmp_path, framed(BODY) + framed(damaged) + framed(b"?!") + framed(BODY))
    )
    assert (4, 0) == (len(records), torn_bytes)
    for record in records[1:3]:
        with pytest.raises(PermanentError):
            record.decode()
    assert [BODY, BODY] == [records[place].decode().to_otlp() for place in (0, 3)]


JSON_LINE = b'{"resourceProfiles": [{"a": "}"}], "dictionary": {}}'
PRETTY = b'{\n  "resourceProfiles": [\n    {}\n  ],\n  "dictionary": {}\n}\n'


@pytest.mark.parametrize(
    ("content", "bodies", "torn_bytes"),
    [
        (JSON_LINE, [JSON_LINE], 0),
        (JSON_LINE + b"\n", [JSON_LINE + b"\n"], 0),
        (JSON_LINE + b"\n" + JSON_LINE + b"\n", [JSON_LINE + b"\n"] * 2, 0),
        (JSON_LINE + b"\n\n" + JSON_LINE, [JSON_LINE + b"\n", JSON_LINE], 0),
        (JSON_LINE + b"\n" + JSON_LINE[:-5], [JSON_LINE + b"\n"], len(JSON_LINE) - 5),
        (PRETTY, [PRETTY], 0),
        (b"\n " + PRETTY, [b"\n " + PRETTY], 0),
        (b'{"a": [{}\n,{}]}', [b'{"a": [{}\n,{}]}'], 0),
    ],
)
def test_json(tmp_path: Path, content: bytes, bodies: list[bytes], torn_bytes: int) -> None:
    """JSON is one request a line, or one that takes several; a torn last line is counted."""
    kind, records, torn = read(written(tmp_path, content))
    assert (Format.OTLP_JSON, bodies, torn_bytes) == (kind, [one.body for one in records], torn)


@pytest.mark.parametrize(
    "content",
    [
        b"\x7fELF\x02\x01",
        b"hello world\n",
        b"\xff" * 50,
        b"\x0a\x7f",
        b"PK\x03\x04" + bytes(20),
    ],
)
def test_unknown(tmp_path: Path, content: bytes) -> None:
    """What is in no known format is refused, with what was tried."""
    with pytest.raises(
        InvalidRequestError, match="tried: length-delimited records, OTLP/JSON, folded stacks"
    ):
        read(written(tmp_path, content))


def test_a_damaged_request_is_told_by_its_name(tmp_path: Path) -> None:
    """A file that is called OTLP and is damaged says at which byte, not that it is nothing."""
    _, (record,), _ = read(written(tmp_path, BODY[:-3], "damaged.otlp"))
    with pytest.raises(InvalidRequestError, match="malformed protobuf at byte"):
        record.decode()


@pytest.mark.parametrize("content", [gzip.compress(bytes(5000)), FOLDED * 100, JSON_LINE[:-1] + b" " * 5000])
def test_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """A request that is too large is refused before it is in memory."""
    monkeypatch.setattr(reader, "MAX_REQUEST_BYTES", 1000)
    with pytest.raises(RequestTooLargeError, match=re.escape("more than 1000 bytes")):
        read(written(tmp_path, content))
