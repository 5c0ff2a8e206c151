"""`otelprof gate`: do the runs of a candidate cost more than those of the baseline?"""

# ruff: noqa: PLC0415 - what is not needed for `--help` is imported where it is used

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperGroup

from otelprof.cli import gate_options as options
from otelprof.cli import sides
from otelprof.cli.gate_calibrate import calibrate
from otelprof.cli.gate_override import override
from otelprof.cli.report_format import PageFormat

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otelprof.gate.check import Checked
    from otelprof.gate.config import GateConfig
    from otelprof.gate.override import Scope

WRONG_USAGE: Final = 3
"""The exit code of wrong usage and unreadable input: 1 and 2 are verdicts."""


# As this version of typer has it; a wrong option is one, as a bad value of it is.
_USAGE_ERROR: Final = typer.BadParameter.__mro__[1]


class GateGroup(TyperGroup):
    """Commands whose exit codes 1 and 2 are verdicts, so that wrong usage and unreadable input are 3."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as typer has it
        """Read the command line."""
        with _as_wrong_usage():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - as typer has it
        """Run the command, or one below it."""
        with _as_wrong_usage():
            return super().invoke(ctx)


@contextmanager
def _as_wrong_usage() -> Iterator[None]:
    from otelprof.cli.output import print_error
    from otelprof.errors import OtelprofError

    try:
        yield
    except OtelprofError as error:
        print_error(error)
        raise typer.Exit(WRONG_USAGE) from error
    except Exception as error:
        if isinstance(error, _USAGE_ERROR):
            error.exit_code = WRONG_USAGE  # type: ignore[attr-defined] # of every usage error
        raise


app = typer.Typer(name="gate", cls=GateGroup, invoke_without_command=True, no_args_is_help=False)
app.command()(calibrate)
app.command()(override)


@app.callback()
def gate(  # noqa: PLR0913 - the options of the command
    context: typer.Context,
    *,
    baseline: Annotated[str | None, typer.Option(help=f"The runs of the baseline: {sides.SIDE}.")] = None,
    candidate: Annotated[str | None, typer.Option(help="The runs of the candidate.")] = None,
    config: options.ConfigFile = None,
    work: options.WorkUnit = None,
    kind: Annotated[PageFormat, typer.Option("--format", help="What to write.")] = PageFormat.TEXT,
    explain: Annotated[str | None, typer.Option(help="Say all that is known of a function.")] = None,
    flame_graph: Annotated[
        Path | None, typer.Option("--flamegraph", help="Write the differential flame graph (SVG) here.")
    ] = None,
    audit_log: Annotated[
        Path | None, typer.Option(help="Show the overrides of this log, and pass what they are for.")
    ] = None,
    repository: Annotated[str | None, typer.Option(help="With --audit-log: as owner/name.")] = None,
    pull_request: Annotated[int | None, typer.Option(help="With --audit-log: its number.")] = None,
    commit: Annotated[str | None, typer.Option(help="With --audit-log: that is looked at, in full.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where the report goes; stdout without it.")
    ] = None,
    service: Annotated[str | None, typer.Option(help="Only of this service.name.")] = None,
    store: sides.Store = None,
    label: sides.Labels = None,
    since: sides.Since = None,
    until: sides.Until = None,
    window: sides.Window = None,
    run_label: sides.RunLabel = None,
    store_option: sides.StoreOptions = None,
) -> None:
    """Say whether a candidate costs more: exits with 0 PASS, 1 FAIL, 2 INCONCLUSIVE, 3 on errors."""
    if context.invoked_subcommand is not None:
        return
    if baseline is None or candidate is None:
        message = "--baseline and --candidate are both needed: each a folder of runs, or a selection"
        raise typer.BadParameter(message)
    options.require_arithmetic()
    from otelprof.cli.output import write
    from otelprof.gate.check import Verdict
    from otelprof.gate.override import Scope
    from otelprof.gate.report import report

    cut = sides.cut_of(window, run_label, sides.DEFAULT_WINDOW)
    arguments = sides.StoreArguments(store, store_option, service, label, since, until, cut)
    checked = _checked((baseline, candidate), arguments, options.read_config(config), work, explain)
    drawn = None if flame_graph is None else _flame_graph(checked)
    if drawn is None:
        flame_graph = None
    else:
        write(drawn, flame_graph)
    said = report(checked)
    if audit_log is not None:
        said = _overridden(said, audit_log, Scope(repository, pull_request, commit))
    write(_written(said, checked, kind, explain, flame_graph), output)
    raise typer.Exit(Verdict(said["verdict"]).exit_code)


def _checked(
    texts: tuple[str, str],
    arguments: sides.StoreArguments,
    settings: GateConfig,
    work: str | None,
    explain: str | None,
) -> Checked:
    """Read both sides, and compare them."""
    from otelprof.clock import SystemClock
    from otelprof.gate.check import check

    unit = options.work_unit(work, settings)
    reader = sides.Sides(arguments, settings.types, settings.service, unit.key)
    before, after = (reader.read(text) for text in texts)
    if work is None:
        unit = sides.unit_of((before, after), unit)
    keep = () if explain is None else (explain,)
    return check(before.runs, after.runs, settings, unit, now=SystemClock().now(), keep=keep)


def _overridden(said: dict[str, Any], log: Path, scope: Scope) -> dict[str, Any]:
    """The report with the overrides of an audit log.

    Raises:
        PermanentError: a record is no override.
    """
    from datetime import UTC, datetime

    from otelprof.cli.audit import verified_log
    from otelprof.errors import PermanentError
    from otelprof.gate.overridden import overridden
    from otelprof.gate.override import overrides

    try:
        found = overrides(verified_log(log).records)
    except ValueError as error:
        message = f"{log}: {error}"
        raise PermanentError(message) from error
    return overridden(said, found, scope, datetime.now(UTC))


def _written(
    said: dict[str, Any], checked: Checked, kind: PageFormat, explain: str | None, flame_graph: Path | None
) -> str:
    import json

    from otelprof.gate.report import explained
    from otelprof.gate.report_text import explanation, markdown, text

    known = [] if explain is None else explained(checked, explain)
    if explain is not None and not known:
        message = f"no function is called {explain}, or ends so, in what was compared"
        raise typer.BadParameter(message)
    if kind is PageFormat.JSON:
        return json.dumps(said | ({"explained": known} if known else {}), indent=2, allow_nan=False) + "\n"
    if kind is PageFormat.MARKDOWN:
        written = markdown(said, flame_graph=None if flame_graph is None else flame_graph.name)
        return written + (f"\n```\n{explanation(known).replace('`', '')}```\n" if known else "")
    return text(said) + (explanation(known) if known else "")


def _flame_graph(checked: Checked) -> str | None:
    """The differential flame graph of what was compared first; None when nothing was, which is said."""
    from otelprof.cli.output import print_warnings
    from otelprof.errors import ConfigProblem
    from otelprof.gate.difference import svg_of

    for compared in checked.compared:
        if compared.displacement is not None:
            return svg_of(compared.displacement.comparison, compared.label)
    print_warnings([ConfigProblem("", "no flame graph was written: no type of profile has two runs a side")])
    return None
