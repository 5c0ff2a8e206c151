"""The built-in exporters keep the contract that plugins have to keep."""

from __future__ import annotations

import errno
import io
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING

import grpc
import pytest
from deltalake import DeltaTable

from otelprof.exporter import debug, file, object_storage, otlp, otlp_http
from otelprof.exporter.datadog import factory as datadog
from otelprof.exporter.datadog.config import DatadogExporterConfig
from otelprof.exporter.pyroscope import exporter as pyroscope
from otelprof.exporter.pyroscope.config import PyroscopeExporterConfig
from otelprof.recording.reader import open_recording
from otelprof.testing.contract import ExporterContract, Subject
from otelprof.testing.sink import Sink, SinkAnswer
from tests.e2e.datadog_intake import API_KEY, DatadogIntake
from tests.e2e.http_sink import HttpAnswer, HttpSink
from tests.e2e.pyroscope_server import PyroscopeServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Stdout(io.StringIO):
    """A stdout that can break."""

    broken = False

    def write(self, text: str) -> int:
        """Write, or fail as a closed pipe does."""
        if self.broken:
            raise BrokenPipeError
        return super().write(text)

    def blocks(self) -> int:
        """How many requests were written."""
        return self.getvalue().count("contract: 1 profile ")


class TestDebugExporter(ExporterContract):
    """The `debug` exporter; its backend is stdout."""

    @pytest.fixture
    def subject(self, monkeypatch: pytest.MonkeyPatch) -> Subject:
        """With a stdout that is read and broken by the test."""
        stdout = Stdout()
        # Not `sys.stdout` itself: pytest puts its own there when the test begins.
        monkeypatch.setattr(debug, "sys", SimpleNamespace(stdout=stdout))
        return Subject(
            debug.factory,
            debug.DebugExporterConfig(verbosity="detailed"),
            delivered=stdout.blocks,
            fail_retryably=lambda: setattr(stdout, "broken", True),
        )


class TestOtlpExporter(ExporterContract):
    """The `otlp` exporter; its backend is a sink on loopback."""

    @pytest.fixture
    def subject(self) -> Iterator[Subject]:
        """With a sink that the test can make fail."""
        with Sink() as sink:
            away = SinkAnswer(grpc.StatusCode.UNAVAILABLE, "away")
            refused = SinkAnswer(grpc.StatusCode.INVALID_ARGUMENT, "refused")
            config = {"endpoint": sink.endpoint, "tls": {"insecure": True}}
            yield Subject(
                otlp.factory,
                otlp.OtlpExporterConfig.model_validate(config),
                delivered=lambda: len(sink.taken),
                fail_retryably=lambda: sink.answer_always(away),
                fail_permanently=lambda: sink.answer_always(refused),
            )


class TestOtlpHttpExporter(ExporterContract):
    """The `otlp_http` exporter; its backend is a sink on loopback."""

    @pytest.fixture
    def subject(self) -> Iterator[Subject]:
        """With a sink that the test can make fail."""
        with HttpSink() as sink:
            yield Subject(
                otlp_http.factory,
                otlp_http.OtlpHttpExporterConfig.model_validate({"endpoint": sink.url}),
                delivered=lambda: len(sink.taken),
                fail_retryably=lambda: sink.answer_always(HttpAnswer(503)),
                fail_permanently=lambda: sink.answer_always(HttpAnswer(400)),
            )


class TestDatadogExporter(ExporterContract):
    """The `datadog` exporter; its backend is a strict Agent on loopback."""

    @pytest.fixture
    def subject(self) -> Iterator[Subject]:
        """With an Agent that the test can make fail."""
        with DatadogIntake() as intake:
            yield Subject(
                datadog.factory,
                DatadogExporterConfig.model_validate({"endpoint": intake.url}),
                delivered=lambda: len(intake.received),
                fail_retryably=lambda: intake.answer_forever(HttpAnswer(503)),
                fail_permanently=lambda: intake.answer_forever(HttpAnswer(400)),
            )


class TestDatadogOtlpExporter(ExporterContract):
    """The `datadog` exporter in mode `otlp`; its backend is a sink on loopback."""

    @pytest.fixture
    def subject(self) -> Iterator[Subject]:
        """With a sink that the test can make fail."""
        with HttpSink() as sink:
            keys = {"mode": "otlp", "api_key": API_KEY, "endpoint": sink.url, "tls": {"insecure": True}}
            yield Subject(
                datadog.factory,
                DatadogExporterConfig.model_validate(keys),
                delivered=lambda: len(sink.taken),
                fail_retryably=lambda: sink.answer_always(HttpAnswer(503)),
                fail_permanently=lambda: sink.answer_always(HttpAnswer(400)),
            )


class TestPyroscopeExporter(ExporterContract):
    """The `pyroscope` exporter; its backend is a server on loopback."""

    @pytest.fixture
    def subject(self) -> Iterator[Subject]:
        """With a server that takes profiles of any age, and that the test can make fail."""
        with PyroscopeServer(now=lambda: 1e-9) as server:
            yield Subject(
                pyroscope.factory,
                PyroscopeExporterConfig.model_validate({"endpoint": server.url, "max_age": 0}),
                delivered=lambda: len(server.taken),
                fail_retryably=lambda: server.answer_always(HttpAnswer(503)),
                fail_permanently=lambda: server.answer_always(HttpAnswer(400)),
            )


class TestFileExporter(ExporterContract):
    """The `file` exporter; its backend is a file that the reader counts."""

    @pytest.fixture
    def subject(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Subject:
        """With a disk that the test can fill."""
        path = tmp_path / "recording.otlp"

        def delivered() -> int:
            files = [one for one in tmp_path.iterdir() if one.name.startswith("recording")]
            return sum(_records(one) for one in files)

        def fill() -> None:
            monkeypatch.setattr(os, "write", _no_space)

        config = file.FileExporterConfig(path=path, append=True, compression="zstd")
        return Subject(file.factory, config, delivered=delivered, fail_retryably=fill)


class TestObjectStorageExporter(ExporterContract):
    """The `object_storage` exporter; its backend is a folder, and what a reader finds there."""

    @pytest.fixture
    def subject(self, tmp_path: Path) -> Subject:
        """With a folder that a file can take the place of."""
        folder, aside = tmp_path / "store", tmp_path / "aside"

        def take_away() -> None:
            if folder.exists():
                folder.rename(aside)
            folder.touch()

        def delivered() -> int:
            samples = (aside if aside.exists() else folder) / "samples"
            history = DeltaTable(samples).history() if samples.exists() else []
            return sum(1 for commit in history if commit["operation"] == "WRITE")

        config = object_storage.ObjectStorageConfig(url=str(folder))
        return Subject(object_storage.factory, config, delivered=delivered, fail_retryably=take_away)


def _records(path: Path) -> int:
    with open_recording(path) as recording:
        return sum(1 for record in recording if record.body)


def _no_space(*_: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")
