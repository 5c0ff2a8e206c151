"""`otelprof impact`: what a faster function is worth in production."""

# ruff: noqa: PLC0415 - what is not needed for `--help` is imported where it is used

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from otelprof.cli import sides
from otelprof.cli.gate_options import require_arithmetic
from otelprof.cli.report_format import PageFormat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otelprof.gate.impact import Impact
    from otelprof.gate.profile_file import RunProfile


def impact(  # noqa: PLR0913 - these are the options of the command
    profiles: Annotated[list[str], typer.Argument(help=f"Of production: each {sides.SIDE}.")],
    *,
    function: Annotated[str, typer.Option(help="That becomes faster: its name in the profiles.")],
    speedup: Annotated[float, typer.Option(min=0.001, max=1e9, help="How many times: 10 is a tenth of it.")],
    sample_type: Annotated[str, typer.Option("--type", help="Of the profiles.")] = "cpu",
    calls_per_second: Annotated[
        float | None, typer.Option(min=1e-9, max=1e12, help="Of the function, in the process profiled.")
    ] = None,
    cost_per_call: Annotated[str | None, typer.Option(help="Of the function, as 20us.")] = None,
    kind: Annotated[PageFormat, typer.Option("--format", help="For people, a pull request, machines.")] = (
        PageFormat.TEXT
    ),
    service: Annotated[str | None, typer.Option(help="Only of this service.name.")] = None,
    store: sides.Store = None,
    label: sides.Labels = None,
    since: sides.Since = None,
    until: sides.Until = None,
    store_option: sides.StoreOptions = None,
) -> None:
    """Say what a faster function is worth to the program, by its share of the cost in production.

    10 times faster on 3 % of the cost is 1.03 times faster (Amdahl). Warns of cold paths, of micro-benchmarks
    that promise more, and of calls and costs that do not fit what was measured.
    """
    require_arithmetic()
    from otelprof.config.units import parse_duration
    from otelprof.gate.impact import Calls, function_cost
    from otelprof.gate.impact import impact as found_impact

    try:
        seconds = None if cost_per_call is None else parse_duration(cost_per_call)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--cost-per-call") from error
    arguments = sides.StoreArguments(store, store_option, service, label, since, until)
    cost = function_cost(_profiles(sides.Sides(arguments), profiles, sample_type), function)
    _print(found_impact(cost, speedup, Calls(calls_per_second, seconds)), kind)


def _profiles(reader: sides.Sides, texts: Sequence[str], sample_type: str) -> list[RunProfile]:
    """The profiles of a type.

    Raises:
        PermanentError: one cannot be read, or there is none of that type; says of which there are.
    """
    from otelprof.errors import PermanentError
    from otelprof.telemetry.text import printable

    runs = [run for text in texts for run in reader.read(text).runs]
    found = [run.profiles[sample_type] for run in runs if sample_type in run.profiles]
    if not found:
        types = sorted({name for run in runs for name in run.profiles})
        message = (
            f"there is no profile of the type {printable(sample_type, 60)}; there are"
            f" {', '.join(printable(name, 60) for name in types)}: choose with --type"
        )
        raise PermanentError(message)
    return found


def _print(found: Impact, kind: PageFormat) -> None:
    import json

    from otelprof.cli.output import stdout
    from otelprof.gate.impact import as_json, rows
    from otelprof.gate.report_text import escaped

    if kind is PageFormat.JSON:
        typer.echo(json.dumps(as_json(found), indent=2))
    elif kind is PageFormat.TEXT:
        width = max(len(name) for name, _ in rows(found))
        for name, value in rows(found):
            stdout.print(f"{name:{width}}  {value}", markup=False)
        for warning in found.warnings:
            stdout.print(f"warning: {warning}", markup=False)
    else:
        (_, function), *others = rows(found)
        typer.echo(f"**Impact of {escaped(function)}**\n\n| | |\n|---|---|")
        for name, value in others:
            typer.echo(f"| {escaped(name)} | {escaped(value)} |")
        for warning in found.warnings:
            typer.echo(f"\n> {escaped(str(warning))}")
