"""`otelprof inspect`: what files of profiles hold, and the same in other formats."""

# ruff: noqa: PLC0415 - what is not needed for `--help` is imported where it is used

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otelprof._core import Profiles
    from otelprof.cli.inspection import Inspection

_MAX_MERGED_BYTES: Final = 1 << 30
_MERGE_AT_BYTES: Final = 64 << 20
_MAX_TOP: Final = 10_000
_NOTHING: Final = "there is no sample to write: see what --format text says, and the filters"


class OutputFormat(StrEnum):
    """What is written."""

    TEXT = "text"
    JSON = "json"
    SVG = "svg"
    FOLDED = "folded"
    SPEEDSCOPE = "speedscope"
    PPROF = "pprof"
    OTLP = "otlp"


# What is made of one request that holds everything; the rest is made of sums.
_OF_REQUEST: Final = frozenset((OutputFormat.SPEEDSCOPE, OutputFormat.PPROF, OutputFormat.OTLP))
_BINARY: Final = frozenset((OutputFormat.PPROF, OutputFormat.OTLP))

Files = Annotated[
    list[Path],
    typer.Argument(
        help="Files, or folders of them: OTLP, OTLP/JSON, pprof, folded stacks; gzip or zstd too."
    ),
]


def inspect(  # noqa: PLR0913 - the options of the command
    files: Files,
    *,
    service: Annotated[str | None, typer.Option(help="Only of this service.name.")] = None,
    sample_type: Annotated[str | None, typer.Option("--type", help="Only of this sample type.")] = None,
    top: Annotated[
        int, typer.Option(min=1, max=_MAX_TOP, help="How many functions and stacks to show.")
    ] = 10,
    kind: Annotated[OutputFormat, typer.Option("--format", help="What to write.")] = OutputFormat.TEXT,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where to: a file, or a folder for pprofs; stdout without it."),
    ] = None,
) -> None:
    """Say what files of profiles hold, or write it in another format. Exits with 1 if one cannot be read."""
    from otelprof.cli.inspection import Chosen, Inspection
    from otelprof.cli.output import write
    from otelprof.recording.files import find

    if output is None and kind in _BINARY and sys.stdout.isatty():
        message = f"{kind.value} is binary and stdout is a terminal: write -o FILE"
        raise typer.BadParameter(message)
    try:
        paths = find(files)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    inspection = Inspection(Chosen(service, sample_type))
    merged = _read(inspection, paths, keep=kind in _OF_REQUEST)
    if kind is OutputFormat.PPROF and output is not None and output.is_dir():
        for name, body in _pprofs(merged).items():
            write(body, output / name)
    else:
        write(_content(inspection, merged, kind, top), output)
    if _notes(inspection):
        raise typer.Exit(1)


def _read(inspection: Inspection, paths: Sequence[Path], *, keep: bool) -> Profiles:
    """Read everything; all of it as one request when it is to be kept, nothing otherwise.

    Raises:
        RequestTooLargeError: that request would take too much memory.
    """
    from otelprof._core import Merger
    from otelprof.errors import RequestTooLargeError

    merger = Merger()
    kept: list[Profiles] = []
    for path in paths:
        for profiles in inspection.read(path):
            if not keep:
                continue
            kept.append(profiles)
            memory = [one.memory_bytes for one in kept]
            if sum(memory) > _MAX_MERGED_BYTES:
                message = (
                    f"the files take more than {_MAX_MERGED_BYTES} bytes of memory: name fewer, or filter"
                )
                raise RequestTooLargeError(message)
            if sum(memory[1:]) > _MERGE_AT_BYTES:
                kept = [merger.merge(kept)]
    return merger.merge(kept)


def _content(inspection: Inspection, merged: Profiles, kind: OutputFormat, top: int) -> str | bytes:
    """What is to be written.

    Raises:
        PermanentError: there is nothing to write.
    """
    write: dict[OutputFormat, Callable[[], str | bytes]] = {
        OutputFormat.TEXT: lambda: _text(inspection, top),
        OutputFormat.JSON: lambda: _json(inspection, top),
        OutputFormat.SVG: lambda: _svg(inspection),
        OutputFormat.FOLDED: lambda: _folded(inspection),
        OutputFormat.SPEEDSCOPE: lambda: _speedscope(inspection, merged),
        OutputFormat.PPROF: lambda: _pprof(merged),
        OutputFormat.OTLP: merged.to_otlp,
    }
    return write[kind]()


def _text(inspection: Inspection, top: int) -> str:
    import io

    from rich.console import Console

    from otelprof.cli.inspect_text import Report

    screen = Console(markup=False, highlight=False, emoji=False)
    out = io.StringIO()
    console = Console(
        file=out,
        force_terminal=screen.is_terminal,
        width=screen.width,
        markup=False,
        highlight=False,
        emoji=False,
    )
    Report(console, top).print(inspection)
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def _json(inspection: Inspection, top: int) -> str:
    import json

    from otelprof.cli.inspect_json import report

    return json.dumps(report(inspection, top), indent=2) + "\n"


def _folded(inspection: Inspection) -> str:
    _, stacks = _leading(inspection)
    return "".join(f"{stack} {value}\n" for stack, value in stacks)


def _speedscope(inspection: Inspection, merged: Profiles) -> bytes:
    _leading(inspection)
    return merged.to_speedscope(name=", ".join(Path(facts.name).name for facts in inspection.files))


def _pprof(merged: Profiles) -> bytes:
    """The one pprof that everything is.

    Raises:
        PermanentError: there is none, or more than one.
    """
    from otelprof.errors import PermanentError
    from otelprof.telemetry.text import counted

    bodies = list(_pprofs(merged).values())
    if len(bodies) > 1:
        message = (
            f"this makes {counted(len(bodies), 'pprof')}, one for each resource and window: write -o FOLDER "
            "to have all of them, or choose with --service and --type"
        )
        raise PermanentError(message)
    return bodies[0]


def _pprofs(merged: Profiles) -> dict[str, bytes]:
    """Each pprof under the name of its file, compressed as pprofs are.

    Raises:
        PermanentError: there is none.
    """
    import gzip

    from otelprof.errors import PermanentError

    pprofs = merged.to_pprof(combine=True)
    if not pprofs:
        raise PermanentError(_NOTHING)
    return {f"{number:04}.pb.gz": gzip.compress(one.body, mtime=0) for number, one in enumerate(pprofs)}


def _svg(inspection: Inspection) -> str:
    from otelprof._core import svg_from_folded
    from otelprof.errors import PermanentError
    from otelprof.telemetry.quantity import human
    from otelprof.telemetry.text import counted

    (name, unit), folded = _leading(inspection)
    stacks = inspection.stacks[name, unit]
    services = sorted({service for service, _, _ in inspection.total.sums})
    title = services[0] if len(services) == 1 else counted(len(services), "service")
    subtitle = f"{name}: {human(stacks.value, unit)} in {counted(stacks.samples, 'sample')}"
    try:
        # Callers on top: of stacks that are deeper than a screen, their beginning is what is seen first.
        return svg_from_folded(folded, title=title, subtitle=subtitle, unit=unit or "samples", inverted=True)
    except ValueError as error:
        raise PermanentError(str(error)) from error


def _leading(inspection: Inspection) -> tuple[tuple[str, str], list[tuple[str, int]]]:
    """The sample type to write, and its stacks.

    Raises:
        PermanentError: there is none.
    """
    from otelprof.errors import PermanentError

    leading = inspection.leading
    if leading is None:
        raise PermanentError(_NOTHING)
    return leading, inspection.stacks[leading].folded()


def _notes(inspection: Inspection) -> bool:
    """Say what is missing in what was written, on stderr; whether something could not be read."""
    from otelprof.cli.output import stderr
    from otelprof.recording.files import torn_in_words
    from otelprof.telemetry.text import counted, printable

    def note(text: str) -> None:
        stderr.print(printable(text, 5000), markup=False)

    leading = inspection.leading
    others = [f"{name}:{unit}" for name, unit in inspection.stacks if (name, unit) != leading]
    if leading is not None and others:
        note(f"note: stacks and functions are those of {':'.join(leading)}; with --type: {', '.join(others)}")
    for (name, _), stacks in inspection.stacks.items():
        if stacks.left_out:
            note(f"note: the {counted(stacks.left_out, 'coldest stack')} of {name} are summed up as (other)")
    for facts in inspection.files:
        if facts.torn_bytes:
            note(f"note: {torn_in_words(facts.name, facts.torn_bytes)}")
        for fault in facts.faults:
            note(f"error: {facts.name}: {fault}")
        if facts.unreadable > len(facts.faults):
            note(f"error: {facts.name}: {facts.unreadable - len(facts.faults)} more could not be read")
    return any(facts.unreadable for facts in inspection.files)
