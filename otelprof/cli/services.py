"""`otelprof services`: whose profiles a store holds."""

# ruff: noqa: PLC0415 - what is not needed for `--help` is imported where it is used

from __future__ import annotations

from typing import Annotated

import typer

from otelprof.cli import store_options as options
from otelprof.cli.report_format import ReportFormat


def services(  # noqa: PLR0913 - the options of the command
    *,
    store: options.StoreUrl,
    service: options.Service = None,
    sample_type: Annotated[str | None, typer.Option("--type", help="Only of this sample type.")] = None,
    since: options.Since = None,
    until: options.Until = None,
    kind: Annotated[ReportFormat, typer.Option("--format", help="What to write.")] = ReportFormat.TEXT,
    store_option: options.StoreOptions = None,
) -> None:
    """List services and sample types: how much of each, how much of it is linked, since when."""
    from otelprof.cli import store_report
    from otelprof.clock import SystemClock
    from otelprof.query import services as of_store

    now = SystemClock().now()
    selection = options.select(now, since, until, service=service, sample_type=sample_type)
    reader = options.open_reader(store, store_option)
    with options.progress("reading the store"):
        rows = of_store.services(reader, selection)
    if not rows:
        options.fail_empty(reader, selection, now)
    if kind is ReportFormat.JSON:
        store_report.print_json(store_report.services_json(rows))
    else:
        store_report.services_table(rows)
