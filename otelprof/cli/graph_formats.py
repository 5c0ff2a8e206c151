"""A flame graph in each of its formats."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from otelprof._core import svg_diff
from otelprof.cli.flamegraph import GraphFormat
from otelprof.errors import PermanentError
from otelprof.exporter.stack_tree import stack_tree, tree_lines
from otelprof.telemetry.quantity import share
from otelprof.telemetry.text import counted, printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from otelprof.query.flamegraph import FlameGraph

_MAX_TREE_STACKS: Final = 30
_MICROS: Final = 10**6


def graph_content(graph: FlameGraph, kind: GraphFormat, title: str) -> str | bytes:
    """A flame graph as it is written.

    Args:
        graph: the flame graph.
        kind: the format.
        title: what it is of.

    Raises:
        PermanentError: no stack has a value above zero, and the format cannot say so.
    """
    write: dict[GraphFormat, Callable[[], str | bytes]] = {
        GraphFormat.SVG: lambda: _svg(graph, title),
        GraphFormat.FOLDED: lambda: "".join(f"{stack} {value}\n" for stack, value in graph.profiles.fold()),
        GraphFormat.PPROF: lambda: _pprof(graph),
        GraphFormat.SPEEDSCOPE: lambda: graph.profiles.to_speedscope(name=title),
        GraphFormat.JSON: lambda: _json(graph, title),
        GraphFormat.TREE: lambda: _tree(graph),
    }
    return write[kind]()


def diff_content(group: FlameGraph, trace: FlameGraph, kind: GraphFormat, title: str) -> str:
    """A trace against its group: as wide as the trace, red where it spends a larger share.

    Args:
        group: before.
        trace: after.
        kind: SVG; or folded, with both values on a line as the tools for differential flame graphs have it.
        title: what it is of.

    Raises:
        PermanentError: no stack of the trace has a value above zero.
    """
    before, after = group.profiles.fold(), trace.profiles.fold()
    if kind is GraphFormat.FOLDED:
        values = [dict(before), dict(after)]
        stacks = sorted(values[0] | values[1])
        return "".join(f"{stack} {values[0].get(stack, 0)} {values[1].get(stack, 0)}\n" for stack in stacks)
    subtitle = f"{trace.in_words}, against its group: {group.in_words}"
    try:
        return svg_diff(
            before,
            after,
            normalize=True,
            title=title,
            subtitle=subtitle,
            unit=trace.unit or "samples",
            inverted=True,
        )
    except ValueError as error:
        raise PermanentError(str(error)) from error


def _svg(graph: FlameGraph, title: str) -> str:
    try:
        # Callers on top: of stacks that are deeper than a screen, their beginning is what is seen first.
        return graph.profiles.to_svg(
            title=title, subtitle=graph.in_words, unit=graph.unit or "samples", inverted=True
        )
    except ValueError as error:
        raise PermanentError(str(error)) from error


def _pprof(graph: FlameGraph) -> bytes:
    """The pprof of one service; compressed, as pprofs are.

    Raises:
        PermanentError: there would be several.
    """
    pprofs = graph.profiles.to_pprof(combine=True)
    if len(pprofs) != 1:
        names = ", ".join(printable(service, 100) for service in graph.services)
        message = (
            f"this makes {len(pprofs)} pprofs, one for each service and period ({names}): choose with "
            "--service and --type, or write --format folded"
        )
        raise PermanentError(message)
    return gzip.compress(pprofs[0].body, mtime=0)


def _json(graph: FlameGraph, title: str) -> str:
    first, last = (_rfc3339(micros) for micros in graph.window)
    found: dict[str, Any] = {
        "title": title,
        "services": graph.services,
        "sample_type": graph.sample_type,
        "unit": graph.unit,
        "samples": graph.weight.samples,
        "value": graph.weight.value,
        "seconds": graph.weight.seconds,
        "first_window": first,
        "last_window": last,
        "stacks": [{"frames": stack.split(";"), "value": value} for stack, value in graph.profiles.fold()],
    }
    return json.dumps(found, indent=1) + "\n"


def _rfc3339(micros: int) -> str:
    return datetime.fromtimestamp(micros / _MICROS, UTC).isoformat().replace("+00:00", "Z")


def _tree(graph: FlameGraph) -> str:

    folded = graph.profiles.fold()
    hottest = folded[:_MAX_TREE_STACKS]
    lines = [f"{graph.in_words}; hottest {len(hottest)} of {counted(len(folded), 'stack')}"]
    for value, branch, frames in tree_lines(stack_tree(hottest)):
        lines.append(f"{share(value, graph.weight.value):>5} {branch}{printable(frames)}")
    return "".join(f"{line}\n" for line in lines)
