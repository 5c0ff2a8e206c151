"""`otelprof diff`: what changed between two profiles, or two folders of runs."""

# ruff: noqa: PLC0415 - what is not needed for `--help` is imported where it is used

from __future__ import annotations

from enum import StrEnum
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import TYPE_CHECKING, Annotated, Any

import typer

from otelprof.cli import sides
from otelprof.cli.gate_options import require_arithmetic

if TYPE_CHECKING:
    from otelprof.gate.difference import Difference


class DiffFormat(StrEnum):
    """What a difference is written as."""

    TEXT = "text"
    MARKDOWN = "markdown"
    JSON = "json"
    SVG = "svg"


def diff(  # noqa: PLR0913 - the options of the command
    before: Annotated[str | None, typer.Argument(help=f"The earlier version: {sides.SIDE}.")] = None,
    after: Annotated[str | None, typer.Argument(help="The later version.")] = None,
    *,
    of_type: Annotated[
        str | None, typer.Option("--type", help="Of profile, as alloc; cpu without it.")
    ] = None,
    service: Annotated[str | None, typer.Option(help="Only of this service.name.")] = None,
    work: Annotated[
        str | None, typer.Option(help="What cost is divided by: requests=7000, or a key of run.json.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, max=10_000, help="How many functions to show.")] = 20,
    kind: Annotated[DiffFormat, typer.Option("--format", help="What to write.")] = DiffFormat.TEXT,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to; stdout without it.")
    ] = None,
    store: sides.Store = None,
    label: sides.Labels = None,
    since: sides.Since = None,
    until: sides.Until = None,
    store_option: sides.StoreOptions = None,
) -> None:
    """Compare two profiles function by function. It tests nothing: for a verdict see `otelprof gate`.

    With --store and no sides: the two versions (service.version) that came last.
    """
    require_arithmetic()
    from otelprof.cli.output import print_warnings, write
    from otelprof.errors import ConfigProblem
    from otelprof.gate.difference import difference
    from otelprof.gate.names import NameRules
    from otelprof.gate.runs import DEFAULT_WORK_KEY, Work

    try:
        unit = Work.parse(work or DEFAULT_WORK_KEY)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    arguments = sides.StoreArguments(store, store_option, service, label, since, until)
    wanted = None if of_type is None else [of_type]
    reader = sides.Sides(arguments, wanted, work=unit.key)
    if before is None or after is None:
        if before is not None or store is None:
            message = "two sides are needed, or --store for the two versions that came last"
            raise typer.BadParameter(message)
        before, after = reader.last_versions()
    read = [reader.read(text) for text in (before, after)]
    unit = unit if work else sides.unit_of(read, unit)
    found = difference(read[0].runs, read[1].runs, of_type, unit, NameRules())
    print_warnings(ConfigProblem("", one) for one in found.warnings)
    write(_content(found, kind, top), output)


def _content(found: Difference, kind: DiffFormat, top: int) -> str:
    import json

    match kind:
        case DiffFormat.SVG:
            return found.svg()
        case DiffFormat.JSON:
            return json.dumps(_json(found, top), indent=2) + "\n"
        case DiffFormat.MARKDOWN:
            return _markdown(found, top)
        case DiffFormat.TEXT:
            return _text(found, top)


def _json(found: Difference, top: int) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "type": found.type,
        "unit": found.unit,
        "per": found.per,
        "total_before": found.totals[0],
        "total_after": found.totals[1],
        "functions": [asdict(one) for one in found.functions[:top]],
        "warnings": list(found.warnings),
    }


def _rows(found: Difference, top: int) -> list[tuple[str, ...]]:
    """Each function: its cost on both sides, the change, its own cost on both sides, its name."""
    from otelprof.gate.report_text import percent
    from otelprof.telemetry.quantity import human

    def cost(value: float) -> str:
        return human(value, "ns" if found.unit == "nanoseconds" else found.unit)

    return [
        (
            cost(one.before),
            cost(one.after),
            percent(one.after / one.before - 1 if one.before > 0 else None),
            cost(one.own_before),
            cost(one.own_after),
            one.function,
        )
        for one in found.functions[:top]
    ]


def _head(found: Difference) -> str:
    growth = f" ({found.totals[1] / found.totals[0] - 1:+.1%})" if found.totals[0] > 0 else ""
    from otelprof.telemetry.quantity import human

    words = [human(one, "ns" if found.unit == "nanoseconds" else found.unit) for one in found.totals]
    return f"{found.type}: {words[0]} -> {words[1]} per {found.per}{growth}"


def _text(found: Difference, top: int) -> str:
    from otelprof.telemetry.text import printable

    rows: list[tuple[str, ...]] = [("before", "after", "", "own before", "own after", "function")]
    rows += [(*row[:-1], printable(row[-1], 100)) for row in _rows(found, top)]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [
        "  ".join([*(f"{cell:>{width}}" for cell, width in zip(row[:5], widths, strict=True)), row[5]])
        for row in rows
    ]
    return "\n".join([_head(found), *lines]) + "\n"


def _markdown(found: Difference, top: int) -> str:
    from otelprof.gate.report_text import escaped

    lines = [
        f"**{escaped(_head(found))}**",
        "",
        "| before | after | | own before | own after | function |",
        "|--:|--:|--:|--:|--:|---|",
    ]
    lines += [f"| {' | '.join(escaped(cell) for cell in row)} |" for row in _rows(found, top)]
    return "\n".join(lines) + "\n"
