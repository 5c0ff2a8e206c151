"""The log: atomic, bounded, one cursor an exporter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from otelprof.config.exporter import SendingQueueConfig
from otelprof.errors import OverloadedError, RequestTooLargeError, UnavailableError
from otelprof.log.cursor import Cursor, DropReason
from otelprof.log.memory import MemoryLog
from otelprof.model import ComponentId
from otelprof.telemetry.metrics import EXPORTER_DROPPED, EXPORTER_ENQUEUE_FAILED, Metrics
from otelprof.testing.clock import SimulatedClock

FAST = ComponentId("otlp", "fast")
SLOW = ComponentId("otlp", "slow")


@dataclass(frozen=True)
class Request:
    """What the log knows of a request."""

    memory_bytes: int
    sample_count: int = 1


class Bench:
    """A log with two exporters."""

    def __init__(self, queue_size: int = 100, on_overflow: str = "refuse") -> None:
        self.clock = SimulatedClock()
        self.metrics = Metrics()
        config = SendingQueueConfig.model_validate({"queue_size": queue_size, "on_overflow": on_overflow})
        self.log = MemoryLog({FAST: config, SLOW: config}, self.clock, self.metrics)
        self.fast, self.slow = self.log.cursor(FAST), self.log.cursor(SLOW)

    def append(self, *requests: Any, exporters: tuple[ComponentId, ...] = (FAST, SLOW)) -> None:
        """Append all at once."""
        self.log.append([(request, exporters) for request in requests])

    def dropped(self, exporter: ComponentId, reason: DropReason) -> float:
        """Samples that were counted as lost."""
        return self.metrics.value(EXPORTER_DROPPED, exporter=str(exporter), reason=reason.value)


def take_sizes(cursor: Cursor, count: int) -> list[int | None]:
    """Take so many items, and tell them by their sizes."""
    items = [cursor.take() for _ in range(count)]
    return [item.size_bytes if item else None for item in items]


def test_each_cursor_reads_everything_in_order() -> None:
    """Every exporter gets every request, oldest first, at its own pace."""
    bench = Bench()
    bench.append(Request(1))
    bench.append(Request(2))
    assert [1, 2, None] == take_sizes(bench.fast, 3)
    assert [1] == take_sizes(bench.slow, 1)


def test_memory_is_freed_by_the_last_cursor() -> None:
    """An entry is counted once, until the last exporter has passed it."""
    bench = Bench()
    bench.append(Request(10))
    sizes = [bench.log.memory_bytes]
    for cursor in (bench.fast, bench.slow):
        item = cursor.take()
        assert item is not None
        cursor.ack(item)
        sizes.append(bench.log.memory_bytes)
    assert [10, 10, 0] == sizes


def test_in_flight_counts_as_size() -> None:
    """A request that is being sent still fills the queue."""
    bench = Bench()
    bench.append(Request(10))
    item = bench.fast.take()
    assert (10, 1, 1) == (bench.fast.size_bytes, bench.fast.in_flight_count, bench.fast.item_count)
    assert item is not None
    bench.fast.ack(item)
    assert (0, 0, 0) == (bench.fast.size_bytes, bench.fast.in_flight_count, bench.fast.item_count)


def test_a_full_queue_refuses_for_all_exporters() -> None:
    """When one exporter has no room, nothing of any entry is appended, and the client is asked to wait."""
    bench = Bench()
    bench.append(Request(60), exporters=(SLOW,))
    with pytest.raises(OverloadedError) as caught:
        bench.append(Request(1), Request(50, sample_count=7))
    assert 1.0 == caught.value.retry_after_secs
    assert "exporters.otlp/slow.sending_queue.queue_size" in str(caught.value)
    assert (0, 60, 60) == (bench.fast.size_bytes, bench.slow.size_bytes, bench.log.memory_bytes)
    assert 8 == bench.metrics.value(EXPORTER_ENQUEUE_FAILED, exporter=str(SLOW))


def test_a_queue_can_be_filled_to_the_last_byte() -> None:
    """A request that fits exactly is taken."""
    bench = Bench(queue_size=100)
    bench.append(Request(60), Request(40))
    assert 100 == bench.fast.size_bytes


@pytest.mark.parametrize("on_overflow", ["refuse", "drop_oldest"])
def test_a_request_larger_than_the_queue_is_permanent(on_overflow: str) -> None:
    """What would not fit into an empty queue is never asked for again."""
    bench = Bench(queue_size=100, on_overflow=on_overflow)
    with pytest.raises(RequestTooLargeError, match="takes 101 bytes"):
        bench.append(Request(101))


def test_drop_oldest_makes_room_and_counts() -> None:
    """An exporter that drops its oldest never pushes back; each exporter drops for itself."""
    bench = Bench(queue_size=100, on_overflow="drop_oldest")
    bench.append(Request(40, sample_count=3), Request(40), Request(20))
    fast_item = bench.fast.take()
    assert fast_item is not None
    bench.fast.ack(fast_item)
    bench.append(Request(50))
    assert (70, 70, 70) == (bench.fast.size_bytes, bench.slow.size_bytes, bench.log.memory_bytes)
    assert (1, 4) == tuple(bench.dropped(one, DropReason.QUEUE_OVERFLOW) for one in (FAST, SLOW))


def test_drop_oldest_spares_what_is_in_flight() -> None:
    """A request in a sender's hands is not taken from it; the next oldest goes."""
    bench = Bench(queue_size=100, on_overflow="drop_oldest")
    bench.append(Request(40), Request(40), Request(20))
    in_flight = bench.fast.take()
    bench.append(Request(30))
    assert in_flight is not None
    assert in_flight.in_flight
    assert 90 == bench.fast.size_bytes
    bench.fast.ack(in_flight)
    assert 50 == bench.fast.size_bytes


def test_drop_oldest_takes_what_waits_for_a_retry() -> None:
    """An older request in backoff goes before a younger fresh one."""
    bench = Bench(queue_size=100, on_overflow="drop_oldest")
    bench.append(Request(50), Request(49), exporters=(FAST,))
    item = bench.fast.take()
    assert item is not None
    bench.fast.retry_at(item, 10.0)
    bench.append(Request(30), exporters=(FAST,))
    bench.clock.advance(10.0)
    assert [49, 30, None] == take_sizes(bench.fast, 3)


def test_retry_is_due_at_its_time() -> None:
    """A request in backoff is not handed out before its time, and blocks nobody behind it."""
    bench = Bench()
    bench.append(Request(1), Request(2))
    first = bench.fast.take()
    assert first is not None
    bench.fast.retry_at(first, 5.0)
    assert ([2], 5.0) == (take_sizes(bench.fast, 1), bench.fast.secs_until_due())
    bench.clock.advance(4.0)
    assert (None, 1.0) == (bench.fast.take(), bench.fast.secs_until_due())
    bench.clock.advance(1.0)
    assert first is bench.fast.take()
    assert 1 == first.attempts


def test_retries_come_in_the_order_of_their_times() -> None:
    """The retry that is due first is handed out first, and before fresh requests."""
    bench = Bench()
    bench.append(Request(1), Request(2), Request(3))
    items = [bench.fast.take(), bench.fast.take()]
    for item, due in zip(items, (7.0, 6.0), strict=True):
        assert item is not None
        bench.fast.retry_at(item, due)
    bench.clock.advance(8.0)
    assert [2, 1, 3] == take_sizes(bench.fast, 3)


def test_expedite_makes_retries_due() -> None:
    """What waits for a retry can be had now."""
    bench = Bench()
    bench.append(Request(1))
    item = bench.fast.take()
    assert item is not None
    bench.fast.retry_at(item, 100.0)
    bench.fast.expedite()
    assert 0 == bench.fast.secs_until_due()
    assert item is bench.fast.take()
    assert bench.fast.take() is None


def test_drop_counts_samples_once() -> None:
    """A dropped request is counted by its samples and reason; what is gone cannot be dropped again."""
    bench = Bench()
    bench.append(Request(1, sample_count=9))
    item = bench.fast.take()
    assert item is not None
    for _ in range(2):
        bench.fast.drop(item, DropReason.RETRIES_EXHAUSTED)
    bench.fast.ack(item)
    bench.fast.retry_at(item, 1.0)
    assert 9 == bench.dropped(FAST, DropReason.RETRIES_EXHAUSTED)
    assert (0, 0, 0) == (bench.fast.size_bytes, bench.fast.in_flight_count, bench.fast.item_count)


def test_drop_all_leaves_nothing() -> None:
    """Fresh, in backoff and in flight: all is given up and counted, and another exporter keeps its own."""
    bench = Bench()
    bench.append(Request(1), Request(2), Request(3))
    waiting, in_flight = bench.fast.take(), bench.fast.take()
    assert waiting is not None
    assert in_flight is not None
    bench.fast.retry_at(waiting, 1.0)
    bench.fast.drop_all(DropReason.SHUTDOWN)
    assert 3 == bench.dropped(FAST, DropReason.SHUTDOWN)
    assert (None, None, 0, 6) == (
        bench.fast.take(),
        bench.fast.secs_until_due(),
        bench.fast.size_bytes,
        bench.slow.size_bytes,
    )


def test_a_closed_log_takes_nothing() -> None:
    """After close, clients are sent away, and what is there can still be delivered."""
    bench = Bench()
    bench.append(Request(1))
    bench.log.close()
    with pytest.raises(UnavailableError, match="shutting down"):
        bench.append(Request(1))
    assert bench.fast.take() is not None


def test_a_closed_cursor_gives_nothing() -> None:
    """After close, nothing is handed out and nobody waits."""
    bench = Bench()
    bench.append(Request(1))
    bench.fast.close()
    bench.fast.wait()
    bench.fast.wait_until_empty(1.0)
    assert (None, 0.0) == (bench.fast.take(), bench.clock.monotonic())


def test_wait_ends_when_the_next_retry_is_due() -> None:
    """A waiting sender sleeps exactly until there is something to do."""
    bench = Bench()
    bench.append(Request(1))
    item = bench.fast.take()
    assert item is not None
    bench.fast.retry_at(item, 3.0)
    bench.fast.wait()
    assert 3.0 == bench.clock.monotonic()
    bench.fast.wait()
    assert 3.0 == bench.clock.monotonic()


def test_an_entry_without_exporters_is_not_kept() -> None:
    """A request whose exporters all have no queue leaves nothing in the log."""
    bench = Bench()
    bench.append(Request(5), exporters=())
    assert 0 == bench.log.memory_bytes
