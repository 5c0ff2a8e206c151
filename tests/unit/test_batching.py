"""Batching: when requests are merged and what becomes of the pieces, stepped on a simulated clock."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from otelprof.component import ComponentSettings, Kind
from otelprof.config.exporter import ExporterConfig
from otelprof.delivery.sender import Sender
from otelprof.errors import OverloadedError, PermanentError, UnavailableError
from otelprof.log.batching import BatchingCursor
from otelprof.log.cursor import DropReason
from otelprof.log.memory import MemoryLog
from otelprof.model import ComponentId
from otelprof.telemetry import metrics as table
from otelprof.telemetry.metrics import Metrics
from otelprof.testing.clock import SimulatedClock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otelprof.telemetry.metric_spec import MetricSpec

ID = ComponentId("otlp")
UNMERGEABLE = -1


@dataclass(frozen=True)
class Request:
    """Stands for `Profiles`: numbered parts of 10 bytes and 3 samples each."""

    numbers: tuple[int, ...]
    duplicates_removed = {"string_table": 4}  # noqa: RUF012 - of a frozen value
    orphans_removed = {"link_table": 1}  # noqa: RUF012 - of a frozen value

    @property
    def body_bytes(self) -> int:
        """On the wire."""
        return 10 * len(self.numbers)

    @property
    def memory_bytes(self) -> int:
        """As on the wire."""
        return self.body_bytes

    @property
    def sample_count(self) -> int:
        """Three for each part."""
        return 3 * len(self.numbers)

    @property
    def wire_bytes(self) -> int:
        """As many as came in."""
        return self.body_bytes

    def split(self, max_bytes: int) -> list[Request]:
        """Cut between the parts."""
        count = max(1, max_bytes // 10)
        return [Request(self.numbers[at : at + count]) for at in range(0, len(self.numbers), count)]


class JoiningMerger:
    """Stands for the core's: joins the parts."""

    def merge(self, requests: Sequence[Request]) -> Request:
        """One request of all parts."""
        numbers = tuple(number for request in requests for number in request.numbers)
        if UNMERGEABLE in numbers:
            message = "a bug"
            raise RuntimeError(message)
        return Request(numbers)


class Exporter:
    """Fails for a piece that holds a certain part, as often as it is told."""

    def __init__(self, clock: SimulatedClock) -> None:
        self._clock = clock
        self.errors: defaultdict[int, deque[Exception]] = defaultdict(deque)
        self.attempts: list[tuple[float, tuple[int, ...]]] = []

    def start(self) -> None:
        """Nothing to do."""

    def shutdown(self) -> None:
        """Nothing to do."""

    def export(self, profiles: Any) -> None:
        """Note it, and fail or not."""
        self.attempts.append((round(self._clock.monotonic(), 6), profiles.numbers))
        for number in profiles.numbers:
            if self.errors[number]:
                raise self.errors[number].popleft()


class Bench:
    """A sender without threads, whose requests are batched."""

    def __init__(self, *, queue_size: int = 1000, on_overflow: str = "refuse", **batch: object) -> None:
        self.clock = SimulatedClock()
        self.metrics = Metrics()
        queue = {
            "queue_size": queue_size,
            "on_overflow": on_overflow,
            "batch": {"sizer": "bytes", "min_size": 500, **batch},
        }
        keys = {"sending_queue": queue, "retry_on_failure": {"randomization_factor": 0}}
        config = ExporterConfig.model_validate(keys)
        self.log = MemoryLog({ID: config.sending_queue}, self.clock, self.metrics)
        self.exporter = Exporter(self.clock)
        settings = ComponentSettings(
            ID, Kind.EXPORTER, structlog.get_logger("test"), self.metrics, self.clock
        )
        cursor = self.log.cursor(ID)
        assert isinstance(cursor, BatchingCursor)
        self.cursor = cursor
        self.sender = Sender(self.exporter, cursor, config, settings)

    def append(self, *requests: int | tuple[int, ...]) -> None:
        """Append requests of one part, or of several."""
        for numbers in requests:
            request: Any = Request(numbers if isinstance(numbers, tuple) else (numbers,))
            self.log.append([(request, [ID])])

    def run(self) -> None:
        """Step until nothing is left, letting time pass."""
        while (secs := self.sender.step()) is not None:
            self.clock.advance(secs)

    def run_now(self) -> None:
        """Step until nothing is left to do at this time."""
        while self.sender.step() == 0:
            pass

    def value(self, spec: MetricSpec, **labels: str) -> float:
        """What was counted for the exporter."""
        return self.metrics.value(spec, exporter=str(ID), **labels)

    def dropped(self, reason: DropReason) -> float:
        """Samples that were counted as lost."""
        return self.value(table.EXPORTER_DROPPED, reason=reason.value)


@pytest.fixture(autouse=True)
def _joining_merger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otelprof.delivery.batch.Merger", JoiningMerger)


def test_the_oldest_request_says_when() -> None:
    """What waits is sent together, when flush_timeout has passed since the oldest of it came."""
    bench = Bench(flush_timeout="200ms")
    bench.append(1)
    assert 0.2 == bench.sender.step()
    bench.clock.advance(0.15)
    bench.append(2)
    assert 0.05 == pytest.approx(bench.sender.step())
    bench.run()
    assert [(0.2, (1, 2))] == bench.exporter.attempts
    assert (0, None) == (bench.cursor.item_count, bench.sender.step())


def test_min_size_flushes_at_once() -> None:
    """A batch of min_size does not wait; what comes after it waits for its own time."""
    bench = Bench(min_size=30)
    bench.append(1, 2)
    assert 0.2 == bench.sender.step()
    bench.append(3)
    bench.run_now()
    bench.clock.advance(1.0)
    bench.append(4)
    bench.run()
    assert [(0.0, (1, 2, 3)), (1.2, (4,))] == bench.exporter.attempts


def test_max_size_bounds_what_is_taken() -> None:
    """A batch takes whole requests up to max_size, and leaves the others to the next."""
    bench = Bench(min_size=20, max_size=25)
    bench.append(1, 2, 3, 4, 5)
    bench.run()
    assert [(0.0, (1, 2)), (0.0, (3, 4)), (0.2, (5,))] == bench.exporter.attempts


def test_a_larger_request_is_split() -> None:
    """A request over max_size comes out in pieces that are not."""
    bench = Bench(min_size=10, max_size=20)
    bench.append((1, 2, 3, 4, 5))
    bench.run()
    assert [(0.0, (1, 2)), (0.0, (3, 4)), (0.0, (5,))] == bench.exporter.attempts
    assert (15, 3, 0) == tuple(
        bench.value(spec)
        for spec in (table.EXPORTER_SENT, table.EXPORTER_SENT_REQUESTS, table.BATCH_OVERSIZED_PIECES)
    )


def test_what_cannot_be_split_is_sent_alone() -> None:
    """A sample over max_size is sent by itself, and counted; its neighbours are not lost with it."""
    bench = Bench(min_size=0, max_size=9)
    bench.append((1, 2))
    bench.run()
    assert [(0.0, (1,)), (0.0, (2,))] == bench.exporter.attempts
    assert 2 == bench.value(table.BATCH_OVERSIZED_PIECES)


def test_items_are_samples() -> None:
    """With sizer: items the sizes count samples; a request that is larger by itself goes as it is."""
    bench = Bench(sizer="items", min_size=6, max_size=8)
    bench.append(1, 2, 3, (4, 5, 6))
    bench.run()
    assert [(0.0, (1, 2)), (0.0, (3,)), (0.0, (4, 5, 6))] == bench.exporter.attempts


def test_drain_does_not_wait() -> None:
    """Draining, a batch is sent as it is, and so is what is still to come."""
    bench = Bench(flush_timeout="1h")
    bench.append(1, 2)
    bench.sender.begin_drain(deadline=20.0)
    bench.run_now()
    bench.append(3)
    bench.run_now()
    assert [(0.0, (1, 2)), (0.0, (3,))] == bench.exporter.attempts


def test_drain_tries_pieces_in_backoff_at_once() -> None:
    """Draining, a piece that waits for its retry is tried now, and one that was never tried as well."""
    bench = Bench(min_size=0, max_size=10)
    bench.exporter.errors[1].append(UnavailableError("away"))
    bench.append((1, 2))
    bench.sender.step()
    bench.sender.begin_drain(deadline=20.0)
    bench.run_now()
    assert [(0.0, (1,)), (0.0, (1,)), (0.0, (2,))] == bench.exporter.attempts


def test_a_piece_is_tried_again_alone() -> None:
    """A piece in backoff holds back neither the other pieces of its batch nor the next batch."""
    bench = Bench(min_size=10, max_size=10)
    bench.exporter.errors[1].append(UnavailableError("away"))
    bench.append((1, 2))
    bench.run_now()
    bench.clock.advance(1.0)
    bench.append(3)
    bench.run()
    assert [(0.0, (1,)), (0.0, (2,)), (1.0, (3,)), (5.0, (1,))] == bench.exporter.attempts


def test_a_piece_is_dropped_alone() -> None:
    """A piece that fails for good is counted with its own samples, and the others are delivered."""
    bench = Bench(min_size=10, max_size=20)
    bench.exporter.errors[1].append(PermanentError("no"))
    bench.append((1, 2, 3))
    bench.run()
    assert (6, 3) == (bench.dropped(DropReason.PERMANENT_ERROR), bench.value(table.EXPORTER_SENT))


def test_nothing_is_passed_before_the_last_piece() -> None:
    """What came of a batch stays in the queue and in its size until all of it is delivered, in any order."""
    bench = Bench(min_size=10, max_size=10)
    bench.exporter.errors[1].append(UnavailableError("away"))
    bench.append((1, 2, 3))
    left = []
    for _ in range(6):
        left.append((bench.cursor.item_count, bench.cursor.size_bytes, bench.log.memory_bytes))
        bench.clock.advance(bench.sender.step() or 0.0)
    # It waits; one piece is in backoff; the others are delivered; time; it is delivered, too.
    assert [(1, 30, 30), (3, 60, 60), (2, 60, 60), (1, 60, 60), (1, 60, 60), (0, 0, 0)] == left


def test_half_a_queue_does_not_wait() -> None:
    """Requests that fill half of the queue are sent at once: waiting must not be what makes it overflow."""
    bench = Bench(queue_size=100, min_size=100)
    bench.append(1, 2, 3, 4)
    assert 0.2 == bench.sender.step()
    bench.append(5, 6)
    bench.run_now()
    assert [(0.0, (1, 2, 3, 4, 5))] == bench.exporter.attempts


def test_a_full_queue_refuses() -> None:
    """What waits for a batch, and what came of one with its wire form, fills the queue; clients wait."""
    bench = Bench(queue_size=150, min_size=50)
    bench.exporter.errors[1].append(UnavailableError("away"))
    bench.append(1, 2, 3, 4, 5)
    bench.run_now()
    bench.append(6, 7, 8, 9)
    with pytest.raises(OverloadedError):
        bench.append((10, 11))
    bench.run()
    assert [(0.0, (1, 2, 3, 4, 5)), (0.2, (6, 7, 8, 9)), (5.0, (1, 2, 3, 4, 5))] == bench.exporter.attempts


def test_an_overflow_drops_the_oldest() -> None:
    """A piece in backoff is older than all that waits for a batch, and goes first; then what waits goes."""
    bench = Bench(queue_size=100, on_overflow="drop_oldest", min_size=30, max_size=30)
    bench.exporter.errors[1].append(UnavailableError("away"))
    bench.append(1, 2, 3)
    bench.run_now()
    bench.append(4, 5, (6, 7, 8, 9, 10, 11))
    assert 9 == bench.dropped(DropReason.QUEUE_OVERFLOW)
    bench.append((12, 13, 14))
    assert 12 == bench.dropped(DropReason.QUEUE_OVERFLOW)
    bench.run()
    sent = {number for _, numbers in bench.exporter.attempts[1:] for number in numbers}
    assert set(range(5, 15)) == sent


def test_an_overflow_drops_whole_batches() -> None:
    """The pieces of a batch free their memory together, so all that wait of the oldest batch are dropped."""
    bench = Bench(queue_size=200, on_overflow="drop_oldest", min_size=10, max_size=10)
    for number in (1, 2, 3):
        bench.exporter.errors[number].append(UnavailableError("away"))
    bench.append((1, 2, 3))
    bench.run_now()
    bench.append(tuple(range(10, 25)))
    assert (9, 150) == (bench.dropped(DropReason.QUEUE_OVERFLOW), bench.cursor.size_bytes)


def test_a_batch_that_is_merged_is_spared() -> None:
    """A batch in the hands of a merge is not dropped, and stays older than what came meanwhile."""
    bench = Bench(queue_size=100, on_overflow="drop_oldest", min_size=30)
    bench.append(1, 2, 3)
    batch = bench.cursor.take_batch()
    bench.append((4, 5, 6), (7, 8, 9, 10, 11))
    assert 9 == bench.dropped(DropReason.QUEUE_OVERFLOW)
    merged: Any = Request((1, 2, 3))
    bench.cursor.replace(batch, [merged], merged.memory_bytes)
    bench.append((12, 13, 14))
    assert 18 == bench.dropped(DropReason.QUEUE_OVERFLOW)
    bench.run()
    assert [(0.0, (7, 8, 9, 10, 11)), (0.0, (12, 13, 14))] == bench.exporter.attempts


def test_one_batch_is_merged_at_a_time() -> None:
    """While one batch is merged, what comes waits, and then makes one batch."""
    bench = Bench(min_size=10)
    bench.append(1)
    batch = bench.cursor.take_batch()
    bench.append(2, 3)
    assert ((), None) == (bench.cursor.take_batch(), bench.sender.step())
    merged: Any = Request((1,))
    bench.cursor.replace(batch, [merged], merged.memory_bytes)
    bench.run()
    assert [(0.0, (1,)), (0.0, (2, 3))] == bench.exporter.attempts


def test_what_was_dropped_while_it_was_merged_stays_dropped() -> None:
    """A shutdown under a merge counts its requests once, and nothing is sent after it."""
    bench = Bench(min_size=10)
    bench.append(1, 2)
    batch = bench.cursor.take_batch()
    bench.sender.shutdown()
    merged: Any = Request((1, 2))
    bench.cursor.replace(batch, [merged], merged.memory_bytes)
    assert (6, 0, 0) == (
        bench.dropped(DropReason.SHUTDOWN),
        bench.cursor.item_count,
        bench.log.memory_bytes,
    )


def test_requests_that_cannot_be_merged_go_as_they_came() -> None:
    """A merge that raises loses nothing: each request is sent by itself and counted, the bug logged once."""
    bench = Bench(min_size=20)
    with structlog.testing.capture_logs() as logs:
        bench.append(1, UNMERGEABLE)
        bench.run_now()
        bench.append(2, UNMERGEABLE)
        bench.run_now()
    sent = [numbers for _, numbers in bench.exporter.attempts]
    assert [(1,), (UNMERGEABLE,), (2,), (UNMERGEABLE,)] == sent
    assert (4, 0, 12) == (
        bench.value(table.BATCH_MERGE_FAILED),
        bench.value(table.BATCHES),
        bench.value(table.EXPORTER_SENT),
    )
    assert ["requests cannot be merged, and are sent as they came"] == [line["event"] for line in logs]


def test_batches_are_counted() -> None:
    """What went into batches, what came of them, and what the merge left out of the dictionaries."""
    bench = Bench(min_size=30, max_size=30)
    bench.append(1, 2, 3, (4, 5))
    bench.run()
    counted = (table.BATCHES, table.BATCH_REQUESTS, table.BATCH_BYTES_IN, table.BATCH_BYTES_OUT)
    assert (2, 4, 50, 50) == tuple(bench.value(spec) for spec in counted)
    assert (8, 2) == (
        bench.value(table.BATCH_DUPLICATES_REMOVED, table="string_table"),
        bench.value(table.BATCH_ORPHANS_REMOVED, table="link_table"),
    )


def test_a_waiting_sender_wakes_for_the_batch() -> None:
    """Who waits for something to do sleeps until the batch is due."""
    bench = Bench(flush_timeout="200ms")
    bench.append(1)
    bench.cursor.wait()
    assert 0.2 == bench.clock.monotonic()
    bench.run_now()
    assert [(0.2, (1,))] == bench.exporter.attempts
