"""`otelprof traces`: which traces took most."""

# ruff: noqa: PLC0415 - what is not needed for `--help` is imported where it is used

from __future__ import annotations

from typing import Annotated, Final

import typer

from otelprof.cli import store_options as options
from otelprof.cli.report_format import ReportFormat

_MAX_TRACES: Final = 10_000


def traces(  # noqa: PLR0913 - the options of the command
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
    count: Annotated[int, typer.Option("--top", min=1, max=_MAX_TRACES, help="How many.")] = 20,
    kind: Annotated[ReportFormat, typer.Option("--format", help="What to write.")] = ReportFormat.TEXT,
    store_option: options.StoreOptions = None,
) -> None:
    """List the traces with the largest values; exits with 1 if there is none."""
    from otelprof.cli import store_report
    from otelprof.clock import SystemClock
    from otelprof.query.traces import hottest_traces

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
        linked=True,
    )
    reader = options.open_reader(store, store_option)
    with options.progress("reading the store"):
        found = hottest_traces(reader, selection, count)
    if found is None:
        options.fail_empty(reader, selection, now)
    if kind is ReportFormat.JSON:
        store_report.print_json(store_report.traces_json(found))
    else:
        store_report.traces_table(found)
        options.note(f"by {found.sample_type}:{found.unit}")
