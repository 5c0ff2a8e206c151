"""Many clients and several slow exporters at once: nothing is lost, doubled or stuck, batched or not."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from otelprof.clock import SystemClock
from otelprof.component import ComponentSettings, Kind
from otelprof.config.exporter import ExporterConfig
from otelprof.delivery.sender import Sender
from otelprof.errors import OverloadedError, UnavailableError
from otelprof.log.memory import MemoryLog
from otelprof.model import ComponentId
from otelprof.telemetry.metrics import EXPORTER_DROPPED, Metrics

if TYPE_CHECKING:
    from collections.abc import Sequence

CLIENTS = 4
REQUESTS = 300
FIRST, SECOND = ComponentId("otlp", "first"), ComponentId("otlp", "second")


@dataclass(frozen=True)
class Request:
    """What the log and a batch know of a request."""

    numbers: tuple[int, ...]
    memory_bytes: int = 10
    body_bytes: int = 10
    sample_count: int = 1
    duplicates_removed = {"string_table": 1}  # noqa: RUF012 - of a frozen value
    orphans_removed = {"string_table": 0}  # noqa: RUF012 - of a frozen value

    def to_otlp(self) -> bytes:
        """On the wire."""
        return bytes(10 * len(self.numbers))

    def split(self, max_bytes: int) -> list[Request]:
        """Cut between the numbers."""
        count = max(1, max_bytes // 10)
        return [Request(self.numbers[at : at + count]) for at in range(0, len(self.numbers), count)]


class JoiningMerger:
    """Stands for the core's."""

    def merge(self, requests: Sequence[Request]) -> Request:
        """One request with all numbers."""
        return Request(tuple(number for request in requests for number in request.numbers))


class FlakyExporter:
    """Fails each third attempt."""

    def __init__(self) -> None:
        self.delivered: Counter[int] = Counter()
        self._attempts = 0
        self._lock = threading.Lock()

    def start(self) -> None:
        """Nothing to do."""

    def shutdown(self) -> None:
        """Nothing to do."""

    def export(self, profiles: Any) -> None:
        """Deliver, or not."""
        with self._lock:
            self._attempts += 1
            if self._attempts % 3 == 0:
                message = "try again"
                raise UnavailableError(message)
            self.delivered.update(profiles.numbers)


@pytest.mark.parametrize(
    "batch",
    [
        None,
        {"flush_timeout": "1ms", "sizer": "bytes", "min_size": 50, "max_size": 50},
        {"flush_timeout": "1ms", "sizer": "bytes", "min_size": 0, "max_size": 5},
    ],
    ids=["as they come", "batched", "split"],
)
def test_every_request_is_delivered_once(batch: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that are pushed back try again; each exporter delivers each request once, in the end."""
    monkeypatch.setattr("otelprof.delivery.batch.Merger", JoiningMerger)
    clock, metrics = SystemClock(), Metrics()
    keys = {
        "sending_queue": {"queue_size": 500, "num_consumers": 4, "batch": batch},
        "retry_on_failure": {"initial_interval": "1ms", "max_interval": "2ms", "max_elapsed_time": 0},
    }
    config = ExporterConfig.model_validate(keys)
    log = MemoryLog({FIRST: config.sending_queue, SECOND: config.sending_queue}, clock, metrics)
    exporters = {FIRST: FlakyExporter(), SECOND: FlakyExporter()}
    senders = []
    for id_, exporter in exporters.items():
        settings = ComponentSettings(id_, Kind.EXPORTER, structlog.get_logger("test"), metrics, clock)
        senders.append(Sender(exporter, log.cursor(id_), config, settings))
        senders[-1].start()

    def client(first: int) -> None:
        for number in range(first, CLIENTS * REQUESTS, CLIENTS):
            request: Any = Request((number,))
            while True:
                try:
                    log.append([(request, (FIRST, SECOND))])
                except OverloadedError:
                    threading.Event().wait(0.001)
                else:
                    break

    with ThreadPoolExecutor(CLIENTS) as threads:
        list(threads.map(client, range(CLIENTS)))
    for sender, id_ in zip(senders, exporters, strict=True):
        log.cursor(id_).wait_until_empty(clock.monotonic() + 10.0)
        sender.shutdown()
    expected = Counter(range(CLIENTS * REQUESTS))
    assert {FIRST: expected, SECOND: expected} == {id_: one.delivered for id_, one in exporters.items()}
    assert (0, 0) == (
        log.memory_bytes,
        metrics.value(EXPORTER_DROPPED, exporter=str(FIRST), reason="shutdown"),
    )
