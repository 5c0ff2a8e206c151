"""The log on disk: what was acknowledged and not delivered is there after the end of the process."""

from __future__ import annotations

import shutil
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from otelprof._core import Profiles
from otelprof.errors import ConfigError, OverloadedError
from otelprof.log.batching import BatchingCursor
from otelprof.log.cursor import DropReason
from otelprof.log.journal import FILE_NAME
from otelprof.log.marks import FILE_NAME as MARKS_FILE_NAME
from otelprof.log.steps import MAX_MARKED_STEPS
from otelprof.model import ComponentId
from otelprof.telemetry.log_metrics import (
    LOG_CORRUPT_REQUESTS,
    LOG_FILES_MOVED_ASIDE,
    LOG_MISSING_REQUESTS,
    LOG_RESTORED_REQUESTS,
    LOG_UNWRITTEN_STEPS,
    LOG_WRITE_FAILURES,
)
from tests.reference.build import ambiguous
from tests.unit.durable_runs import FAST, SLOW, Run, deliver, profiles, runs_on

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PIPELINE = ComponentId("profiles")
PAGE_BYTES = 512
FIRST_PAGES = 8


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Any]:
    """Makes runs on one folder."""
    with runs_on(tmp_path) as run:
        yield run


def test_each_exporter_goes_on_where_it_was(runs: Any) -> None:
    """After a crash every exporter gets what it had not delivered, in order, in flight included; no more."""
    first = runs()
    first.append("a", "b")
    first.append("c")
    deliver(first.log.cursor(FAST), 2)
    assert first.log.cursor(FAST).take() is not None
    first.crash()
    second = runs()
    assert [["c"], ["a", "b", "c"]] == [second.take(FAST), second.take(SLOW)]
    assert 3 == second.metrics.value(LOG_RESTORED_REQUESTS)


def test_what_comes_back_is_what_was_sent(runs: Any) -> None:
    """A request is the same, byte for byte, after a restart."""
    first = runs((FAST,))
    sent = profiles("a", samples=1000)
    first.log.append([(sent, [FAST])])
    first.crash()
    item = runs((FAST,)).log.cursor(FAST).take()
    assert item is not None
    assert sent.to_otlp() == item.profiles.to_otlp()


def test_what_two_revisions_read_comes_back(runs: Any) -> None:
    """A request that its bytes alone do not tell the revision of is the same after a restart."""
    first = runs((FAST,))
    sent = Profiles.decode(ambiguous().SerializeToString(), detect_revision=False)
    first.log.append([(sent, [FAST])])
    first.crash()
    second = runs((FAST,))
    item = second.log.cursor(FAST).take()
    assert item is not None
    assert (sent.to_otlp(), 0) == (item.profiles.to_otlp(), second.metrics.value(LOG_CORRUPT_REQUESTS))


def test_a_request_is_written_once_and_goes_with_its_last_exporter(runs: Any, tmp_path: Path) -> None:
    """One row for all exporters, and none when all have it."""
    run = runs()
    run.append("a")
    deliver(run.log.cursor(FAST), 1)
    run.log.shutdown()
    assert [1, 1] == rows(tmp_path)
    run = runs()
    deliver(run.log.cursor(SLOW), 1)
    run.log.shutdown()
    assert [0, 0] == rows(tmp_path)


def rows(folder: Path) -> list[int]:
    """How many requests are in the file, and how many have passed some exporter."""
    connection = sqlite3.connect(folder / FILE_NAME)
    counts = [
        int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 - ours
        for table in ("requests", "passed")
    ]
    connection.close()
    return counts


def test_a_shutdown_loses_nothing(runs: Any) -> None:
    """What is not delivered at a shutdown is neither lost nor counted as lost, and is there afterwards."""
    first = runs()
    first.append("a")
    first.log.cursor(FAST).drop_all(DropReason.SHUTDOWN)
    deliver(first.log.cursor(SLOW), 1)
    first.log.shutdown()
    assert 0 == first.dropped(FAST, DropReason.SHUTDOWN)
    second = runs()
    assert [["a"], []] == [second.take(FAST), second.take(SLOW)]


def test_what_was_dropped_stays_dropped(runs: Any) -> None:
    """A request that was given up, or that a full queue lost, does not come back."""
    size = profiles("a").memory_bytes + profiles("a").wire_bytes
    first = runs((FAST,), queue_size=2 * size, on_overflow="drop_oldest")
    for service in "abc":
        first.append(service, exporters=(FAST,))
    item = first.log.cursor(FAST).take()
    first.log.cursor(FAST).drop(item, DropReason.PERMANENT_ERROR)
    first.crash()
    assert ["c"] == runs((FAST,)).take(FAST)
    assert [1, 1] == [
        first.dropped(FAST, reason) for reason in (DropReason.QUEUE_OVERFLOW, DropReason.PERMANENT_ERROR)
    ]


def test_a_full_queue_refuses_before_it_writes(runs: Any, tmp_path: Path) -> None:
    """What finds no room is not on disk."""
    size = profiles("a").memory_bytes + profiles("a").wire_bytes
    run = runs((FAST,), queue_size=size)
    run.append("a", exporters=(FAST,))
    with pytest.raises(OverloadedError):
        run.append("b", exporters=(FAST,))
    run.crash()
    assert [1, 0] == rows(tmp_path)


def test_a_batch_stays_until_its_last_piece_is_delivered(runs: Any) -> None:
    """The requests of a batch are kept as they came until all that came of them has been delivered."""
    first = runs((FAST,), batch={"min_size": 0})
    first.append("a", "b", exporters=(FAST,))
    cursor = first.log.cursor(FAST)
    assert isinstance(cursor, BatchingCursor)
    batch = cursor.take_batch()
    cursor.replace(batch, [item.profiles for item in batch], 1)
    deliver(cursor, 1)
    first.crash()
    second = runs((FAST,))
    assert ["a", "b"] == second.take(FAST)
    second.crash()
    third = runs((FAST,), batch={"min_size": 0})
    cursor = third.log.cursor(FAST)
    cursor.replace(cursor.take_batch(), [profiles("merged")], 1)
    deliver(cursor, 1)
    third.crash()
    assert [] == runs((FAST,)).take(FAST)


def test_what_waited_at_a_gate_waits_again(runs: Any) -> None:
    """A held request comes back as it came, with its pipeline; once settled, it goes with its delivery."""
    first = runs()
    first.log.append([(profiles("a"), [FAST, SLOW])], {0: PIPELINE})
    first.crash()
    second = runs()
    ((pipeline, held),) = second.log.left_held
    assert (PIPELINE, [], []) == (pipeline, second.take(FAST), second.take(SLOW))
    second.log.settle(held, profiles("sampled"))
    deliver(second.log.cursor(FAST), 1)
    second.crash()
    third = runs()
    ((_, held),) = third.log.left_held
    assert ["otlp/slow"] == [str(cursor.exporter) for cursor, _ in held.items]
    third.log.settle(held, Profiles.decode(b""))
    third.crash()
    assert [] == runs().log.left_held


def test_an_exporter_that_is_gone_is_counted(runs: Any, tmp_path: Path) -> None:
    """What was for an exporter that is no longer configured is dropped, counted; others keep theirs."""
    first = runs()
    first.append("a")
    first.crash()
    second = runs((FAST,))
    assert 1 == second.dropped(SLOW, DropReason.EXPORTER_REMOVED)
    deliver(second.log.cursor(FAST), 1)
    second.log.shutdown()
    assert [0, 0] == rows(tmp_path)


def test_what_is_too_old_is_dropped(runs: Any, tmp_path: Path) -> None:
    """A request that is older than max_age at a start is dropped, counted."""
    first = runs((FAST,))
    first.append("a", exporters=(FAST,))
    first.crash()
    second = Run(tmp_path, (FAST,), max_age_secs=10)
    second.clock.advance(11)
    second.log.start()
    second.log.shutdown()
    assert 1 == second.dropped(FAST, DropReason.EXPIRED)
    assert [0, 0] == rows(tmp_path)


def test_one_process_has_the_file(runs: Any, tmp_path: Path) -> None:
    """A second otelprof on the same directory does not start, and says why."""
    runs()
    with pytest.raises(ConfigError, match="another otelprof has it open"):
        Run(tmp_path).log.start()


def test_a_full_disk_refuses_and_keeps(runs: Any) -> None:
    """When nothing can be written clients are told to come back, and what was acknowledged stays."""
    first = runs((FAST,))
    first.append("a", exporters=(FAST,))
    connection = first.log._journal._connection  # noqa: SLF001 - SQLite's own full disk
    connection.execute("PRAGMA max_page_count = 1")
    with pytest.raises(OverloadedError, match="cannot write") as caught:
        first.append(*["b"] * 100, exporters=(FAST,))
    assert 5.0 == caught.value.retry_after_secs
    assert 1 == first.metrics.value(LOG_WRITE_FAILURES, operation="append")
    connection.execute("PRAGMA max_page_count = 1000000")
    first.append("c", exporters=(FAST,))
    first.crash()
    assert ["a", "c"] == runs((FAST,)).take(FAST)


def test_a_delivery_that_cannot_be_written_is_written_later(runs: Any) -> None:
    """A disk that takes nothing stops no exporter; what it delivered is on disk with the next that is."""
    count = MAX_MARKED_STEPS
    first = runs((FAST,))
    first.append(*map(str, range(count + 1)), exporters=(FAST,))
    connection = first.log._journal._connection  # noqa: SLF001 - a full disk cannot be had here
    connection.execute("PRAGMA query_only = ON")
    deliver(first.log.cursor(FAST), count)
    assert first.metrics.value(LOG_WRITE_FAILURES, operation="progress") > 0
    assert count == first.metrics.value(LOG_UNWRITTEN_STEPS)
    connection.execute("PRAGMA query_only = OFF")
    deliver(first.log.cursor(FAST), 1)
    assert 0 == first.metrics.value(LOG_UNWRITTEN_STEPS)
    first.crash()
    assert [] == runs((FAST,)).take(FAST)


def test_a_few_deliveries_are_written_together(runs: Any, tmp_path: Path) -> None:
    """They cost no write to the file of their own, and no crash forgets them; a damaged file may."""
    first = runs()
    first.append("a", "b", "c")
    deliver(first.log.cursor(FAST), 1)
    shutil.copytree(tmp_path, tmp_path / "crash")
    first.append(*"d" * (MAX_MARKED_STEPS - 1))
    deliver(first.log.cursor(FAST), MAX_MARKED_STEPS - 1)
    first.append("e")
    shutil.copytree(tmp_path, tmp_path / "later", ignore=shutil.ignore_patterns("crash", MARKS_FILE_NAME))
    with runs_on(tmp_path / "crash") as run:
        second = run()
        assert [["b", "c"], ["a", "b", "c"]] == [second.take(FAST), second.take(SLOW)]
    with runs_on(tmp_path / "later") as run:
        assert ["d", "d", "e"] == run().take(FAST)


def test_the_marks_of_another_run_are_not_believed(runs: Any, tmp_path: Path) -> None:
    """A file that is older than its marks, as after a power cut, may have given its numbers anew."""
    first = runs((FAST,))
    shutil.copytree(tmp_path, tmp_path / "older")
    first.append("a", exporters=(FAST,))
    deliver(first.log.cursor(FAST), 1)
    marks = (tmp_path / MARKS_FILE_NAME).read_bytes()
    with runs_on(tmp_path / "older") as run:
        second = run((FAST,))
        second.append("b", exporters=(FAST,))
        second.crash()
        (tmp_path / "older" / MARKS_FILE_NAME).write_bytes(marks)
        assert ["b"] == run((FAST,)).take(FAST)


def test_a_damaged_request_costs_no_other(runs: Any, tmp_path: Path) -> None:
    """A byte of a body flips: that request is lost, counted, the file kept aside, the rest delivered."""
    first = runs((FAST,))
    for service in ("first", "damaged", "last"):
        first.append(service, exporters=(FAST,))
    first.log.shutdown()
    (path,) = tmp_path.glob("*.segment")
    data = bytearray(path.read_bytes())
    data[data.index(b"damaged")] ^= 1
    path.write_bytes(data)
    second = runs((FAST,))
    assert ["first", "last"] == second.take(FAST)
    assert (1, 1) == tuple(
        second.metrics.value(spec) for spec in (LOG_CORRUPT_REQUESTS, LOG_FILES_MOVED_ASIDE)
    )
    second.crash()
    third = runs((FAST,))
    assert ["first", "last"] == third.take(FAST)
    assert 0 == third.metrics.value(LOG_CORRUPT_REQUESTS)


def test_a_file_that_cannot_be_opened_is_moved_aside(runs: Any, tmp_path: Path) -> None:
    """What is no database is kept under another name, and a fresh one is begun."""
    (tmp_path / FILE_NAME).write_bytes(b"not a database at all" * 1000)
    run = runs((FAST,))
    run.append("a", exporters=(FAST,))
    assert 1 == run.metrics.value(LOG_FILES_MOVED_ASIDE)
    assert ["a"] == run.take(FAST)
    (aside,) = tmp_path.glob(f"{FILE_NAME}.damaged-*")
    assert aside.read_bytes().startswith(b"not a database")


@pytest.mark.parametrize("seed", range(6))
def test_damage_anywhere_is_survived(runs: Any, tmp_path: Path, seed: int) -> None:
    """Whichever page is damaged, the log starts, and what is lost is at most what the page holds."""
    first = runs((FAST,))
    sizes = 40
    for number in range(sizes):
        request_ = profiles(f"s{number}", samples=4000)
        first.log.append([(request_, [FAST])])
    first.log.shutdown()
    path = tmp_path / FILE_NAME
    data = bytearray(path.read_bytes())
    # Not the first pages, without which nothing is found.
    first_bytes = FIRST_PAGES * PAGE_BYTES
    at = first_bytes + (seed * 2_654_435_761) % (len(data) - first_bytes - 64)
    data[at : at + 64] = bytes(64)
    path.write_bytes(data)
    left = runs((FAST,)).take(FAST)
    assert sizes - 10 <= len(left)
    assert sorted(set(left), key=lambda name: int(name[1:])) == left


@pytest.mark.parametrize("page", range(FIRST_PAGES, 22))
def test_a_page_that_is_none(runs: Any, tmp_path: Path, page: int) -> None:
    """A page of the file that cannot be read costs what is on it; what is behind it is delivered."""
    first = runs((FAST,))
    count = 60
    first.append(*map(str, range(count)), exporters=(FAST,))
    first.log.shutdown()
    path = tmp_path / FILE_NAME
    data = bytearray(path.read_bytes())
    data[page * PAGE_BYTES : page * PAGE_BYTES + 64] = b"\xff" * 64
    path.write_bytes(data)
    second = runs((FAST,))
    left = second.take(FAST)
    assert count - 8 <= len(left) < count
    lost = sum(second.metrics.value(spec) for spec in (LOG_CORRUPT_REQUESTS, LOG_MISSING_REQUESTS))
    assert count == len(left) + lost
