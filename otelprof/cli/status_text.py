"""What a running otelprof does now, for a person at a terminal."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from rich.table import Table
from rich.text import Text

from otelprof.telemetry.metrics import METRICS
from otelprof.telemetry.quantity import human
from otelprof.telemetry.text import counted, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from otelprof.admin.v1 import admin_pb2

_UNITS: Final = {spec.name: spec.unit for spec in METRICS}


def incident_line(incident: admin_pb2.Incident) -> str:
    """An incident on one line."""
    end = incident.end_time.ToDatetime(UTC)
    left_minutes = max((end - datetime.now(UTC)).total_seconds(), 0) / 60
    until = f"until {end:%Y-%m-%d %H:%M:%S} UTC ({left_minutes:.3g} minutes left)"
    service, reason, who = map(printable, (incident.service, incident.reason, incident.who))
    return f"{service}: everything stays {until}: {reason} ({who}; {', '.join(incident.pipelines)})"


def print_status(
    console: Console,
    incidents: admin_pb2.ListIncidentsResponse,
    thresholds: admin_pb2.GetThresholdsResponse,
    pipelines: admin_pb2.GetPipelinesResponse,
) -> None:
    """Since when it runs as it does, incidents, what is sampled, and what each component counted."""
    if pipelines.HasField("configuration"):
        _title(console, "configuration")
        console.print(Text(f"  {_configuration_line(pipelines.configuration)}"), soft_wrap=True)
    _title(console, "incidents")
    for incident in incidents.incidents:
        console.print(Text(f"  {incident_line(incident)}"), soft_wrap=True)
    if not incidents.incidents:
        console.print("  none")
    _print_sampling(console, thresholds.processors)
    for pipeline in pipelines.pipelines:
        stages = (pipeline.receivers, pipeline.processors, pipeline.exporters)
        _title(console, f"{pipeline.id}: {' → '.join(', '.join(stage) for stage in stages if stage)}")
        if pipeline.statistics:
            _print_statistics(console, pipeline.statistics)
    for component in pipelines.components:
        _title(console, f"{component.kind} {component.id}")
        _print_statistics(console, component.statistics)


def _configuration_line(configuration: admin_pb2.Configuration) -> str:
    since = configuration.changed_time.ToDatetime(UTC)
    minutes = (datetime.now(UTC) - since).total_seconds() / 60
    line = f"in force since {since:%Y-%m-%d %H:%M:%S} UTC ({minutes:.3g} minutes)"
    if configuration.problems:
        problems = counted(configuration.problems, "problem")
        line += f"; the file has been refused since, with {problems}: see the log, or otelprof validate"
    return line


def _print_sampling(console: Console, processors: Sequence[admin_pb2.SamplingProcessor]) -> None:
    for processor in processors:
        _title(console, f"sampling: {processor.pipeline}, {processor.processor}")
        for rule in processor.rules:
            console.print(Text(f"  {printable(rule)}"), soft_wrap=True)
        if processor.services:
            table = _table("service", "sampled at most")
            for one in processor.services:
                name = printable(one.service) or "every other service"
                table.add_row(Text(f"  {name}"), f"{100 * one.sampling_probability:.4g} %")
            console.print(table)
    if not processors:
        _title(console, "sampling")
        console.print("  none: everything stays")


def _print_statistics(console: Console, statistics: Sequence[admin_pb2.Statistic]) -> None:
    """What is not 0."""
    values = [one for one in statistics if one.value]
    if not values:
        console.print("  nothing counted yet")
        return
    table = _table("metric", "value")
    for one in values:
        labels = ", ".join(f"{label}={printable(value)}" for label, value in sorted(one.labels.items()))
        name = f"  {one.metric}" + (f" {{{labels}}}" if labels else "")
        table.add_row(Text(name), _amount(one))
    console.print(table)


def _amount(statistic: admin_pb2.Statistic) -> str:
    """A value: bytes as a person would write them, what is counted in full."""
    is_bytes = _UNITS.get(statistic.metric) == "By"
    return human(statistic.value, "By") if is_bytes else f"{statistic.value:,.10g}"


def _title(console: Console, text: str) -> None:
    console.print(Text(printable(text), style="bold"), soft_wrap=True)


def _table(first: str, second: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(f"  {first}", overflow="fold")
    table.add_column(second, justify="right", no_wrap=True)
    return table
