"""How a command reaches the admin service of a running otelprof, and who is calling."""

# ruff: noqa: PLC0415 - what is not needed for `--help` is imported where it is used

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from otelprof.admin.client import AdminClient

_TOKEN: Final = "OTELPROF_ADMIN_TOKEN"  # noqa: S105 - the name of the variable

EndpointOption = Annotated[
    str, typer.Option(help="Of the admin extension: unix:///path or host:port.", envvar="OTELPROF_ADMIN")
]
CaFileOption = Annotated[
    Path | None,
    typer.Option(help="Use TLS: who signed the server's certificate, PEM.", envvar="OTELPROF_ADMIN_CA_FILE"),
]
CertFileOption = Annotated[
    Path | None,
    typer.Option(help="Your certificate, PEM, for mutual TLS.", envvar="OTELPROF_ADMIN_CERT_FILE"),
]
KeyFileOption = Annotated[
    Path | None, typer.Option(help="Its private key, PEM.", envvar="OTELPROF_ADMIN_KEY_FILE")
]
ServiceOption = Annotated[str, typer.Option(help="Its service.name.")]
WhoOption = Annotated[
    str | None, typer.Option(help="Who makes the change, for the log; without it your login name.")
]


def connect(
    endpoint: str, ca_file: Path | None, cert_file: Path | None, key_file: Path | None
) -> AdminClient:
    """A client as the options and the environment have it; the token comes from `OTELPROF_ADMIN_TOKEN`.

    Raises:
        typer.BadParameter: endpoint or token have another form, or options do not fit together.
        ConfigError: a file cannot be read, or is not PEM.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")

    from otelprof.admin.client import AdminClient
    from otelprof.admin.endpoint import UnixSocket, parse_endpoint
    from otelprof.cli.health import channel_credentials
    from otelprof.config.header import check_header

    credentials, token = channel_credentials(ca_file, cert_file, key_file), os.environ.get(_TOKEN) or None
    try:
        check_header("authorization", token or "")
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=_TOKEN) from error
    try:
        where = parse_endpoint(endpoint)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--endpoint") from error
    if token and credentials is None and not (isinstance(where, UnixSocket) or where.is_loopback):
        message = f"the token would go to {where} in the clear: give --ca-file"
        raise typer.BadParameter(message, param_hint="--endpoint")
    return AdminClient(where, token, credentials)


def caller(who: str | None) -> str:
    """Who makes a change: what they say, or their login name, also behind sudo."""
    from getpass import getuser

    if who is None:
        who = os.environ.get("SUDO_USER")
    if who is not None:
        return who
    try:
        return getuser()
    except (KeyError, OSError):  # a user without a name, as in a container
        return f"uid {os.getuid()}"
