"""`otelprof status`: what a running otelprof does now."""

# ruff: noqa: PLC0415 - what is not needed for `--help` is imported where it is used

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from otelprof.admin.endpoint import DEFAULT_ENDPOINT
from otelprof.cli.admin import CaFileOption, CertFileOption, EndpointOption, KeyFileOption, connect
from otelprof.cli.report_format import ReportFormat

if TYPE_CHECKING:
    from google.protobuf.message import Message


def status(
    *,
    kind: Annotated[ReportFormat, typer.Option("--format", help="For people, or for machines.")] = (
        ReportFormat.TEXT
    ),
    endpoint: EndpointOption = DEFAULT_ENDPOINT,
    ca_file: CaFileOption = None,
    cert_file: CertFileOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Say what a running otelprof keeps, for which incidents, and what its components have counted."""
    with connect(endpoint, ca_file, cert_file, key_file) as client:
        answers = client.incidents(), client.thresholds(), client.pipelines()
    if kind is ReportFormat.TEXT:
        from rich.console import Console

        from otelprof.cli.status_text import print_status

        print_status(Console(markup=False, highlight=False, emoji=False), *answers)
        return
    import json

    incidents, thresholds, pipelines = map(plain, answers)
    typer.echo(
        json.dumps(
            {**incidents, "sampling": thresholds["processors"], **pipelines}, indent=2, ensure_ascii=False
        )
    )


def plain(message: Message) -> dict[str, Any]:
    """A message as JSON has it: every field, by the names of the .proto."""
    from google.protobuf.json_format import MessageToDict

    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
