"""What is counted of a store; part of the table in `metrics.py`."""

from __future__ import annotations

from typing import Final

from otelprof.telemetry.metric_spec import MetricSpec

STORE_ROWS_WRITTEN: Final = MetricSpec(
    "otelprof_store_rows_written",
    "counter",
    "{row}",
    ("exporter", "table"),
    "Rows added to the tables of a store, by table.",
)

STORE_METRICS: Final = (STORE_ROWS_WRITTEN,)
