"""What the `datadog` exporter says of itself, beside what every exporter does."""

from __future__ import annotations

from typing import Final

from otelprof.telemetry.metric_spec import MetricSpec

DATADOG_UPLOADS: Final = MetricSpec(
    "otelprof_datadog_uploads",
    "counter",
    "{upload}",
    ("exporter",),
    "Uploads that Datadog took; a request is one for each origin and minute.",
)
DATADOG_SPLIT_UPLOADS: Final = MetricSpec(
    "otelprof_datadog_split_uploads",
    "counter",
    "{upload}",
    ("exporter",),
    "Uploads that were sent in pieces because they were too large.",
)
DATADOG_LOST_SAMPLES: Final = MetricSpec(
    "otelprof_datadog_lost_samples",
    "counter",
    "{sample}",
    ("exporter", "reason", "sample_type"),
    "Samples of delivered requests that did not get there: no slot is for their type (no_slot), they are "
    "off-CPU time (off_cpu), one alone was too large (too_large), or their upload was refused (refused).",
)
DATADOG_CUT_STACKS: Final = MetricSpec(
    "otelprof_datadog_cut_stacks",
    "counter",
    "{sample}",
    ("exporter",),
    "Samples whose stack was cut on the caller's side, because Datadog takes 600 frames.",
)
DATADOG_UNREADABLE_LABELS: Final = MetricSpec(
    "otelprof_datadog_unreadable_labels",
    "counter",
    "{label}",
    ("exporter",),
    "Sample attributes that were left out because they are not the number or id that their name promises.",
)
DATADOG_CLIPPED_VALUES: Final = MetricSpec(
    "otelprof_datadog_clipped_values",
    "counter",
    "{value}",
    ("exporter",),
    "Sums that no 64-bit integer holds, and were sent as the largest or smallest one.",
)

DATADOG_METRICS: Final = (
    DATADOG_UPLOADS,
    DATADOG_SPLIT_UPLOADS,
    DATADOG_LOST_SAMPLES,
    DATADOG_CUT_STACKS,
    DATADOG_UNREADABLE_LABELS,
    DATADOG_CLIPPED_VALUES,
)
