"""Which files a command line means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otelprof.telemetry.text import counted, printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SUFFIXES: Final = (".folded", ".json", ".jsonl", ".otlp", ".pb", ".pb.gz", ".pprof", ".prof")
"""Of the files that are looked for in a folder; a file that is named is read whatever its name."""


def find(arguments: Sequence[Path]) -> list[Path]:
    """The files that are named, and those in the folders that are, in order.

    Raises:
        ValueError: nothing is there; says what.
    """
    paths: list[Path] = []
    for argument in arguments:
        if argument.is_dir():
            found = sorted(path for path in argument.rglob("*") if path.name.endswith(SUFFIXES))
            if not found:
                message = f"{argument} holds no file with one of the endings {', '.join(SUFFIXES)}"
                raise ValueError(message)
            paths += found
        elif argument.is_file():
            paths.append(argument)
        else:
            message = f"{argument} is neither a file nor a folder"
            raise ValueError(message)
    return paths


def torn_in_words(path: Path | str, torn_bytes: int) -> str:
    """What a reader is told of a file whose last record is not whole."""
    return f"{printable(str(path))} is torn: its last {counted(torn_bytes, 'byte')} are no whole record"
