"""`otelprof health` as a container's probe calls it."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2

from otelprof.cli.health import Health, check_health
from otelprof.component import AnnouncingReceiver
from tests.e2e.harness import COMMAND, Client, Process, one_pipeline, request, running
from tests.e2e.test_tls import folder, pytestmark, server_tls

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ("folder", "pytestmark")  # the certificates of the other tests of TLS


def probe(*arguments: str) -> tuple[int, str, str]:
    """Run the command: exit code, stdout, stderr."""
    command = [COMMAND, "health", "--timeout", "5", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)  # noqa: S603 - ours
    return done.returncode, done.stdout, done.stderr


def test_serving(tmp_path: Path) -> None:
    """An otelprof that serves is SERVING, with exit code 0."""
    with running(one_pipeline(exporters={"debug": {}}), tmp_path) as service:
        assert (0, "SERVING\n", "") == probe("--endpoint", service.endpoint)


def test_over_http(tmp_path: Path) -> None:
    """The extension `health_check` says the same over HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        endpoint = f"127.0.0.1:{free.getsockname()[1]}"
    config = one_pipeline(exporters={"debug": {}})
    config["extensions"] = {"health_check": {"endpoint": endpoint}}
    config["service"]["extensions"] = ["health_check"]
    with running(config, tmp_path):
        answer = httpx.get(f"http://{endpoint}/")
    assert (200, "Server available") == (answer.status_code, answer.json()["status"])


def test_readiness_falls_before_the_listeners_close(tmp_path: Path) -> None:
    """For the time of shutdown_delay it says that it is alive and not ready, and takes what still comes."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        http = f"127.0.0.1:{free.getsockname()[1]}"
    config = one_pipeline(exporters={"debug": {}})
    config["extensions"] = {"health_check": {"endpoint": http}}
    config["service"] |= {"extensions": ["health_check"], "shutdown_delay": "3s"}
    with Process(config, tmp_path) as process, Client(process.endpoint) as client:
        before = httpx.get(f"http://{http}/").status_code
        process.signal(signal.SIGTERM)
        process.wait_for("otelprof is stopping; a second signal stops it at once")
        deadline = time.monotonic() + 2.0
        while httpx.get(f"http://{http}/").status_code == before and time.monotonic() < deadline:
            time.sleep(0.01)
        during = [httpx.get(f"http://{http}{path}").status_code for path in ("/", "/live")]
        said = check_health(process.endpoint, 1.0)
        answer = client.export(request().SerializeToString())
        code = process.exit_code()
    assert (200, [503, 200]) == (before, during)
    assert ("NOT_SERVING", True) == (said.status, said.is_alive)
    assert (grpc.StatusCode.OK, 0) == (answer.code, code)


@pytest.mark.parametrize(
    ("arguments", "expected"), [((), (1, "", "NOT_SERVING\n")), (("--live",), (0, "NOT_SERVING\n", ""))]
)
def test_alive_and_not_ready(
    tmp_path: Path, arguments: tuple[str, ...], expected: tuple[int, str, str]
) -> None:
    """What drains is alive: --live asks for no more."""
    config = one_pipeline(exporters={"debug": {}})
    with running(config, tmp_path) as service:
        for receiver in service.service._receivers.values():  # noqa: SLF001 - as its stop does first
            assert isinstance(receiver.component, AnnouncingReceiver)
            receiver.component.announce_shutdown()
        assert expected == probe("--endpoint", service.endpoint, *arguments)


def test_nobody_there() -> None:
    """Where nobody listens the exit code is 1, and the reason is on stderr in one line."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{taken.getsockname()[1]}"
        code, out, err = probe("--endpoint", endpoint)
    assert (1, "") == (code, out)
    assert err.startswith(f"no answer from {endpoint}: UNAVAILABLE: ")
    assert 1 == len(err.splitlines())


def test_mutual_tls(tmp_path: Path, folder: Path) -> None:
    """With the right certificates it is SERVING; without the client's there is no answer."""
    config = one_pipeline(exporters={"debug": {}}, tls=server_tls(folder))
    certificate = ("--cert-file", f"{folder}/client.pem", "--key-file", f"{folder}/client.key")
    with running(config, tmp_path) as service:
        asked = ("--endpoint", service.endpoint, "--ca-file", f"{folder}/ca.pem")
        assert (0, "SERVING\n", "") == probe(*asked, *certificate)
        assert (1, "") == probe(*asked)[:2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--endpoint", "localhost"), "'localhost' is not an endpoint: write host:port"),
        (("--cert-file", "a.pem"), "--cert-file and --key-file need each other, and --ca-file"),
    ],
)
def test_usage(arguments: tuple[str, ...], message: str) -> None:
    """What cannot be asked is a usage error, exit code 2, and no probe's answer."""
    code, out, err = probe(*arguments)
    assert (2, "") == (code, out)
    assert message in " ".join(err.replace("│", "").split())


def test_a_server_that_is_stopping(tmp_path: Path) -> None:
    """One that drains is not serving: the connection ends or it says so."""
    with running(one_pipeline(exporters={"debug": {}}), tmp_path) as service:
        endpoint = service.endpoint
        service.service.stop()
        assert not check_health(endpoint, 1.0).is_serving


@pytest.mark.parametrize("name", ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"])
def test_every_status_is_read(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is read as the official class writes it."""
    body = health_pb2.HealthCheckResponse(
        status=health_pb2.HealthCheckResponse.ServingStatus.Value(name)
    ).SerializeToString()
    monkeypatch.setattr("grpc.Channel.unary_unary", lambda *_: lambda *_, **__: body, raising=False)
    monkeypatch.setattr("grpc._channel.Channel.unary_unary", lambda *_: lambda *_, **__: body)
    found = check_health("127.0.0.1:1", 1.0)
    assert (Health(name), name == "SERVING") == (found, found.is_serving)
