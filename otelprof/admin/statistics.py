"""What components have counted, as the admin service tells it: without what comes from the wire."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from otelprof.admin.v1 import admin_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from otelprof.telemetry.metrics import Metrics

# The label that says whose a series is.
_OWNERS: Final = ("receiver", "processor", "exporter", "pipeline")
# There may be thousands of them: the answer stays small, and /metrics has them one by one.
_ADDED_UP: Final = frozenset({"service", "sample_type"})


def statistics(metrics: Metrics) -> Mapping[tuple[str, str], Sequence[admin_pb2.Statistic]]:
    """Values by owner, its kind and its id, added up over services and sample types."""
    sums: defaultdict[tuple[str, str], dict[tuple[str, frozenset[tuple[str, str]]], float]] = defaultdict(
        dict
    )
    for family in metrics.collect():
        for sample in family.samples:
            owner = next(((kind, sample.labels[kind]) for kind in _OWNERS if kind in sample.labels), None)
            if owner is None or math.isnan(sample.value):
                continue
            left = frozenset(
                (label, value)
                for label, value in sample.labels.items()
                if label != owner[0] and label not in _ADDED_UP
            )
            values = sums[owner]
            values[sample.name, left] = values.get((sample.name, left), 0.0) + sample.value
    return {
        owner: [
            admin_pb2.Statistic(metric=metric, labels=dict(labels), value=value)
            for (metric, labels), value in values.items()
        ]
        for owner, values in sums.items()
    }
