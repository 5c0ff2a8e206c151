"""What the processors that decide about samples count; part of the table in `metrics.py`."""

from __future__ import annotations

from typing import Final

from otelprof.telemetry.metric_spec import MetricSpec

_LINK: Final = ("processor", "service", "sample_type", "state")
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
REDACTED_TEXTS: Final = MetricSpec(
    "otelprof_redacted_texts",
    "counter",
    "{text}",
    ("processor", "rule"),
    "Texts that redaction changed, by rule; one that many refer to counts once a request.",
)
