"""`otelprof health`: whether an otelprof serves, as an exit code."""

# ruff: noqa: PLC0415 - what is not needed for `--help` is imported where it is used

from __future__ import annotations

import os
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import typer

if TYPE_CHECKING:
    import grpc

_CHECK: Final = "/grpc.health.v1.Health/Check"
# A HealthCheckResponse is its status alone: field 1, a varint (grpc.health.v1).
_STATUS: Final = {
    b"": "UNKNOWN",
    b"\x08\x01": "SERVING",
    b"\x08\x02": "NOT_SERVING",
    b"\x08\x03": "SERVICE_UNKNOWN",
}


class Health(NamedTuple):
    """What a server says of itself.

    One that says anything is alive; whether it is ready is `is_serving`.

    Attributes:
        status: of grpc.health.v1, or the gRPC status when it did not say.
        detail: why it did not say; empty when it did.
    """

    status: str
    detail: str = ""

    @property
    def is_serving(self) -> bool:
        """Whether requests may be sent to it."""
        return self.status == "SERVING"

    @property
    def is_alive(self) -> bool:
        """Whether it answered."""
        return not self.detail


def health(  # noqa: PLR0913 - the options of the command
    *,
    endpoint: Annotated[
        str,
        typer.Option(help="Of the OTLP/gRPC receiver, as host:port.", envvar="OTELPROF_HEALTH_ENDPOINT"),
    ] = "127.0.0.1:4317",
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds until there is no answer.")] = 3.0,
    ca_file: Annotated[
        Path | None, typer.Option(help="Use TLS: who signed the server's certificate, PEM.")
    ] = None,
    cert_file: Annotated[
        Path | None, typer.Option(help="The client's certificate, PEM, for mutual TLS.")
    ] = None,
    key_file: Annotated[Path | None, typer.Option(help="Its private key, PEM.")] = None,
    server_name: Annotated[
        str | None, typer.Option(help="The name in the server's certificate, if not the endpoint's host.")
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="Any answer will do: it is alive.")] = False,
) -> None:
    """Ask for the gRPC health of an otelprof; exits with 0 when it is SERVING, and with 1 otherwise.

    That is readiness; with --live, NOT_SERVING is an answer, too, as it is during service.shutdown_delay.

    For HEALTHCHECK in a Dockerfile, and for exec probes of Kubernetes.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    credentials = channel_credentials(ca_file, cert_file, key_file)
    try:
        found = check_health(endpoint, timeout, credentials, server_name)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--endpoint") from error
    text = f"no answer from {endpoint}: {found.status}: {found.detail}" if found.detail else found.status
    is_well = found.is_alive if live else found.is_serving
    typer.echo(text, err=not is_well)
    if not is_well:
        raise typer.Exit(1)


def check_health(
    endpoint: str,
    timeout_secs: float,
    credentials: grpc.ChannelCredentials | None = None,
    server_name: str | None = None,
) -> Health:
    """What the health service of a gRPC server says, or why it says nothing.

    Args:
        endpoint: `host:port`; no host is this machine.
        timeout_secs: for connection and answer together.
        credentials: of a server with TLS; None speaks in the clear.
        server_name: to expect in its certificate, instead of the host.

    Raises:
        ValueError: the endpoint has another form.
    """
    import grpc

    from otelprof.config.endpoint import Endpoint
    from otelprof.telemetry.text import printable

    where = Endpoint.parse(endpoint)
    target = str(Endpoint(where.host or "127.0.0.1", where.port))
    # A proxy would be asked whether it can see this machine's loopback.
    options: list[tuple[str, str | int]] = [("grpc.enable_http_proxy", 0)]
    if server_name:
        options.append(("grpc.ssl_target_name_override", server_name))
    channel = (
        grpc.insecure_channel(target, options)
        if credentials is None
        else grpc.secure_channel(target, credentials, options)
    )
    # Raw bytes: the question for the whole server is an empty message, and the answer is a single number.
    with channel:
        try:
            answer = channel.unary_unary(_CHECK, None, None)(b"", timeout=timeout_secs)
        except grpc.RpcError as error:
            return Health(error.code().name, printable(error.details() or "without a reason"))
    return Health(_STATUS.get(answer, "UNKNOWN"))


def channel_credentials(
    ca_file: Path | None, cert_file: Path | None, key_file: Path | None
) -> grpc.ChannelCredentials | None:
    """What the options of a command say of TLS; None without them.

    Raises:
        typer.BadParameter: one is missing that another needs.
        ConfigError: a file cannot be read, or is not PEM.
    """
    if (cert_file is None) != (key_file is None) or (cert_file is not None and ca_file is None):
        message = "--cert-file and --key-file need each other, and --ca-file"
        raise typer.BadParameter(message)
    if ca_file is None:
        return None
    import grpc

    from otelprof.config.pem import read_pem

    def read(path: Path | None, option: str) -> bytes | None:
        return None if path is None else read_pem(path, option)

    return grpc.ssl_channel_credentials(
        read_pem(ca_file, "--ca-file"), read(key_file, "--key-file"), read(cert_file, "--cert-file")
    )
