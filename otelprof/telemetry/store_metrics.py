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

STORE_MAINTENANCE_STEPS: Final = MetricSpec(
    "otelprof_store_maintenance_steps",
    "counter",
    "{step}",
    ("exporter", "table", "action", "outcome"),
    "Steps of maintaining a store (fold, compact, collect, vacuum): done, or failed and tried again later.",
)

STORE_METRICS: Final = (STORE_ROWS_WRITTEN, STORE_MAINTENANCE_STEPS)
