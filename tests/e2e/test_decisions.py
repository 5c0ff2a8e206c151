"""Decisions of the tracing side over real sockets: traces on the same port, profiles that wait for them."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import grpc
import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from otelprof._core import Profiles
from otelprof.telemetry import decision_metrics
from otelprof.testing.sink import Sink
from tests.e2e.harness import Client, Running, exporter, one_pipeline, running
from tests.reference.build import Build
from tests.simulation.tail_sampler import trace_request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
PROTOBUF = "application/x-protobuf"
KEPT, UNKNOWN = b"\1" * 16, b"\2" * 16
RULES = [
    {"match": {"trace": ["kept", "error", "slow(>500ms)"]}, "action": "keep"},
    {"match": {"linked": True}, "action": "demote"},
]


@pytest.fixture
def sink() -> Iterator[Sink]:
    """The next hop."""
    with Sink() as sink:
        yield sink


def config(sink: Sink, rules: list[dict[str, Any]], **keys: object) -> dict[str, Any]:
    """One pipeline that samples by these rules."""
    processors = {"sampling": {"rules": rules, **keys}}
    return one_pipeline(exporters={"otlp": exporter(sink.endpoint)}, processors=processors)


def body(*traces: bytes) -> bytes:
    """A request with a sample of each trace."""
    build = Build()
    profile = build.profile(build.scope({"service.name": "checkout"}), b"a profile's id 1")
    for value, trace in enumerate(traces, 1):
        build.sample(profile, value, link=(trace, b"spanspan"))
    return build.body


def export_traces(client: Client, request: bytes) -> ExportTraceServiceResponse:
    """Send traces."""
    export = client.channel.unary_unary(EXPORT, None, None)
    return ExportTraceServiceResponse.FromString(export(request, timeout=10.0))


def linked(profiles: Profiles) -> tuple[int, int]:
    """How many samples are linked, and the total."""
    (row,) = profiles.summary
    return row.linked_sample_count, row.value


@pytest.mark.parametrize("first", ["profiles", "traces"])
def test_kept_traces_are_kept_in_either_order(sink: Sink, tmp_path: Path, first: str) -> None:
    """A sample of a kept trace arrives with its link and what is known; others are demoted; totals stay."""
    traces = gzip.compress(trace_request([KEPT]))
    with (
        running(config(sink, RULES, decision_wait="300ms"), tmp_path) as service,
        Client(service.endpoint) as client,
    ):
        if first == "traces":
            export_traces(client, traces)
        client.export(body(KEPT, UNKNOWN))
        if first == "profiles":
            export_traces(client, traces)
        (arrived,) = [Profiles.decode(one.body) for one in sink.wait_for(1)]
    assert (1, 3) == linked(arrived)
    tables = arrived.to_proto().dictionary
    texts = {
        tables.string_table[attribute.key_strindex]: attribute.value.string_value
        for attribute in tables.attribute_table
    }
    assert ("kept", "GET /") == (texts["otelprof.trace.state"], texts["otelprof.span.name"])
    assert released(service) == {"waited": 1}
    assert service.metrics.value(decision_metrics.TRACES_RECEIVED, receiver="otlp") == 1


def test_a_decided_request_does_not_wait(sink: Sink, tmp_path: Path) -> None:
    """When all of its traces are known, a request arrives long before `decision_wait` is over."""
    with (
        running(config(sink, RULES, decision_wait="1h", trace_window="2h"), tmp_path) as service,
        Client(service.endpoint) as client,
    ):
        client.export(body(KEPT))
        export_traces(client, trace_request([KEPT]))
        (arrived,) = [Profiles.decode(one.body) for one in sink.wait_for(1)]
    assert ((1, 1), {"decided": 1}) == (linked(arrived), released(service))


def test_shutdown_delivers_what_waits(sink: Sink, tmp_path: Path) -> None:
    """What was acknowledged and waits is decided and delivered when the service stops."""
    with (
        running(config(sink, RULES, decision_wait="1h", trace_window="2h"), tmp_path) as service,
        Client(service.endpoint) as client,
    ):
        client.export(body(UNKNOWN))
    (arrived,) = [Profiles.decode(one.body) for one in sink.wait_for(1)]
    assert ((0, 1), {"shutdown": 1}) == (linked(arrived), released(service))


def test_attributes_can_be_left_out(sink: Sink, tmp_path: Path) -> None:
    """With `trace_attributes: false` a sample of a kept trace arrives as it was sent."""
    request = body(KEPT)
    with (
        running(config(sink, RULES, trace_attributes=False), tmp_path) as service,
        Client(service.endpoint) as client,
    ):
        export_traces(client, trace_request([KEPT]))
        client.export(request)
        (arrived,) = sink.wait_for(1)
    assert request == arrived.body


def test_traces_are_offered_only_where_somebody_asks(sink: Sink, tmp_path: Path) -> None:
    """Without a rule that asks for traces, the tracing side is told that there is no such service."""
    with (
        running(config(sink, [{"action": "keep"}]), tmp_path) as service,
        Client(service.endpoint) as client,
        pytest.raises(grpc.RpcError) as caught,
    ):
        export_traces(client, trace_request([KEPT]))
    assert grpc.StatusCode.UNIMPLEMENTED is code_of(caught.value)


def test_bad_traces_are_answered(sink: Sink, tmp_path: Path) -> None:
    """A span that is refused alone is in partial_success; a body that is no request is INVALID_ARGUMENT."""
    mixed = ExportTraceServiceRequest.FromString(trace_request([KEPT, b"short"]))
    with running(config(sink, RULES), tmp_path) as service, Client(service.endpoint) as client:
        partial = export_traces(client, mixed.SerializeToString()).partial_success
        with pytest.raises(grpc.RpcError) as caught:
            export_traces(client, b"\x0a\x7f")
    assert (1, "1 span refused: invalid_trace_id (1)") == (partial.rejected_spans, partial.error_message)
    assert grpc.StatusCode.INVALID_ARGUMENT is code_of(caught.value)
    outcomes = [
        service.metrics.value(decision_metrics.TRACES_RECEIVED_REQUESTS, receiver="otlp", outcome=outcome)
        for outcome in ("partial", "failed")
    ]
    assert [1, 1] == outcomes


def code_of(error: grpc.RpcError) -> grpc.StatusCode:
    """The status of a call that failed."""
    code: grpc.StatusCode = error.code()
    return code


def test_traces_come_over_http(sink: Sink, tmp_path: Path) -> None:
    """`POST /v1/traces` takes protobuf, compressed or not, and answers as gRPC does; JSON is not read."""
    settings = config(sink, RULES, decision_wait="1h", trace_window="2h")
    settings["receivers"]["otlp"]["protocols"]["http"] = {"endpoint": "127.0.0.1:0"}
    with running(settings, tmp_path) as service, Client(service.endpoint) as client:
        url = service.url.replace("/v1development/profiles", "/v1/traces")
        client.export(body(KEPT))
        answers = [
            httpx.post(url, content=content, headers=headers)
            for content, headers in (
                (trace_request([b"short"]), {"content-type": PROTOBUF}),
                (b"\x0a\x7f", {"content-type": PROTOBUF}),
                (b"{}", {"content-type": "application/json"}),
                (
                    gzip.compress(trace_request([KEPT])),
                    {"content-type": PROTOBUF, "content-encoding": "gzip"},
                ),
            )
        ]
        sink.wait_for(1)
    assert [200, 400, 415, 200] == [answer.status_code for answer in answers]
    assert 1 == ExportTraceServiceResponse.FromString(answers[0].content).partial_success.rejected_spans
    assert (b"\x0a\x00", {"decided": 1}) == (answers[3].content, released(service))


def released(service: Running) -> dict[str, int]:
    """How many requests went on, by reason."""
    spec = decision_metrics.DECISION_RELEASED_REQUESTS
    return {
        sample.labels["reason"]: int(sample.value)
        for family in service.metrics.collect()
        if family.name == spec.name
        for sample in family.samples
    }
