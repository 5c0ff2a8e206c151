"""Parts that never return: the process ends all the same, soon after `drain_timeout`, with exit code 0."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest

from otelprof.testing.sink import Sink, SinkAnswer
from tests.e2e.harness import Client, Process, Yaml, exporter, one_pipeline, request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DRAIN_SECS: Final = 1.0
# With the drain: what the slowest end may take.
END_SECS: Final = 3.0
# As delta-rs and gRPC do, it waits where Python cannot end it.
MODULE: Final = """
import ctypes

from otelprof.component import ExporterFactory
from otelprof.config.exporter import ExporterConfig


class StuckConfig(ExporterConfig):
    sticks: str = "export"


class Stuck:
    def __init__(self, config, settings):
        self._sticks = config.sticks

    def start(self):
        pass

    def export(self, profiles):
        self._stick("export")

    def shutdown(self):
        self._stick("shutdown")

    def _stick(self, where):
        if where == self._sticks:
            ctypes.CDLL(None).sleep(3600)


factory = ExporterFactory(StuckConfig, Stuck)
"""


@pytest.fixture(autouse=True)
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package whose exporter does not return."""
    folder = tmp_path / "packages"
    about = folder / "otelprof_stuck-1.0.dist-info"
    about.mkdir(parents=True)
    (folder / "otelprof_stuck.py").write_text(MODULE, encoding="utf-8")
    (about / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: otelprof-stuck\nVersion: 1.0\n", encoding="utf-8"
    )
    points = "[otelprof.exporters]\nstuck = otelprof_stuck:factory\n"
    (about / "entry_points.txt").write_text(points, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(folder))


@pytest.fixture
def away() -> Iterator[Sink]:
    """A next hop that takes connections, and answers nothing."""
    with Sink() as sink:
        sink.answer_always(SinkAnswer(delay_secs=60.0))
        yield sink


def stopped(config: Yaml, folder: Path) -> tuple[int, float, Process]:
    """Run, send a request, stop: the exit code, seconds from the signal to the end, and what was logged."""
    config["service"]["drain_timeout"] = f"{DRAIN_SECS:g}s"
    linked = request()
    linked.dictionary.link_table.add(trace_id=b"t" * 16, span_id=b"s" * 8)
    linked.resource_profiles[0].scope_profiles[0].profiles[0].samples[0].link_index = 1

    def send(endpoint: str) -> None:
        with suppress(grpc.RpcError), Client(endpoint) as client:
            client.export(linked.SerializeToString())

    with Process(config, folder) as process:
        sending = threading.Thread(target=send, args=(process.endpoint,))
        sending.start()
        # An exporter without a queue holds the client's call.
        sending.join(1.0)
        process.signal(signal.SIGTERM)
        started = time.monotonic()
        code = process.exit_code()
        took_secs = time.monotonic() - started
        sending.join()
    return code, took_secs, process


@pytest.mark.parametrize(
    ("keys", "processors"),
    [
        ({}, {}),
        ({"sending_queue": {"batch": {"min_size": 1}}}, {}),
        ({"sending_queue": {"enabled": False}}, {}),
        ({"sending_queue": {"storage": "file_storage"}}, {}),
        ({}, {"sampling": {"rules": [{"match": {"trace": "unknown"}, "action": "keep"}]}}),
        ({"sticks": "shutdown"}, {}),
    ],
    ids=["queue", "batches", "no queue", "storage", "traces", "shutdown"],
)
def test_a_stuck_exporter(tmp_path: Path, keys: dict[str, Any], processors: Yaml) -> None:
    """One that never returns, in native code, holds up neither the end nor the others, and is named."""
    config = one_pipeline(exporters={"stuck": keys, "debug": {}}, processors=processors)
    config["extensions"] = {"file_storage": {"directory": str(tmp_path)}}
    config["service"]["extensions"] = ["file_storage"]
    code, took_secs, process = stopped(config, tmp_path)
    assert (0, "otelprof has stopped") == (code, process.events[-1])
    assert took_secs < DRAIN_SECS + END_SECS
    warned = {line["event"] for line in process.lines if line.get("level") == "warning"}
    expected = {
        "shutdown": "exporter does not return from its shutdown",
        "direct": "shutdown does not end, and is left behind",
        "export": "exporter does not return from export after its shutdown",
    }
    direct = "direct" if keys.get("sending_queue") == {"enabled": False} else "export"
    assert expected[keys.get("sticks", direct)] in warned


@pytest.mark.parametrize("queue", [{}, {"enabled": False}], ids=["queue", "no queue"])
def test_a_silent_backend(tmp_path: Path, away: Sink, queue: Yaml) -> None:
    """A call that is not answered is given up with the drain; what was acknowledged by then is counted."""
    far = exporter(away.endpoint, sending_queue=queue, timeout="60s")
    code, took_secs, process = stopped(one_pipeline(exporters={"otlp": far}), tmp_path)
    assert (0, "otelprof has stopped") == (code, process.events[-1])
    assert took_secs < DRAIN_SECS + END_SECS
    lost = [line["samples"] for line in process.lines if line["event"].startswith("samples were not")]
    assert ([] if queue else [1]) == lost
