"""The `health_check` extension: what it answers, and to whom."""

from __future__ import annotations

import json
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from pydantic import ValidationError
from structlog.testing import capture_logs

from otelprof.component import ComponentSettings, Kind
from otelprof.config.explain import explain
from otelprof.control import ServiceControl
from otelprof.errors import ConfigError
from otelprof.extension.health_check import HealthCheck, HealthCheckConfig
from otelprof.model import ComponentId
from otelprof.telemetry.metrics import Metrics
from otelprof.testing.clock import EPOCH_SECS, SimulatedClock

if TYPE_CHECKING:
    from collections.abc import Iterator

AVAILABLE = {"status": "Server available", "upSince": "2026-01-01T00:00:00+00:00", "uptime": "90.000s"}


class Checked:
    """A health check of a service that is ready when it is told so."""

    def __init__(self, **config: Any) -> None:
        clock = SimulatedClock()
        clock.advance(90.0)
        self.ready_since: float | None = None
        logger = structlog.get_logger("test")
        settings = ComponentSettings(ComponentId("health_check"), Kind.EXTENSION, logger, Metrics(), clock)
        control = ServiceControl({}, [], clock, lambda: self.ready_since)
        model = HealthCheckConfig.model_validate({"endpoint": "127.0.0.1:0", **config})
        self.extension = HealthCheck(model, settings, control)

    @contextmanager
    def started(self) -> Iterator[int]:
        """It listens: where."""
        with capture_logs() as logs:
            self.extension.start()
        try:
            yield int(logs[0]["endpoint"].rpartition(":")[2])
        finally:
            self.extension.shutdown()


def ask(port: int, path: str = "/") -> tuple[int, str | None, bytes]:
    """Status, content type and body of an answer."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.getheader("Content-Type"), response.read()


def test_it_answers_as_the_collector_does() -> None:
    """200 and since when, while everything runs; 503 before and after."""
    checked = Checked()
    with checked.started() as port:
        before = ask(port)
        checked.ready_since = EPOCH_SECS
        during = ask(port)
        checked.ready_since = None
        after = ask(port)
    assert (503, "application/json", {"status": "Server not available"}) == (
        *before[:2],
        json.loads(before[2]),
    )
    assert (200, "application/json", AVAILABLE) == (*during[:2], json.loads(during[2]))
    assert before == after


def test_it_is_alive_whatever_it_does() -> None:
    """Before everything has started, and while it stops, there is no reason to restart it."""
    checked = Checked()
    with checked.started() as port:
        answers = [ask(port, "/live")]
        checked.ready_since = EPOCH_SECS
        answers.append(ask(port, "/live"))
    assert [(200, "application/json", b'{"status": "Server alive"}')] * 2 == answers


def test_the_path() -> None:
    """What is elsewhere is not found; a query is not looked at."""
    checked = Checked(path="/health/status")
    checked.ready_since = EPOCH_SECS
    with checked.started() as port:
        answers = [ask(port, path)[0] for path in ("/", "/health/status", "/health/status?a=b", "/health")]
    assert [404, 200, 200, 404] == answers


def test_an_endpoint_that_is_taken() -> None:
    """The problem is named by its key; shutdown before and after is harmless."""
    first = Checked()
    with first.started() as port:
        second = Checked(endpoint=f"127.0.0.1:{port}")
        second.extension.shutdown()
        with pytest.raises(ConfigError, match=r"^extensions\.health_check\.endpoint: cannot listen on 127"):
            second.extension.start()
    first.extension.shutdown()


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"endpoint": ":13133"}, "x: :13133 can be reached from other machines: write allow_unauthenticated"),
        ({"path": "health"}, "x.path: String should match pattern"),
        ({"response_body": "ok"}, "x.response_body: is not a known key; known are endpoint, path"),
        ({"path": "/live"}, "x: path and liveness_path are both /live, and say different things: change one"),
    ],
)
def test_mistakes(config: dict[str, Any], problem: str) -> None:
    """What anybody could reach has to be said, and what cannot be a path is refused."""
    with pytest.raises(ValidationError) as caught:
        HealthCheckConfig.model_validate(config)
    (found,) = explain(caught.value, HealthCheckConfig, config, "x")
    assert str(found).startswith(problem)


def test_everybody_may_be_let_in() -> None:
    """With allow_unauthenticated it listens for a kubelet."""
    config = {"endpoint": ":13133", "allow_unauthenticated": True}
    assert "" == HealthCheckConfig.model_validate(config).endpoint.host
