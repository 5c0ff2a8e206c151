"""Bounds on connections and calls, over real sockets: for clients that are many, slow, or never leave."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc
import httpx
import pytest

from otelprof.telemetry import metrics
from tests.e2e.harness import EXPORT, Answer, Client, Running, Yaml, one_pipeline, request, running
from tests.e2e.http2 import GO_AWAY, PING, SETTINGS, connect, frames, send_headers, send_part, send_ping

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BODY = request().SerializeToString()
OK = Answer(grpc.StatusCode.OK)
# RFC 9113, sections 6.5.2 and 7.
MAX_CONCURRENT_STREAMS = 3
ENHANCE_YOUR_CALM = 11


@contextmanager
def over_grpc(folder: Path, **keys: Any) -> Iterator[Running]:
    """A service that takes gRPC, with these keys."""
    with running(one_pipeline(exporters={"debug": {}}, **keys), folder) as service:
        yield service


@contextmanager
def over_http(folder: Path, **keys: Any) -> Iterator[Running]:
    """A service that takes HTTP, with these keys."""
    config: Yaml = one_pipeline(exporters={"debug": {}})
    config["receivers"]["otlp"]["protocols"] = {"http": {"endpoint": "127.0.0.1:0", **keys}}
    with running(config, folder) as service:
        yield service


def wait_for(service: Running, outcome: str) -> None:
    """Return when a request had this outcome, or after a while."""
    deadline = time.monotonic() + 5
    labels = {"receiver": "otlp", "outcome": outcome}
    while not service.metrics.value(metrics.RECEIVER_REQUESTS, **labels) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert 1 == service.metrics.value(metrics.RECEIVER_REQUESTS, **labels)


def error_of_go_away(connection: socket.socket) -> int:
    """The error with which the server says that it closes a connection."""
    payload = next(payload for kind, payload in frames(connection) if kind == GO_AWAY)
    return int(struct.unpack(">I", payload[4:8])[0])


def test_a_slow_message_is_not_waited_for(tmp_path: Path) -> None:
    """A client that takes too long over its message does not keep others out, even of one thread."""
    keys = {"max_concurrent_requests": 1, "read_timeout": "1s"}
    with over_grpc(tmp_path, **keys) as service, connect(service.endpoint) as slow:
        send_headers(slow, service.endpoint, EXPORT)
        send_part(slow, BODY[:10], len(BODY))
        time.sleep(0.1)
        start = time.monotonic()
        assert OK == service.export(BODY)
        took = time.monotonic() - start
        wait_for(service, "refused")
    assert took < 8


def test_a_client_that_goes_away(tmp_path: Path) -> None:
    """A connection that breaks in the middle of a message is counted, and hurts nobody."""
    with over_grpc(tmp_path) as service:
        with connect(service.endpoint) as gone:
            send_headers(gone, service.endpoint, EXPORT)
            send_part(gone, BODY[:10], len(BODY))
            time.sleep(0.1)
        wait_for(service, "failed")
        assert OK == service.export(BODY)


def test_a_call_without_a_message(tmp_path: Path) -> None:
    """A call that ends before its message is UNIMPLEMENTED, in gRPC's own way, and counted."""
    with over_grpc(tmp_path) as service, Client(service.endpoint) as client:
        with pytest.raises(grpc.RpcError) as caught:
            client.channel.stream_unary(EXPORT, None, None)(iter(()), timeout=5.0)
        wait_for(service, "failed")
    assert grpc.StatusCode.UNIMPLEMENTED is caught.value.code()


def test_open_connections_are_bounded(tmp_path: Path) -> None:
    """Over gRPC a further connection is closed at once, and served when another has ended."""
    with over_grpc(tmp_path, max_connections=1) as service:
        with Client(service.endpoint) as first:
            assert OK == first.export(BODY)
            with contextlib.suppress(ConnectionError), connect(service.endpoint) as second:
                assert [] == list(frames(second))
            assert OK == first.export(BODY)
        deadline = time.monotonic() + 5
        # The end of the first is not noticed at once.
        while (answer := service.export(BODY)) != OK and time.monotonic() < deadline:
            time.sleep(0.05)
    assert OK == answer


def test_open_connections_are_bounded_over_http(tmp_path: Path) -> None:
    """Over HTTP a further connection is answered 503."""
    fields = {"content-type": "application/x-protobuf"}
    with over_http(tmp_path, max_connections=2) as service:
        host, port = service.http_endpoints["otlp"].split(":")
        with contextlib.ExitStack() as stack:
            for _ in range(2):
                stack.enter_context(socket.create_connection((host, int(port)), timeout=5))
            time.sleep(0.1)
            with httpx.Client(trust_env=False) as client:
                assert 503 == client.post(service.url, content=BODY, headers=fields).status_code
        time.sleep(0.1)
        with httpx.Client(trust_env=False) as client:
            assert 200 == client.post(service.url, content=BODY, headers=fields).status_code


def test_headers_are_bounded(tmp_path: Path) -> None:
    """A call with more headers than allowed is refused by gRPC, a request over HTTP with 431."""
    large = "x" * 2000
    with over_grpc(tmp_path, max_header_size="1KiB") as service:
        assert grpc.StatusCode.RESOURCE_EXHAUSTED is service.export(BODY, (("large", large),)).code
        assert OK == service.export(BODY)
    with over_grpc(tmp_path) as service:
        assert OK == service.export(BODY, (("large", large),))
    fields = {"content-type": "application/x-protobuf", "large": large}
    with over_http(tmp_path, max_header_size="1KiB") as service, httpx.Client(trust_env=False) as client:
        assert 431 == client.post(service.url, content=BODY, headers=fields).status_code
        wait_for(service, "failed")


@pytest.mark.parametrize(
    ("keys", "expected"), [({"max_concurrent_streams": 3}, 3), ({"max_concurrent_requests": 7}, 7)]
)
def test_calls_of_one_connection_are_bounded(tmp_path: Path, keys: dict[str, int], expected: int) -> None:
    """The server says how many calls one connection may have open."""
    with over_grpc(tmp_path, **keys) as service, connect(service.endpoint) as connection:
        payload = next(payload for kind, payload in frames(connection) if kind == SETTINGS)
    settings = dict(struct.iter_unpack(">HI", payload))
    assert expected == settings[MAX_CONCURRENT_STREAMS]


@pytest.mark.parametrize("key", ["max_connection_idle", "max_connection_age"])
def test_connections_do_not_live_for_ever(tmp_path: Path, key: str) -> None:
    """A connection that is idle, or old, is told to go."""
    keepalive = {"server_parameters": {key: "200ms", "max_connection_age_grace": "1s"}}
    with over_grpc(tmp_path, keepalive=keepalive) as service, connect(service.endpoint) as connection:
        assert ENHANCE_YOUR_CALM != error_of_go_away(connection)


def test_who_pings_too_much_is_cut_off(tmp_path: Path) -> None:
    """A client that pings more often than min_time is told to calm down; with 0 it may."""
    with over_grpc(tmp_path) as service, connect(service.endpoint) as connection:
        with contextlib.suppress(ConnectionError):
            for _ in range(10):
                send_ping(connection)
        assert ENHANCE_YOUR_CALM == error_of_go_away(connection)
    policy = {"min_time": 0, "permit_without_stream": True}
    with (
        over_grpc(tmp_path, keepalive={"enforcement_policy": policy}) as service,
        connect(service.endpoint) as connection,
    ):
        for _ in range(10):
            send_ping(connection)
        kinds = (kind for kind, _ in frames(connection) if kind in {PING, GO_AWAY})
        assert [PING] * 10 == [next(kinds) for _ in range(10)]


def test_who_does_not_answer_is_cut_off(tmp_path: Path) -> None:
    """A client that is gone without a word is noticed by a ping."""
    keepalive = {
        "server_parameters": {"time": "1s", "timeout": "1s"},
        "enforcement_policy": {"permit_without_stream": True},
    }
    with over_grpc(tmp_path, keepalive=keepalive) as service, connect(service.endpoint) as connection:
        kinds = []
        with contextlib.suppress(ConnectionError):
            kinds = [kind for kind, _ in frames(connection)]
    assert PING in kinds


def test_who_says_nothing_is_cut_off(tmp_path: Path) -> None:
    """A connection on which HTTP/2 is not begun is closed."""
    with over_grpc(tmp_path, handshake_timeout="200ms") as service:
        host, port = service.endpoint.split(":")
        with (
            contextlib.suppress(ConnectionError),
            socket.create_connection((host, int(port)), timeout=5) as connection,
        ):
            while connection.recv(4096):
                pass
