"""What every exporter has to do, as tests that a plugin's author runs on theirs.

    class TestMyExporter(ExporterContract):
        @pytest.fixture
        def subject(self, my_backend):
            config = MyConfig(endpoint=my_backend.endpoint)
            return Subject(factory, config, delivered=lambda: len(my_backend.requests))

Needs pytest (`pip install 'otelprof[testing]'`), and nothing of pytest's configuration. In a conftest,
`pytest.register_assert_rewrite("otelprof.testing.contract")` shows the values of an assert that fails.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import psutil
import pytest
import structlog
from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest,
)

from otelprof._core import Profiles
from otelprof.clock import SystemClock
from otelprof.component import ComponentSettings, Kind
from otelprof.errors import OtelprofError, PermanentError, RetryableError
from otelprof.model import ComponentId
from otelprof.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otelprof.clock import Clock
    from otelprof.component import ComponentConfig, Exporter, ExporterFactory

__all__ = ("ExporterContract", "Subject", "component_settings", "small_profiles")

_THREADS: Final = 4
_EXPORTS: Final = 3
# What closes in the background, as a gRPC channel's socket, is given so long.
_SETTLE_SECS: Final = 3.0


@dataclass(frozen=True)
class Subject:
    """An exporter under test, with its backend in hand.

    Attributes:
        factory: what the plugin registers.
        config: of an exporter that reaches the backend.
        delivered: how many requests the backend has taken so far.
        fail_retryably: from now on the backend is away, or asks to wait; None where it cannot be made to.
        fail_permanently: from now on the backend refuses what it is sent; None where it cannot be made to.
    """

    factory: ExporterFactory[Any]
    config: ComponentConfig
    delivered: Callable[[], int]
    fail_retryably: Callable[[], None] | None = None
    fail_permanently: Callable[[], None] | None = None

    def create(self) -> Exporter:
        """A new exporter."""
        return self.factory.create(self.config, component_settings())


def component_settings(clock: Clock | None = None) -> ComponentSettings:
    """What an exporter is given beside its configuration; its id is `contract`.

    Args:
        clock: a `SimulatedClock`, say; the machine's own when None.
    """
    logger = structlog.get_logger("otelprof.testing")
    return ComponentSettings(
        ComponentId("contract"), Kind.EXPORTER, logger, Metrics(), clock or SystemClock()
    )


def small_profiles() -> Profiles:
    """One Profile with one sample of one frame."""
    request = ExportProfilesServiceRequest()
    tables = request.dictionary
    tables.string_table.extend(["", "samples", "count", "main"])
    for table in (
        tables.mapping_table,
        tables.location_table,
        tables.function_table,
        tables.link_table,
        tables.attribute_table,
        tables.stack_table,
    ):
        table.add()
    tables.function_table.add(name_strindex=3)
    tables.location_table.add().lines.add(function_index=1)
    tables.stack_table.add(location_indices=[1])
    profile = (
        request.resource_profiles.add()
        .scope_profiles.add()
        .profiles.add(profile_id=b"otelprof-testing", time_unix_nano=1, duration_nano=1)
    )
    profile.sample_type.type_strindex, profile.sample_type.unit_strindex = 1, 2
    profile.samples.add(stack_index=1, values=[1])
    return Profiles.decode(request.SerializeToString())


class ExporterContract:
    """Derive from it, and give the fixture `subject`."""

    @pytest.fixture
    def subject(self) -> Subject:
        """The exporter under test.

        Raises:
            NotImplementedError: it was not given.
        """
        message = "give a fixture `subject` that returns an otelprof.testing.contract.Subject"
        raise NotImplementedError(message)

    @pytest.fixture
    def exporter(self, subject: Subject) -> Iterator[Exporter]:
        """A started exporter, shut down after the test."""
        exporter = subject.create()
        exporter.start()
        yield exporter
        exporter.shutdown()

    def test_construct(self, subject: Subject) -> None:
        """Making an exporter starts no thread and opens no socket."""
        before = _holdings()
        subject.create()
        assert set() == _holdings() - before

    def test_shutdown_before_start(self, subject: Subject) -> None:
        """An exporter that was never started can be shut down."""
        subject.create().shutdown()

    def test_shutdown_twice(self, subject: Subject) -> None:
        """An exporter can be shut down twice."""
        exporter = subject.create()
        exporter.start()
        exporter.shutdown()
        exporter.shutdown()

    def test_nothing_is_left(self, subject: Subject) -> None:
        """After a shutdown no thread and no socket is left."""
        _export_once(subject)  # the backend's own threads and sockets are there from now on
        before = _holdings()
        _export_once(subject)
        deadline = time.monotonic() + _SETTLE_SECS
        while _holdings() - before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert set() == _holdings() - before

    def test_export_delivers(self, subject: Subject, exporter: Exporter) -> None:
        """When `export` returns, the backend has the request."""
        before = subject.delivered()
        exporter.export(small_profiles())
        assert before + 1 == subject.delivered()

    def test_export_from_threads(self, subject: Subject, exporter: Exporter) -> None:
        """Several threads export at once, and nothing is lost."""
        before = subject.delivered()
        profiles = small_profiles()
        with ThreadPoolExecutor(_THREADS) as threads:
            list(threads.map(lambda _: exporter.export(profiles), range(_THREADS * _EXPORTS)))
        assert before + _THREADS * _EXPORTS == subject.delivered()

    def test_profiles_are_not_changed(self, exporter: Exporter) -> None:
        """The handle is shared with other exporters: after `export` it says what it said before."""
        profiles = small_profiles()
        before = profiles.to_otlp()
        exporter.export(profiles)
        assert before == profiles.to_otlp()

    def test_retryable_error(self, subject: Subject, exporter: Exporter) -> None:
        """A backend that is away is a RetryableError."""
        if subject.fail_retryably is None:
            pytest.skip("this backend cannot be away")
        subject.fail_retryably()
        with pytest.raises(RetryableError):
            exporter.export(small_profiles())

    def test_permanent_error(self, subject: Subject, exporter: Exporter) -> None:
        """A backend that refuses a request is a PermanentError."""
        if subject.fail_permanently is None:
            pytest.skip("this backend refuses nothing")
        subject.fail_permanently()
        with pytest.raises(PermanentError):
            exporter.export(small_profiles())

    def test_export_after_shutdown(self, subject: Subject) -> None:
        """An exporter that was shut down says so with an error of the tree, and delivers nothing."""
        exporter = subject.create()
        exporter.start()
        exporter.shutdown()
        before = subject.delivered()
        with pytest.raises(OtelprofError):
            exporter.export(small_profiles())
        assert before == subject.delivered()


def _export_once(subject: Subject) -> None:
    exporter = subject.create()
    exporter.start()
    exporter.export(small_profiles())
    exporter.shutdown()


def _holdings() -> set[str]:
    """The threads and internet sockets of this process, by name."""
    threads = {f"thread {thread.name} {thread.ident}" for thread in threading.enumerate()}
    sockets = {f"socket {one.laddr} {one.raddr}" for one in psutil.Process().net_connections("inet")}
    return threads | sockets
