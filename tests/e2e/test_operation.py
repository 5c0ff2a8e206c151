"""`otelprof run` and `replay` as a user meets them: start, health, signals, errors."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import grpc
import pytest
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from otelprof.errors import ConfigError
from otelprof.testing.sink import Sink, SinkAnswer
from tests.e2e.harness import (
    COMMAND,
    DATA,
    Answer,
    Client,
    Process,
    exporter,
    one_pipeline,
    request,
    running,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SERVICE = "opentelemetry.proto.collector.profiles.v1development.ProfilesService"
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
OK = Answer(grpc.StatusCode.OK)


@pytest.fixture
def sink() -> Iterator[Sink]:
    """The next hop."""
    with Sink() as sink:
        yield sink


@pytest.mark.parametrize("name", ["", SERVICE])
def test_health_is_serving(sink: Sink, tmp_path: Path, name: str) -> None:
    """A load balancer's probe sees SERVING, for the server and for the service by name."""
    with (
        running(one_pipeline(exporters={"otlp": exporter(sink.endpoint)}), tmp_path) as service,
        Client(service.endpoint) as client,
    ):
        stub = health_pb2_grpc.HealthStub(client.channel)
        answer = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=5.0)
    assert health_pb2.HealthCheckResponse.SERVING == answer.status


def test_health_is_not_serving_while_stopping(sink: Sink, tmp_path: Path) -> None:
    """Who watches the health is told before the connection ends."""
    config = one_pipeline(exporters={"otlp": exporter(sink.endpoint)})
    with running(config, tmp_path) as service, Client(service.endpoint) as client:
        stub = health_pb2_grpc.HealthStub(client.channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=10.0)
        first = next(watch).status
        service.service.stop()
        second = next(watch).status
    status = health_pb2.HealthCheckResponse
    assert (status.SERVING, status.NOT_SERVING) == (first, second)


def test_reflection_lists_the_service(sink: Sink, tmp_path: Path) -> None:
    """Tools such as grpcurl find the service by themselves."""
    with (
        running(one_pipeline(exporters={"otlp": exporter(sink.endpoint)}), tmp_path) as service,
        Client(service.endpoint) as client,
    ):
        stub = reflection_pb2_grpc.ServerReflectionStub(client.channel)
        question = reflection_pb2.ServerReflectionRequest(list_services="")
        (answer,) = stub.ServerReflectionInfo(iter([question]), timeout=5.0)
    assert SERVICE in {one.name for one in answer.list_services_response.service}


def test_a_busy_port_is_named(sink: Sink, tmp_path: Path) -> None:
    """Two services cannot share a port; the second says which one it is, and leaves nothing running."""
    config = one_pipeline(exporters={"otlp": exporter(sink.endpoint)}, endpoint=sink.endpoint)
    with pytest.raises(ConfigError) as caught, running(config, tmp_path):
        pass
    expected = (
        f"receivers.otlp.protocols.grpc.endpoint: cannot listen on {sink.endpoint}: Address already in use"
    )
    assert expected == str(caught.value)


@pytest.mark.parametrize("endpoint", ["0.0.0.0:4317", ":4317", "[::]:4317", "example.com:4317"])
def test_an_open_endpoint_must_be_meant(sink: Sink, tmp_path: Path, endpoint: str) -> None:
    """Listening for other machines needs client certificates, or saying that anybody may send."""
    config = one_pipeline(exporters={"otlp": exporter(sink.endpoint)}, endpoint=endpoint)
    with pytest.raises(ConfigError, match="allow_unauthenticated: true") as caught, running(config, tmp_path):
        pass
    assert "tls.client_ca_file" in str(caught.value)


def test_sigterm_delivers_what_was_acknowledged(sink: Sink, tmp_path: Path) -> None:
    """Stopped in the middle of an outage, nothing that was acknowledged is lost, and the exit code is 0."""
    bodies = [request(service=f"service-{number}").SerializeToString() for number in range(20)]
    sink.answer(*[SinkAnswer(UNAVAILABLE, "wait", retry_after_secs=0.5)] * 10)
    with Process(one_pipeline(exporters={"otlp": exporter(sink.endpoint)}), tmp_path) as process:
        with Client(process.endpoint) as client:
            answers = [client.export(body) for body in bodies]
        process.signal(signal.SIGTERM)
        code = process.exit_code()
    assert ([OK] * 20, 0) == (answers, code)
    assert sorted(bodies) == sorted(one.body for one in sink.taken)
    assert "otelprof has stopped" == process.events[-1]


def test_a_dead_next_hop_does_not_hold_up_the_stop(sink: Sink, tmp_path: Path) -> None:
    """What cannot be delivered before the drain timeout is counted, said, and not waited for."""
    sink.answer_always(SinkAnswer(UNAVAILABLE, "away"))
    config = one_pipeline(exporters={"otlp": exporter(sink.endpoint)})
    config["service"]["drain_timeout"] = "1s"
    with Process(config, tmp_path) as process:
        with Client(process.endpoint) as client:
            client.export(request(samples=7).SerializeToString())
        process.signal(signal.SIGINT)
        started = time.monotonic()
        code = process.exit_code()
    assert (0, True) == (code, time.monotonic() - started < 3.0)
    lost = [line["samples"] for line in process.lines if line["event"].startswith("samples were not")]
    assert [7] == lost


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_stops_at_once(sink: Sink, tmp_path: Path, number: signal.Signals) -> None:
    """Who does not want to wait for the drain says it again; the exit code is 128 and the signal's number."""
    sink.answer_always(SinkAnswer(delay_secs=30.0))
    with Process(one_pipeline(exporters={"otlp": exporter(sink.endpoint)}), tmp_path) as process:
        with Client(process.endpoint) as client:
            client.export(request().SerializeToString())
        process.signal(number)
        process.wait_for("otelprof is stopping; a second signal stops it at once")
        process.signal(number)
        code = process.exit_code()
    assert 128 + number == code


def test_a_wrong_configuration_is_printed(tmp_path: Path) -> None:
    """Every problem of a file is printed without a traceback, and the exit code is 1."""
    path = tmp_path / "otelprof.yaml"
    config = one_pipeline(exporters={"otlp": exporter("127.0.0.1:1", compresion="none")})
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    done = subprocess.run(  # noqa: S603 - our own program
        [COMMAND, "run", "--config", str(path)], capture_output=True, text=True, timeout=20, check=False
    )
    assert 1 == done.returncode
    assert "exporters.otlp.compresion" in done.stderr
    assert "Traceback" not in done.stderr


def _replay(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own program
        [COMMAND, "replay", *arguments], capture_output=True, text=True, timeout=20, check=False
    )


def test_replay_sends_recordings(sink: Sink) -> None:
    """Every file of a folder is sent as often as asked, byte for byte, and the account adds up."""
    folder = DATA / "async-profiler"
    bodies = [path.read_bytes() for path in folder.glob("*.otlp")]
    done = _replay(str(folder), "--endpoint", sink.endpoint, "--repeat", "3", "--concurrency", "2")
    assert 0 == done.returncode
    assert sorted(bodies * 3) == sorted(one.body for one in sink.requests)
    assert f"requests  {3 * len(bodies)} accepted, 0 failed ({sink.endpoint})" in done.stdout
    assert f"{3 * sum(map(len, bodies)) / 1e6:.2f} MB in" in done.stdout
    assert re.search(r"latency   p50 [\d.]+ ms, p90 [\d.]+ ms, p99 [\d.]+ ms, max [\d.]+ ms", done.stdout)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere is neither a file nor a folder"),
        (["{empty}"], "holds no file with one of the endings .folded, .json"),
        (["{recording}", "--endpoint", "localhost"], "'localhost' is not an endpoint: write host:port"),
        (["{recording}", "--header", "s3cret"], "a header is written name=value"),
        (["{recording}", "--header", "a b=c"], "'a b' is not a header's name"),
        (["{recording}", "--header", "token=sécret"], "the value of 'token' is not printable ASCII"),
        (["/proc/self/mem"], "/proc/self/mem cannot be read: Input/output error"),
    ],
)
def test_replay_explains_what_it_cannot_do(tmp_path: Path, arguments: list[str], message: str) -> None:
    """What cannot be sent is said on stderr in a person's words, nothing is sent, and the exit code is 2."""
    recording = str(next((DATA / "async-profiler").glob("*.otlp")))
    done = _replay(*(one.format(empty=tmp_path, recording=recording) for one in arguments))
    text = " ".join(done.stderr.replace("│", "").split())
    assert (2, "") == (done.returncode, done.stdout)
    assert message in text
    assert "cret" not in done.stderr


def test_replay_to_nobody(tmp_path: Path) -> None:
    """An endpoint that nobody listens on is told once, whatever scheme it was written with."""
    path = tmp_path / "empty.otlp"
    path.touch()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
        done = _replay(str(path), "--endpoint", endpoint, "--repeat", "2")
    assert (1, "") == (done.returncode, done.stderr)
    first, second = done.stdout.splitlines()
    assert f"requests  0 accepted, 2 failed ({endpoint})" == first
    assert "          2 UNAVAILABLE: failed to connect" == second[:42]


def test_replay_honours_retry_info_and_reports_failures(sink: Sink) -> None:
    """UNAVAILABLE with RetryInfo is sent again, other failures are told by status, and the exit code is 1."""
    sink.answer(
        SinkAnswer(UNAVAILABLE, "wait", retry_after_secs=0.01),
        SinkAnswer(message="too old", rejected_profiles=2),
        SinkAnswer(grpc.StatusCode.INVALID_ARGUMENT, "bad \x1b[31m request"),
    )
    path = str(next((DATA / "async-profiler").glob("*.otlp")))
    done = _replay(path, "--endpoint", sink.endpoint, "--repeat", "2", "--header", "X-Tenant=blue")
    assert 1 == done.returncode
    assert "1 accepted, 1 failed, 1 sent again" in done.stdout
    assert "1 INVALID_ARGUMENT: bad \\x1b[31m request" in done.stdout
    assert "2 profiles; first answer: too old" in done.stdout
    assert ["blue"] * 3 == [one.metadata["x-tenant"] for one in sink.requests]
