"""From a client through a running service to the next hop, over real sockets."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from otelprof._core import Profiles
from otelprof.telemetry import metrics
from otelprof.telemetry.admission_metrics import MEMORY_LIMITER_REFUSED
from otelprof.testing.sink import Sink, SinkAnswer
from tests.e2e.harness import Answer, Client, add_profile, exporter, one_pipeline, receiver, request, running
from tests.recordings import name, recordings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
OK = Answer(grpc.StatusCode.OK)


@pytest.fixture
def sink() -> Iterator[Sink]:
    """The next hop."""
    with Sink() as sink:
        yield sink


def test_recordings_arrive_meaning_the_same(sink: Sink, tmp_path: Path) -> None:
    """What real profilers sent comes out with all its samples, stacks, attributes, links and values."""
    paths = recordings()
    with running(one_pipeline(exporters={"otlp": exporter(sink.endpoint)}), tmp_path) as service:
        with Client(service.endpoint) as client:
            for path in paths:
                assert OK == client.export(path.read_bytes()), name(path)
        arrived = sink.wait_for(len(paths))
    sent = sorted(Profiles.decode(path.read_bytes()).to_otlp() for path in paths)
    assert sent == sorted(one.body for one in arrived)


def test_samples_are_counted_along_the_way(sink: Sink, tmp_path: Path) -> None:
    """Accepted by type, linked by service, sent by exporter: the same number at every stage."""
    body = request(samples=7).SerializeToString()
    with running(one_pipeline(exporters={"otlp": exporter(sink.endpoint)}), tmp_path) as service:
        assert OK == service.export(body)
        sink.wait_for(1)
    value = service.metrics.value
    accepted = {"receiver": "otlp", "transport": "grpc", "sample_type": "samples:count"}
    assert [7, 7, 7, 1, len(body)] == [
        value(metrics.RECEIVER_ACCEPTED, **accepted),
        value(metrics.UNLINKED_SAMPLES, service="checkout"),
        value(metrics.EXPORTER_SENT, exporter="otlp"),
        value(metrics.RECEIVER_REQUESTS, receiver="otlp", outcome="accepted"),
        value(metrics.RECEIVER_WIRE_BYTES, receiver="otlp"),
    ]


def test_the_next_hop_is_told_the_version_and_the_headers(sink: Sink, tmp_path: Path) -> None:
    """Every request carries the profiles version, and what the configuration adds."""
    keys = {"headers": {"X-Tenant": "blue"}}
    with running(one_pipeline(exporters={"otlp": exporter(sink.endpoint, **keys)}), tmp_path) as service:
        service.export(request().SerializeToString())
        (arrived,) = sink.wait_for(1)
    assert ("1", "blue") == (
        arrived.metadata["otlp-profiles-development-version"],
        arrived.metadata["x-tenant"],
    )


@pytest.mark.parametrize("outgoing", ["none", "gzip"])
@pytest.mark.parametrize("incoming", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_gzip_in_and_out(sink: Sink, tmp_path: Path, incoming: grpc.Compression, outgoing: str) -> None:
    """Whether a client and the next hop speak gzip, the request is the same."""
    body = request(samples=1000).SerializeToString()
    config = one_pipeline(exporters={"otlp": exporter(sink.endpoint, compression=outgoing)})
    with running(config, tmp_path) as service:
        with Client(service.endpoint, incoming) as client:
            assert OK == client.export(body)
        (arrived,) = sink.wait_for(1)
        wire_bytes = service.metrics.value(metrics.RECEIVER_WIRE_BYTES, receiver="otlp")
    assert (Profiles.decode(body).to_otlp(), incoming is grpc.Compression.NoCompression) == (
        arrived.body,
        wire_bytes == len(body),
    )


def test_an_overloaded_next_hop_is_tried_again(sink: Sink, tmp_path: Path) -> None:
    """UNAVAILABLE with RetryInfo is waited for, then delivered; the client was acknowledged long before."""
    sink.answer(SinkAnswer(UNAVAILABLE, "wait", retry_after_secs=0.3))
    with running(one_pipeline(exporters={"otlp": exporter(sink.endpoint)}), tmp_path) as service:
        assert OK == service.export(request().SerializeToString())
        started = time.monotonic()
        sink.wait_for(2)
        waited_secs = time.monotonic() - started
    assert waited_secs >= 0.25
    assert 1 == service.metrics.value(
        metrics.EXPORTER_RETRIES, exporter="otlp", error_type="UnavailableError"
    )


@pytest.mark.parametrize(
    ("status", "retry_after_secs", "attempts"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, None, 1),
        (grpc.StatusCode.INTERNAL, None, 1),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, None, 1),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, 0.01, 2),
        (grpc.StatusCode.ABORTED, None, 2),
        (grpc.StatusCode.DATA_LOSS, None, 2),
    ],
)
def test_what_is_tried_again(
    sink: Sink, tmp_path: Path, status: grpc.StatusCode, retry_after_secs: float | None, attempts: int
) -> None:
    """The OTLP specification's table: some statuses are retried, RESOURCE_EXHAUSTED only with RetryInfo."""
    sink.answer(SinkAnswer(status, "no", retry_after_secs))
    with running(one_pipeline(exporters={"otlp": exporter(sink.endpoint)}), tmp_path) as service:
        service.export(request(samples=5).SerializeToString())
        sink.wait_for(attempts)
    dropped = service.metrics.value(metrics.EXPORTER_DROPPED, exporter="otlp", reason="permanent_error")
    assert (attempts, 5 if attempts == 1 else 0) == (len(sink.requests), dropped)


def test_a_partial_success_is_counted_and_not_repeated(sink: Sink, tmp_path: Path) -> None:
    """Profiles that the next hop refuses one by one are counted; the rest is delivered."""
    sink.answer(SinkAnswer(message="too old", rejected_profiles=1))
    message = request()
    add_profile(message)
    with running(one_pipeline(exporters={"otlp": exporter(sink.endpoint)}), tmp_path) as service:
        service.export(message.SerializeToString())
        sink.wait_for(1)
    value = service.metrics.value
    assert (1, 2, 1) == (
        value(metrics.EXPORTER_REJECTED_PROFILES, exporter="otlp"),
        value(metrics.EXPORTER_SENT, exporter="otlp"),
        len(sink.requests),
    )


def test_a_full_queue_pushes_back(sink: Sink, tmp_path: Path) -> None:
    """When the queue is full, the client gets UNAVAILABLE with RetryInfo, and nothing is lost."""
    body = request(samples=100).SerializeToString()
    sink.answer_always(SinkAnswer(UNAVAILABLE, "away"))
    queue = {"queue_size": Profiles.decode(body).memory_bytes + 10}
    config = one_pipeline(exporters={"otlp": exporter(sink.endpoint, sending_queue=queue)})
    with running(config, tmp_path) as service:
        first, second = service.export(body), service.export(body)
        sink.answer_always(SinkAnswer())
        sink.wait_for(1)
    assert (OK, UNAVAILABLE, 1.0) == (first, second.code, second.retry_after_secs)
    assert "sending queue is full: exporters.otlp.sending_queue.queue_size" in second.message
    assert 1 == len(sink.taken)
    assert 1 == service.metrics.value(metrics.RECEIVER_REQUESTS, receiver="otlp", outcome="refused")


def test_drop_oldest_does_not_push_back(sink: Sink, tmp_path: Path) -> None:
    """With on_overflow: drop_oldest every client is acknowledged, and the newest request survives."""
    bodies = [request(samples=100, service=f"service-{number}").SerializeToString() for number in range(5)]
    sink.answer_always(SinkAnswer(UNAVAILABLE, "away", retry_after_secs=0.2))
    queue = {"queue_size": Profiles.decode(bodies[0]).memory_bytes + 10, "on_overflow": "drop_oldest"}
    config = one_pipeline(exporters={"otlp": exporter(sink.endpoint, sending_queue=queue)})
    with running(config, tmp_path) as service:
        answers = []
        for number, body in enumerate(bodies):
            answers.append(service.export(body))
            sink.wait_for(number + 1)  # so that it is in backoff, not in flight
        sink.answer_always(SinkAnswer())
        sink.wait_for(6)
    assert [OK] * 5 == answers
    assert [Profiles.decode(bodies[4]).to_otlp()] == [one.body for one in sink.taken]
    dropped = service.metrics.value(metrics.EXPORTER_DROPPED, exporter="otlp", reason="queue_overflow")
    assert 400 == dropped


def test_one_exporter_does_not_hold_up_another(sink: Sink, tmp_path: Path) -> None:
    """While one exporter's far side is away, the other delivers."""
    with Sink() as away:
        away.answer_always(SinkAnswer(UNAVAILABLE, "away"))
        config = one_pipeline(
            exporters={"otlp": exporter(sink.endpoint), "otlp/away": exporter(away.endpoint)}
        )
        with running(config, tmp_path) as service:
            service.export(request().SerializeToString())
            sink.wait_for(1)
            assert 0 < service.service.undelivered_bytes
    assert 0 == service.service.undelivered_bytes


def test_without_a_queue_the_next_hop_answers(sink: Sink, tmp_path: Path) -> None:
    """With sending_queue.enabled: false the far side's answer is the client's, RetryInfo included."""
    sink.answer(
        SinkAnswer(UNAVAILABLE, "away", retry_after_secs=2.0),
        SinkAnswer(grpc.StatusCode.INVALID_ARGUMENT, "refused"),
    )
    config = one_pipeline(exporters={"otlp": exporter(sink.endpoint, sending_queue={"enabled": False})})
    with running(config, tmp_path) as service:
        answers = [service.export(request().SerializeToString()) for _ in range(3)]
    assert [(UNAVAILABLE, 2.0), (grpc.StatusCode.INVALID_ARGUMENT, None), (grpc.StatusCode.OK, None)] == [
        (answer.code, answer.retry_after_secs) for answer in answers
    ]
    assert 3 == len(sink.requests)


def test_several_pipelines(sink: Sink, tmp_path: Path) -> None:
    """A receiver in two pipelines feeds both; another receiver feeds its own; exporters are shared by id."""
    with Sink() as second:
        config = {
            "receivers": {"otlp": receiver(), "otlp/incident": receiver()},
            "exporters": {"otlp": exporter(sink.endpoint), "otlp/second": exporter(second.endpoint)},
            "service": {
                "telemetry": {"metrics": {"endpoint": None}},
                "pipelines": {
                    "profiles": {"receivers": ["otlp"], "exporters": ["otlp"]},
                    "profiles/incident": {
                        "receivers": ["otlp", "otlp/incident"],
                        "exporters": ["otlp", "otlp/second"],
                    },
                },
            },
        }
        with running(config, tmp_path) as service:
            for endpoint in service.endpoints.values():
                with Client(endpoint) as client:
                    assert OK == client.export(request().SerializeToString())
            arrived = (len(sink.wait_for(3)), len(second.wait_for(2)))
    assert (3, 2) == arrived


def test_the_memory_limiter_refuses(sink: Sink, tmp_path: Path) -> None:
    """Over its limit, the process takes nothing more, and asks clients to wait."""
    limiter: dict[str, Any] = {"memory_limiter": {"limit_mib": 1, "check_interval": "2s"}}
    config = one_pipeline(exporters={"otlp": exporter(sink.endpoint)}, processors=limiter)
    with running(config, tmp_path) as service:
        answer = service.export(request().SerializeToString())
    assert (UNAVAILABLE, 2.0) == (answer.code, answer.retry_after_secs)
    assert answer.message.startswith("data refused due to high memory usage: ")
    assert 1 == service.metrics.value(MEMORY_LIMITER_REFUSED, processor="memory_limiter")
    assert [] == sink.requests


def test_nothing_is_left_after_a_stop(sink: Sink, tmp_path: Path) -> None:
    """Stopped, the service has no thread any more."""
    before = set(threading.enumerate())
    with running(one_pipeline(exporters={"otlp": exporter(sink.endpoint)}), tmp_path) as service:
        service.export(request().SerializeToString())
        sink.wait_for(1)
    left = {thread.name for thread in set(threading.enumerate()) - before if "sink" not in thread.name}
    assert set() == left
