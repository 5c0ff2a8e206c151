"""The slow twin of `TraceDecisions`: what is known of traces that were kept, over the official classes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from tests.reference.summary import is_linked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.proto.profiles.v1development.profiles_pb2 import Link
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

TRACE_ID_BYTES = 16
SPAN_ID_BYTES = 8
MAX_NAME_BYTES = 256


class PlainTrace(NamedTuple):
    """What is known of a trace; a time of None is not known."""

    is_error: bool = False
    start_nanos: int | None = None
    end_nanos: int | None = None

    @property
    def duration_nanos(self) -> int:
        """From the earliest start to the latest end."""
        if self.start_nanos is None or self.end_nanos is None:
            return 0
        return max(0, self.end_nanos - self.start_nanos)


@dataclass
class PlainDecisions:
    """Traces and the names of their spans, for ever."""

    traces: dict[bytes, PlainTrace] = field(default_factory=dict)
    names: dict[tuple[bytes, bytes], str] = field(default_factory=dict)

    def observe(self, body: bytes) -> tuple[Counter[str], Counter[str]]:
        """Take a request over: how many spans each service has, and how many were refused, by reason."""
        services, refused = Counter[str](), Counter[str]()
        for service, span in spans(ExportTraceServiceRequest.FromString(body)):
            reason = why_not(span)
            if reason:
                refused[reason] += 1
            else:
                services[service] += 1
                self._take(span)
        return services, refused

    def of(self, link: Link) -> PlainTrace | None:
        """What is known of the trace of a Link."""
        return self.traces.get(link.trace_id) if is_linked(link) else None

    def name(self, link: Link) -> str | None:
        """The name of the span of a Link."""
        return self.names.get((link.trace_id, link.span_id))

    def _take(self, span: Span) -> None:
        known = self.traces.get(span.trace_id, PlainTrace())
        is_error = known.is_error or span.status.code == Status.STATUS_CODE_ERROR
        start, end = known.start_nanos, known.end_nanos
        if span.start_time_unix_nano and span.end_time_unix_nano:
            start = min(span.start_time_unix_nano, start if start is not None else span.start_time_unix_nano)
            end = max(span.end_time_unix_nano, end or 0)
        self.traces[span.trace_id] = PlainTrace(is_error, start, end)
        if span.name:
            self.names[span.trace_id, span.span_id] = cut(span.name)


def spans(request: ExportTraceServiceRequest) -> Iterator[tuple[str, Span]]:
    """Every span with the name of its service."""
    for group in request.resource_spans:
        service = service_name(group.resource)
        for scope in group.scope_spans:
            for span in scope.spans:
                yield service, span


def service_name(resource: Resource) -> str:
    """The first `service.name`, when it is a text."""
    pairs = [pair for pair in resource.attributes if pair.key == "service.name"]
    return (pairs and pairs[0].value.string_value) or "unknown_service"


def why_not(span: Span) -> str:
    """Why a span is refused; empty when it is not."""
    if len(span.trace_id) != TRACE_ID_BYTES or not any(span.trace_id):
        return "invalid_trace_id"
    if len(span.span_id) != SPAN_ID_BYTES or not any(span.span_id):
        return "invalid_span_id"
    return ""


def cut(name: str) -> str:
    """The characters of a name that fit into 256 bytes."""
    while len(name.encode()) > MAX_NAME_BYTES:
        name = name[:-1]
    return name
