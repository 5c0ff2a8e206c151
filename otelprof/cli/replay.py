"""`otelprof replay`: recorded requests to any OTLP/gRPC endpoint."""

# ruff: noqa: PLC0415 - what is not needed for `--help` is imported where it is used

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otelprof.cli.replay_client import Tally, Target

_SUFFIXES: Final = {".otlp", ".pb"}
_INTERRUPTED: Final = 130  # 128 and the number of SIGINT, as a shell has it


class Compression(StrEnum):
    """How requests are compressed."""

    GZIP = "gzip"
    NONE = "none"


def replay(  # noqa: PLR0913 - the options of the command
    files: Annotated[
        list[Path], typer.Argument(help="Request bodies, or folders with *.otlp and *.pb files.")
    ],
    *,
    endpoint: Annotated[str, typer.Option(help="Where to send, as host:port.")] = "127.0.0.1:4317",
    repeat: Annotated[int, typer.Option(min=1, help="How often to send each file.")] = 1,
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Connections, with one call on each.")] = 1,
    header: Annotated[list[str] | None, typer.Option(help="name=value, sent with each request.")] = None,
    compression: Annotated[Compression, typer.Option(help="Of the requests.")] = Compression.NONE,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds for one attempt.")] = 10.0,
    tls: Annotated[bool, typer.Option("--tls", help="Use TLS, with the system's certificates.")] = False,
) -> None:
    """Send recorded requests, and say what became of them. Exits with 1 when one failed.

    A request that is answered with a time to wait (RetryInfo) is sent again after it, for up to a minute.
    """
    # gRPC would write lines of its own; what went wrong is told at the end.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")

    from otelprof.cli.replay_client import Target

    paths = _recordings(files)
    headers = tuple(_header(text) for text in header or ())
    target = Target(_target(endpoint), headers, compression.value, timeout, tls)
    try:
        tally = _send(paths * repeat, target, concurrency)
    except OSError as error:
        message = f"{error.filename} cannot be read: {error.strerror}"
        raise typer.BadParameter(message) from error
    _print_tally(tally, endpoint)
    if tally.interrupted:
        raise typer.Exit(_INTERRUPTED)
    if tally.failed:
        raise typer.Exit(1)


def _recordings(arguments: Sequence[Path]) -> list[Path]:
    paths: list[Path] = []
    for argument in arguments:
        if argument.is_dir():
            found = sorted(path for path in argument.rglob("*") if path.suffix in _SUFFIXES)
            if not found:
                message = (
                    f"{argument} holds no {' and no '.join(f'*{one}' for one in sorted(_SUFFIXES))} file"
                )
                raise typer.BadParameter(message)
            paths += found
        elif argument.is_file():
            paths.append(argument)
        else:
            message = f"{argument} is neither a file nor a folder"
            raise typer.BadParameter(message)
    return paths


def _target(text: str) -> str:
    """An endpoint as gRPC wants it; the schemes that an exporter's endpoint may have are left out."""
    from otelprof.config.endpoint import Endpoint

    try:
        endpoint = Endpoint.parse(text.removeprefix("http://").removeprefix("https://").rstrip("/"))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    return str(endpoint)


def _header(text: str) -> tuple[str, str]:
    from otelprof.config.header import check_header

    name, equals, value = text.partition("=")
    if not equals:
        # Not shown: it may be the value, which may be secret.
        message = "a header is written name=value"
        raise typer.BadParameter(message)
    try:
        return check_header(name, value), value
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _send(paths: Sequence[Path], target: Target, concurrency: int) -> Tally:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from otelprof.cli.output import stderr
    from otelprof.cli.replay_client import Replayer

    columns = (TextColumn("replay"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr, transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("replay", total=len(paths))
        return Replayer(target, concurrency, lambda: progress.advance(task)).send(paths)


def _print_tally(tally: Tally, endpoint: str) -> None:
    from otelprof.cli.output import stdout
    from otelprof.telemetry.text import counted

    def line(name: str, text: str) -> None:
        stdout.print(f"{name:<9} {text}", markup=False)

    requests = f"{tally.accepted} accepted, {tally.failed.total()} failed"
    if tally.retries:
        requests += f", {tally.retries} sent again"
    line("requests", f"{requests} ({endpoint})" + (", interrupted" if tally.interrupted else ""))
    for status, count in tally.failed.most_common():
        line("", f"{count} {status}: {tally.first_messages[status]}")
    if tally.rejected_profiles or tally.first_rejection:
        rejected = counted(tally.rejected_profiles, "profile")
        line("rejected", f"{rejected}; first answer: {tally.first_rejection}")
    if not tally.accepted:
        return
    megabytes = tally.sent_bytes / 1e6
    rate = megabytes / tally.elapsed_secs if tally.elapsed_secs else 0.0
    line("bytes", f"{megabytes:.2f} MB in {tally.elapsed_secs:.2f} s, {rate:.1f} MB/s")
    quantiles = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    latencies = (f"{name} {tally.latency_secs(q) * 1000:.1f} ms" for name, q in quantiles.items())
    line("latency", ", ".join(latencies))
