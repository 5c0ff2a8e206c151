"""What the processors that decide about samples count; part of the table in `metrics.py`."""

from __future__ import annotations

from typing import Final

from otelprof.telemetry.metric_spec import MetricSpec

_LINK: Final = ("processor", "service", "sample_type", "state")
_BUDGET: Final = ("processor", "service")
_DECISION: Final = ("processor", "rule", "outcome")

LINK_SAMPLES: Final = MetricSpec(
    "otelprof_link_samples",
    "counter",
    "{sample}",
    _LINK,
    "Samples by how they stand to a span: linked, recovered, or why not.",
)
LINK_VALUE: Final = MetricSpec(
    "otelprof_link_value",
    "counter",
    "1",
    _LINK,
    "What these samples stand for, in the unit of their sample type.",
)
LINK_CONFLICTS: Final = MetricSpec(
    "otelprof_link_conflicts",
    "counter",
    "{sample}",
    ("processor",),
    "Samples whose link and attributes name different spans; the link stays.",
)
LINKED_SHARE_BELOW_MINIMUM: Final = MetricSpec(
    "otelprof_linked_share_below_minimum",
    "gauge",
    "1",
    ("processor", "service"),
    "1 while less of a service is linked than min_linked_share, over the last five minutes; 0 otherwise.",
)
LINKAGE_SAMPLES: Final = MetricSpec(
    "otelprof_linkage_samples",
    "counter",
    "{sample}",
    _DECISION,
    "Samples that a linkage policy decided about: kept, dropped, demoted or rejected, by rule.",
)
SAMPLING_SAMPLES: Final = MetricSpec(
    "otelprof_sampling_samples",
    "counter",
    "{sample}",
    _DECISION,
    "Samples that a sampling policy decided about: kept, dropped or demoted, by rule.",
)
BUDGET_PROBABILITY: Final = MetricSpec(
    "otelprof_budget_probability",
    "gauge",
    "1",
    _BUDGET,
    "What rules that sample keep at most for the budget, but those for error and slow traces.",
)
BUDGET_SPARED_PROBABILITY: Final = MetricSpec(
    "otelprof_budget_spared_probability",
    "gauge",
    "1",
    _BUDGET,
    "What rules for error and slow traces keep at most for the budget.",
)
BUDGET_SPENT_BYTES: Final = MetricSpec(
    "otelprof_budget_spent_bytes",
    "gauge",
    "By",
    _BUDGET,
    "What sampling let through on this UTC day, as OTLP without compression.",
)
BUDGET_ALLOWED_BYTES: Final = MetricSpec(
    "otelprof_budget_allowed_bytes",
    "gauge",
    "By",
    _BUDGET,
    "What it may let through on this UTC day: bytes_per_day, or the share of the day that was left at first.",
)
REDACTED_TEXTS: Final = MetricSpec(
    "otelprof_redacted_texts",
    "counter",
    "{text}",
    ("processor", "rule"),
    "Texts that redaction changed, by rule; one that many refer to counts once a request.",
)

BUDGET_METRICS: Final = (
    BUDGET_PROBABILITY,
    BUDGET_SPARED_PROBABILITY,
    BUDGET_SPENT_BYTES,
    BUDGET_ALLOWED_BYTES,
)
