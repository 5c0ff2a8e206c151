"""What is counted of requests that are not let in; part of the table in `metrics.py`."""

from __future__ import annotations

from typing import Final

from otelprof.telemetry.metric_spec import MetricSpec

ADMISSION_REFUSED: Final = MetricSpec(
    "otelprof_admission_refused",
    "counter",
    "{request}",
    ("reason",),
    "Requests that were not let in: there was no memory (memory), less than their client already held "
    "(share), it sends too many too slowly (slow), more came with their token than may (rate), or they had "
    "none that is known (credentials).",
)
ADMISSION_BYTES: Final = MetricSpec(
    "otelprof_admission_bytes",
    "gauge",
    "By",
    (),
    "Memory of the requests that are being read or worked on.",
)
ADMISSION_LIMIT_BYTES: Final = MetricSpec(
    "otelprof_admission_limit_bytes",
    "gauge",
    "By",
    (),
    "What these requests may have together.",
)
TENANT_BYTES: Final = MetricSpec(
    "otelprof_tenant_bytes",
    "counter",
    "By",
    ("authenticator", "tenant"),
    "Request bodies as they came, by the tenant of their token; empty where a token has none.",
)
FILE_RELOADS: Final = MetricSpec(
    "otelprof_file_reloads",
    "counter",
    "{reload}",
    ("component", "outcome"),
    "Certificates and tokens that changed on disk: read again (reloaded), or not usable, so that those from "
    "before stay (failed).",
)
MEMORY_LIMITER_REFUSED: Final = MetricSpec(
    "otelprof_memory_limiter_refused",
    "counter",
    "{request}",
    ("processor",),
    "Requests that the memory limiter refused; the client was asked to wait and send them again.",
)

ADMISSION_METRICS: Final = (
    ADMISSION_REFUSED,
    ADMISSION_BYTES,
    ADMISSION_LIMIT_BYTES,
    TENANT_BYTES,
    FILE_RELOADS,
    MEMORY_LIMITER_REFUSED,
)
"""In the order of the table."""
