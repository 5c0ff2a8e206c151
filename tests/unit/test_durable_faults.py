"""The log on disk when the disk fails: a power cut, no room, a flipped byte; and what grows too old on it."""

from __future__ import annotations

import resource
import shutil
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from otelprof.clock import SystemClock
from otelprof.errors import ConfigError, OverloadedError, PermanentError
from otelprof.log.cursor import DropReason
from otelprof.log.dead_letters import FOLDER_NAME
from otelprof.log.journal import FILE_NAME
from otelprof.log.marks import FILE_NAME as MARKS_FILE_NAME
from otelprof.log.upkeep import Upkeep
from otelprof.model import ComponentId
from otelprof.telemetry.log_metrics import (
    LOG_CORRUPT_REQUESTS,
    LOG_MISSING_REQUESTS,
    LOG_WRITE_FAILURES,
)
from tests.unit.durable_runs import FAST, SLOW, deliver, profiles, runs_on
from tests.unit.power_cut import watched

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WAL_NAME = f"{FILE_NAME}-wal"
SEGMENT_NAME = "queue-00000001.segment"


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Any]:
    """Makes runs on one folder."""
    folder = tmp_path / "queue"
    folder.mkdir()
    with runs_on(folder) as run:
        yield run


def numbered(first: int, count: int) -> list[str]:
    """Names of services, in order."""
    return [f"s{number}" for number in range(first, first + count)]


@pytest.mark.parametrize("fsync", [False, True])
@pytest.mark.parametrize("marks_stay", [False, True])
def test_a_power_cut(runs: Any, tmp_path: Path, *, fsync: bool, marks_stay: bool) -> None:
    """Only what the disk has confirmed is left. With fsync that is all that was acknowledged."""
    folder, after = tmp_path / "queue", tmp_path / "after"
    after.mkdir()
    with watched() as disk:
        first = runs((FAST,), fsync=fsync)
        for service in numbered(0, 5):
            first.append(service, exporters=(FAST,))
        first.log.shutdown()
        second = runs((FAST,), fsync=fsync)
        deliver(second.log.cursor(FAST), 2)
        for service in numbered(5, 5):
            second.append(service, exporters=(FAST,))
        deliver(second.log.cursor(FAST), 1)
        disk.after_cut(folder, after)
        if marks_stay:
            shutil.copy(folder / MARKS_FILE_NAME, after)
    with runs_on(after) as run:
        left = run((FAST,), fsync=fsync)
        # What was delivered stands in the marks alone: without them it is delivered again.
        delivered = 3 if marks_stay else 0
        assert numbered(0, 10 if fsync else 5)[delivered:] == left.take(FAST)
        lost = 0 if fsync else 5
        counted = left.metrics.value(LOG_MISSING_REQUESTS)
        assert (lost if marks_stay else 0) == counted
        assert 0 == left.metrics.value(LOG_CORRUPT_REQUESTS)


@pytest.mark.parametrize("torn", [{WAL_NAME}, {SEGMENT_NAME}, {WAL_NAME, SEGMENT_NAME}])
def test_a_power_cut_in_the_middle_of_a_write(runs: Any, tmp_path: Path, torn: set[str]) -> None:
    """Whatever reached the disk of what it had not confirmed: the oldest requests are there, in order."""
    folder = tmp_path / "queue"
    run = runs((FAST,))
    for service in numbered(0, 8):
        run.append(service, exporters=(FAST,))
    files = {name: (folder / name).read_bytes() for name in (FILE_NAME, WAL_NAME, SEGMENT_NAME)}
    found = []
    for sixteenth in range(17):
        after = tmp_path / f"after-{sixteenth}"
        after.mkdir()
        for name, data in files.items():
            size_bytes = len(data) * sixteenth // 16 if name in torn else len(data)
            (after / name).write_bytes(data[:size_bytes])
        with runs_on(after) as run_after:
            second = run_after((FAST,))
            left = second.take(FAST)
            # What is in the file and has no body is counted: the file says that it was there.
            counted = second.metrics.value(LOG_CORRUPT_REQUESTS)
        assert numbered(0, len(left)) == left
        assert WAL_NAME in torn or 8 - len(left) == counted
        assert SEGMENT_NAME in torn or 0 == counted
        found.append(len(left))
    assert (sorted(found), 0, 8) == (found, found[0], found[-1])


@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "a folder"])
def test_damage_to_a_segment(runs: Any, tmp_path: Path, damage: str) -> None:
    """Of what it held the damaged bodies are lost, counted; everything else is delivered, once."""
    folder = tmp_path / "queue"
    first = runs((FAST,))
    first.append(*numbered(0, 4), exporters=(FAST,))
    first.log.shutdown()
    second = runs((FAST,))
    second.append(*numbered(4, 2), exporters=(FAST,))
    second.log.shutdown()
    path = folder / SEGMENT_NAME
    data = path.read_bytes()
    path.unlink()
    match damage:
        case "flip":
            path.write_bytes(data.replace(b"s2", b"s1"))
        case "cut":
            path.write_bytes(data[: data.index(b"s2")])
        case "a folder":
            path.mkdir()
    lost = {"flip": {"s2"}, "cut": {"s2", "s3"}}.get(damage, set(numbered(0, 4)))
    third = runs((FAST,))
    assert [one for one in numbered(0, 6) if one not in lost] == third.take(FAST)
    assert len(lost) == third.metrics.value(LOG_CORRUPT_REQUESTS)
    assert 0 == third.metrics.value(LOG_MISSING_REQUESTS)
    third.crash()
    fourth = runs((FAST,))
    assert 6 - len(lost) == len(fourth.take(FAST))
    assert 0 == fourth.metrics.value(LOG_CORRUPT_REQUESTS)


@contextmanager
def no_file_over(size_bytes: int) -> Iterator[None]:
    """While it lasts, no file of this process can grow over a size."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_takes_no_more(runs: Any, tmp_path: Path) -> None:
    """Clients are told to come back, what was acknowledged is delivered, and all goes on with the disk."""
    wal = tmp_path / "queue" / WAL_NAME
    first = runs((FAST,))
    first.append("a", "b", "c", exporters=(FAST,))
    cursor = first.log.cursor(FAST)
    with no_file_over(wal.stat().st_size):
        with pytest.raises(OverloadedError, match="cannot write"):
            first.append("d", exporters=(FAST,))
        deliver(cursor, 1)
        assert 1 == first.metrics.value(LOG_WRITE_FAILURES, operation="append")
    first.append("e", exporters=(FAST,))
    first.crash()
    assert ["b", "c", "e"] == runs((FAST,)).take(FAST)


def test_a_disk_that_takes_no_dead_letter(runs: Any, tmp_path: Path) -> None:
    """Then it is lost, counted; nothing half written is left."""
    run = runs((FAST,))
    run.log.append([(profiles("a", samples=100_000), [FAST])])
    cursor = run.log.cursor(FAST)
    item = cursor.take()
    with no_file_over(32 << 10):
        cursor.refuse(item, PermanentError("no"))
    assert (1, 1) == (
        run.metrics.value(LOG_WRITE_FAILURES, operation="dead_letter"),
        run.dropped(FAST, DropReason.PERMANENT_ERROR) / 100_000,
    )
    assert [] == list((tmp_path / "queue" / FOLDER_NAME).iterdir())


def test_a_disk_that_takes_nothing_at_a_start(runs: Any) -> None:
    """Otelprof does not start on it, says why, and loses nothing."""
    first = runs((FAST,))
    first.append("a", exporters=(FAST,))
    first.crash()
    with no_file_over(64), pytest.raises(ConfigError, match=r"queue\.db cannot be opened"):
        runs((FAST,))
    assert ["a"] == runs((FAST,)).take(FAST)


@pytest.mark.parametrize("place", range(0, 100, 9))
def test_a_flip_in_what_was_written_last(runs: Any, tmp_path: Path, place: int) -> None:
    """A byte of the -wal file flips between two runs: what was written after it is lost, and counted."""
    folder, after = tmp_path / "queue", tmp_path / "after"
    run = runs((FAST,))
    services = numbered(0, 12)
    for service in services[:6]:
        run.append(service, exporters=(FAST,))
    deliver(run.log.cursor(FAST), 3)
    for service in services[6:]:
        run.append(service, exporters=(FAST,))
    shutil.copytree(folder, after)
    wal = bytearray((after / WAL_NAME).read_bytes())
    wal[len(wal) * place // 100] ^= 1
    (after / WAL_NAME).write_bytes(wal)
    with runs_on(after) as run_after:
        second = run_after((FAST,))
        left = second.take(FAST)
        counted = second.metrics.value(LOG_MISSING_REQUESTS)
    # What was delivered may come again; what was not is there, or counted.
    lost = set(services[3:]) - set(left)
    assert len(lost) == counted
    assert 0 < counted or place > 95


@pytest.mark.parametrize("place", range(0, 100, 7))
def test_damage_is_counted(runs: Any, tmp_path: Path, place: int) -> None:
    """Wherever the file is damaged, its first pages included, what is lost is counted."""
    path = tmp_path / "queue" / FILE_NAME
    services = numbered(0, 12)
    first = runs((FAST,))
    for service in services:
        first.log.append([(profiles(service, samples=2000), [FAST])])
    first.log.shutdown()
    data = bytearray(path.read_bytes())
    at = len(data) * place // 100
    data[at : at + 64] = bytes(64)
    path.write_bytes(data)
    second = runs((FAST,))
    lost = set(services) - set(second.take(FAST))
    assert len(lost) == sum(
        second.metrics.value(spec) for spec in (LOG_MISSING_REQUESTS, LOG_CORRUPT_REQUESTS)
    )


def test_a_flip_in_the_marks(runs: Any, tmp_path: Path) -> None:
    """They are not believed then; nothing is lost by that."""
    path = tmp_path / "queue" / MARKS_FILE_NAME
    run = runs((FAST,))
    run.append("a", exporters=(FAST,))
    run.crash_in(FAST)
    data = path.read_bytes()
    for number in range(len(data)):
        changed = bytearray(data)
        changed[number] ^= 1
        path.write_bytes(changed)
        again = runs((FAST,), dead_letter={"max_crashes": 1})
        assert (["a"], 0) == (again.take(FAST), again.metrics.value(LOG_MISSING_REQUESTS))
        again.crash()


def test_what_grows_too_old_is_dropped(runs: Any) -> None:
    """Also while otelprof runs, counted, on disk too; not what is being sent."""
    run = runs(max_age_secs=10)
    run.append("a")
    run.clock.advance(6)
    run.append("b")
    sending = run.log.cursor(SLOW).take()
    run.clock.advance(5)
    run.log.tend()
    assert (1, 0) == tuple(run.dropped(one, DropReason.EXPIRED) for one in (FAST, SLOW))
    run.log.cursor(SLOW).retry_at(sending, 0.0)
    run.log.tend()
    assert 1 == run.dropped(SLOW, DropReason.EXPIRED)
    run.crash()
    second = runs()
    assert [["b"], ["b"]] == [second.take(FAST), second.take(SLOW)]


def test_what_grows_too_old_in_a_batch_or_at_a_gate(runs: Any) -> None:
    """A batch is as old as its youngest request; what waits for decisions expires, too."""
    run = runs((FAST,), max_age_secs=10, batch={"min_size": 0})
    cursor = run.log.cursor(FAST)
    run.append("a", exporters=(FAST,))
    run.clock.advance(6)
    run.append("b", exporters=(FAST,))
    cursor.replace(cursor.take_batch(), [profiles("merged")], 1)
    (held,) = run.log.append([(profiles("held"), [FAST])], {0: ComponentId("profiles")})
    run.append("waits", exporters=(FAST,))
    run.clock.advance(5)
    run.log.tend()
    assert 0 == run.dropped(FAST, DropReason.EXPIRED)
    run.clock.advance(6)
    run.log.tend()
    assert (3, 0, 0) == (run.dropped(FAST, DropReason.EXPIRED), cursor.item_count, cursor.size_bytes)
    run.log.settle(held, held.profiles)
    assert ((), None) == (tuple(cursor.take_batch()), cursor.take())


class Tended:
    """A log that fails when it is tended, the first time."""

    def __init__(self) -> None:
        self.rounds = 0
        self.again = threading.Event()

    def tend(self) -> None:
        """Note it."""
        self.rounds += 1
        if self.rounds == 1:
            message = "a bug"
            raise RuntimeError(message)
        self.again.set()


def test_it_is_tended_until_the_shutdown(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the start on, again and again, whatever fails; shut down twice, or before it began."""
    monkeypatch.setattr("otelprof.log.upkeep.INTERVAL_SECS", 0.01)
    log: Any = Tended()
    upkeep = Upkeep(log, ComponentId("file_storage"), SystemClock(), structlog.get_logger("test"))
    upkeep.start()
    assert log.again.wait(10)
    upkeep.shutdown()
    upkeep.shutdown()
    rounds = log.rounds
    Upkeep(log, ComponentId("file_storage"), SystemClock(), structlog.get_logger("test")).shutdown()
    assert rounds == log.rounds
