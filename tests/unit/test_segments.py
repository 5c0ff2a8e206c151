"""The files that hold the bodies of the log on disk: what they take, how they go, and what damages them."""

from __future__ import annotations

import os
import sqlite3
import zlib
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from otelprof._core import crc32
from otelprof.errors import OverloadedError
from otelprof.log import segments
from otelprof.log.journal import FILE_NAME
from otelprof.log.segments import Place, Segments, segment_files
from otelprof.log.steps import MAX_MARKED_STEPS
from otelprof.log.stored import About
from otelprof.telemetry.log_metrics import (
    LOG_CORRUPT_REQUESTS,
    LOG_FILES_MOVED_ASIDE,
    LOG_WRITE_FAILURES,
)
from tests.unit.durable_runs import FAST, SLOW, Run, deliver, profiles, runs_on
from tests.unit.power_cut import watched

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SEGMENT_BYTES = 4096
# How an earlier version kept a log: bodies in the rows.
OLD_SCHEMA = """
PRAGMA page_size = 16384;
PRAGMA journal_mode = WAL;
PRAGMA user_version = 7;
CREATE TABLE requests (
    id INTEGER PRIMARY KEY AUTOINCREMENT, checksum INTEGER NOT NULL, about BLOB NOT NULL, body BLOB NOT NULL
);
CREATE TABLE pending (
    request INTEGER NOT NULL, exporter TEXT NOT NULL, PRIMARY KEY (request, exporter)
) WITHOUT ROWID;
CREATE TABLE crashes (
    request INTEGER NOT NULL, exporter TEXT NOT NULL, count INTEGER NOT NULL,
    first_at REAL NOT NULL, last_at REAL NOT NULL, PRIMARY KEY (request, exporter)
) WITHOUT ROWID;
"""


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Makes runs on one folder, with small segments."""
    monkeypatch.setattr(segments, "SEGMENT_BYTES", SEGMENT_BYTES)
    monkeypatch.setattr(segments, "_MAX_WASTE_BYTES", 4 * SEGMENT_BYTES)
    with runs_on(tmp_path) as run:
        yield run


def size_bytes(folder: Path) -> int:
    """What all segments take, and what is kept for the next one."""
    return sum(path.stat().st_size for path in folder.glob("*.segment"))


def numbered(count: int) -> list[str]:
    """Names of services, in order."""
    return [f"s{number}" for number in range(count)]


def append(run: Run, *services: str) -> None:
    """Append each by itself, for one exporter."""
    for service in services:
        run.append(service, exporters=(FAST,))


def test_the_checksum_is_that_of_zlib() -> None:
    """Whatever the lengths, so that what an earlier version wrote is right."""
    for sizes in [(0, 0), (0, 1), (1, 0), (7, 100_000), (100_000, 7)]:
        first, second = (bytes(number % 251 for number in range(size)) for size in sizes)
        assert zlib.crc32(first + second) == crc32(first, second)


def test_the_disk_takes_what_is_outstanding(runs: Any, tmp_path: Path) -> None:
    """A segment goes when nothing in it is outstanding, the last one when the log is tended."""
    run = runs((FAST,))
    append(run, *numbered(200))
    most_bytes = size_bytes(tmp_path)
    deliver(run.log.cursor(FAST), 150)
    append(run, *numbered(20))
    run.log.tend()
    # Of two segments parts are outstanding.
    assert size_bytes(tmp_path) <= most_bytes * 70 // 200 + 2 * SEGMENT_BYTES
    deliver(run.log.cursor(FAST), 70)
    run.log.tend()
    assert {} == segment_files(tmp_path)
    append(run, "after")
    run.crash()
    assert ["after"] == runs((FAST,)).take(FAST)


def test_a_shutdown_leaves_no_empty_segment(runs: Any, tmp_path: Path) -> None:
    """What is delivered takes no room while otelprof is away."""
    run = runs((FAST,))
    append(run, *numbered(100))
    deliver(run.log.cursor(FAST), 100)
    run.log.shutdown()
    assert {} == segment_files(tmp_path)


def test_a_few_that_wait_do_not_keep_the_disk(runs: Any, tmp_path: Path) -> None:
    """Where little is outstanding in many segments, it is copied together; nothing is lost by that."""
    run = runs((FAST,))
    cursor = run.log.cursor(FAST)
    stuck = []
    for number in range(40):
        append(run, f"stuck-{number}", *numbered(30))
        stuck.append(cursor.take())
        deliver(cursor, 30)
    before_bytes = size_bytes(tmp_path)
    run.log.tend()
    assert size_bytes(tmp_path) <= 6 * SEGMENT_BYTES < before_bytes
    for item in stuck[:10]:
        cursor.ack(item)
    run.crash()
    second = runs((FAST,))
    assert [f"stuck-{number}" for number in range(10, 40)] == second.take(FAST)
    assert 0 == second.metrics.value(LOG_CORRUPT_REQUESTS)


def test_what_cannot_be_read_is_not_copied(runs: Any, tmp_path: Path) -> None:
    """A segment that is damaged while otelprof runs costs its requests, counted at the next start."""
    run = runs((FAST,))
    cursor = run.log.cursor(FAST)
    for number in range(40):
        append(run, f"stuck-{number}", *numbered(30))
        assert cursor.take() is not None
        deliver(cursor, 30)
    first = segment_files(tmp_path)[min(segment_files(tmp_path))]
    body = first.read_bytes()
    lost = {number for number in range(40) if f"stuck-{number}".encode() in body}
    first.write_bytes(b"")
    run.log.tend()
    run.log.tend()
    run.crash()
    second = runs((FAST,))
    assert [f"stuck-{number}" for number in range(40) if number not in lost] == second.take(FAST)
    assert 1 <= len(lost) == second.metrics.value(LOG_CORRUPT_REQUESTS)


@pytest.mark.parametrize("fsync", [False, True])
def test_a_power_cut_after_a_segment_is_gone(runs: Any, tmp_path: Path, *, fsync: bool) -> None:
    """Nothing comes back that names it: a segment goes after the disk knows that it is not needed."""
    after = tmp_path / "after"
    after.mkdir()
    with watched() as disk:
        run = runs((FAST,), fsync=fsync)
        append(run, *numbered(100))
        deliver(run.log.cursor(FAST), 80)
        append(run, *numbered(60))
        deliver(run.log.cursor(FAST), 30)
        disk.after_cut(tmp_path, after)
    with runs_on(after) as run_after:
        left = run_after((FAST,))
        services = left.take(FAST)
        assert 0 == left.metrics.value(LOG_CORRUPT_REQUESTS)
    # The last in one piece: what the marks alone knew comes again.
    everything = [*numbered(100), *numbered(60)]
    firsts = range(80 - MAX_MARKED_STEPS, 111)
    assert any(services == everything[first : first + len(services)] for first in firsts)
    assert not fsync or services[-1] == "s59"


def test_what_nobody_names_is_removed(runs: Any, tmp_path: Path) -> None:
    """A segment that a crash left behind, and what was written and never committed."""
    run = runs((FAST,))
    append(run, "a")
    journal = run.log._journal  # noqa: SLF001 - a crash between the body and its row
    journal._segments.append([profiles("never").to_otlp()])  # noqa: SLF001 - as above
    (tmp_path / "queue-00000099.segment").write_bytes(b"of another life")
    (tmp_path / "queue-1.segment.txt").write_bytes(b"not ours")
    run.crash()
    second = runs((FAST,))
    append(second, "b")
    second.crash()
    third = runs((FAST,))
    assert ["a", "b"] == third.take(FAST)
    assert 0 == third.metrics.value(LOG_CORRUPT_REQUESTS)
    assert [1, 100] == sorted(segment_files(tmp_path))
    assert (tmp_path / "queue-1.segment.txt").exists()


@pytest.mark.parametrize(
    "place",
    [Place(2, 0, 1), Place(1, -1, 4), Place(1, 0, 9), Place(1, 8, 1), Place(1, 0, -1), Place(-1, 0, 1)],
)
@pytest.mark.parametrize("much", [0, 1 << 31, 1 << 62])
def test_a_place_that_is_none(tmp_path: Path, place: Place, much: int) -> None:
    """Numbers of a damaged row are looked at before they are used."""
    (tmp_path / "queue-00000001.segment").write_bytes(b"12345678")
    number, position, size = place
    wrong = Place(number, position + much if position else 0, size + much if size > 1 else size)
    assert Segments(tmp_path, fsync=False).read(place) is None
    assert Segments(tmp_path, fsync=False).read(wrong) is None
    assert b"345" == Segments(tmp_path, fsync=False).read(Place(1, 2, 3))


def test_a_segment_that_is_gone_does_not_keep_the_log_closed(tmp_path: Path) -> None:
    """After a power cut what everybody has passed may have a row and no body: nobody needs it."""
    segments, place = Segments(tmp_path, fsync=False), Place(7, 0, 10)
    segments.adopt([place])
    segments.release(place)
    segments.remove_dead()
    assert [] == segments.dead


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """Nobody has a segment read from somewhere else."""
    (tmp_path / "elsewhere").write_bytes(b"secret")
    (tmp_path / "queue-00000001.segment").symlink_to(tmp_path / "elsewhere")
    assert Segments(tmp_path, fsync=False).read(Place(1, 0, 6)) is None


def test_a_disk_that_takes_half_a_body(runs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused, what was acknowledged stays, and its place is given to the next."""
    run = runs((FAST,))
    append(run, "a")
    write = os.pwrite

    def half(descriptor: int, data: bytes, position: int) -> int:
        if len(data) < 100:
            message = "No space left on device"
            raise OSError(28, message)
        return write(descriptor, data[: len(data) // 2], position)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", half)
        with pytest.raises(OverloadedError, match="No space left on device"):
            append(run, "refused")
    assert 1 == run.metrics.value(LOG_WRITE_FAILURES, operation="append")
    append(run, "b")
    run.crash()
    assert ["a", "b"] == runs((FAST,)).take(FAST)


def old_log(folder: Path, count: int, damaged: frozenset[int] = frozenset()) -> None:
    """A log as an earlier version left it: requests for two exporters, of which the first has passed one."""
    with closing(sqlite3.connect(folder / FILE_NAME, isolation_level=None)) as connection:
        connection.executescript(OLD_SCHEMA)
        for number in range(count):
            body = profiles(f"s{number}", samples=100).to_otlp()
            about = About(1.0, 100, (str(FAST), str(SLOW))).encode()
            checksum = zlib.crc32(body, zlib.crc32(about)) ^ (number in damaged)
            connection.execute(
                "INSERT INTO requests VALUES (?, ?, ?, ?)", (number + 5, checksum, about, body)
            )
            pending = [(number + 5, str(exporter)) for exporter in (FAST, SLOW)]
            connection.executemany("INSERT INTO pending VALUES (?, ?)", pending)
        connection.execute("DELETE FROM pending WHERE request = 5 AND exporter = ?", (str(FAST),))
        connection.execute("INSERT INTO crashes VALUES (6, ?, 2, 1.0, 2.0)", (str(SLOW),))


def test_a_file_of_an_earlier_version_is_taken_over(runs: Any, tmp_path: Path) -> None:
    """All that waits in it comes out, for whom it was; from then on its bodies are in segments."""
    old_log(tmp_path, 8)
    first = runs()
    assert (numbered(8)[1:], numbered(8)) == (first.take(FAST), first.take(SLOW))
    assert [0, 0] == [first.metrics.value(spec) for spec in (LOG_CORRUPT_REQUESTS, LOG_FILES_MOVED_ASIDE)]
    append(first, "new")
    first.crash()
    second = runs(dead_letter={"max_crashes": 2})
    assert ([*numbered(8)[1:], "new"], numbered(8)) == (second.take(FAST), second.take(SLOW))
    second.log.shutdown()
    assert {FILE_NAME, "queue.marks"} < {path.name for path in tmp_path.iterdir()}
    assert not list(tmp_path.glob("*damaged*"))
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        columns = {name for _, name, *_ in connection.execute("PRAGMA table_info(requests)")}
    assert {"id", "checksum", "about", "segment", "position", "size"} == columns


def test_a_damaged_file_of_an_earlier_version(runs: Any, tmp_path: Path) -> None:
    """It is kept aside, what is damaged is counted, and the rest delivered."""
    old_log(tmp_path, 8, damaged=frozenset({3}))
    run = runs()
    assert [f"s{number}" for number in range(8) if number != 3] == run.take(SLOW)
    assert [1, 1] == [run.metrics.value(spec) for spec in (LOG_CORRUPT_REQUESTS, LOG_FILES_MOVED_ASIDE)]


def test_an_upgrade_that_ends_in_the_middle(runs: Any, tmp_path: Path) -> None:
    """Before the new file has the name of the old one, and after the old one has lost it."""
    old_log(tmp_path, 3)
    (tmp_path / f"{FILE_NAME}.new").write_bytes(b"half of it")
    (tmp_path / "queue-00000001.segment").write_bytes(b"half of it")
    first = runs()
    assert numbered(3) == first.take(SLOW)
    first.crash()
    (tmp_path / FILE_NAME).rename(tmp_path / f"{FILE_NAME}.new")
    (tmp_path / f"{FILE_NAME}-wal").write_bytes(b"of the old one")
    assert numbered(3) == runs().take(SLOW)
