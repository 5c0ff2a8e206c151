"""OTLP/HTTP over real sockets: what is taken, what is refused and how, and clients that behave badly."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import zstandard
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceResponse,
)

from otelprof._core import Profiles
from otelprof.errors import ConfigError
from otelprof.telemetry import metrics
from otelprof.testing.sink import Sink, SinkAnswer
from tests.e2e.harness import (
    DATA,
    RECORDING,
    Running,
    Yaml,
    add_profile,
    exporter,
    one_pipeline,
    request,
    running,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PROTO = "application/x-protobuf"
JSON = "application/json"
MIB = 1 << 20
TEXT = (DATA / "collector-http/00000.json").read_bytes()
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "identity": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.compress,
}


def http_pipeline(sink: Sink, queue: Yaml | None = None, **keys: Any) -> Yaml:
    """A configuration that takes OTLP/HTTP alone."""
    config = one_pipeline(exporters={"otlp": exporter(sink.endpoint, sending_queue=queue or {})})
    config["receivers"]["otlp"]["protocols"] = {"http": {"endpoint": "127.0.0.1:0", **keys}}
    return config


@pytest.fixture
def sink() -> Iterator[Sink]:
    """The next hop."""
    with Sink() as sink:
        yield sink


@pytest.fixture
def service(sink: Sink, tmp_path: Path) -> Iterator[Running]:
    """A service in front of the sink."""
    with running(http_pipeline(sink), tmp_path) as service:
        yield service


def post(url: str, body: bytes, media_type: str = PROTO, **headers: str) -> httpx.Response:
    """Send one request, on a connection of its own; `_` in the name of a header is `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with httpx.Client(trust_env=False) as client:
        return client.post(url, content=body, headers={"content-type": media_type, **named})


def status_of(response: httpx.Response) -> Status:
    """The status that came in the request's own content type."""
    if response.headers["content-type"] == JSON:
        return Status(**response.json())
    assert PROTO == response.headers["content-type"]
    return Status.FromString(response.content)


@pytest.mark.parametrize("encoding", COMPRESS)
@pytest.mark.parametrize("media_type", [PROTO, JSON, f"{JSON}; charset=utf-8", "Application/X-Protobuf;v=1"])
def test_every_way_to_send(service: Running, sink: Sink, media_type: str, encoding: str) -> None:
    """Protobuf and JSON, plain, gzip and zstd, are taken, and answered in the request's own content type."""
    is_json = "json" in media_type
    body = TEXT if is_json else RECORDING.read_bytes()
    headers = {"content-encoding": encoding} if encoding else {}
    response = post(service.url, COMPRESS[encoding](body), media_type, **headers)
    expected = (JSON, b'{"partialSuccess":{}}') if is_json else (PROTO, b"\x0a\x00")
    assert (200, *expected) == (response.status_code, response.headers["content-type"], response.content)
    read = Profiles.from_json if is_json else Profiles.decode
    assert [read(body).to_otlp()] == [one.body for one in sink.wait_for(1)]


def test_counts_say_http(service: Running) -> None:
    """The samples of a request are counted under its transport, and its bytes as they came and inflated."""
    body = RECORDING.read_bytes()
    packed = zstandard.compress(body)
    post(service.url, packed, content_encoding="zstd")
    value = service.metrics.value
    labels = {"receiver": "otlp", "transport": "http", "sample_type": "samples:count"}
    assert Profiles.decode(body).sample_count == value(metrics.RECEIVER_ACCEPTED, **labels)
    assert len(packed) == value(metrics.RECEIVER_WIRE_BYTES, receiver="otlp")
    assert len(body) == value(metrics.RECEIVER_BODY_BYTES, receiver="otlp")
    assert 1 == value(metrics.RECEIVER_REQUESTS, receiver="otlp", outcome="accepted")


def test_both_protocols(sink: Sink, tmp_path: Path) -> None:
    """One receiver listens for gRPC and HTTP, and takes from both."""
    config = http_pipeline(sink)
    config["receivers"]["otlp"]["protocols"]["grpc"] = {"endpoint": "127.0.0.1:0"}
    body = request().SerializeToString()
    with running(config, tmp_path) as service:
        assert 0 == service.export(body).rejected_profiles
        assert 200 == post(service.url, body).status_code
        assert [body, body] == [one.body for one in sink.wait_for(2)]


def test_a_connection_is_kept(service: Running) -> None:
    """Several requests, good and bad, go over one connection."""
    with httpx.Client(trust_env=False) as client:
        codes = []
        ports = set()
        for body in (b"", b"\xff", RECORDING.read_bytes()):
            with client.stream(
                "POST", service.url, content=body, headers={"content-type": PROTO}
            ) as response:
                response.read()
                codes.append(response.status_code)
                ports.add(response.extensions["network_stream"].get_extra_info("client_addr")[1])
    assert ([200, 400, 200], 1) == (codes, len(ports))


def test_an_answer_does_not_wait(service: Running) -> None:
    """No answer is held back until the client acknowledges a part of it, which takes 40 ms on Linux."""
    took = []
    with httpx.Client(trust_env=False, headers={"content-type": PROTO}) as client:
        for _ in range(20):
            start = time.monotonic()
            client.post(service.url, content=b"")
            took.append(time.monotonic() - start)
    assert min(took) < 0.03


@pytest.mark.parametrize("media_type", [PROTO, JSON])
def test_a_bad_profile_is_refused_alone(service: Running, sink: Sink, media_type: str) -> None:
    """The answer is 200 with a partial success that says how many and why."""
    message = request(samples=3)
    add_profile(message, stack_index=-1)
    good = request(samples=3)
    body = message.SerializeToString()
    if media_type == JSON:
        resource = json.loads(Profiles.decode(good.SerializeToString()).to_json())
        scopes = resource["resourceProfiles"][0]["scopeProfiles"]
        scopes.append({"profiles": [{"samples": [{"stackIndex": -1, "values": ["1"]}]}]})
        body = json.dumps(resource).encode()
    response = post(service.url, body, media_type)
    if media_type == JSON:
        partial = response.json()["partialSuccess"]
        rejected, why = int(partial["rejectedProfiles"]), partial["errorMessage"]
    else:
        answer = ExportProfilesServiceResponse.FromString(response.content).partial_success
        rejected, why = answer.rejected_profiles, answer.error_message
    assert (200, 1) == (response.status_code, rejected)
    assert why.startswith("1 profile refused: index_out_of_range (1): ")
    assert 3 == Profiles.decode(sink.wait_for(1)[0].body).sample_count


@pytest.mark.parametrize(
    ("body", "media_type", "headers", "code", "message"),
    [
        (b"\xff", PROTO, {}, 400, "malformed protobuf at byte 0"),
        (b"{", JSON, {}, 400, "invalid JSON: byte 1, in ExportProfilesServiceRequest: EOF"),
        (b"", JSON, {}, 400, "invalid JSON: byte 0"),
        (gzip.compress(b"x")[:-5], PROTO, {"content-encoding": "gzip"}, 400, "cannot be inflated"),
        (b"{}", JSON, {"content-encoding": "gzip"}, 400, "says gzip, but the body begins as identity"),
        (gzip.compress(b"{}"), JSON, {}, 400, "says identity, but the body begins as gzip"),
        (zstandard.compress(b"{}"), JSON, {"content-encoding": "gzip"}, 400, "but the body begins as zstd"),
        (b"{}", JSON, {"content-encoding": "br"}, 415, "'br' is not supported: send gzip, zstd or no"),
        (b"{}", JSON, {"content-encoding": "gzip, gzip"}, 415, "'gzip, gzip' is not supported"),
        (b"{}", JSON, {"otlp-profiles-development-version": "2"}, 400, "supported version is 1"),
    ],
)
def test_what_is_refused(  # noqa: PLR0913, PLR0917 - a row of the table
    service: Running, body: bytes, media_type: str, headers: dict[str, str], code: int, message: str
) -> None:
    """A request that is none is refused once and for all, with the status of the OTLP specification."""
    response = post(service.url, body, media_type, **headers)
    assert (code, None) == (response.status_code, response.headers.get("retry-after"))
    assert message in status_of(response).message
    assert 1 == service.metrics.value(metrics.RECEIVER_REQUESTS, receiver="otlp", outcome="failed")
    assert 200 == post(service.url, b"{}", JSON).status_code


@pytest.mark.parametrize("media_type", ["text/plain", "", "application/grpc", "application/json+x"])
def test_another_content_type(service: Running, media_type: str) -> None:
    """415 lists what is supported, in the collector's words."""
    response = post(service.url, b"{}", media_type)
    expected = "415 unsupported media type, supported: [application/json, application/x-protobuf]"
    assert (415, expected) == (response.status_code, response.text)


def test_another_method_or_path(service: Running) -> None:
    """405 says what is allowed, also to a browser that asks whether it may; another path is 404."""
    answers = [httpx.request(method, service.url, trust_env=False) for method in ("GET", "PUT", "OPTIONS")]
    assert [(405, "POST")] * 3 == [(one.status_code, one.headers["allow"]) for one in answers]
    assert 404 == post(service.url.replace("v1development", "v1"), b"").status_code


def test_overload_says_when_to_come_back(sink: Sink, tmp_path: Path) -> None:
    """A full queue is 503 with Retry-After in whole seconds, at least one."""
    sink.answer_always(SinkAnswer(delay_secs=30.0))
    body = request().SerializeToString()
    queue = {"queue_size": 3 * Profiles.decode(body).memory_bytes}
    config = http_pipeline(sink, queue)
    config["service"]["drain_timeout"] = "100ms"
    with running(config, tmp_path) as service:
        answers = [post(service.url, body) for _ in range(8)]
        last = answers[-1]
        assert (503, "1") == (last.status_code, last.headers.get("retry-after"))
        assert "queue" in status_of(last).message
        assert service.metrics.value(metrics.RECEIVER_REQUESTS, receiver="otlp", outcome="refused") > 0


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_over_the_limit(sink: Sink, tmp_path: Path, is_chunked: bool) -> None:  # noqa: FBT001 - a parameter
    """413 comes before the body was kept, and before it was sent when the client asks first."""
    with running(http_pipeline(sink, max_request_body_size="1MiB"), tmp_path) as service:
        content: Any = iter([bytes(MIB)] * 8) if is_chunked else bytes(8 * MIB)
        response = httpx.post(service.url, content=content, headers={"content-type": PROTO}, trust_env=False)
    assert 413 == response.status_code
    assert "raise protocols.http.max_request_body_size" in status_of(response).message


def test_who_asks_first_is_not_told_to_send(sink: Sink, tmp_path: Path) -> None:
    """A client that sends `Expect: 100-continue` is refused before it sends a body over the limit."""
    with running(http_pipeline(sink), tmp_path) as service:
        host, port = service.http_endpoints["otlp"].split(":")
        with socket.create_connection((host, int(port)), timeout=5) as client:
            head = f"POST /v1development/profiles HTTP/1.1\r\nhost: x\r\ncontent-type: {PROTO}\r\n"
            client.sendall(f"{head}content-length: 99999999\r\nexpect: 100-continue\r\n\r\n".encode())
            answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer


def test_slow_clients(sink: Sink, tmp_path: Path) -> None:
    """Who takes too long over a head is cut off, over a body told to come again; others are served."""
    keys: Yaml = {"read_header_timeout": "300ms", "read_timeout": "300ms", "idle_timeout": "1s"}
    with running(http_pipeline(sink, **keys), tmp_path) as service:
        host, port = service.http_endpoints["otlp"].split(":")
        with contextlib.ExitStack() as stack:
            silent, head, body = (
                stack.enter_context(socket.create_connection((host, int(port)), timeout=5)) for _ in range(3)
            )
            head.sendall(b"POST /v1development/profiles HTTP/1.1\r\nhost: x\r\n")
            fields = f"host: x\r\ncontent-type: {JSON}\r\ncontent-length: 100"
            body.sendall(f"POST /v1development/profiles HTTP/1.1\r\n{fields}\r\n\r\n{{".encode())
            start = time.monotonic()
            assert 200 == post(service.url, b"").status_code
            with contextlib.suppress(ConnectionResetError):
                assert b"" == silent.recv(1)
            with contextlib.suppress(ConnectionResetError):
                assert b"" == head.recv(1)
            answer = b"".join(iter(lambda: body.recv(65536), b""))
            took = time.monotonic() - start
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 1\r\n" in answer
    assert b"did not come whole within 0.3 s" in answer
    assert took < 5


def test_a_long_head_is_refused(service: Running) -> None:
    """A head that does not end is cut off, not kept."""
    with contextlib.suppress(httpx.WriteError, httpx.ReadError):
        assert 400 == post(service.url, b"", x="y" * MIB).status_code
    assert 200 == post(service.url, b"").status_code
    assert 1 == service.metrics.value(metrics.RECEIVER_REQUESTS, receiver="otlp", outcome="accepted")


def test_further_requests_wait(sink: Sink, tmp_path: Path) -> None:
    """More requests than are worked on at once wait, and are taken."""
    codes: list[int] = []
    with running(http_pipeline(sink, max_concurrent_requests=1), tmp_path) as service:
        url = service.url
        threads = [
            threading.Thread(target=lambda: codes.append(post(url, RECORDING.read_bytes()).status_code))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [200] * 8 == codes


def test_a_client_that_goes_away(service: Running) -> None:
    """A connection that breaks in the middle of a body is counted, and hurts nobody."""
    host, port = service.http_endpoints["otlp"].split(":")
    client = http.client.HTTPConnection(host, int(port), timeout=5)
    client.putrequest("POST", "/v1development/profiles")
    client.putheader("content-type", PROTO)
    client.putheader("content-length", "100")
    client.endheaders(b"x")
    client.close()
    assert 200 == post(service.url, b"").status_code
    failed = {"receiver": "otlp", "outcome": "failed"}
    for _ in range(100):
        if service.metrics.value(metrics.RECEIVER_REQUESTS, **failed):
            break
        time.sleep(0.02)
    assert 1 == service.metrics.value(metrics.RECEIVER_REQUESTS, **failed)


def test_a_bug_is_not_shown_to_the_client(service: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that nobody expected is 500, without its text, and counted."""
    monkeypatch.setattr("otelprof.receiver.otlp_intake.decoded", None)
    response = post(service.url, request().SerializeToString())
    assert (500, "internal error") == (response.status_code, status_of(response).message)
    assert 1 == service.metrics.value(metrics.RECEIVER_REQUESTS, receiver="otlp", outcome="bug")


def test_an_endpoint_that_is_taken(service: Running, sink: Sink, tmp_path: Path) -> None:
    """Two cannot listen at one place: the error names the key and why."""
    taken = service.http_endpoints["otlp"]
    with (
        pytest.raises(ConfigError) as caught,
        running(http_pipeline(sink, endpoint=taken), tmp_path),
    ):
        pass
    expected = f"receivers.otlp.protocols.http.endpoint: cannot listen on {taken}: Address already in use"
    assert expected == str(caught.value)


def test_an_open_endpoint_must_be_meant(sink: Sink, tmp_path: Path) -> None:
    """Listening for other machines needs client certificates, or saying that anybody may send."""
    config = http_pipeline(sink, endpoint="0.0.0.0:4318")
    with pytest.raises(ConfigError, match="allow_unauthenticated: true"), running(config, tmp_path):
        pass


def test_a_receiver_speaks_something(sink: Sink, tmp_path: Path) -> None:
    """A receiver without a protocol is a mistake."""
    config = http_pipeline(sink)
    config["receivers"]["otlp"]["protocols"] = {}
    with pytest.raises(ConfigError, match="name grpc, http or both"), running(config, tmp_path):
        pass


def test_shutdown_lets_requests_end(sink: Sink, tmp_path: Path) -> None:
    """A request that is being sent when the service stops is taken, and answered."""
    host_port: list[str] = []
    answers: list[bytes] = []
    body = RECORDING.read_bytes()
    with running(http_pipeline(sink), tmp_path) as service:
        host_port = service.http_endpoints["otlp"].split(":")
        client = socket.create_connection((host_port[0], int(host_port[1])), timeout=5)
        head = f"host: x\r\ncontent-type: {PROTO}\r\ncontent-length: {len(body)}"
        client.sendall(f"POST /v1development/profiles HTTP/1.1\r\n{head}\r\n\r\n".encode() + body[:-1])
        assert 200 == post(service.url, b"").status_code
        stopping = threading.Thread(target=service.service.stop)
        stopping.start()
        time.sleep(0.3)
        client.sendall(body[-1:])
        answers.append(b"".join(iter(lambda: client.recv(65536), b"")))
        stopping.join()
        client.close()
    assert answers[0].startswith(b"HTTP/1.1 200 ")
    assert 1 == len(sink.taken)
