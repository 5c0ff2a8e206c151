"""What the `pyroscope` exporter counts beside what all exporters do; part of the table in `metrics.py`."""

from __future__ import annotations

from typing import Final

from otelprof.telemetry.metric_spec import MetricSpec

PYROSCOPE_PUSHES: Final = MetricSpec(
    "otelprof_pyroscope_pushes",
    "counter",
    "{push}",
    ("exporter", "outcome"),
    "Pushes of one series each, by outcome: delivered, refused, retryable or unanswered.",
)
PYROSCOPE_LOST_SAMPLES: Final = MetricSpec(
    "otelprof_pyroscope_lost_samples",
    "counter",
    "{sample}",
    ("exporter", "reason"),
    "Samples that are not there in the end: they were too_old or too_large, had a negative_value, were "
    "refused, or sent and unanswered; or of a cumulative profile that is the first of its series (baseline), "
    "or no newer than the last (late).",
)
PYROSCOPE_CHANGES: Final = MetricSpec(
    "otelprof_pyroscope_changes",
    "counter",
    "{change}",
    ("exporter", "change"),
    "What was changed so that Pyroscope takes the rest: stack_cut, label_value_cut, label_left_out, "
    "name_respelled or time_clamped.",
)

PYROSCOPE_METRICS: Final = (PYROSCOPE_PUSHES, PYROSCOPE_LOST_SAMPLES, PYROSCOPE_CHANGES)
