"""What is counted of the durable log; part of the table in `metrics.py`."""

from __future__ import annotations

from typing import Final

from otelprof.telemetry.metric_spec import MetricSpec

LOG_RESTORED_REQUESTS: Final = MetricSpec(
    "otelprof_log_restored_requests",
    "counter",
    "{request}",
    (),
    "Requests that an earlier run had acknowledged, and that were taken over from disk.",
)
LOG_CORRUPT_REQUESTS: Final = MetricSpec(
    "otelprof_log_corrupt_requests",
    "counter",
    "{request}",
    (),
    "Acknowledged requests that were lost because their bytes on disk are damaged.",
)
LOG_FILES_MOVED_ASIDE: Final = MetricSpec(
    "otelprof_log_files_moved_aside",
    "counter",
    "{file}",
    (),
    "Damaged files of the log that were moved aside; a new one was begun with what could be read.",
)
LOG_WRITE_FAILURES: Final = MetricSpec(
    "otelprof_log_write_failures",
    "counter",
    "{write}",
    ("operation",),
    "Writes that the disk did not take: of requests, then refused (append), or of deliveries (progress).",
)
LOG_UNWRITTEN_STEPS: Final = MetricSpec(
    "otelprof_log_unwritten_steps",
    "gauge",
    "{step}",
    (),
    "Deliveries that are not on disk yet: after a crash, these requests are delivered again.",
)

LOG_METRICS: Final = (
    LOG_RESTORED_REQUESTS,
    LOG_CORRUPT_REQUESTS,
    LOG_FILES_MOVED_ASIDE,
    LOG_WRITE_FAILURES,
    LOG_UNWRITTEN_STEPS,
)
