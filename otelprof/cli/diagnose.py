"""`otelprof diagnose`: what somebody who is to help has to know, in one file that holds no secret.

A zip: every desktop opens it with two clicks, so that a user can look before sending it. Nothing in it was
received or logged: there is no profile, and no line of a log.
"""

# ruff: noqa: PLC0415 - what is not needed for `--help` is imported where it is used

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from otelprof.config.resolve import Config

_TIMEOUT_SECS: Final = 2.0
_MAX_METRICS_BYTES: Final = 16 << 20

_FILES: Final = {
    "configuration.yaml": (
        "The configuration with its defaults. Cut: what keys or components call a secret, headers, "
        "credentials in URLs. Of a variable the name is here, never its value."
    ),
    "problems.txt": "What `otelprof validate` says of it; what is wrong with a secret or a variable is cut.",
    "versions.txt": "Versions of otelprof, its dependencies and plugins, of Python and the system.",
    "components.txt": "What `otelprof components` says: what a configuration can name.",
    "machine.txt": "Cores, memory, and the limits of the container and of the process that ran the command.",
    "health.txt": "Whether the running otelprof answers on its configured endpoints, and how.",
    "metrics.txt": (
        "The metrics of the running otelprof. They name your services, sample types and rules; they hold no "
        "profile, no function's name and no trace id."
    ),
}


def diagnose(
    config: Annotated[Path, typer.Option("--config", "-c", help="The configuration file.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The file to write, a .zip; it must not be there yet."),
    ] = None,
) -> None:
    """Collect what is needed to help you into one file, without secrets: look at it, then send it.

    Configuration, versions, components, limits of the machine, and the running otelprof's health and metrics
    when it answers on the configured endpoints. A README in it says what is where.
    """
    import time

    from otelprof.cli.output import stdout

    path = output or Path.cwd() / time.strftime("otelprof-diagnose-%Y%m%dT%H%M%SZ.zip", time.gmtime())
    files = _collect(config)
    _write(path, {"README.txt": _readme(), **files})
    for name in files:
        stdout.print(f"{name:<20} {_FILES[name]}", markup=False)
    stdout.print(f"Look at it before you send it: {path}", markup=False)


def _collect(path: Path) -> dict[str, str]:
    """The files by name."""
    import yaml

    from otelprof.cli.components import component_lines
    from otelprof.cli.disclosure import References, disclosed, told, without_secrets
    from otelprof.cli.surroundings import machine, versions
    from otelprof.config.load import read_document
    from otelprof.config.resolve import load_config
    from otelprof.errors import ConfigError

    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    written = read_document(path, References()).data
    config: Config | None = None
    try:
        config = load_config(path, os.environ)
    except ConfigError as error:
        shown = without_secrets(written, error.problems)
        problems = [f"error: {one}" for one in told(error.problems, written)]
    else:
        shown = disclosed(config, written)
        problems = [f"warning: {one}" for one in told(config.warnings, written)]
    return {
        "configuration.yaml": yaml.safe_dump(shown, sort_keys=False, allow_unicode=True),
        "problems.txt": _lines(problems or ["none"]),
        "versions.txt": _lines(versions()),
        "components.txt": _lines(component_lines()),
        "machine.txt": _lines(machine()),
        "health.txt": _lines(_health(config) if config else ["the configuration cannot be used"]),
        "metrics.txt": _metrics(config) if config else _lines(["the configuration cannot be used"]),
    }


def _readme() -> str:
    from otelprof.cli.disclosure import CUT

    head = (
        f"Written by `otelprof diagnose`. Look at every file before you send this: {CUT} stands for a secret."
    )
    return _lines([head, "", *(f"{name}: {what}" for name, what in _FILES.items())])


def _health(config: Config) -> Iterator[str]:
    """What each gRPC endpoint that runs says of itself."""
    from otelprof.cli.health import check_health
    from otelprof.component import Kind
    from otelprof.receiver.otlp import OtlpReceiverConfig

    used = {id_ for pipeline in config.pipelines.values() for id_ in pipeline.receivers}
    for id_, receiver in config.components[Kind.RECEIVER].items():
        if id_ not in used or not isinstance(receiver.config, OtlpReceiverConfig):
            continue
        grpc = receiver.config.protocols.grpc
        if grpc is None:
            yield f"receivers.{id_}: not asked: it speaks no gRPC"
        elif grpc.tls is not None:
            yield f"receivers.{id_}: not asked: it speaks TLS; see `otelprof health --ca-file`"
        elif grpc.endpoint.port == 0:
            yield f"receivers.{id_}: not asked: the system chose its port"
        else:
            # The status alone: the detail names the address, and that may come from the environment.
            yield f"receivers.{id_}: {check_health(str(grpc.endpoint), _TIMEOUT_SECS).status}"


def _metrics(config: Config) -> str:
    """What is served at the endpoint for metrics, or why there is nothing."""
    from http.client import HTTPConnection, HTTPException

    endpoint = config.telemetry.metrics.endpoint
    if endpoint is None or endpoint.port == 0:
        return _lines(["not asked: the configuration names no endpoint"])
    connection = HTTPConnection(endpoint.host or "127.0.0.1", endpoint.port, timeout=_TIMEOUT_SECS)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read(_MAX_METRICS_BYTES).decode(errors="replace")
    except (OSError, HTTPException) as error:
        reason = error.strerror if isinstance(error, OSError) else type(error).__name__
        return _lines([f"no answer: {reason or type(error).__name__}"])
    finally:
        connection.close()


def _write(path: Path, files: Mapping[str, str]) -> None:
    """Write a zip that only its owner can read, and no other file in its place.

    Raises:
        typer.BadParameter: it cannot be written.
    """
    from zipfile import ZIP_DEFLATED, ZipFile

    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror}"
        raise typer.BadParameter(message, param_hint="--output") from error
    with os.fdopen(descriptor, "wb") as file, ZipFile(file, "w", ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)


def _lines(lines: Iterator[str] | list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
