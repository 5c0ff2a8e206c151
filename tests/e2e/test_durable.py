"""Queues on disk, in a service as a user runs it: restarts, kill -9, and what a configuration may not say."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
import pytest
import yaml
from typer.testing import CliRunner

from otelprof._core import Profiles
from otelprof.cli.app import app
from otelprof.config.resolve import load_config
from otelprof.errors import ConfigError
from otelprof.log.marks import Left
from otelprof.telemetry.log_metrics import LOG_RESTORED_REQUESTS
from otelprof.testing.sink import Sink, SinkAnswer
from tests.e2e.harness import Answer, Client, Process, Yaml, exporter, one_pipeline, request, running

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OK = Answer(grpc.StatusCode.OK)
KILLS = 10
CONSUMERS = 2


def durable(endpoint: str, folder: Path, **queue: object) -> Yaml:
    """A service whose only exporter keeps its queue in a folder."""
    sending_queue = {"storage": "file_storage", "num_consumers": CONSUMERS, **queue}
    config = one_pipeline(exporters={"otlp": exporter(endpoint, sending_queue=sending_queue)})
    directory = str(folder / "queue")
    config["extensions"] = {"file_storage": {"directory": directory, "create_directory": True}}
    config["service"]["extensions"] = ["file_storage"]
    return config


def services(sink: Sink) -> Counter[str]:
    """How often each service has arrived."""
    return Counter(
        one.parsed().resource_profiles[0].resource.attributes[0].value.string_value for one in sink.taken
    )


def wait_for_all(sink: Sink, expected: set[str]) -> None:
    """Return when all of them have arrived, or after ten seconds."""
    deadline = time.monotonic() + 10
    while not expected <= services(sink).keys() and time.monotonic() < deadline:
        time.sleep(0.1)


def test_an_outage_over_a_restart(tmp_path: Path) -> None:
    """What could not be delivered before a stop is delivered by the next start: the same bytes, once."""
    body = request(samples=100).SerializeToString()
    with Sink() as sink:
        config = durable(sink.endpoint, tmp_path)
        config["service"]["drain_timeout"] = "100ms"
        sink.answer_always(SinkAnswer(grpc.StatusCode.UNAVAILABLE))
        with running(config, tmp_path) as service:
            assert OK == service.export(body)
        assert [] == sink.taken
        sink.answer_always(SinkAnswer())
        with running(config, tmp_path) as service:
            wait_for_all(sink, {"checkout"})
        assert 1 == service.metrics.value(LOG_RESTORED_REQUESTS)
        with running(config, tmp_path):
            time.sleep(0.1)
        (arrived,) = sink.taken
        assert Profiles.decode(body).to_otlp() == arrived.body


@pytest.mark.timeout(240)
def test_kill_nine(tmp_path: Path) -> None:
    """Nothing that was acknowledged is lost; twice arrives at most what was in flight at each kill."""
    killed = kill_nine(tmp_path, KILLS)
    assert KILLS < killed.acknowledged
    assert set() == killed.lost
    assert killed.doubled <= KILLS * CONSUMERS


def test_a_request_that_ends_the_process(tmp_path: Path) -> None:
    """It is put aside after some crashes, what comes after it is delivered, and so is it when asked for."""
    folder = tmp_path / "queue"
    with Sink() as sink:
        config = durable(sink.endpoint, tmp_path, num_consumers=1)
        config["extensions"]["file_storage"]["dead_letter"] = {"max_crashes": 2}
        sink.answer_always(SinkAnswer(grpc.StatusCode.UNAVAILABLE, delay_secs=60))
        for _ in range(2):
            with Process(config, tmp_path) as process:
                if not Left.read(folder / "queue.marks").last_row:
                    with Client(process.endpoint) as client:
                        for service in ("poison", "good"):
                            body = request(service=service).SerializeToString()
                            assert OK == client.export(body)
                wait_until(lambda: Left.read(folder / "queue.marks").attempts)
                process.signal(signal.SIGKILL)
                process.popen.wait()
        sink.answer_always(SinkAnswer())
        with running(config, tmp_path):
            wait_for_all(sink, {"good"})
        assert {"good": 1} == services(sink)
        listed = deadletter(folder, "list", "--format", "json")
        assert [("otlp", "crashed", 2)] == [
            (one["exporter"], one["reason"], one["attempts"]) for one in json.loads(listed)
        ]
        deadletter(folder, "retry", "--all")
        with running(config, tmp_path):
            wait_for_all(sink, {"good", "poison"})
        assert {"good": 1, "poison": 1} == services(sink)
        assert "[]\n" == deadletter(folder, "list", "--format", "json")


def test_what_is_refused_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is put aside with what the far side said, and the running service tries it again when asked."""
    monkeypatch.setattr("otelprof.log.upkeep.INTERVAL_SECS", 0.05)
    folder = tmp_path / "queue"
    with Sink() as sink, running(durable(sink.endpoint, tmp_path), tmp_path) as service:
        sink.answer(SinkAnswer(grpc.StatusCode.INVALID_ARGUMENT, message="not like this"))
        assert OK == service.export(request(service="refused").SerializeToString())
        wait_until(lambda: json.loads(deadletter(folder, "list", "--format", "json")))
        (letter,) = json.loads(deadletter(folder, "list", "--format", "json"))
        assert ("permanent_error", 1) == (letter["reason"], letter["attempts"])
        assert "not like this" in letter["message"]
        deadletter(folder, "retry", letter["id"])
        wait_for_all(sink, {"refused"})
        wait_until(lambda: deadletter(folder, "list", "--format", "json") == "[]\n")
        assert {"refused": 1} == services(sink)


def deadletter(folder: Path, *arguments: str) -> str:
    """What `otelprof deadletter` says of a storage."""
    command, *others = arguments
    result = CliRunner().invoke(app, ["deadletter", command, "--directory", str(folder), *others])
    assert 0 == result.exit_code, result.output
    return result.output


def wait_until(condition: Callable[[], object]) -> None:
    """Return when it is so, or fail after ten seconds."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@dataclass(frozen=True)
class Killed:
    """What became of requests whose service was killed while they came.

    Attributes:
        acknowledged: how many were.
        lost: those of them that never arrived.
        doubled: how many arrivals were not the first.
    """

    acknowledged: int
    lost: set[str]
    doubled: int


def kill_nine(folder: Path, kills: int) -> Killed:
    """Kill a service so often while a client sends to it, start it again, and see what arrives."""
    acknowledged: set[str] = set()
    with Sink() as sink:
        config = durable(sink.endpoint, folder)
        for kill in range(kills):
            with Process(config, folder) as process:
                sender = threading.Thread(target=send, args=(process.endpoint, kill, acknowledged))
                sender.start()
                time.sleep(0.15 + 0.02 * (kill % 10))
                process.signal(signal.SIGKILL)
                process.popen.wait()
                sender.join()
        with Process(config, folder):
            wait_for_all(sink, acknowledged)
        arrived = services(sink)
    return Killed(len(acknowledged), acknowledged - arrived.keys(), arrived.total() - len(arrived))


def send(endpoint: str, kill: int, acknowledged: set[str]) -> None:
    """Send requests, each of a service of its own, until nobody answers."""
    with Client(endpoint) as client:
        for number in range(100_000):
            service = f"s{kill}-{number}"
            if client.export(request(service=service, samples=50).SerializeToString()) != OK:
                return
            acknowledged.add(service)


def problem(tmp_path: Path, config: Yaml) -> str:
    """What is wrong with a configuration."""
    path = tmp_path / "otelprof.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    return str(caught.value)


def test_a_storage_must_run(tmp_path: Path) -> None:
    """A queue may only name an extension that runs; the nearest name is offered."""
    config = durable("far:4317", tmp_path, storage="file_storag")
    assert (
        "exporters.otlp.sending_queue.storage: file_storag is not in service.extensions, which has "
        "file_storage (did you mean 'file_storage'?)"
    ) == problem(tmp_path, config)


def test_a_storage_must_keep_queues(tmp_path: Path) -> None:
    """An extension of another kind is refused."""
    config = durable("far:4317", tmp_path, storage="health_check")
    config["extensions"]["health_check"] = None
    config["service"]["extensions"].append("health_check")
    assert "health_check keeps no queues: name a file_storage" in problem(tmp_path, config)


def test_there_is_one_storage(tmp_path: Path) -> None:
    """One log serves all exporters, so that two storages are refused."""
    config = durable("far:4317", tmp_path)
    config["extensions"]["file_storage/b"] = {"directory": str(tmp_path)}
    config["service"]["extensions"].append("file_storage/b")
    config["exporters"]["otlp/b"] = exporter("far:4317", sending_queue={"storage": "file_storage/b"})
    config["service"]["pipelines"]["profiles"]["exporters"].append("otlp/b")
    assert "file_storage/b is a second storage beside file_storage" in problem(tmp_path, config)


def test_the_directory_must_be_there(tmp_path: Path) -> None:
    """Without create_directory a missing directory is told at the start."""
    config = durable("far:4317", tmp_path)
    del config["extensions"]["file_storage"]["create_directory"]
    with (
        pytest.raises(ConfigError, match="is not a directory: make it, or write create_directory: true"),
        running(config, tmp_path),
    ):
        pass
