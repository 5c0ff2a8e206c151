"""The audit log: whatever is done to it is seen, or is what only an anchor shows."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from otelprof.errors import PermanentError
from otelprof.gate.audit import NO_HASH, Head, append, read, verify

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def log_of(path: Path, count: int = 4) -> bytes:
    """A log of so many records."""
    for number in range(count):
        append(path, "override", {"reason": f"reason {number} é", "number": number}, NOW)
    return read(path)


def test_a_log_is_a_chain(tmp_path: Path) -> None:
    """Each record has the hash of the one before, the first has none, and the head is that of the last."""
    verified = verify(log_of(tmp_path / "log", 3))
    hashes = [record.hash for record in verified.records]

    assert [NO_HASH, *hashes[:-1]] == [record.previous for record in verified.records]
    assert [1, 2, 3] == [record.sequence for record in verified.records]
    assert (None, Head(3, hashes[-1])) == (verified.line, verified.head)


def test_the_hash_can_be_made_by_anybody(tmp_path: Path) -> None:
    """A hash is SHA-256 of the record without it, sorted and without spaces: no otelprof is needed."""
    line = json.loads(log_of(tmp_path / "log", 1))
    without = {key: value for key, value in line.items() if key != "hash"}
    text = json.dumps(without, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert line["hash"] == hashlib.sha256(text.encode()).hexdigest()


def _rehashed(line: bytes, changes: dict[str, Any]) -> bytes:
    """A record that was changed by somebody who knows how hashes are made."""
    fields = {**json.loads(line), **changes}
    del fields["hash"]

    def canonical(some: dict[str, Any]) -> bytes:
        return json.dumps(some, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    return canonical({**fields, "hash": hashlib.sha256(canonical(fields)).hexdigest()})


CHANGES: dict[str, tuple[Callable[[list[bytes]], list[bytes]], int, str]] = {
    "a text is changed": (
        lambda lines: [lines[0], lines[1].replace(b"reason 1", b"reason 9"), *lines[2:]],
        2,
        "it was changed",
    ),
    "a record is changed with its hash": (
        lambda lines: [lines[0], _rehashed(lines[1], {"data": {}}), *lines[2:]],
        3,
        "`previous`",
    ),
    "a record is taken out": (lambda lines: [lines[0], *lines[2:]], 2, "`previous`"),
    "the first is taken out": (lambda lines: lines[1:], 1, "`previous`"),
    "a record is there twice": (lambda lines: [lines[0], lines[0], *lines[1:]], 2, "`previous`"),
    "two are swapped": (lambda lines: [lines[1], lines[0], *lines[2:]], 1, "`previous`"),
    "an empty line is added": (lambda lines: [lines[0], b"", *lines[1:]], 2, "no JSON object"),
    "a key is added": (
        lambda lines: [lines[0].replace(b'{"data"', b'{"a":1,"data"'), *lines[1:]],
        1,
        "no JSON object",
    ),
    "a key is there twice": (
        lambda lines: [lines[0].replace(b'{"data"', b'{"data":{"reason":"x"},"data"'), *lines[1:]],
        1,
        "canonical",
    ),
    "a space is added": (lambda lines: [lines[0] + b" ", *lines[1:]], 1, "canonical"),
    "line ends are those of Windows": (lambda lines: [line + b"\r" for line in lines], 1, "canonical"),
    "a sequence is a text": (
        lambda lines: [_rehashed(lines[0], {"sequence": "1"}), *lines[1:]],
        1,
        "another type",
    ),
    "a sequence leaves one out": (
        lambda lines: [_rehashed(lines[0], {"sequence": 2}), *lines[1:]],
        1,
        "`sequence` is 2 on line 1",
    ),
    "a time has no zone": (
        lambda lines: [_rehashed(lines[0], {"time": "2026-11-24T12:00:00"}), *lines[1:]],
        1,
        "no zone",
    ),
    "half a character of a pair": (
        lambda lines: [lines[0].replace(b"reason 0", b"\\ud800"), *lines[1:]],
        1,
        "surrogate",
    ),
    "deep nesting": (lambda lines: [b"[" * 60_000, *lines[1:]], 1, "no JSON object"),
    "a long line": (lambda lines: [b" " * 70_000, *lines[1:]], 1, "65536 bytes"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_found(change: str, tmp_path: Path) -> None:
    """What was changed is told by the first line that is wrong, and what is before it is still given."""
    do, line, problem = CHANGES[change]
    lines = log_of(tmp_path / "log").split(b"\n")[:-1]
    verified = verify(b"\n".join(do(lines)) + b"\n")

    assert (line, line - 1) == (verified.line, len(verified.records))
    assert problem in verified.problem


def test_any_bit_that_flips_is_found(tmp_path: Path) -> None:
    """There is no bit of a log that can flip unseen."""
    whole = log_of(tmp_path / "log", 2)
    unseen = []
    for place in range(8 * len(whole)):
        content = bytearray(whole)
        content[place // 8] ^= 1 << place % 8
        if verify(bytes(content)).line is None:
            unseen.append(place)
    assert [] == unseen


def test_only_an_anchor_finds_a_cut(tmp_path: Path) -> None:
    """A log that was cut off at its end is a good chain; against an anchor it is not."""
    whole = log_of(tmp_path / "log")
    anchor = verify(whole).head
    cut = verify(b"".join(line + b"\n" for line in whole.split(b"\n")[:2]))

    assert cut.line is None
    assert "4 records were anchored and 2 are there: it was cut off at its end" == cut.missing(anchor)
    assert "is not there: cut off at its end" in (cut.missing(Head(None, anchor.hash)) or "")
    assert "4 records were anchored and 0 are there" in (verify(b"").missing(anchor) or "")


def test_only_an_anchor_finds_another_log(tmp_path: Path) -> None:
    """A log that was written anew is a good chain; against an anchor it is not."""
    anchor = verify(log_of(tmp_path / "log")).head
    append(tmp_path / "other", "override", {"reason": "another"}, NOW)
    for _ in range(5):
        append(tmp_path / "other", "override", {}, NOW)
    other = verify(read(tmp_path / "other"))

    assert other.line is None
    assert "record 4 was anchored as" in (other.missing(anchor) or "")


def test_a_log_goes_on_from_its_anchor(tmp_path: Path) -> None:
    """A log that has grown since it was anchored is good, whichever of its heads the anchor is."""
    heads = [append(tmp_path / "log", "override", {}, NOW).head for _ in range(3)]
    anchors = [Head(0, NO_HASH), *heads]
    verified = verify(read(tmp_path / "log"))

    assert [None] * 4 == [verified.missing(anchor) for anchor in anchors]
    assert [None] * 4 == [verified.missing(Head(None, anchor.hash)) for anchor in anchors]


def test_an_anchor_is_read_out_of_a_text() -> None:
    """A hash alone, what is printed, or that within a tag's message: an anchor. Nothing, or two: none."""
    head = Head(12, "ab" * 32)

    assert head == Head.parse(str(head))
    assert head == Head.parse(f"tag audit-12\nTagger: somebody\n\n{head}\nThe log of November.\n{head}\n")
    assert Head(None, "ab" * 32) == Head.parse("ab" * 32 + "\n")
    assert Head(1, "cd" * 32) == Head.parse(str(Head(1, "cd" * 32)))
    for text in ("", "ab" * 31, f"{head}\n{Head(13, 'cd' * 32)}"):
        with pytest.raises(ValueError, match="head"):
            Head.parse(text)


def test_nothing_is_added_to_a_broken_log(tmp_path: Path) -> None:
    """A log that is broken or torn is left as it is."""
    path = tmp_path / "log"
    whole = log_of(path)
    for broken in (whole[:-1], whole.replace(b"reason 1", b"reason 9"), whole + b"{"):
        path.write_bytes(broken)
        with pytest.raises(PermanentError, match="nothing is added"):
            append(path, "override", {}, NOW)
        assert broken == path.read_bytes()


def test_a_log_is_no_link(tmp_path: Path) -> None:
    """A link is not followed: it may lead to what is somebody else's."""
    (tmp_path / "log").symlink_to(tmp_path / "other")
    with pytest.raises(PermanentError, match="cannot be written"):
        append(tmp_path / "log", "override", {}, NOW)
    assert not (tmp_path / "other").exists()


def test_a_disk_that_is_full_leaves_the_log_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of a record that was written is taken back, and the log goes on later."""
    path = tmp_path / "log"
    whole = log_of(path, 1)
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, line: write(descriptor, line[:10]))
        with pytest.raises(PermanentError, match="the disk is full"):
            append(path, "override", {}, NOW)
    assert whole == path.read_bytes()
    assert 2 == append(path, "override", {}, NOW).head.records


def test_records_have_a_limit(tmp_path: Path) -> None:
    """A record that would be longer than a line may be is refused."""
    with pytest.raises(PermanentError, match="65536 bytes"):
        append(tmp_path / "log", "override", {"reason": "x" * 70_000}, NOW)
    assert b"" == read(tmp_path / "log")


def test_writers_do_not_meet(tmp_path: Path) -> None:
    """Several that append at once make one chain."""
    path = tmp_path / "log"

    def write() -> None:
        for _ in range(5):
            append(path, "override", {"reason": "é" * 100}, NOW)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    verified = verify(read(path))
    assert (None, 20) == (verified.line, verified.head.records)


def test_times_are_utc(tmp_path: Path) -> None:
    """A record says when it was written in UTC, to the second, wherever that was."""
    east = timezone(timedelta(hours=2))
    found = append(tmp_path / "log", "override", {}, datetime(2026, 11, 24, 14, 0, 0, 999, east))
    assert NOW == found.records[0].time
    assert b'"time":"2026-11-24T12:00:00+00:00"' in read(tmp_path / "log")
