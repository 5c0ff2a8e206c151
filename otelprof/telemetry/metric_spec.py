"""What a metric is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


# Each is made once, in a table. To hash one by its fields for every count would cost more than the count.
@dataclass(frozen=True, eq=False)
class MetricSpec:
    """What a metric is.

    Attributes:
        name: on the wire, exactly; no suffix is added.
        kind: a counter only grows; a gauge is the value of now.
        unit: in UCUM, as the collector writes it: `{sample}`, `By`, `s`.
        labels: every series has these, in this order.
        meaning: one sentence for the reader of a dashboard.
        optional_labels: a series may have these beside.
    """

    name: str
    kind: Literal["counter", "gauge"]
    unit: str
    labels: tuple[str, ...]
    meaning: str
    optional_labels: tuple[str, ...] = ()
