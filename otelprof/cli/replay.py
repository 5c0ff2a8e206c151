"""`otelprof replay`: recorded profiles to any OTLP/gRPC endpoint."""

# ruff: noqa: PLC0415 - what is not needed for `--help` is imported where it is used

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from otelprof.cli.replay_client import Replayer, Tally, Target
    from otelprof.recording.reader import Record

_INTERRUPTED: Final = 130  # 128 and the number of SIGINT, as a shell has it


class Compression(StrEnum):
    """How requests are compressed."""

    GZIP = "gzip"
    NONE = "none"


def replay(  # noqa: PLR0913 - the options of the command
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Recordings, or folders of them: OTLP, OTLP/JSON, pprof, folded stacks; gzip or zstd too."
        ),
    ],
    *,
    endpoint: Annotated[str, typer.Option(help="Where to send, as host:port.")] = "127.0.0.1:4317",
    repeat: Annotated[int, typer.Option(min=1, help="How often to send each file.")] = 1,
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Connections, with one call on each.")] = 1,
    rate: Annotated[
        float | None, typer.Option(min=0.001, help="Requests a second; as fast as they go without it.")
    ] = None,
    restamp: Annotated[
        bool, typer.Option("--restamp", help="Move the times of each request, so that it ends now.")
    ] = False,
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
    from otelprof.recording.files import find

    try:
        paths = find(files)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    headers = tuple(_header(text) for text in header or ())
    target = Target(_target(endpoint), headers, compression.value, timeout, tls)
    tally = _send(paths * repeat, target, concurrency, rate=rate, restamp=restamp)
    _print_tally(tally, endpoint)
    if tally.interrupted:
        raise typer.Exit(_INTERRUPTED)
    if tally.failed:
        raise typer.Exit(1)


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


def _send(
    paths: Sequence[Path], target: Target, concurrency: int, *, rate: float | None, restamp: bool
) -> Tally:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from otelprof.cli.output import stderr
    from otelprof.cli.replay_client import Replayer

    columns = (TextColumn("replay"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr, transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("replay", total=sum(path.stat().st_size for path in paths))
        replayer = Replayer(
            target,
            concurrency,
            _restamped if restamp else _body,
            lambda record: progress.advance(task, record.stored_bytes),
            per_second=rate,
        )
        return replayer.send(_records(paths, replayer))


def _records(paths: Sequence[Path], replayer: Replayer) -> Iterator[Record]:
    """Every request of every file.

    Raises:
        BadParameter: a file cannot be read.
    """
    from otelprof.cli.output import stderr
    from otelprof.cli.replay_client import UNREADABLE
    from otelprof.errors import PermanentError
    from otelprof.recording.files import torn_in_words
    from otelprof.recording.reader import open_recording

    for path in paths:
        try:
            with open_recording(path) as recording:
                yield from recording
                if recording.torn_bytes:
                    stderr.print(f"note: {torn_in_words(path, recording.torn_bytes)}", markup=False)
        except OSError as error:
            message = f"{path} cannot be read: {error.strerror}"
            raise typer.BadParameter(message) from error
        except PermanentError as error:
            replayer.failed(UNREADABLE, f"{path}: {error}")


def _body(record: Record) -> bytes:
    """The request as it was recorded, byte for byte when it was OTLP.

    Raises:
        PermanentError: it cannot be read.
    """
    from otelprof.recording.reader import Format

    return record.body if record.format is Format.OTLP else record.decode().to_otlp()


def _restamped(record: Record) -> bytes:
    """The request as if it ended now.

    Raises:
        PermanentError: it cannot be read, or is longer than the time since 1970.
    """
    import time

    from otelprof.errors import PermanentError

    profiles = record.decode()
    if profiles.window is None:
        return profiles.to_otlp()
    try:
        return profiles.shifted(time.time_ns() - profiles.window[1]).to_otlp()
    except ValueError as error:
        raise PermanentError(str(error)) from error


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
