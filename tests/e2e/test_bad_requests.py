"""What clients get for requests that cannot be taken: each kind has its answer, and the service goes on."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import grpc
import pytest

from otelprof._core import Profiles
from otelprof.telemetry import metrics
from otelprof.testing.sink import Sink
from tests.e2e.harness import (
    EXPORT,
    RECORDING,
    Answer,
    Client,
    Running,
    Yaml,
    add_profile,
    exporter,
    one_pipeline,
    request,
    running,
)
from tests.e2e.http2 import call

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INVALID_ARGUMENT = grpc.StatusCode.INVALID_ARGUMENT
RESOURCE_EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
OK = Answer(grpc.StatusCode.OK)
VERSION = "otlp-profiles-development-version"
MIB = 1 << 20


@pytest.fixture
def sink() -> Iterator[Sink]:
    """The next hop."""
    with Sink() as sink:
        yield sink


@pytest.fixture
def service(sink: Sink, tmp_path: Path) -> Iterator[Running]:
    """A service in front of the sink."""
    with running(one_pipeline(exporters={"otlp": exporter(sink.endpoint)}), tmp_path) as service:
        yield service


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(RECORDING.read_bytes()[:-1], id="truncated protobuf"),
        pytest.param(RECORDING.read_bytes()[:10_000], id="half a request"),
        pytest.param(b"\xff" * 1000, id="garbage"),
        pytest.param(b"\x0d\x01\x02\x03\x04", id="wrong wire type"),
        pytest.param(gzip.compress(b"\xff" * 1000), id="gzip of garbage"),
        pytest.param(gzip.compress(RECORDING.read_bytes())[:-100], id="truncated gzip"),
        pytest.param(b"\x1f\x8b\x08garbage", id="garbage that says it is gzip"),
    ],
)
def test_malformed_requests_are_invalid(service: Running, sink: Sink, body: bytes) -> None:
    """A body that is not the wire form of a request is INVALID_ARGUMENT, never to be sent again."""
    answer = service.export(body)
    assert (INVALID_ARGUMENT, None) == (answer.code, answer.retry_after_secs)
    assert OK == service.export(request().SerializeToString())
    assert 1 == service.metrics.value(metrics.RECEIVER_REQUESTS, receiver="otlp", outcome="failed")
    assert 1 == len(sink.wait_for(1))


def test_an_empty_request_is_a_success(service: Running, sink: Sink) -> None:
    """Nothing to do is done, and not forwarded."""
    empty = request()
    del empty.resource_profiles[:]
    assert [OK, OK] == [service.export(b""), service.export(empty.SerializeToString())]
    assert 0 == service.service.undelivered_bytes
    assert [] == sink.requests


@pytest.mark.parametrize("stack_index", [-1, 2, 2**31 - 1])
def test_a_bad_profile_is_refused_alone(service: Running, sink: Sink, stack_index: int) -> None:
    """An index out of range refuses its Profile; the others are delivered, and the client is told both."""
    message = request(samples=3)
    add_profile(message, stack_index=stack_index)
    add_profile(message, samples=4)
    answer = service.export(message.SerializeToString())
    (arrived,) = sink.wait_for(1)
    assert (grpc.StatusCode.OK, 1) == (answer.code, answer.rejected_profiles)
    assert "1 profile refused: " in answer.message
    assert str(stack_index) in answer.message
    assert (2, 7) == (
        Profiles.decode(arrived.body).profile_count,
        Profiles.decode(arrived.body).sample_count,
    )
    assert 1 == service.metrics.value(metrics.RECEIVER_REQUESTS, receiver="otlp", outcome="partial")


def test_a_refusal_is_short(service: Running) -> None:
    """A name of a megabyte does not come back in the answer, nor does what a terminal would obey."""
    message = request(service="\x1b[2J" + "x" * MIB)
    add_profile(message, stack_index=-1)
    answer = service.export(message.SerializeToString())
    assert (grpc.StatusCode.OK, 1) == (answer.code, answer.rejected_profiles)
    assert (True, False) == (len(answer.message) < 1000, "\x1b" in answer.message)


@pytest.mark.parametrize("version", ["2", "01", "abc", ""])
def test_another_version_is_refused(service: Running, version: str) -> None:
    """A client of another development version is told which one is spoken, in the collector's words."""
    answer = service.export(request().SerializeToString(), ((VERSION, version),))
    assert Answer(INVALID_ARGUMENT, f"invalid or unsupported {VERSION}: supported version is 1") == answer


def test_version_1_is_the_default(service: Running) -> None:
    """A client that says 1, or nothing, is served."""
    body = request().SerializeToString()
    assert [OK, OK] == [service.export(body, ((VERSION, "1"),)), service.export(body)]


def test_a_message_over_the_limit_is_refused(service: Running) -> None:
    """100 MiB in one message is RESOURCE_EXHAUSTED without RetryInfo, as with the collector."""
    answer = service.export(bytes(100 * MIB))
    assert (RESOURCE_EXHAUSTED, None) == (answer.code, answer.retry_after_secs)
    assert f"({100 * MIB} vs. {16 * MIB})" in answer.message


@pytest.mark.parametrize(
    ("limits", "sizes", "named"),
    [
        ({}, {"max_recv_msg_size_mib": 1}, "more than 1048576 bytes when inflated"),
        ({"max_body_bytes": "1KiB"}, {}, "raise limits.max_body_bytes"),
        ({"max_profiles": 1}, {}, "more than 1 Profiles"),
        ({"max_profiles": 1}, {}, "raise limits.max_profiles"),
        ({"max_table_entries": 1}, {}, "raise limits.max_table_entries"),
    ],
)
def test_limits_are_the_configurations(
    sink: Sink, tmp_path: Path, limits: Yaml, sizes: Yaml, named: str
) -> None:
    """A request over a limit is RESOURCE_EXHAUSTED, and told the key that raises it."""
    message = request(service="x" * 2 * MIB)
    add_profile(message)
    config = one_pipeline(exporters={"otlp": exporter(sink.endpoint)}, **sizes)
    config["receivers"]["otlp"]["limits"] = limits
    with running(config, tmp_path) as service:
        answer = service.export(gzip.compress(message.SerializeToString()))
    assert (RESOURCE_EXHAUSTED, None) == (answer.code, answer.retry_after_secs)
    assert named in answer.message


@pytest.mark.parametrize(
    ("encoding", "status"), [("deflate", b"12"), ("zstd", b"13"), ("snappy", b"13"), ("bogus", b"13")]
)
def test_unknown_compression_is_refused(service: Running, sink: Sink, encoding: str, status: bytes) -> None:
    """What gRPC cannot name it refuses by itself: deflate is UNIMPLEMENTED (12), others are INTERNAL (13)."""
    body = gzip.compress(request().SerializeToString())
    headers = call(service.endpoint, EXPORT, body, encoding)
    assert b"\x0bgrpc-status" + bytes([len(status)]) + status in headers
    assert [] == sink.requests


def test_gzip_is_seen_by_its_magic_number(service: Running, sink: Sink) -> None:
    """A body is inflated whether the client says that it is compressed or not."""
    body = request().SerializeToString()
    headers = call(service.endpoint, EXPORT, gzip.compress(body), "gzip")
    answer = service.export(gzip.compress(body))
    assert b"\x0bgrpc-status\x010" in headers
    assert OK == answer
    assert [Profiles.decode(body).to_otlp()] * 2 == [one.body for one in sink.wait_for(2)]


def test_an_unknown_method_is_unimplemented(service: Running) -> None:
    """Only Export is there."""
    with Client(service.endpoint) as client:
        method = client.channel.unary_unary(EXPORT.replace("Export", "Import"), None, None)
        with pytest.raises(grpc.RpcError) as caught:
            method(b"", timeout=5.0)
    assert grpc.StatusCode.UNIMPLEMENTED is caught.value.code()


def test_a_request_larger_than_the_queue_is_permanent(sink: Sink, tmp_path: Path) -> None:
    """What can never be queued is RESOURCE_EXHAUSTED without RetryInfo, naming the key to raise."""
    queue = {"queue_size": 100}
    config = one_pipeline(exporters={"otlp": exporter(sink.endpoint, sending_queue=queue)})
    with running(config, tmp_path) as service:
        answer = service.export(request().SerializeToString())
    assert (RESOURCE_EXHAUSTED, None) == (answer.code, answer.retry_after_secs)
    assert "exporters.otlp.sending_queue.queue_size is 100" in answer.message


def test_a_bug_is_not_shown_to_the_client(service: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that nobody expected is INTERNAL, without its text, and counted."""
    monkeypatch.setattr("otelprof.receiver.otlp_intake.Profiles", None)
    answer = service.export(request().SerializeToString())
    assert Answer(grpc.StatusCode.INTERNAL, "internal error") == answer
    assert 1 == service.metrics.value(metrics.RECEIVER_REQUESTS, receiver="otlp", outcome="bug")
