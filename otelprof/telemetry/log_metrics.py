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
    "Writes that the disk did not take: of requests, then refused (append), of deliveries (progress), of "
    "dead letters, then lost (dead_letter), of what the next start is to know (marks), or of what gives the "
    "disk room back (give_back).",
)
LOG_UNWRITTEN_STEPS: Final = MetricSpec(
    "otelprof_log_unwritten_steps",
    "gauge",
    "{step}",
    (),
    "Deliveries that are not on disk yet: after a crash, these requests are delivered again.",
)

LOG_MISSING_REQUESTS: Final = MetricSpec(
    "otelprof_log_missing_requests",
    "counter",
    "{request}",
    (),
    "Acknowledged, undelivered requests that a start did not find in the file any more; at most so many.",
)
DEAD_LETTERS_WRITTEN: Final = MetricSpec(
    "otelprof_dead_letters_written",
    "counter",
    "{request}",
    ("exporter", "reason"),
    "Requests put aside: refused for good (permanent_error), or otelprof ended in their middle (crashed).",
)
DEAD_LETTERS_RETRIED: Final = MetricSpec(
    "otelprof_dead_letters_retried",
    "counter",
    "{request}",
    ("exporter",),
    "Dead letters that were given to their exporter again, as `otelprof deadletter retry` asked.",
)
DEAD_LETTERS_REMOVED: Final = MetricSpec(
    "otelprof_dead_letters_removed",
    "counter",
    "{request}",
    ("reason",),
    "Dead letters lost because there was no room for them (max_size), or they were too old (max_age).",
)
DEAD_LETTERS: Final = MetricSpec(
    "otelprof_dead_letters",
    "gauge",
    "{request}",
    (),
    "Dead letters in the folder.",
)
DEAD_LETTERS_SIZE: Final = MetricSpec(
    "otelprof_dead_letters_size",
    "gauge",
    "By",
    (),
    "What they take on the disk.",
)

LOG_METRICS: Final = (
    LOG_RESTORED_REQUESTS,
    LOG_CORRUPT_REQUESTS,
    LOG_FILES_MOVED_ASIDE,
    LOG_WRITE_FAILURES,
    LOG_UNWRITTEN_STEPS,
    LOG_MISSING_REQUESTS,
    DEAD_LETTERS_WRITTEN,
    DEAD_LETTERS_RETRIED,
    DEAD_LETTERS_REMOVED,
    DEAD_LETTERS,
    DEAD_LETTERS_SIZE,
)
