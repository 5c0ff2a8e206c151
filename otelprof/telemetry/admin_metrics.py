"""What is counted of incidents and of the admin service; part of the table in `metrics.py`."""

from __future__ import annotations

from typing import Final

from otelprof.telemetry.metric_spec import MetricSpec

INCIDENTS: Final = MetricSpec(
    "otelprof_incidents",
    "gauge",
    "{incident}",
    ("processor",),
    "Incidents that last: services of which everything is kept for a while.",
)
INCIDENT_CHANGES: Final = MetricSpec(
    "otelprof_incident_changes",
    "counter",
    "{change}",
    ("processor", "change"),
    "Incidents that were started, replaced, stopped by somebody (stopped) or by time (ended), or refused by "
    "a limit (refused).",
)
INCIDENT_SAMPLES: Final = MetricSpec(
    "otelprof_incident_samples",
    "counter",
    "{sample}",
    ("processor",),
    "Samples that stayed because of an incident, and would not have.",
)
ADMIN_REQUESTS: Final = MetricSpec(
    "otelprof_admin_requests",
    "counter",
    "{request}",
    ("extension", "method", "code"),
    "Calls of the admin service, by method and gRPC status.",
)
INCIDENT_METRICS: Final = (INCIDENTS, INCIDENT_CHANGES, INCIDENT_SAMPLES)
