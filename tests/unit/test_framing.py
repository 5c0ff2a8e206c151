"""Length-delimited records, whole and torn."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelprof.recording.framing import FIRST_BYTES, MAX_RECORD_BYTES, Frames, end_of_records, framed

RECORDS = st.lists(st.binary(min_size=1, max_size=40), max_size=5)


@given(RECORDS, st.integers(0, 300))
def test_torn_anywhere(records: list[bytes], cut: int) -> None:
    """Wherever a file is torn, every record before is read, and what is left of the last one is counted."""
    whole = b"".join(map(framed, records))
    left = whole[: len(whole) - cut] if cut < len(whole) else b""
    frames = Frames(io.BytesIO(left))
    read = list(frames)
    end = sum(map(len, map(framed, read)))

    assert records[: len(read)] == read
    assert (end, len(left) - end) == (frames.end, frames.torn_bytes)
    assert len(read) == len(records) or len(left) < end + len(framed(records[len(read)]))
    assert end == end_of_records(io.BytesIO(left), len(left))


def test_bytes() -> None:
    """A record is four bytes of length, the highest first, and itself."""
    assert b"\x00\x00\x01\x02" + bytes(258) == framed(bytes(258))


@pytest.mark.parametrize("tail", [bytes(7), b"\xff\xff\xff\xff" + bytes(9), b"\x08\x00\x00\x00" + bytes(9)])
def test_impossible_length(tail: bytes) -> None:
    """A length that no record has, as in the zeros that a crash leaves, ends the file and is counted."""
    body = framed(b"first") + tail
    frames = Frames(io.BytesIO(body))

    assert [b"first"] == list(frames)
    assert len(tail) == frames.torn_bytes
    assert len(framed(b"first")) == end_of_records(io.BytesIO(body), len(body))


def test_first_byte() -> None:
    """The longest record begins with the highest of the bytes that a recording begins with."""
    assert FIRST_BYTES[-1] == MAX_RECORD_BYTES.to_bytes(4)[0]
    assert 8 == len(FIRST_BYTES)


@pytest.mark.parametrize("record", [b"", bytes(MAX_RECORD_BYTES + 1)], ids=["empty", "too long"])
def test_refused(record: bytes) -> None:
    """An empty record, and one whose length would not be told from other formats, is not written."""
    with pytest.raises(ValueError, match="1 to 134217727 are allowed"):
        framed(record)
