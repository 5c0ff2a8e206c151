"""A durable log's life over several processes, each of which may end without a word."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import structlog

from otelprof._core import Profiles
from otelprof.config.dead_letter import DeadLetterConfig
from otelprof.config.exporter import SendingQueueConfig
from otelprof.log.durable import DurableLog, Storage
from otelprof.model import ComponentId
from otelprof.telemetry.metrics import EXPORTER_DROPPED, Metrics
from otelprof.testing.clock import SimulatedClock
from tests.e2e.harness import request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from otelprof.log.cursor import Cursor, DropReason

FAST = ComponentId("otlp", "fast")
SLOW = ComponentId("otlp", "slow")
STORAGE = ComponentId("file_storage")


def profiles(service: str = "checkout", samples: int = 1) -> Profiles:
    """A request of a service."""
    return Profiles.decode(request(service=service, samples=samples).SerializeToString())


class Run:
    """A process's life with the log, which ends without a word unless it is shut down."""

    def __init__(self, folder: Path, exporters: tuple[ComponentId, ...] = (FAST, SLOW), **queue: Any) -> None:
        self.clock, self.metrics = SimulatedClock(), Metrics()
        letters = DeadLetterConfig.model_validate(queue.pop("dead_letter", {}))
        storage = Storage(STORAGE, folder, queue.pop("fsync", False), queue.pop("max_age_secs", 0), letters)
        config = SendingQueueConfig.model_validate({"storage": "file_storage", **queue})
        queues, logger = dict.fromkeys(exporters, config), structlog.get_logger("test")
        self.log = DurableLog(queues, storage, self.clock, self.metrics, logger)

    def append(self, *services: str, exporters: tuple[ComponentId, ...] = (FAST, SLOW)) -> None:
        """Append a request of each service, all at once."""
        self.log.append([(profiles(service), exporters) for service in services])

    def crash(self) -> None:
        """End as at kill -9: the files are let go, and nothing more is written."""
        journal, marks = self.log._journal, self.log._marks  # noqa: SLF001 - the end of a process asks nobody
        assert journal is not None
        assert marks is not None
        assert marks._descriptor is not None  # noqa: SLF001 - as above
        journal.close()
        os.close(marks._descriptor)  # noqa: SLF001 - as above
        marks._descriptor = None  # noqa: SLF001 - as above

    def crash_in(self, exporter: ComponentId, count: int = 1) -> None:
        """End in the middle of an exporter's attempts at so many requests."""
        cursor = self.log.cursor(exporter)
        with ExitStack() as attempts:
            for _ in range(count):
                item = cursor.take()
                assert item is not None
                attempts.enter_context(cursor.attempt(item))
            self.crash()

    def take(self, exporter: ComponentId) -> list[str]:
        """The services of all that an exporter has to deliver, which it takes."""
        return list(services_of(self.log.cursor(exporter)))

    def dropped(self, exporter: ComponentId, reason: DropReason) -> float:
        """Samples that were counted as lost."""
        return self.metrics.value(EXPORTER_DROPPED, exporter=str(exporter), reason=reason.value)


def services_of(cursor: Cursor) -> Iterator[str]:
    """What a cursor gives out."""
    while (item := cursor.take()) is not None:
        yield item.profiles.resources[0]["service.name"]


@contextmanager
def runs_on(folder: Path) -> Iterator[Callable[..., Run]]:
    """Makes runs on one folder, started, and ends the last ones."""
    made: list[Run] = []

    def run(*arguments: Any, **queue: Any) -> Run:
        one = Run(folder, *arguments, **queue)
        made.append(one)
        one.log.start()
        return one

    yield run
    for one in made:
        one.log.shutdown()


def deliver(cursor: Cursor, count: int) -> None:
    """Deliver so many."""
    for _ in range(count):
        item = cursor.take()
        assert item is not None
        cursor.ack(item)
