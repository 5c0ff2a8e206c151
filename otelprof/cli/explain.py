"""`otelprof explain`: what a change of latency comes from."""

# ruff: noqa: PLC0415 - what is not needed for `--help` is imported where it is used

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads it
from typing import TYPE_CHECKING, Annotated, Final

import typer

from otelprof.cli import sides
from otelprof.cli.gate_options import require_arithmetic
from otelprof.cli.report_format import PageFormat

if TYPE_CHECKING:
    from otelprof.gate.figures import Figures

MAX_FIGURES_BYTES: Final = 1 << 20

_Latency = Annotated[list[str] | None, typer.Option(help="As p99=120ms; may be repeated.")]
_Cpu = Annotated[str | None, typer.Option(help="Busy CPU, as 58%, or in cores.")]


def explain(  # noqa: PLR0913 - these are the options of the command
    *,
    before: Annotated[str | None, typer.Option(help=f"Profiles before: {sides.SIDE}.")] = None,
    after: Annotated[str | None, typer.Option(help="Profiles after.")] = None,
    work: Annotated[
        str, typer.Option(help="What a run did: requests=7000, or the key of each run.json.")
    ] = "requests",
    latency_before: _Latency = None,
    latency_after: _Latency = None,
    cpu_before: _Cpu = None,
    cpu_after: _Cpu = None,
    figures: Annotated[
        Path | None,
        typer.Option(help='All as JSON: {"before": {"p99": "120ms", "cpu": "58%"}, "after": {…}}.'),
    ] = None,
    kind: Annotated[PageFormat, typer.Option("--format", help="For people, a pull request, machines.")] = (
        PageFormat.TEXT
    ),
    service: Annotated[str | None, typer.Option(help="Only of this service.name.")] = None,
    store: sides.Store = None,
    label: sides.Labels = None,
    since: sides.Since = None,
    until: sides.Until = None,
    window: sides.Window = None,
    store_option: sides.StoreOptions = None,
) -> None:
    """Say which part of a change in latency is CPU, and which is waiting, and where.

    A run folder holds profiles by type: cpu, and wall or offcpu, or block and mutex. Latency and CPU that are
    not given are those of each run.json (p50_us, p99_us, cpu_s, wall_s).
    """
    require_arithmetic()
    import json

    from otelprof.cli.output import write
    from otelprof.gate.explain import explain as explained
    from otelprof.gate.explain_report import as_json, as_markdown, as_text
    from otelprof.gate.figures import measured, merged
    from otelprof.gate.runs import Work

    if (before is None) != (after is None):
        message = "give --before and --after, or neither"
        raise typer.BadParameter(message)
    try:
        divided_by = Work.parse(work)
        told = _told((latency_before, cpu_before), (latency_after, cpu_after), figures)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    cut = sides.cut_of(window, None, sides.DEFAULT_WINDOW)
    arguments = sides.StoreArguments(store, store_option, service, label, since, until, cut)
    reader = sides.Sides(arguments, work=divided_by.key)
    runs_before, runs_after = (() if side is None else reader.read(side).runs for side in (before, after))
    of_runs = measured(runs_before, runs_after, divided_by)
    found = explained(runs_before, runs_after, merged(told, of_runs), divided_by)
    content = {
        PageFormat.TEXT: lambda: as_text(found),
        PageFormat.MARKDOWN: lambda: as_markdown(found),
        PageFormat.JSON: lambda: json.dumps(as_json(found), indent=2) + "\n",
    }
    write(content[kind](), None)


def _told(
    before: tuple[list[str] | None, str | None], after: tuple[list[str] | None, str | None], path: Path | None
) -> Figures:
    """The figures of the command line, or of a file.

    Raises:
        ValueError: one is none, or both are given.
    """
    from otelprof.cli.audit import content_of
    from otelprof.gate.figures import figures, parse_figures, parse_file

    sides = [parse_figures(latency or [], cpu) for latency, cpu in (before, after)]
    if sides[0].keys() != sides[1].keys():
        message = "give the same figures before and after"
        raise ValueError(message)
    if path is None:
        return figures(*sides)
    if sides[0]:
        message = "give --figures, or the figures one by one"
        raise ValueError(message)
    return parse_file(content_of(path, MAX_FIGURES_BYTES))
