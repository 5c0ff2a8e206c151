"""Requests that are merged on their way to the next hop, over real sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest

from otelprof._core import Profiles
from otelprof.telemetry import metrics
from otelprof.testing.sink import Sink, SinkAnswer
from tests.e2e.harness import Answer, Client, exporter, one_pipeline, request, running
from tests.recordings import OWN
from tests.reference.compare import on_the_wire
from tests.reference.meaning import difference
from tests.reference.merged import combined_meaning, merge_violations

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.harness import Running

OK = Answer(grpc.StatusCode.OK)
# Our own copies: enough to share symbols, and small enough to be compared by the reference.
RECORDINGS = sorted((OWN / "ebpf-linked").glob("*.otlp"))


@pytest.fixture
def sink() -> Iterator[Sink]:
    """The next hop."""
    with Sink() as sink:
        yield sink


def batched(sink: Sink, **batch: object) -> Any:
    """A configuration whose exporter merges what comes within a time that only a drain or a size ends."""
    queue = {"batch": {"flush_timeout": "30s", "sizer": "bytes", "min_size": "64MiB", **batch}}
    return one_pipeline(exporters={"otlp": exporter(sink.endpoint, sending_queue=queue)})


def send(service: Running, bodies: list[bytes]) -> None:
    """Send requests, one after the other."""
    with Client(service.endpoint) as client:
        assert [OK] * len(bodies) == [client.export(body) for body in bodies]


def test_a_batch_means_what_its_requests_mean(sink: Sink, tmp_path: Path) -> None:
    """Recordings come out as one well-formed request of the same meaning and fewer bytes; a drain flushes."""
    bodies = [path.read_bytes() for path in RECORDINGS]
    with running(batched(sink), tmp_path) as service:
        send(service, bodies)
        assert [] == sink.requests
    (arrived,) = sink.taken
    sent = [on_the_wire(Profiles.decode(body)) for body in bodies]
    assert ([], []) == difference(combined_meaning(sent), combined_meaning([arrived.parsed()]))
    assert [] == merge_violations(arrived.parsed())
    counted = (metrics.BATCH_REQUESTS, metrics.BATCH_BYTES_IN, metrics.BATCH_BYTES_OUT)
    assert (len(bodies), sum(map(len, bodies)), len(arrived.body)) == tuple(
        service.metrics.value(spec, exporter="otlp") for spec in counted
    )
    assert len(arrived.body) < 0.5 * sum(map(len, bodies))
    for spec in (metrics.BATCH_DUPLICATES_REMOVED, metrics.BATCH_ORPHANS_REMOVED):
        assert service.metrics.value(spec, exporter="otlp", table="string_table") >= 0


def test_a_batch_is_split(sink: Sink, tmp_path: Path) -> None:
    """Under max_size the pieces fit, and together hold every sample."""
    bodies = [path.read_bytes() for path in RECORDINGS]
    with running(batched(sink, min_size=0, max_size="8KiB"), tmp_path) as service:
        send(service, bodies)
    value = service.metrics.value
    assert value(metrics.BATCH_OVERSIZED_PIECES, exporter="otlp") == sum(
        1 for one in sink.taken if len(one.body) > 8 << 10
    )
    samples = sum(Profiles.decode(one.body).sample_count for one in sink.taken)
    assert value(metrics.EXPORTER_SENT, exporter="otlp") == samples
    assert len(sink.taken) > len(bodies)


def test_min_size_and_time_flush(sink: Sink, tmp_path: Path) -> None:
    """A batch goes out when it is large enough, and what is left when its time has come."""
    body = request(samples=3).SerializeToString()
    batch = {"flush_timeout": "100ms", "min_size": 3 * len(body)}
    with running(batched(sink, **batch), tmp_path) as service:
        send(service, [body] * 4)
        arrived = [Profiles.decode(one.body).profile_count for one in sink.wait_for(2)]
    assert [3, 1] == arrived


def test_a_piece_that_is_refused_takes_no_other_with_it(sink: Sink, tmp_path: Path) -> None:
    """One piece is refused for good, one is tried again; all others arrive, and each is counted as itself."""
    sink.answer(
        SinkAnswer(grpc.StatusCode.INVALID_ARGUMENT, "not this"),
        SinkAnswer(grpc.StatusCode.UNAVAILABLE, "not now"),
    )
    bodies = [request(samples=50, service=f"service-{number}").SerializeToString() for number in range(4)]
    with running(batched(sink, min_size=0, max_size=300), tmp_path) as service:
        send(service, bodies)
    value = service.metrics.value
    lost = value(metrics.EXPORTER_DROPPED, exporter="otlp", reason="permanent_error")
    samples = sum(Profiles.decode(one.body).sample_count for one in sink.taken)
    refused = sum(
        Profiles.decode(one.body).sample_count
        for one in sink.requests
        if one.answer.status is grpc.StatusCode.INVALID_ARGUMENT
    )
    assert (refused, samples) == (lost, value(metrics.EXPORTER_SENT, exporter="otlp"))
    assert 1 == value(metrics.EXPORTER_RETRIES, exporter="otlp", error_type="UnavailableError")
