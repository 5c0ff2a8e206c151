"""`otelprof flamegraph`: the flame graph of a trace, a service or a group of traces, from a store."""

# ruff: noqa: PLC0415 - what is not needed for `--help` is imported where it is used

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import TYPE_CHECKING, Annotated, Final

import typer

from otelprof.cli import store_options as options

if TYPE_CHECKING:
    from otelprof.query.flamegraph import FlameGraph
    from otelprof.store.reader import StoreReader
    from otelprof.store.selection import Selection


class GraphFormat(StrEnum):
    """What a flame graph is written as."""

    SVG = "svg"
    FOLDED = "folded"
    PPROF = "pprof"
    SPEEDSCOPE = "speedscope"
    JSON = "json"
    TREE = "tree"


_DIFFERENTIAL: Final = (GraphFormat.SVG, GraphFormat.FOLDED)


def flamegraph(  # noqa: PLR0913 - the options of the command
    *,
    store: options.StoreUrl,
    trace_id: Annotated[str | None, typer.Option(help="Of this trace; nothing else is needed.")] = None,
    span_id: Annotated[str | None, typer.Option(help="Only of this span.")] = None,
    service: options.Service = None,
    sample_type: options.SampleType = None,
    label: options.Labels = None,
    since: options.Since = None,
    until: options.Until = None,
    span_name: options.SpanName = None,
    slow: options.Slow = False,
    error: options.Error = False,
    linked: Annotated[
        bool, typer.Option("--linked", help="Only of samples that are linked to a trace.")
    ] = False,
    against_group: Annotated[
        bool,
        typer.Option(
            "--against-group",
            help="The trace against others: of --span-name, --slow, --error, or of its service and span.",
        ),
    ] = False,
    kind: Annotated[GraphFormat, typer.Option("--format", help="What to write.")] = GraphFormat.SVG,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to; stdout without it.")
    ] = None,
    store_option: options.StoreOptions = None,
) -> None:
    """Draw where a trace, a service or a group of traces spends its time; exits with 1 if there is none."""
    from otelprof.cli.output import write
    from otelprof.clock import SystemClock

    if output is None and kind is GraphFormat.PPROF and sys.stdout.isatty():
        message = "pprof is binary and stdout is a terminal: write -o FILE"
        raise typer.BadParameter(message)
    if against_group and (trace_id is None or kind not in _DIFFERENTIAL):
        message = "--against-group wants --trace-id, and --format svg or folded"
        raise typer.BadParameter(message)
    now = SystemClock().now()
    selection = options.select(
        now,
        since,
        until,
        trace_id=trace_id and trace_id.strip().lower(),
        span_id=span_id and span_id.strip().lower(),
        service=service,
        sample_type=sample_type,
        labels=options.pairs(label, "--label"),
        span_name=span_name,
        trace_states=options.states(slow=slow, error=error),
        linked=linked,
    )
    reader = options.open_reader(store, store_option)
    draw = _against_group if against_group else _alone
    write(draw(reader, selection, now, kind), output)


def _alone(reader: StoreReader, selection: Selection, now: float, kind: GraphFormat) -> str | bytes:
    from otelprof.cli.graph_formats import graph_content

    graph = options.read_graph(reader, selection, now, labels=kind is GraphFormat.PPROF)
    return graph_content(graph, kind, _title(selection, graph))


def _against_group(reader: StoreReader, selection: Selection, now: float, kind: GraphFormat) -> str | bytes:
    from dataclasses import replace

    from otelprof.cli.graph_formats import diff_content
    from otelprof.query.flamegraph import group_of

    # What names a group says nothing of the trace.
    of_trace = replace(selection, span_name=None, trace_states=())
    trace = options.read_graph(reader, of_trace, now)
    chosen = replace(selection, sample_type=trace.sample_type)
    group = options.read_graph(reader, group_of(reader, chosen), now)
    return diff_content(group, trace, kind, _title(of_trace, trace))


def _title(selection: Selection, graph: FlameGraph) -> str:
    whose = graph.services[0] if len(graph.services) == 1 else f"{len(graph.services)} services"
    if selection.trace_id is not None:
        return f"trace {selection.trace_id}: {whose}"
    return f"{whose}: {selection.span_name}" if selection.span_name else whose
