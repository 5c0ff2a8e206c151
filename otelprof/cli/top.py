"""`otelprof top`: the functions that take most."""

# ruff: noqa: PLC0415 - what is not needed for `--help` is imported where it is used

from __future__ import annotations

from typing import Annotated, Final

import typer

from otelprof.cli import store_options as options
from otelprof.cli.report_format import ReportFormat

_MAX_FUNCTIONS: Final = 10_000


def top(  # noqa: PLR0913 - the options of the command
    *,
    store: options.StoreUrl,
    service: options.Service = None,
    sample_type: options.SampleType = None,
    label: options.Labels = None,
    since: options.Since = None,
    until: options.Until = None,
    span_name: options.SpanName = None,
    slow: options.Slow = False,
    error: options.Error = False,
    count: Annotated[int, typer.Option("--top", min=1, max=_MAX_FUNCTIONS, help="How many.")] = 20,
    kind: Annotated[ReportFormat, typer.Option("--format", help="What to write.")] = ReportFormat.TEXT,
    store_option: options.StoreOptions = None,
) -> None:
    """List functions by what they take themselves, with what all below them takes."""
    from otelprof.cli import store_report
    from otelprof.clock import SystemClock

    now = SystemClock().now()
    selection = options.select(
        now,
        since,
        until,
        service=service,
        sample_type=sample_type,
        labels=options.pairs(label, "--label"),
        span_name=span_name,
        trace_states=options.states(slow=slow, error=error),
    )
    graph = options.read_graph(options.open_reader(store, store_option), selection, now)
    functions = graph.profiles.top_functions(count)
    if kind is ReportFormat.JSON:
        found = [
            {
                "function": name,
                "self": own,
                "total": total,
                "sample_type": graph.sample_type,
                "unit": graph.unit,
            }
            for name, own, total in functions
        ]
        store_report.print_json(found)
    else:
        store_report.functions_table(functions, graph.key, graph.weight.value)
