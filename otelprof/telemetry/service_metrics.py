"""What is counted about the process and its configuration."""

from __future__ import annotations

from typing import Final

from otelprof.telemetry.metric_spec import MetricSpec

CONFIG_RELOADS: Final = MetricSpec(
    "otelprof_config_reloads",
    "counter",
    "{reload}",
    ("outcome",),
    "Reloads that were asked for: `changed`, `unchanged`, or `refused`, after which the configuration before "
    "runs on.",
)
CONFIG_CHANGED_AT: Final = MetricSpec(
    "otelprof_config_changed_at",
    "gauge",
    "s",
    (),
    "When the configuration that runs was taken over, at the start or by a reload, since the UNIX epoch.",
)
CONFIG_PROBLEMS: Final = MetricSpec(
    "otelprof_config_problems",
    "gauge",
    "{problem}",
    (),
    "Problems of the file that the last reload refused; 0 when it was taken over.",
)
PROCESS_CPU: Final = MetricSpec(
    "otelcol_process_cpu_seconds",
    "counter",
    "s",
    (),
    "CPU time of this process, user and system.",
)
PROCESS_MEMORY: Final = MetricSpec(
    "otelcol_process_memory_rss",
    "gauge",
    "By",
    (),
    "Physical memory of this process (resident set size).",
)
PROCESS_UPTIME: Final = MetricSpec(
    "otelcol_process_uptime",
    "counter",
    "s",
    (),
    "Time since this process started.",
)

SERVICE_METRICS: Final = (
    CONFIG_RELOADS,
    CONFIG_CHANGED_AT,
    CONFIG_PROBLEMS,
    PROCESS_CPU,
    PROCESS_MEMORY,
    PROCESS_UPTIME,
)
