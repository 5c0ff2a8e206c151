"""The sender: attempts, retries and drops, stepped by hand on a simulated clock."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
import structlog

from otelprof.component import ComponentSettings, Kind
from otelprof.config.exporter import ExporterConfig
from otelprof.delivery.sender import DirectSender, Sender
from otelprof.errors import OverloadedError, PermanentError, RetryableError, UnavailableError
from otelprof.log.memory import MemoryLog
from otelprof.model import ComponentId
from otelprof.telemetry.metrics import (
    EXPORTER_DROPPED,
    EXPORTER_IN_FLIGHT,
    EXPORTER_QUEUE_CAPACITY,
    EXPORTER_QUEUE_SIZE,
    EXPORTER_RETRIES,
    EXPORTER_SEND_FAILED,
    EXPORTER_SENT,
    EXPORTER_SENT_REQUESTS,
    Metrics,
)
from otelprof.testing.clock import SimulatedClock

ID = ComponentId("otlp")


@dataclass(frozen=True)
class Request:
    """What the sender knows of a request."""

    number: int
    memory_bytes: int = 10
    sample_count: int = 3


@dataclass
class ScriptedExporter:
    """Answers as it is told, then succeeds."""

    clock: SimulatedClock
    script: deque[Exception | None] = field(default_factory=deque)
    attempts: list[tuple[float, int]] = field(default_factory=list)
    lifecycle: list[str] = field(default_factory=list)

    def start(self) -> None:
        """Note it."""
        self.lifecycle.append("start")

    def shutdown(self) -> None:
        """Note it."""
        self.lifecycle.append("shutdown")

    def export(self, profiles: Any) -> None:
        """Note it, and do what the script says next."""
        self.attempts.append((self.clock.monotonic(), profiles.number))
        error = self.script.popleft() if self.script else None
        if error is not None:
            raise error


class Bench:
    """A sender without threads."""

    def __init__(self, **retry: object) -> None:
        self.clock = SimulatedClock()
        self.metrics = Metrics()
        config = ExporterConfig.model_validate({"retry_on_failure": {"randomization_factor": 0, **retry}})
        self.log = MemoryLog({ID: config.sending_queue}, self.clock, self.metrics)
        self.exporter = ScriptedExporter(self.clock)
        logger = structlog.get_logger("test")
        settings = ComponentSettings(ID, Kind.EXPORTER, logger, self.metrics, self.clock)
        self.cursor = self.log.cursor(ID)
        self.sender = Sender(self.exporter, self.cursor, config, settings)
        self.direct = DirectSender(self.exporter, settings)

    def append(self, *numbers: int) -> None:
        """Append requests with these numbers."""
        requests: list[Any] = [Request(number) for number in numbers]
        self.log.append([(request, [ID]) for request in requests])

    def run(self) -> None:
        """Step until nothing is left, letting time pass."""
        while (secs := self.sender.step()) is not None:
            self.clock.advance(secs)

    def dropped(self, reason: str) -> float:
        """Samples that were counted as lost."""
        return self.metrics.value(EXPORTER_DROPPED, exporter="otlp", reason=reason)

    def failed(self, error_type: str, *, permanent: bool) -> float:
        """Samples that were counted as send_failed."""
        labels = {"error_type": error_type, "error_permanent": str(permanent).lower()}
        return self.metrics.value(EXPORTER_SEND_FAILED, exporter="otlp", **labels)


def test_it_delivers_in_order_and_counts() -> None:
    """Every request is exported once, and counted as sent."""
    bench = Bench()
    bench.append(1, 2)
    bench.run()
    assert [(0.0, 1), (0.0, 2)] == bench.exporter.attempts
    assert (6, 2) == tuple(
        bench.metrics.value(spec, exporter="otlp") for spec in (EXPORTER_SENT, EXPORTER_SENT_REQUESTS)
    )
    assert 0 == bench.cursor.item_count


def test_what_was_delivered_is_not_sent_again() -> None:
    """When an exporter delivered a part, only the rest is tried again; each part is counted."""
    bench = Bench()
    rest, less = Request(2, sample_count=2), Request(3, sample_count=1)
    errors = [UnavailableError("away", undelivered=cast("Any", one)) for one in (rest, less)]
    bench.exporter.script.extend([*errors, PermanentError("no")])
    bench.append(1)
    bench.run()
    assert [1, 2, 3] == [number for _, number in bench.exporter.attempts]
    assert (2, 1) == (
        bench.metrics.value(EXPORTER_SENT, exporter="otlp"),
        bench.dropped("permanent_error"),
    )


def test_step_says_when_there_is_more_to_do() -> None:
    """0 after an attempt, the seconds to the next retry, None when nothing waits."""
    bench = Bench()
    bench.exporter.script.append(UnavailableError("away"))
    bench.append(1)
    assert [0.0, 5.0] == [bench.sender.step(), bench.sender.step()]
    bench.clock.advance(5.0)
    assert [0.0, None] == [bench.sender.step(), bench.sender.step()]


def test_retries_follow_the_backoff() -> None:
    """A retryable error is tried again after the collector's intervals, until it succeeds."""
    bench = Bench()
    bench.exporter.script.extend([UnavailableError("away")] * 3)
    bench.append(1)
    bench.run()
    assert [(0.0, 1), (5.0, 1), (12.5, 1), (23.75, 1)] == bench.exporter.attempts
    assert 3 == bench.metrics.value(EXPORTER_RETRIES, exporter="otlp", error_type="UnavailableError")
    assert 3 == bench.metrics.value(EXPORTER_SENT, exporter="otlp")


def test_the_far_side_says_when() -> None:
    """RetryInfo longer than the backoff is obeyed."""
    bench = Bench()
    bench.exporter.script.append(OverloadedError("wait", retry_after_secs=17.0))
    bench.append(1)
    bench.run()
    assert [(0.0, 1), (17.0, 1)] == bench.exporter.attempts


def test_a_backoff_does_not_hold_up_others() -> None:
    """While one request waits for its retry, the next is delivered."""
    bench = Bench()
    bench.exporter.script.append(RetryableError("not this one"))
    bench.append(1, 2)
    bench.run()
    assert [(0.0, 1), (0.0, 2), (5.0, 1)] == bench.exporter.attempts


def test_retries_are_exhausted() -> None:
    """After max_elapsed_time a request is dropped, counted as retries_exhausted and as send_failed."""
    bench = Bench(max_elapsed_time=60)
    bench.exporter.script.extend([UnavailableError("away")] * 100)
    bench.append(1)
    bench.run()
    assert 60 >= bench.clock.monotonic()
    assert (3, 3) == (
        bench.dropped("retries_exhausted"),
        bench.failed("UnavailableError", permanent=False),
    )
    assert 0 == bench.cursor.item_count


@pytest.mark.parametrize(
    ("error", "kind"), [(PermanentError("no"), "PermanentError"), (ZeroDivisionError(), "ZeroDivisionError")]
)
def test_permanent_errors_and_bugs_are_dropped(error: Exception, kind: str) -> None:
    """A permanent error, and any exception that is not of our tree, is tried once, dropped and counted."""
    bench = Bench()
    bench.exporter.script.append(error)
    bench.append(1)
    bench.run()
    assert [(0.0, 1)] == bench.exporter.attempts
    assert (3, 3) == (bench.dropped("permanent_error"), bench.failed(kind, permanent=True))


def test_failures_are_logged_once_in_a_period() -> None:
    """A hundred drops in ten seconds are one line; the next line says how many it stands for."""
    bench = Bench()
    bench.exporter.script.extend([PermanentError("no")] * 101)
    with structlog.testing.capture_logs() as logs:
        bench.append(*range(100))
        bench.run()
        bench.clock.advance(10.0)
        bench.append(100)
        bench.run()
    assert [("export failed", 0), ("export failed", 99)] == [
        (line["event"], line["suppressed"]) for line in logs
    ]


def test_a_bug_is_logged_with_its_traceback() -> None:
    """Only for a bug the exception goes into the log."""
    bench = Bench()
    bug = ZeroDivisionError("bug")
    bench.exporter.script.extend([bug, PermanentError("no")])
    bench.append(1, 2)
    with structlog.testing.capture_logs() as logs:
        bench.run()
    assert [bug, None] == [line["exc_info"] for line in logs]


def test_gauges_show_the_queue() -> None:
    """Queue size, capacity and in-flight requests are read when they are asked for."""
    bench = Bench()
    bench.cursor.close()  # so that the threads end at once: they cannot wait on a simulated clock
    bench.sender.start()
    bench.append(1)
    labels = {"exporter": "otlp", "data_type": "profiles"}
    gauges = (EXPORTER_QUEUE_SIZE, EXPORTER_IN_FLIGHT, EXPORTER_QUEUE_CAPACITY)
    assert [10, 0, 256 << 20] == [bench.metrics.value(spec, **labels) for spec in gauges]


def test_drain_tries_what_waits_at_once() -> None:
    """Draining, a request in backoff is tried now."""
    bench = Bench()
    bench.exporter.script.extend([UnavailableError("away"), UnavailableError("away")])
    bench.append(1, 2)
    bench.sender.step()
    bench.sender.step()
    bench.sender.begin_drain(deadline=20.0)
    bench.run()
    assert [(0.0, 1), (0.0, 2), (0.0, 1), (0.0, 2)] == bench.exporter.attempts
    assert 0 == bench.cursor.item_count


def test_drain_gives_up_what_would_be_due_after_the_deadline() -> None:
    """A far side that is away is tried until the deadline; what it did not get is counted as shutdown."""
    bench = Bench()
    bench.exporter.script.extend([UnavailableError("away")] * 10)
    bench.append(1, 2)
    bench.sender.begin_drain(deadline=20.0)
    bench.run()
    assert [(at, n) for at in (0.0, 5.0, 12.5) for n in (1, 2)] == bench.exporter.attempts
    assert 6 == bench.dropped("shutdown")


def test_drain_waits_for_a_far_side_that_names_a_time() -> None:
    """RetryInfo within the deadline is waited for; beyond it, the request is given up."""
    bench = Bench()
    bench.exporter.script.extend(
        [OverloadedError("wait", retry_after_secs=8.0), OverloadedError("wait", retry_after_secs=30.0)]
    )
    bench.append(1, 2)
    bench.sender.begin_drain(deadline=20.0)
    bench.run()
    assert [(0.0, 1), (0.0, 2), (8.0, 1)] == bench.exporter.attempts
    assert 3 == bench.dropped("shutdown")


def test_wait_drained_returns_at_the_deadline() -> None:
    """Nobody waits longer than the deadline for what cannot be delivered."""
    bench = Bench()
    bench.append(1)
    bench.sender.begin_drain(deadline=20.0)
    bench.sender.wait_drained(20.0)
    assert 20.0 == bench.clock.monotonic()


def test_shutdown_counts_and_says_what_is_left() -> None:
    """What was not delivered is counted with the reason shutdown, and logged with its number."""
    bench = Bench()
    bench.append(1, 2)
    with structlog.testing.capture_logs() as logs:
        bench.sender.shutdown()
        bench.sender.shutdown()
    assert (6, None) == (bench.dropped("shutdown"), bench.sender.step())
    assert 6 == logs[0]["samples"]
    assert ["shutdown", "shutdown"] == bench.exporter.lifecycle


def test_direct_delivery_is_the_clients_answer() -> None:
    """Without a queue the exporter's error reaches the caller, and is counted; nothing is retried."""
    bench = Bench()
    error = UnavailableError("away", retry_after_secs=3.0)
    bench.exporter.script.append(error)
    request: Any = Request(1)
    with pytest.raises(UnavailableError) as caught:
        bench.direct.deliver(request)
    bench.direct.deliver(request)
    assert error is caught.value
    assert (3, 3) == (
        bench.failed("UnavailableError", permanent=False),
        bench.metrics.value(EXPORTER_SENT, exporter="otlp"),
    )
