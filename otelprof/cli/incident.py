"""`otelprof incident`: everything of a service is kept for a while, in a running otelprof."""

# ruff: noqa: PLC0415, PLR0913 - what is not needed for `--help` is imported where it is used; options of commands

from __future__ import annotations

import math
from typing import Annotated, Final

import typer

from otelprof.admin.endpoint import DEFAULT_ENDPOINT
from otelprof.cli.admin import (
    CaFileOption,
    CertFileOption,
    EndpointOption,
    KeyFileOption,
    ServiceOption,
    WhoOption,
    caller,
    connect,
)
from otelprof.cli.report_format import ReportFormat

_SECS_IN_MINUTE: Final = 60
_MAX_MINUTES: Final = 525_600  # a year; the configuration sets a limit of its own

app = typer.Typer(
    name="incident",
    help="Keep everything of a service for a while: start, stop, list.",
    no_args_is_help=True,
)


@app.command()
def start(
    *,
    service: ServiceOption,
    minutes: Annotated[float, typer.Option(min=0.001, max=_MAX_MINUTES, help="How long; it ends by itself.")],
    reason: Annotated[str, typer.Option(help="Why, for the log and for others.")],
    who: WhoOption = None,
    endpoint: EndpointOption = DEFAULT_ENDPOINT,
    ca_file: CaFileOption = None,
    cert_file: CertFileOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Keep everything of a service from now on, in every pipeline. Replaces an incident that it has."""
    from otelprof.cli.output import stdout
    from otelprof.cli.status_text import incident_line

    if math.isnan(minutes):
        message = "nan is no number of minutes"
        raise typer.BadParameter(message, param_hint="--minutes")
    with connect(endpoint, ca_file, cert_file, key_file) as client:
        started = client.start_incident(service, reason, minutes * _SECS_IN_MINUTE, caller(who))
    stdout.print(incident_line(started), markup=False)


@app.command()
def stop(
    *,
    service: ServiceOption,
    who: WhoOption = None,
    endpoint: EndpointOption = DEFAULT_ENDPOINT,
    ca_file: CaFileOption = None,
    cert_file: CertFileOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """End the incident of a service now."""
    from otelprof.cli.output import stdout
    from otelprof.telemetry.text import printable

    with connect(endpoint, ca_file, cert_file, key_file) as client:
        stopped = client.stop_incident(service, caller(who))
    stdout.print(f"{printable(stopped.service)}: sampled as its rules say", markup=False)


@app.command(name="list")
def list_(
    *,
    kind: Annotated[ReportFormat, typer.Option("--format", help="For people, or for machines.")] = (
        ReportFormat.TEXT
    ),
    endpoint: EndpointOption = DEFAULT_ENDPOINT,
    ca_file: CaFileOption = None,
    cert_file: CertFileOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Print the incidents that last, one a line."""
    import json

    from otelprof.cli.output import stdout
    from otelprof.cli.status import plain
    from otelprof.cli.status_text import incident_line

    with connect(endpoint, ca_file, cert_file, key_file) as client:
        found = client.incidents()
    if kind is ReportFormat.JSON:
        typer.echo(json.dumps(plain(found), indent=2))
        return
    for one in found.incidents:
        stdout.print(incident_line(one), markup=False)
    if not found.incidents:
        stdout.print("no incident", markup=False)
