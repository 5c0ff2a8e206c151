"""Many clients at once, over real sockets: who is let in when memory is short."""

from __future__ import annotations

import contextlib
import gzip
import socket
import sys
import time
from typing import TYPE_CHECKING, Any

import grpc
import httpx
import pytest

from otelprof.telemetry.admission_metrics import ADMISSION_BYTES, ADMISSION_REFUSED
from otelprof.telemetry.metrics import RECEIVER_REQUESTS
from tests.e2e.harness import EXPORT, RECORDING, Running, Yaml, one_pipeline, running
from tests.e2e.http2 import connect, send_headers, send_part

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KIB = 1 << 10
PROTO = "application/x-protobuf"
NOISY, QUIET = "127.0.0.2", "127.0.0.1"
pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8, which tells two clients apart"
)


def both_protocols(**keys: Any) -> Yaml:
    """A configuration that takes OTLP over gRPC and HTTP, and a MiB at once."""
    config = one_pipeline(exporters={"debug": {}})
    config["receivers"]["otlp"]["protocols"]["http"] = {"endpoint": "127.0.0.1:0"}
    config["service"]["admission"] = {"request_limit_mib": 1}
    return {**config, **keys}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Running]:
    """A service that may take a MiB at once."""
    with running(both_protocols(), tmp_path) as service:
        yield service


def held(service: Running) -> float:
    """What requests in flight have."""
    return service.metrics.value(ADMISSION_BYTES)


def wait_until_held(service: Running, expected: int) -> None:
    """Return when requests in flight have so much, or after a while."""
    deadline = time.monotonic() + 5
    while held(service) != expected and time.monotonic() < deadline:
        time.sleep(0.01)
    assert expected == held(service)


@contextlib.contextmanager
def announced(service: Running, size_bytes: int, address: str, headers: str = "") -> Iterator[socket.socket]:
    """A client that announces a body and does not send it."""
    host, port = service.http_endpoints["otlp"].split(":")
    with socket.create_connection((host, int(port)), timeout=5, source_address=(address, 0)) as client:
        fields = f"host: x\r\ncontent-type: {PROTO}\r\ncontent-length: {size_bytes}{headers}"
        client.sendall(f"POST /v1development/profiles HTTP/1.1\r\n{fields}\r\n\r\n".encode())
        yield client


def post(service: Running, body: bytes, address: str, **headers: str) -> httpx.Response:
    """Send a request from an address."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    transport = httpx.HTTPTransport(local_address=address, trust_env=False)
    with httpx.Client(transport=transport, trust_env=False) as client:
        return client.post(service.url, content=body, headers={"content-type": PROTO, **named})


def test_a_noisy_client_does_not_starve_a_quiet_one(service: Running) -> None:
    """Who holds half of the memory gets no more, over both protocols; who holds nothing is served."""
    body = RECORDING.read_bytes()
    big = bytes(300 * KIB)
    with contextlib.ExitStack() as stack:
        for number in range(1, 5):
            stack.enter_context(announced(service, 128 * KIB, NOISY))
            wait_until_held(service, number * 128 * KIB)
        refused = post(service, big, NOISY)
        served = [post(service, body, QUIET).status_code for _ in range(10)]
        compressed = post(service, gzip.compress(body), QUIET, content_encoding="gzip")
        over_grpc = service.export(body)
    assert (503, "1") == (refused.status_code, refused.headers["retry-after"])
    assert b"service.admission.request_limit_mib" in refused.content
    assert [200] * 10 == served
    assert (200, grpc.StatusCode.OK) == (compressed.status_code, over_grpc.code)
    assert 1 == service.metrics.value(ADMISSION_REFUSED, reason="share")
    wait_until_held(service, 0)


def test_one_budget_for_both_protocols(service: Running) -> None:
    """What is held over HTTP is missing over gRPC, where the refusal has RetryInfo; then it is taken."""
    body = gzip.compress(bytes(900 * KIB))
    with announced(service, 512 * KIB, NOISY):
        wait_until_held(service, 512 * KIB)
        answer = service.export(body)
        assert (grpc.StatusCode.UNAVAILABLE, 1.0) == (answer.code, answer.retry_after_secs)
        assert 1 == service.metrics.value(ADMISSION_REFUSED, reason="memory")
        assert grpc.StatusCode.OK is service.export(RECORDING.read_bytes()).code
    wait_until_held(service, 0)
    assert grpc.StatusCode.INVALID_ARGUMENT is service.export(body).code


def test_slow_clients_leave_room(tmp_path: Path) -> None:
    """Of requests that are being read a client has half; who comes next is served, over both protocols."""
    config = both_protocols()
    for protocol in config["receivers"]["otlp"]["protocols"].values():
        protocol["max_concurrent_requests"] = 4
    body = RECORDING.read_bytes()
    with running(config, tmp_path) as service, contextlib.ExitStack() as stack:
        for number in (1, 2):
            stack.enter_context(announced(service, KIB, NOISY))
            wait_until_held(service, number * KIB)
        refused = post(service, body, NOISY)
        served = [post(service, body, QUIET).status_code for _ in range(5)]
        slow = service.metrics.value(ADMISSION_REFUSED, reason="slow")
        for _ in range(2):
            call = stack.enter_context(connect(service.endpoint, NOISY))
            send_headers(call, service.endpoint, EXPORT)
            send_part(call, b"x", KIB)
        time.sleep(0.2)
        third = stack.enter_context(connect(service.endpoint, NOISY))
        send_headers(third, service.endpoint, EXPORT)
        deadline = time.monotonic() + 5
        while slow == service.metrics.value(ADMISSION_REFUSED, reason="slow") and time.monotonic() < deadline:
            time.sleep(0.01)
        over_grpc = [service.export(body).code for _ in range(5)]
        assert 2 == service.metrics.value(ADMISSION_REFUSED, reason="slow")
    assert (503, "1") == (refused.status_code, refused.headers["retry-after"])
    assert b"protocols.http.max_concurrent_requests" in refused.content
    assert 1 == slow
    assert ([200] * 5, [grpc.StatusCode.OK] * 5) == (served, over_grpc)


def test_slow_messages_count_for_what_they_may_hold(tmp_path: Path) -> None:
    """Over gRPC nobody knows how much came of a message that is slow: it counts whole, or is ended."""
    config = both_protocols()
    config["receivers"]["otlp"]["protocols"]["grpc"]["max_recv_msg_size_mib"] = 1
    config["service"]["admission"] = {"request_limit_mib": 4}
    with running(config, tmp_path) as service, contextlib.ExitStack() as stack:
        for _ in range(3):
            call = stack.enter_context(connect(service.endpoint, NOISY))
            send_headers(call, service.endpoint, EXPORT)
            send_part(call, b"x", KIB)
        wait_until_held(service, 2 << 20)
        refused = {"receiver": "otlp", "outcome": "refused"}
        deadline = time.monotonic() + 5
        while not service.metrics.value(RECEIVER_REQUESTS, **refused) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert 1 == service.metrics.value(RECEIVER_REQUESTS, **refused)
        assert 1 == service.metrics.value(ADMISSION_REFUSED, reason="share")
        assert grpc.StatusCode.OK is service.export(RECORDING.read_bytes()).code
        # A request gives its memory back just after its answer.
        wait_until_held(service, 2 << 20)
        stack.close()
        wait_until_held(service, 0)


def test_tenants_are_told_apart(tmp_path: Path) -> None:
    """A tenant that holds its part gets no more, and another from the same address does."""
    tokens = {name: f"token-of-{name}-0123456789" for name in ("noisy", "quiet")}
    config = both_protocols(
        extensions={"bearertokenauth": {"tenants": {name: {"token": one} for name, one in tokens.items()}}}
    )
    config["service"]["extensions"] = ["bearertokenauth"]
    for protocol in config["receivers"]["otlp"]["protocols"].values():
        protocol["auth"] = {"authenticator": "bearertokenauth"}
    headers = {name: (("authorization", f"Bearer {one}"),) for name, one in tokens.items()}
    noisy = f"\r\nauthorization: Bearer {tokens['noisy']}"
    with running(config, tmp_path) as service, announced(service, 600 * KIB, QUIET, noisy):
        wait_until_held(service, 600 * KIB)
        codes = {name: service.export(RECORDING.read_bytes(), one).code for name, one in headers.items()}
    assert {"noisy": grpc.StatusCode.UNAVAILABLE, "quiet": grpc.StatusCode.OK} == codes


def test_a_body_that_comes_in_chunks(service: Running) -> None:
    """A body of unknown size takes memory as it comes, and is refused in the middle when there is none."""
    with announced(service, 900 * KIB, NOISY):
        wait_until_held(service, 900 * KIB)
        with httpx.Client(trust_env=False) as client:
            chunks = iter([bytes(50 * KIB)] * 4)
            response = client.post(service.url, content=chunks, headers={"content-type": PROTO})
    assert (503, "1") == (response.status_code, response.headers["retry-after"])
    wait_until_held(service, 0)
