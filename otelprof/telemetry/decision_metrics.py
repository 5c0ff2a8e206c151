"""What is counted of traces, and of requests that wait for them; part of the table in `metrics.py`."""

from __future__ import annotations

from typing import Final

from otelprof.telemetry.metric_spec import MetricSpec

_PIPELINE: Final = ("pipeline",)

TRACES_RECEIVED: Final = MetricSpec(
    "otelprof_traces_received",
    "counter",
    "{trace}",
    ("receiver",),
    "Traces that the tracing side kept and told us of, each once while it is known.",
)
TRACES_RECEIVED_SPANS: Final = MetricSpec(
    "otelprof_traces_received_spans",
    "counter",
    "{span}",
    ("receiver", "service"),
    "Spans of these traces, by service.",
)
TRACES_RECEIVED_BYTES: Final = MetricSpec(
    "otelprof_traces_received_bytes",
    "counter",
    "By",
    ("receiver",),
    "Bodies of requests with traces as they came, compressed or not.",
)
TRACES_RECEIVED_REQUESTS: Final = MetricSpec(
    "otelprof_traces_received_requests",
    "counter",
    "{request}",
    ("receiver", "outcome"),
    "Requests with traces that were answered, by outcome.",
)
TRACES_REJECTED_SPANS: Final = MetricSpec(
    "otelprof_traces_rejected_spans",
    "counter",
    "{span}",
    ("receiver", "reason"),
    "Spans that were refused one by one, and counted to the client in partial_success, by reason.",
)
TRACE_DECISIONS: Final = MetricSpec(
    "otelprof_trace_decisions", "gauge", "{trace}", _PIPELINE, "Traces that are known to be kept."
)
TRACE_DECISION_SPANS: Final = MetricSpec(
    "otelprof_trace_decision_spans",
    "gauge",
    "{span}",
    _PIPELINE,
    "Spans of these traces whose name is known.",
)
TRACE_DECISION_BYTES: Final = MetricSpec(
    "otelprof_trace_decision_bytes", "gauge", "By", _PIPELINE, "Memory that these traces take."
)
TRACE_DECISIONS_EVICTED: Final = MetricSpec(
    "otelprof_trace_decisions_evicted",
    "counter",
    "{trace}",
    ("pipeline", "reason"),
    "Traces that are no longer known: trace_window was over (window), trace_max_bytes reached (max_bytes).",
)
TRACE_SPAN_NAMES_DROPPED: Final = MetricSpec(
    "otelprof_trace_span_names_dropped",
    "counter",
    "{span}",
    _PIPELINE,
    "Spans whose name was not taken over, because there were too many different ones.",
)
DECISION_WAITING_REQUESTS: Final = MetricSpec(
    "otelprof_decision_waiting_requests",
    "gauge",
    "{request}",
    _PIPELINE,
    "Acknowledged requests that wait for a decision about their traces.",
)
DECISION_WAITING_BYTES: Final = MetricSpec(
    "otelprof_decision_waiting_bytes", "gauge", "By", _PIPELINE, "Memory that these requests take."
)
DECISION_RELEASED_REQUESTS: Final = MetricSpec(
    "otelprof_decision_released_requests",
    "counter",
    "{request}",
    ("pipeline", "reason"),
    "Requests that went on: every trace was decided (decided), decision_wait was over (waited), memory was "
    "short (decision_max_bytes, queue_size), or otelprof shut down (shutdown).",
)
DECISION_FAILED_REQUESTS: Final = MetricSpec(
    "otelprof_decision_failed_requests",
    "counter",
    "{request}",
    _PIPELINE,
    "Requests whose rules could not be carried out, which is a bug, and went on as they came.",
)

DECISION_METRICS: Final = (
    TRACES_RECEIVED,
    TRACES_RECEIVED_SPANS,
    TRACES_RECEIVED_BYTES,
    TRACES_RECEIVED_REQUESTS,
    TRACES_REJECTED_SPANS,
    TRACE_DECISIONS,
    TRACE_DECISION_SPANS,
    TRACE_DECISION_BYTES,
    TRACE_DECISIONS_EVICTED,
    TRACE_SPAN_NAMES_DROPPED,
    DECISION_WAITING_REQUESTS,
    DECISION_WAITING_BYTES,
    DECISION_RELEASED_REQUESTS,
    DECISION_FAILED_REQUESTS,
)
