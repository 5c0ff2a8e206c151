"""What a reload leans on: a cursor that goes on for another, senders that are halted, and the passage."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from structlog.testing import capture_logs

from otelprof.clock import SystemClock
from otelprof.component import ComponentSettings, Kind
from otelprof.config.exporter import ExporterConfig, SendingQueueConfig
from otelprof.delivery.sender import Sender
from otelprof.errors import UnavailableError
from otelprof.intake import Passage
from otelprof.log.batching import BatchingCursor
from otelprof.log.cursor import Cursor, DropReason
from otelprof.log.memory import MemoryLog
from otelprof.model import ComponentId
from otelprof.telemetry.metrics import EXPORTER_DROPPED, Metrics
from otelprof.testing.clock import SimulatedClock

if TYPE_CHECKING:
    from otelprof.log.cursor import Item

ID = ComponentId("otlp")
GATED = ComponentId("profiles")


@dataclass(frozen=True)
class Request:
    """What the log knows of a request."""

    number: int
    memory_bytes: int = 10
    body_bytes: int = 10
    sample_count: int = 1
    profile_count: int = 1


class Bench:
    """A log with one exporter, whose queue is configured again and again."""

    def __init__(self, *, batch: bool = False) -> None:
        self.clock = SimulatedClock()
        self.log = MemoryLog({ID: self.queue(batch=batch)}, self.clock, Metrics())
        self.cursor = self.log.cursor(ID)

    @staticmethod
    def queue(*, batch: bool, queue_size: int = 1000) -> SendingQueueConfig:
        """A queue with batches or without."""
        more: dict[str, Any] = {"batch": {"flush_timeout": "1s", "min_size": 100}} if batch else {}
        return SendingQueueConfig.model_validate({"queue_size": queue_size, **more})

    def append(self, *numbers: int) -> None:
        """Append requests with these numbers."""
        requests: list[Any] = [Request(number) for number in numbers]
        self.log.append([(request, [ID]) for request in requests])

    def renew(self, *, batch: bool = False, queue_size: int = 1000) -> Cursor:
        """Configure the queue again."""
        self.cursor = self.log.renew(ID, self.queue(batch=batch, queue_size=queue_size))
        return self.cursor

    def take(self) -> Item:
        """The next item, which must be there."""
        item = self.cursor.take()
        assert item is not None
        return item

    def left(self) -> list[int]:
        """The numbers of all that can be taken now, taken and passed."""
        found = []
        while (item := self.cursor.take()) is not None:
            found.append(number_of(item))
            self.cursor.ack(item)
        return found


def number_of(item: Item) -> int:
    """Which request it is."""
    request: Any = item.profiles
    return int(request.number)


def test_what_waits_goes_over() -> None:
    """What is fresh keeps its order, and what waits for a retry its time; memory is free at the end."""
    bench = Bench()
    bench.append(1, 2, 3)
    bench.cursor.retry_at(bench.take(), 5.0)
    bench.renew()
    assert ([2, 3], 5.0) == (bench.left(), bench.cursor.secs_until_due())
    bench.clock.advance(5.0)
    assert [1] == bench.left()
    assert (0, 0) == (bench.log.memory_bytes, bench.cursor.size_bytes)


def test_what_is_in_flight_is_due_again() -> None:
    """An attempt that does not end is made again, and what comes of the first one counts nothing."""
    bench = Bench()
    bench.append(1)
    before, item = bench.cursor, bench.take()
    bench.renew()
    before.ack(item)
    before.drop(item, DropReason.PERMANENT_ERROR)
    assert (10, [1], 0) == (bench.log.memory_bytes, bench.left(), bench.log.memory_bytes)
    assert (0, 0) == (before.size_bytes, before.in_flight_count)


@pytest.mark.parametrize("batch", [True, False])
def test_what_waits_for_a_batch_goes_over(*, batch: bool) -> None:
    """Batching can be switched on, off and about: what waits is given out as it is configured now."""
    bench = Bench(batch=not batch)
    bench.append(1, 2)
    cursor = bench.renew(batch=batch)
    if isinstance(cursor, BatchingCursor):
        bench.append(3)
        bench.clock.advance(1.0)
        taken = [number_of(item) for item in cursor.take_batch()]
    else:
        taken = bench.left()
    assert ([1, 2, 3] if batch else [1, 2]) == taken


def test_pieces_of_a_batch_go_over_as_they_are() -> None:
    """A piece is neither merged again nor doubled, and the last one frees the memory of all."""
    bench = Bench(batch=True)
    bench.append(1, 2)
    before = bench.cursor
    assert isinstance(before, BatchingCursor)
    bench.clock.advance(1.0)
    pieces: list[Any] = [Request(10), Request(11)]
    before.replace(before.take_batch(), pieces, 30)
    bench.take()
    cursor = bench.renew(batch=True)
    assert isinstance(cursor, BatchingCursor)
    assert () == cursor.take_batch()
    first = bench.take()
    cursor.ack(first)
    assert 30 == bench.log.memory_bytes == cursor.size_bytes
    cursor.ack(bench.take())
    assert (0, 0) == (bench.log.memory_bytes, cursor.size_bytes)


def test_what_is_held_is_given_out_to_the_successor() -> None:
    """A request that waits at a gate is settled into the cursor that reads the log by then."""
    bench = Bench()
    request: Any = Request(1)
    (held,) = bench.log.append([(request, [ID])], {0: GATED})
    bench.renew()
    bench.renew(batch=False)
    assert 10 == bench.cursor.size_bytes
    bench.log.settle(held, request)
    assert ([1], 0) == (bench.left(), bench.log.memory_bytes)


def test_a_smaller_queue_keeps_what_it_has() -> None:
    """What was acknowledged stays, above the new capacity; nothing more comes in before there is room."""
    bench = Bench()
    bench.append(1, 2, 3)
    bench.renew(queue_size=20)
    assert (30, False) == (bench.cursor.size_bytes, bench.cursor.accepts(10))
    assert [1, 2, 3] == bench.left()
    assert bench.cursor.accepts(10)


def test_who_was_removed_gets_nothing_more() -> None:
    """A request that was on its way to an exporter that is gone is to be sent again."""
    bench = Bench()
    bench.append(1)
    bench.log.keep_only([])
    bench.log.admit([ID], 10_000)
    with pytest.raises(UnavailableError, match="otlp has been removed"):
        bench.append(2)
    assert [1] == bench.left()


class StuckExporter:
    """Does not return before it is let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.came = threading.Event()
        self.exported: list[int] = []

    def start(self) -> None:
        """Nothing to do."""

    def shutdown(self) -> None:
        """Nothing that would help."""

    def export(self, profiles: Any) -> None:
        """Wait, and note it."""
        self.came.set()
        self.let_go.wait(30.0)
        self.exported.append(profiles.number)


def sender(exporter: StuckExporter, cursor: Cursor, metrics: Metrics) -> Sender:
    """A sender with two threads."""
    config = ExporterConfig.model_validate({"sending_queue": {"num_consumers": 2}})
    settings = ComponentSettings(ID, Kind.EXPORTER, structlog.get_logger("test"), metrics, SystemClock())
    return Sender(exporter, cursor, config, settings)


def test_a_stuck_attempt_does_not_hold_up_a_change() -> None:
    """After the deadline it is left behind with a warning, and the next exporter delivers everything."""
    clock, metrics = SystemClock(), Metrics()
    queue = SendingQueueConfig(num_consumers=2)
    log = MemoryLog({ID: queue}, clock, metrics)
    stuck, fine = StuckExporter(), StuckExporter()
    fine.let_go.set()
    before = sender(stuck, log.cursor(ID), metrics)
    before.start()
    requests: list[Any] = [Request(1)]
    log.append([(request, [ID]) for request in requests])
    assert stuck.came.wait(5.0)
    with capture_logs() as logs:
        before.halt(clock.monotonic())
    after = sender(fine, log.renew(ID, queue), metrics)
    after.start()
    after.wait_drained(clock.monotonic() + 5.0)
    stuck.let_go.set()
    after.shutdown()
    assert ["exporter does not return from export after its shutdown"] == [one["event"] for one in logs]
    assert [1] == fine.exported
    assert 0 == log.memory_bytes


@pytest.mark.parametrize("ends", ["drained", "deadline", "stopped"])
def test_a_retired_sender_ends_by_itself(ends: str) -> None:
    """It delivers what it has, until its deadline, or until everything stops; the rest is counted."""
    clock, metrics = SystemClock(), Metrics()
    log = MemoryLog({ID: SendingQueueConfig(num_consumers=2)}, clock, metrics)
    exporter = StuckExporter()
    retired = sender(exporter, log.cursor(ID), metrics)
    retired.start()
    requests: list[Any] = [Request(number) for number in range(5)]
    log.append([(request, [ID]) for request in requests])
    assert exporter.came.wait(5.0)
    log.keep_only([])
    retired.retire(clock.monotonic() + (0.05 if ends == "deadline" else 30.0))
    if ends == "drained":
        exporter.let_go.set()
    if ends == "stopped":
        retired.shutdown()
    deadline = clock.monotonic() + 10.0
    while not retired.is_done and clock.monotonic() < deadline:
        time.sleep(0.01)
    exporter.let_go.set()
    dropped = metrics.value(EXPORTER_DROPPED, exporter="otlp", reason="exporter_removed")
    assert (True, 0 if ends == "drained" else 5, 0) == (retired.is_done, dropped, log.memory_bytes)


def test_the_passage_lets_nobody_through_while_it_is_closed() -> None:
    """It closes behind those that are inside, who come before waits for, and later ones wait for it."""
    passage = Passage()
    order: list[str] = []
    inside, closing = threading.Event(), threading.Event()

    def first() -> None:
        with passage.request():
            inside.set()
            closing.wait(5.0)
            time.sleep(0.05)
            order.append("first")

    def second() -> None:
        with passage.request():
            order.append("second")

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    assert inside.wait(5.0)
    closing.set()
    with passage.closed(5.0):
        threads[1].start()
        time.sleep(0.05)
        order.append("change")
    for thread in threads:
        thread.join()
    assert ["first", "change", "second"] == order


def test_the_passage_does_not_wait_for_ever() -> None:
    """A request that does not end holds up no change."""
    passage = Passage()
    with passage.request(), passage.closed(0.01):
        pass
