"""What becomes of traces that the tracing side kept: remembered for the policies that ask for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from otelprof.errors import OtelprofError
from otelprof.receiver.admission import decoded
from otelprof.receiver.otlp_intake import Explanations, unread_outcome
from otelprof.telemetry.decision_metrics import (
    TRACES_RECEIVED,
    TRACES_RECEIVED_BYTES,
    TRACES_RECEIVED_REQUESTS,
    TRACES_RECEIVED_SPANS,
    TRACES_REJECTED_SPANS,
)
from otelprof.telemetry.text import counted

if TYPE_CHECKING:
    from google.rpc.status_pb2 import Status

    from otelprof._core import Limits, Observed
    from otelprof.component import ComponentSettings
    from otelprof.consumer import Reservation, TraceConsumer

TRACES_SERVICE: Final = "opentelemetry.proto.collector.trace.v1.TraceService"
TRACES_EXPORT: Final = f"/{TRACES_SERVICE}/Export"


class TracesIntake:
    """Takes requests with traces, whose bytes have come.

    Args:
        limits: what a request may hold.
        component: of the receiver.
        consumer: who remembers.
    """

    def __init__(self, limits: Limits, component: ComponentSettings, consumer: TraceConsumer) -> None:
        self._limits = limits
        self._consumer = consumer
        self.counts = TraceCounts(component)
        self._explanations = Explanations(component, self.counts.answered)

    def take(self, body: bytes, memory: Reservation) -> ExportTraceServiceResponse | None:
        """Take one request over.

        Args:
            body: as it came, compressed or not.
            memory: of this request.

        Returns:
            What was refused of it; None when nothing was.

        Raises:
            OtelprofError: nothing of it was taken.
        """
        self.counts.came(len(body))
        try:
            memory.take(len(body))
            observed = decoded(body, self._limits, memory, self._consumer.observe)
        except OtelprofError as error:
            self.counts.unread(error)
            raise
        self.counts.observed(observed)
        return _response(observed) if observed.rejected else None

    def explain(self, error: Exception, peer: str) -> Status:
        """What a client is told of an error, which is logged: a bug always, others not too often."""
        return self._explanations.of(error, peer)


class TraceCounts:
    """What a receiver counts of traces."""

    def __init__(self, component: ComponentSettings) -> None:
        self._metrics = component.metrics
        self._receiver = {"receiver": str(component.id)}

    def came(self, wire_bytes: int) -> None:
        """A message came."""
        self._metrics.add(TRACES_RECEIVED_BYTES, wire_bytes, **self._receiver)

    def answered(self, outcome: str) -> None:
        """A request was answered: `accepted`, `partial`, `refused`, `failed` or `bug`."""
        self._metrics.add(TRACES_RECEIVED_REQUESTS, 1, outcome=outcome, **self._receiver)

    def unread(self, error: OtelprofError) -> None:
        """A request was not read."""
        self.answered(unread_outcome(error))

    def observed(self, observed: Observed) -> None:
        """A request was taken over, without the spans that were refused one by one."""
        self.answered("partial" if observed.rejected else "accepted")
        self._metrics.add(TRACES_RECEIVED, observed.trace_count, **self._receiver)
        for service, count in observed.spans_by_service.items():
            self._metrics.add(TRACES_RECEIVED_SPANS, count, service=service, **self._receiver)
        for reason, count in observed.rejected.items():
            self._metrics.add(TRACES_REJECTED_SPANS, count, reason=reason, **self._receiver)


def _response(observed: Observed) -> ExportTraceServiceResponse:
    """Say how many spans were refused, and why."""
    rejected = sum(observed.rejected.values())
    reasons = ", ".join(f"{reason} ({count})" for reason, count in observed.rejected.items())
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = rejected
    response.partial_success.error_message = f"{counted(rejected, 'span')} refused: {reasons}"
    return response
