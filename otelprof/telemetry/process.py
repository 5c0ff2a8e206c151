"""What this process costs, under the collector's names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil

from otelprof.telemetry.service_metrics import PROCESS_CPU, PROCESS_MEMORY, PROCESS_UPTIME

if TYPE_CHECKING:
    from otelprof.clock import Clock
    from otelprof.telemetry.metrics import Metrics


def observe_process(metrics: Metrics, clock: Clock) -> None:
    """Read CPU time, memory and uptime whenever metrics are read; uptime counts from this call."""
    process = psutil.Process()
    started = clock.monotonic()
    metrics.observe(PROCESS_CPU, lambda: sum(process.cpu_times()[:2]))  # user and system, without children
    metrics.observe(PROCESS_MEMORY, lambda: float(process.memory_info().rss))
    metrics.observe(PROCESS_UPTIME, lambda: clock.monotonic() - started)
