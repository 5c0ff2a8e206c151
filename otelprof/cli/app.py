"""The command `otelprof`."""

# ruff: noqa: PLC0415 - what is not needed for `--help` is imported where it is used

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from otelprof.cli.audit import app as audit
from otelprof.cli.compact import compact
from otelprof.cli.components import components
from otelprof.cli.cost import app as cost
from otelprof.cli.deadletter import app as deadletter
from otelprof.cli.diagnose import diagnose
from otelprof.cli.diff import diff
from otelprof.cli.explain import explain
from otelprof.cli.flamegraph import flamegraph
from otelprof.cli.gate import app as gate
from otelprof.cli.health import health
from otelprof.cli.impact import impact
from otelprof.cli.incident import app as incident
from otelprof.cli.inspect import inspect
from otelprof.cli.replay import replay
from otelprof.cli.run import run
from otelprof.cli.services import services
from otelprof.cli.status import status
from otelprof.cli.top import top
from otelprof.cli.traces import traces
from otelprof.cli.validate import validate

app = typer.Typer(
    name="otelprof",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # it shows local variables, and with them what must not be shown
)
for command in (run, validate, components, status, health, diagnose, inspect, replay, diff, compact):
    app.command()(command)
for of_store in (flamegraph, traces, top, services):
    app.command()(of_store)
for of_change in (impact, explain):
    app.command()(of_change)
app.add_typer(incident)
app.add_typer(cost)
app.add_typer(deadletter)
app.add_typer(gate)
app.add_typer(audit)


def main() -> None:
    """Run the command line. An error that a user can act on is printed without a traceback; exit code 1."""
    try:
        app()
    except Exception as error:
        from otelprof.cli.output import print_error
        from otelprof.errors import OtelprofError

        if not isinstance(error, OtelprofError):
            raise
        print_error(error)
        sys.exit(1)


def _print_version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"otelprof {version('otelprof')}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    _version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Receive, process and fan out OTLP profiles."""
