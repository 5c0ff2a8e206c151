"""The `otlp_http` exporter over real sockets."""

from __future__ import annotations

import json
import re
import ssl
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceResponse,
)

from otelprof._core import Profiles
from otelprof.telemetry import metrics
from tests.e2e.harness import RECORDING, Running, Yaml, exporter, one_pipeline, request, running
from tests.e2e.http_sink import HttpAnswer, HttpSink
from tests.e2e.test_tls import folder as folder  # noqa: PLC0414 - a fixture
from tests.e2e.test_tls import pytestmark as needs_openssl
from tests.reference.compare import on_the_wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VERSION = "otlp-profiles-development-version"
JSON = {"content-type": "application/json"}
DIRECT: Yaml = {"enabled": False}


def http_exporter(url: str, **keys: Any) -> Yaml:
    """An `otlp_http` exporter that retries fast enough for a test."""
    config = exporter("", **keys)
    del config["tls"]
    return {**config, "endpoint": url, **keys}


def http_config(url: str, **keys: Any) -> Yaml:
    """A configuration that sends everything there."""
    return one_pipeline(exporters={"otlp_http": http_exporter(url, **keys)})


@pytest.fixture
def sink() -> Iterator[HttpSink]:
    """The next hop."""
    with HttpSink() as sink:
        yield sink


@pytest.fixture
def service(sink: HttpSink, tmp_path: Path) -> Iterator[Running]:
    """A service in front of it, whose clients wait for its answers."""
    with running(http_config(sink.url, sending_queue=DIRECT), tmp_path) as service:
        yield service


@pytest.mark.parametrize("compression", ["zstd", "gzip", "none"])
@pytest.mark.parametrize("encoding", ["proto", "json"])
def test_every_way_to_send(sink: HttpSink, tmp_path: Path, encoding: str, compression: str) -> None:
    """A request arrives as it was, in the encoding and compression of the configuration, with its headers."""
    headers = {"Authorization": "Bearer 1", "X-Scope-OrgID": "t"}
    config = http_config(sink.url, encoding=encoding, compression=compression, headers=headers)
    body = RECORDING.read_bytes()
    with running(config, tmp_path) as service:
        service.export(body)
        (arrived,) = sink.wait_for(1)
    read = Profiles.from_json if encoding == "json" else Profiles.decode
    assert on_the_wire(Profiles.decode(body)) == on_the_wire(read(arrived.body))
    media_type = "application/json" if encoding == "json" else "application/x-protobuf"
    expected = {
        "content-type": media_type,
        "content-encoding": None if compression == "none" else compression,
        "accept-encoding": "identity",
        "authorization": "Bearer 1",
        "x-scope-orgid": "t",
        VERSION: "1",
    }
    assert expected == {name: arrived.headers.get(name) for name in expected}
    assert ("/v1development/profiles", True) == (
        arrived.path,
        arrived.headers["user-agent"].startswith("otelprof/"),
    )


def test_connections_are_kept(service: Running, sink: HttpSink) -> None:
    """One request after the other goes over the same connection."""
    for _ in range(3):
        service.export(request().SerializeToString())
    assert 1 == len({one.connection for one in sink.wait_for(3)})


def test_retries(sink: HttpSink, tmp_path: Path) -> None:
    """What is to be retried is sent again until it is taken; Retry-After is waited."""
    sink.answer(HttpAnswer(503), HttpAnswer(429, headers={"retry-after": "1"}), HttpAnswer(502))
    with running(http_config(sink.url), tmp_path) as service:
        service.export(request().SerializeToString())
        assert [503, 429, 502, 200] == [one.answer.status for one in sink.wait_for(4)]


@pytest.mark.parametrize("status", [301, 308, 400, 404, 500])
def test_what_is_permanent_is_not_sent_again(service: Running, sink: HttpSink, status: int) -> None:
    """A redirect is not followed, a refusal is the client's."""
    sink.answer_always(HttpAnswer(status, b"", {"location": sink.url + "/elsewhere"} if status < 400 else {}))
    answer = service.export(request().SerializeToString())
    assert grpc.StatusCode.INVALID_ARGUMENT is answer.code
    assert f"answered {status}: " in answer.message
    assert 1 == len(sink.requests)


@pytest.mark.parametrize("encoding", ["proto", "json"])
def test_partial_success(service: Running, sink: HttpSink, encoding: str) -> None:
    """Profiles that the next hop refuses are counted; when it refuses all, the request has failed."""
    if encoding == "proto":
        response = ExportProfilesServiceResponse()
        response.partial_success.rejected_profiles = 1
        response.partial_success.error_message = "not today"
        sink.answer_always(HttpAnswer(body=response.SerializeToString()))
    else:
        partial = {"partialSuccess": {"rejectedProfiles": "1", "errorMessage": "not today"}}
        sink.answer_always(HttpAnswer(body=json.dumps(partial).encode(), headers=JSON))
    answer = service.export(request().SerializeToString())
    assert "refused all 1 profiles: not today" in answer.message
    assert 1 == service.metrics.value(metrics.EXPORTER_REJECTED_PROFILES, exporter="otlp_http")


@pytest.mark.parametrize(
    "answer",
    [
        HttpAnswer(body=b"", headers={}),
        HttpAnswer(body=b"\xff"),
        HttpAnswer(body=b"{", headers=JSON),
        HttpAnswer(body=b"<html>", headers={"content-type": "text/html"}),
        HttpAnswer(body=bytes(1 << 20)),
        HttpAnswer(status=202, body=b"", headers={}),
    ],
    ids=["empty", "no protobuf", "no JSON", "another type", "endless", "202"],
)
def test_a_success_that_cannot_be_read(service: Running, sink: HttpSink, answer: HttpAnswer) -> None:
    """Any 2xx took the request, whatever it says; sending it again would send it twice."""
    sink.answer_always(answer)
    assert grpc.StatusCode.OK is service.export(request().SerializeToString()).code
    assert 1 == len(sink.requests)


def test_a_slow_answer_is_not_waited_for(sink: HttpSink, tmp_path: Path) -> None:
    """An answer that drips is given up after the timeout, not after its last byte."""
    sink.answer_always(HttpAnswer(body=bytes(1000), delay_secs=0.1))
    config = http_config(sink.url, sending_queue=DIRECT, timeout="300ms")
    with running(config, tmp_path) as service:
        answer = service.export(request().SerializeToString())
    assert grpc.StatusCode.UNAVAILABLE is answer.code
    # The second is httpx's, on a machine where even a byte takes longer.
    assert re.search("did not come in time|timed out", answer.message)


def test_nobody_is_there(sink: HttpSink, tmp_path: Path) -> None:
    """A connection that is refused is to be retried."""
    with running(http_config("http://127.0.0.1:1", sending_queue=DIRECT), tmp_path) as service:
        answer = service.export(request().SerializeToString())
    assert grpc.StatusCode.UNAVAILABLE is answer.code
    assert "http://127.0.0.1:1/v1development/profiles: [Errno 111] Connection refused" in answer.message
    assert [] == sink.requests


@pytest.mark.parametrize("encoding", ["proto", "json"])
def test_from_hop_to_hop(sink: HttpSink, tmp_path: Path, encoding: str) -> None:
    """What our exporter sends our receiver takes, and what it refuses the exporter counts."""
    (tmp_path / "far").mkdir()
    far = one_pipeline(exporters={"otlp_http": http_exporter(sink.url)})
    far["receivers"]["otlp"]["protocols"] = {"http": {"endpoint": "127.0.0.1:0"}}
    far["receivers"]["otlp"]["limits"] = {"max_profiles": 5}
    with running(far, tmp_path / "far") as second:
        url = second.url.removesuffix("/v1development/profiles")
        config = http_config(url, encoding=encoding, sending_queue=DIRECT)
        with running(config, tmp_path) as first:
            taken = first.export(request(samples=3).SerializeToString())
            refused = first.export(RECORDING.read_bytes())
        (arrived,) = sink.wait_for(1)
    assert request(samples=3).SerializeToString() == arrived.body
    assert grpc.StatusCode.OK is taken.code
    assert grpc.StatusCode.RESOURCE_EXHAUSTED is refused.code
    assert "answered 413: the request holds more than 5 Profiles" in refused.message


@needs_openssl
def test_mutual_tls_from_hop_to_hop(sink: HttpSink, tmp_path: Path, folder: Path) -> None:
    """Exporter and receiver prove themselves to each other; who cannot is not taken."""
    (tmp_path / "far").mkdir()
    far = one_pipeline(exporters={"otlp_http": http_exporter(sink.url)})
    files = {"cert_file": "server.pem", "key_file": "server.key", "client_ca_file": "ca.pem"}
    tls = {key: str(folder / name) for key, name in files.items()}
    far["receivers"]["otlp"]["protocols"] = {"http": {"endpoint": "127.0.0.1:0", "tls": tls}}
    own = {"ca_file": "ca.pem", "cert_file": "client.pem", "key_file": "client.key"}
    codes = []
    with running(far, tmp_path / "far") as second:
        url = f"https://{second.http_endpoints['otlp']}"
        for keys in (own, {"ca_file": "ca.pem"}, {"ca_file": "other.pem"}):
            client = {key: str(folder / name) for key, name in keys.items()}
            with running(http_config(url, tls=client, sending_queue=DIRECT), tmp_path) as first:
                codes.append(first.export(request().SerializeToString()).code)
        assert 1 == len(sink.wait_for(1))
    away = grpc.StatusCode.UNAVAILABLE
    assert [grpc.StatusCode.OK, away, away] == codes


@needs_openssl
def test_the_name_in_a_certificate(tmp_path: Path, folder: Path) -> None:
    """A certificate for another name is refused, unless that name is the one to expect."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    with HttpSink(context) as sink:
        answers = []
        for name in ("localhost", "elsewhere"):
            tls = {"ca_file": str(folder / "ca.pem"), "server_name_override": name}
            with running(http_config(sink.url, tls=tls, sending_queue=DIRECT), tmp_path) as service:
                answers.append(service.export(request().SerializeToString()))
        assert 1 == len(sink.requests)
    assert [grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE] == [one.code for one in answers]
    assert "CERTIFICATE_VERIFY_FAILED" in answers[1].message
