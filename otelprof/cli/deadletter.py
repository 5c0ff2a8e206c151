"""`otelprof deadletter`: the requests of a queue on disk that could not be delivered, and were put aside."""

# ruff: noqa: PLC0415 - what is not needed for `--help` is imported where it is used

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from otelprof.cli.report_format import ReportFormat

if TYPE_CHECKING:
    from otelprof.log.dead_letters import DeadLetter, DeadLetters, Kept

app = typer.Typer(
    name="deadletter",
    help="Requests of a queue on disk that could not be delivered: list, show, retry, drop.",
    no_args_is_help=True,
)

DirectoryOption = Annotated[
    Path,
    typer.Option(
        help="The directory of the file_storage extension.", envvar="OTELPROF_STORAGE", file_okay=False
    ),
]
IdsArgument = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="As `list` has them.")]
AllOption = Annotated[bool, typer.Option("--all", help="All there are.")]
FormatOption = Annotated[ReportFormat, typer.Option("--format", help="For people, or for machines.")]


@app.command(name="list")
def list_(*, directory: DirectoryOption, kind: FormatOption = ReportFormat.TEXT) -> None:
    """Print them, the oldest first."""
    from otelprof.cli.output import stderr, stdout
    from otelprof.cli.store_report import print_json
    from otelprof.errors import PermanentError

    letters = _folder(directory)
    found = []
    for kept in letters.all():
        try:
            found.append((kept, letters.read(kept)))
        except PermanentError as error:
            stderr.print(str(error), markup=False)
    if kind is ReportFormat.JSON:
        print_json([_json(letters, kept, letter) for kept, letter in found])
    elif found:
        _print_table(found)
    else:
        stdout.print("no dead letter")


@app.command()
def show(
    id_: Annotated[str, typer.Argument(metavar="ID", help="As `list` has it, or the beginning of it.")],
    *,
    directory: DirectoryOption,
    kind: FormatOption = ReportFormat.TEXT,
) -> None:
    """Print all that is known of one; `otelprof inspect` reads the file that it names."""
    from otelprof.cli.output import stdout
    from otelprof.cli.store_report import print_json
    from otelprof.telemetry.text import printable

    letters = _folder(directory)
    kept = letters.find(id_)
    found = _json(letters, kept, letters.read(kept))
    if kind is ReportFormat.JSON:
        print_json(found)
        return
    for key, value in found.items():
        stdout.print(f"{key + ':':<14} {printable(str(value))}", markup=False)


@app.command()
def retry(ids: IdsArgument = None, *, directory: DirectoryOption, everything: AllOption = False) -> None:
    """Have them delivered: by the otelprof that runs on the directory, within seconds, or when it starts."""
    from otelprof.cli.output import stdout
    from otelprof.telemetry.text import counted

    letters = _folder(directory)
    chosen = _chosen(letters, ids or [], everything=everything)
    for kept in chosen:
        letters.retry(kept)
    stdout.print(f"{counted(len(chosen), 'dead letter')} will be tried again")


@app.command()
def drop(ids: IdsArgument = None, *, directory: DirectoryOption, everything: AllOption = False) -> None:
    """Remove them for good."""
    from otelprof.cli.output import stdout
    from otelprof.telemetry.text import counted

    letters = _folder(directory)
    removed = sum(letters.remove(kept) for kept in _chosen(letters, ids or [], everything=everything))
    stdout.print(f"{counted(removed, 'dead letter')} removed")


def _folder(directory: Path) -> DeadLetters:
    """The folder of the dead letters of a storage.

    Raises:
        PermanentError: the storage is not there, or is none, or is somebody else's.
    """
    import os

    from otelprof.errors import PermanentError
    from otelprof.log.dead_letters import FOLDER_NAME, DeadLetters
    from otelprof.log.journal import FILE_NAME

    if not (directory / FILE_NAME).exists():
        message = f"{directory} has no {FILE_NAME}: give the directory of the file_storage extension"
        raise PermanentError(message)
    folder = directory / FOLDER_NAME
    if folder.exists() and not os.access(folder, os.R_OK | os.X_OK):
        message = f"{folder} cannot be read: run this as the user that otelprof runs as"
        raise PermanentError(message)
    return DeadLetters(folder)


def _chosen(letters: DeadLetters, ids: list[str], *, everything: bool) -> list[Kept]:
    """Those that were named, or all.

    Raises:
        typer.BadParameter: neither was asked for, or both.
        PermanentError: one is not there.
    """
    if everything == bool(ids):
        message = "name dead letters, or give --all"
        raise typer.BadParameter(message)
    return letters.all() if everything else [letters.find(id_) for id_ in dict.fromkeys(ids)]


def _json(letters: DeadLetters, kept: Kept, letter: DeadLetter) -> dict[str, Any]:
    """One of them for a program; times are RFC 3339."""
    return {
        "id": kept.id,
        **letter.model_dump(mode="json"),
        "size_bytes": kept.size_bytes,
        "to_retry": kept.to_retry,
        "file": str(letters.body_path(kept)),
    }


def _print_table(found: list[tuple[Kept, DeadLetter]]) -> None:
    from rich.text import Text

    from otelprof.cli.store_report import new_table, print_table
    from otelprof.telemetry.text import printable

    table = new_table(("id", "exporter", "reason", "last attempt"), ("attempts", "samples"))
    table.add_column("message")
    for kept, letter in found:
        table.add_row(
            kept.id,
            Text(printable(letter.exporter)),
            "to be tried again" if kept.to_retry else letter.reason,
            f"{letter.last_attempt:%Y-%m-%d %H:%M:%S}Z",
            f"{letter.attempts:,}",
            f"{letter.samples:,}",
            Text(printable(letter.message)),
        )
    print_table(table)
