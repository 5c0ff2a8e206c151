"""`otelprof audit`: whether an audit log is whole, and what it holds."""

# ruff: noqa: PLC0415 - what is not needed for `--help` is imported where it is used

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from otelprof.cli.report_format import ReportFormat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otelprof.gate.anchor import AnchorStore
    from otelprof.gate.audit import Head, Record, Verified

DEFAULT_LOG: Final = Path("otelprof-audit.jsonl")
MAX_ANCHOR_BYTES: Final = 1 << 20
UNREADABLE: Final = 3

app: Final = typer.Typer(
    name="audit", help="Who overrode what: an audit log that shows when it was changed.", no_args_is_help=True
)

LogOption = Annotated[Path, typer.Option("--log", help="The audit log.", envvar="OTELPROF_AUDIT_LOG")]

AnchorOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--anchor-option",
        metavar="KEY=VALUE",
        help="Of the store that --anchor names, as aws_region=…; credentials are taken from the environment.",
    ),
]


@app.command()
def verify(
    *,
    log: LogOption = DEFAULT_LOG,
    head: Annotated[
        str | None, typer.Option(help="The hash that a record of it must have: that of the last one known.")
    ] = None,
    anchor: Annotated[
        str | None,
        typer.Option(
            help="A store that overrides were anchored in, as s3://bucket/audit or file:///…; or a file that"
            " holds what this printed earlier, as a tag's message; - is stdin."
        ),
    ] = None,
    anchor_option: AnchorOptions = None,
) -> None:
    """Say whether a log is whole, and print its head: the anchor for next time.

    That a log was cut off at its end, or written anew as a whole, is found by an anchor, and by nothing else.

    Exits with 0 when it is whole and goes on from the anchor, 1 when not, 3 when something cannot be read.
    """
    from otelprof.cli.output import stderr
    from otelprof.gate.audit import verify as verified
    from otelprof.telemetry.text import counted

    if head is not None and anchor is not None:
        message = "give --head or --anchor"
        raise typer.BadParameter(message)
    known = _anchor(head, anchor, anchor_option)
    if not log.exists() and known is None:
        unreadable(f"{log} is not there")
    found = verified(_content(log))
    lack = None if known is None else found.missing(known)
    if found.line is not None:
        stderr.print(f"{log}, line {found.line}: {found.problem}", markup=False)
    if lack is not None:
        stderr.print(f"{log}: {lack}", markup=False)
    if found.line is not None or lack is not None:
        raise typer.Exit(1)
    anchored = known.records if known is not None and anchor is not None and is_store(anchor) else None
    if anchored is not None and anchored < len(found.records):
        behind = counted(len(found.records) - anchored, "record")
        stderr.print(f"{log}: {behind} behind the anchor: what is cut off there is not seen", markup=False)
    typer.echo(str(found.head))


@app.command()
def show(
    *,
    log: LogOption = DEFAULT_LOG,
    kind: Annotated[ReportFormat, typer.Option("--format", help="For people, or for machines.")] = (
        ReportFormat.TEXT
    ),
) -> None:
    """Print the records of a log, oldest first, up to the first line that is wrong: it exits with 1 then."""
    import json

    from otelprof.cli.output import stderr, stdout
    from otelprof.gate.audit import verify as verified

    if not log.exists():
        unreadable(f"{log} is not there")
    found = verified(_content(log))
    if kind is ReportFormat.JSON:
        typer.echo(json.dumps([_plain(record) for record in found.records], indent=2))
    else:
        for record in found.records:
            stdout.print(_in_words(record), markup=False)
    if found.line is not None:
        stderr.print(f"{log}, line {found.line}: {found.problem}", markup=False)
        raise typer.Exit(1)


def unreadable(message: str) -> NoReturn:
    """Say that something cannot be read, and exit as for that."""
    from otelprof.cli.output import print_error
    from otelprof.errors import PermanentError

    print_error(PermanentError(message))
    raise typer.Exit(UNREADABLE)


def content_of(path: Path, max_bytes: int) -> bytes:
    """What a file holds, or stdin, which is `-`; exits when it cannot be read or is larger than that."""
    import sys

    try:
        if str(path) == "-":
            content = sys.stdin.buffer.read(max_bytes + 1)
        else:
            with path.open("rb") as file:
                content = file.read(max_bytes + 1)
    except OSError as error:
        unreadable(f"{path} cannot be read: {error.strerror or error}")
    if len(content) > max_bytes:
        unreadable(f"{path} has more than {max_bytes} bytes")
    return content


def verified_log(path: Path) -> Verified:
    """A log, whole; exits when it is not. There may be none yet: it is empty then."""
    from otelprof.gate.audit import verify as verified

    found = verified(_content(path))
    if found.line is not None:
        unreadable(f"{path}, line {found.line}: {found.problem}")
    return found


def _content(log: Path) -> bytes:
    from otelprof.errors import PermanentError
    from otelprof.gate.audit import read

    try:
        return read(log)
    except PermanentError as error:
        unreadable(str(error))


def is_store(anchor: str) -> bool:
    """Whether an anchor is in a store, and not in a file."""
    return "://" in anchor


def anchor_store(url: str, options: Sequence[str] | None, *, makes_folder: bool = False) -> AnchorStore:
    """The anchor in a store; exits when there can be none."""
    from otelprof.cli.store_options import pairs
    from otelprof.errors import PermanentError
    from otelprof.gate.anchor import AnchorStore

    try:
        return AnchorStore(url, pairs(options, "--anchor-option"), makes_folder=makes_folder)
    except PermanentError as error:
        unreadable(str(error))


def _anchor(head: str | None, anchor: str | None, options: Sequence[str] | None) -> Head | None:
    from otelprof.errors import OtelprofError
    from otelprof.gate.audit import Head, anchored_head

    if head is None and anchor is None:
        return None
    if anchor is not None and is_store(anchor):
        try:
            found = anchored_head(anchor_store(anchor, options))
        except OtelprofError as error:
            unreadable(str(error))
        return found or unreadable(f"nothing is anchored at {anchor}")
    text = head if anchor is None else content_of(Path(anchor), MAX_ANCHOR_BYTES).decode(errors="replace")
    try:
        return Head.parse(text or "")
    except ValueError as error:
        unreadable(f"{anchor or '--head'}: {error}")


def _plain(record: Record) -> dict[str, object]:
    from dataclasses import asdict

    return {**asdict(record), "time": record.time.isoformat()}


def _in_words(record: Record) -> str:
    import json

    from otelprof.gate.override import EVENT, Override
    from otelprof.telemetry.text import printable

    when = f"{record.sequence:>4}  {record.time:%Y-%m-%d %H:%M:%S}  "
    if record.event == EVENT:
        try:
            return f"{when}{Override.model_validate(record.data)}"
        except ValueError:
            pass  # what is no override is shown as it is
    return f"{when}{printable(record.event)} {printable(json.dumps(record.data, ensure_ascii=False))}"
