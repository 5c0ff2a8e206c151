"""Bearer tokens over real sockets: who may send, how much, and what nobody gets to see."""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any

import grpc
import httpx
import pytest
from structlog.testing import capture_logs

from otelprof.errors import ConfigError
from otelprof.telemetry import metrics
from otelprof.telemetry.admission_metrics import ADMISSION_REFUSED, FILE_RELOADS, TENANT_BYTES
from otelprof.telemetry.exposition import text_exposition
from otelprof.testing.sink import Sink
from tests.e2e.harness import (
    RECORDING,
    Answer,
    Process,
    Running,
    Yaml,
    exporter,
    one_pipeline,
    request,
    running,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

A, B, C = "token-of-a-0123456789", "token-of-b-0123456789", "token-of-c-0123456789"
AUTH = {"authenticator": "bearertokenauth"}
BODY = request().SerializeToString()
OK = Answer(grpc.StatusCode.OK)
UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED


def with_tokens(exporters: Yaml | None = None, receivers_auth: Yaml | None = AUTH, **keys: Any) -> Yaml:
    """A configuration that takes both protocols, with the tokens of a `bearertokenauth`."""
    config = one_pipeline(exporters=exporters or {"debug": {}})
    config["receivers"]["otlp"]["protocols"] = {
        name: {"endpoint": "127.0.0.1:0", "auth": receivers_auth} for name in ("grpc", "http")
    }
    config["extensions"] = {"bearertokenauth": keys}
    config["service"]["extensions"] = ["bearertokenauth"]
    return config


def over_grpc(service: Running, token: str | None, body: bytes = BODY) -> Answer:
    """The answer to a request with a token, or without one."""
    return service.export(body, () if token is None else (("authorization", f"Bearer {token}"),))


def over_http(service: Running, *headers: str, body: bytes = BODY) -> httpx.Response:
    """The answer to a request with so many `authorization` headers."""
    fields = [("content-type", "application/x-protobuf"), *(("authorization", one) for one in headers)]
    with httpx.Client(trust_env=False) as client:
        return client.post(service.url, content=body, headers=fields)


@pytest.mark.parametrize("token", [A, B, C])
def test_who_has_a_token_is_let_in(tmp_path: Path, token: str) -> None:
    """Each of several tokens is good, over both protocols."""
    (tmp_path / "tokens").write_text(f"\n{C}\n", encoding="utf-8")
    config = with_tokens(token=A, tokens=[B], filename=str(tmp_path / "tokens"))
    with running(config, tmp_path) as service:
        assert OK == over_grpc(service, token)
        assert 200 == over_http(service, f"bearer  {token}").status_code


@pytest.mark.parametrize(
    "headers",
    [[], [""], ["Bearer"], [f"Bearer {A[:-1]}"], [f"Bearer {A}x"], [A], [f"Basic {A}"], [f"Bearer {A}"] * 2],
    ids=["none", "empty", "scheme", "shorter", "longer", "no scheme", "other scheme", "twice"],
)
def test_who_has_none_is_not(tmp_path: Path, headers: list[str]) -> None:
    """Anything but one token that is known is UNAUTHENTICATED, or 401, and never to be sent again."""
    with running(with_tokens(token=A), tmp_path) as service:
        over = over_http(service, *headers)
        answer = service.export(BODY, tuple(("authorization", one) for one in headers))
        assert 2 == service.metrics.value(ADMISSION_REFUSED, reason="credentials")
        assert 2 == service.metrics.value(metrics.RECEIVER_REQUESTS, receiver="otlp", outcome="failed")
    assert (401, "Bearer") == (over.status_code, over.headers["www-authenticate"])
    assert (UNAUTHENTICATED, None) == (answer.code, answer.retry_after_secs)
    assert "send a token that is known here as `authorization: Bearer TOKEN`" == answer.message


def test_the_file_is_read_again(tmp_path: Path) -> None:
    """A token that is put into the file is good at once, one that is taken out is not; no restart."""
    file = tmp_path / "tokens"
    file.write_text(A, encoding="utf-8")
    with running(with_tokens(filename=str(file)), tmp_path) as service, capture_logs() as logs:
        assert [OK.code, UNAUTHENTICATED] == [over_grpc(service, one).code for one in (A, B)]
        (tmp_path / "new").write_text(f"{B}\n{C}\n", encoding="utf-8")
        (tmp_path / "new").replace(file)
        deadline = time.monotonic() + 5
        while over_grpc(service, B) != OK and time.monotonic() < deadline:
            time.sleep(0.1)
        assert [UNAUTHENTICATED, OK.code, OK.code] == [over_grpc(service, one).code for one in (A, B, C)]
        file.write_text(f"{B}\nshort\n", encoding="utf-8")
        failed = {"component": "bearertokenauth", "outcome": "failed"}
        while not service.metrics.value(FILE_RELOADS, **failed) and time.monotonic() < deadline:
            assert OK == over_grpc(service, C)
            time.sleep(0.1)
        assert [OK, OK] == [over_grpc(service, one) for one in (B, C)]
        assert 1 == service.metrics.value(FILE_RELOADS, **failed)
        assert 1 == service.metrics.value(FILE_RELOADS, component="bearertokenauth", outcome="reloaded")
    (line,) = [one for one in logs if one["log_level"] == "error"]
    assert f"{file}, line 2: a token has 16 characters or more, and this one 5" in line["error"]
    assert not [one for one in (A, B, C) if one in str(logs)]


def test_a_tenant_has_its_rate(tmp_path: Path) -> None:
    """All tokens of a tenant have one rate: over it they are told when to come again, and others are not."""
    tenants = {"team-a": {"tokens": [A, B], "bytes_per_second": 1000}, "team-c": {"token": C}}
    body = RECORDING.read_bytes()
    with running(with_tokens(tenants=tenants), tmp_path) as service:
        assert OK == over_grpc(service, A, body)
        limited = over_grpc(service, B)
        over = over_http(service, f"Bearer {A}")
        assert OK == over_grpc(service, C)
        assert 2 == service.metrics.value(ADMISSION_REFUSED, reason="rate")
        counted = {
            one: service.metrics.value(TENANT_BYTES, authenticator="bearertokenauth", tenant=one)
            for one in tenants
        }
    assert grpc.StatusCode.UNAVAILABLE is limited.code
    assert limited.retry_after_secs is not None
    assert 1 <= limited.retry_after_secs <= len(body) / 1000
    assert "more came with this token than 1000 bytes a second (bytes_per_second)" == limited.message
    assert 503 == over.status_code
    assert 1 <= int(over.headers["retry-after"]) <= len(body) / 1000
    assert {"team-a": len(body), "team-c": len(BODY)} == counted


def test_a_body_in_chunks_counts_for_the_rate(tmp_path: Path) -> None:
    """A body that does not say how long it is does not slip through."""
    with running(with_tokens(token=A, bytes_per_second=1000), tmp_path) as service:
        with httpx.Client(trust_env=False) as client:
            fields = {"content-type": "application/x-protobuf", "authorization": f"Bearer {A}"}
            body = RECORDING.read_bytes()
            first = client.post(service.url, content=iter([body]), headers=fields)
        assert [200, 503] == [first.status_code, over_http(service, f"Bearer {A}").status_code]


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Running]:
    """A next hop that asks for a token."""
    (tmp_path / "far").mkdir()
    with running(with_tokens(token=B), tmp_path / "far") as far:
        yield far


@pytest.mark.parametrize("kind", ["otlp", "otlp_http"])
def test_exporters_send_the_token_of_the_file(tmp_path: Path, far: Running, kind: str) -> None:
    """An exporter sends the first token of the file as it is now: a new one is used without a restart."""
    file = tmp_path / "token"
    file.write_text(C, encoding="utf-8")
    keys = {"sending_queue": {"enabled": False}, "auth": AUTH}
    if kind == "otlp":
        exporters = {"otlp": exporter(far.endpoint, **keys)}
    else:
        exporters = {"otlp_http": {"endpoint": far.url.removesuffix("/v1development/profiles"), **keys}}
    config = with_tokens(exporters, None, filename=str(file))
    with running(config, tmp_path) as service:
        refused = service.export(BODY)
        file.write_text(B, encoding="utf-8")
        deadline = time.monotonic() + 5
        while (answer := service.export(BODY)) != OK and time.monotonic() < deadline:
            time.sleep(0.1)
    assert UNAUTHENTICATED is refused.code
    assert OK == answer


def test_no_token_is_ever_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A token is in no log at level debug, answer, metric, error or printed configuration."""
    caplog.set_level(logging.DEBUG)
    shown: list[object] = []
    with Sink() as sink, contextlib.ExitStack() as stack:
        exporters = {"otlp": exporter(sink.endpoint, auth=AUTH)}
        tenants = {"team-b": {"token": B, "bytes_per_second": 1}}
        config = with_tokens(exporters, token=A, tenants=tenants)
        config["service"]["telemetry"]["logs"]["level"] = "debug"
        process = stack.enter_context(Process(config, tmp_path))
        lines = [one for one in process.lines if one["event"] == "receiver listens"]
        endpoints: dict[str, dict[str, str]] = {"grpc": {}, "http": {}}
        for line in lines:
            endpoints[line["protocol"]]["otlp"] = line["endpoint"]
        service = Running(None, None, endpoints["grpc"], endpoints["http"])  # type: ignore[arg-type] # a process
        for token in (A, B, B, C, f"{A}x"):
            answer = over_http(service, f"Bearer {token}")
            shown += [over_grpc(service, token), answer.headers, answer.content]
        sink.wait_for(1)
        process.popen.terminate()
        process.exit_code()
        shown += process.lines
    with running(config, tmp_path) as inside:
        over_grpc(inside, A)
        shown += [text_exposition(inside.metrics), repr(inside.service._config), str(inside.service._config)]  # noqa: SLF001 - what a debugger prints
    for wrong in (
        {"token": A, "tokens": [A]},
        {"token": "short-" + A[:9]},
        {"token": f"{A}\n{B}"},
        {"token": A, "tenants": {"b": {"token": B, "tokens": [B]}}},
        {"tokens": A},
        {"tokens": {A: B}},
        {"token": [A]},
    ):
        with pytest.raises(ConfigError) as caught, running(with_tokens(**wrong), tmp_path):
            pass
        shown += [str(caught.value), repr(caught.value)]
    shown += [record.getMessage() for record in caplog.records]
    assert len(shown) > 30
    assert not [one for one in shown if any(token[:14] in str(one) for token in (A, B, C))]
    assert {f"Bearer {A}", f"Bearer {B}"} >= {one.metadata["authorization"] for one in sink.requests} != set()
