"""Text from the wire, made safe for a terminal and for a log."""

from __future__ import annotations

from typing import Final

MAX_CHARS: Final = 500


def counted(number: int, noun: str) -> str:
    """A number with its noun: 1 profile, 2,000 profiles."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def printable(text: str, max_chars: int = MAX_CHARS) -> str:
    r"""The text on one line, with control and invisible characters as `\x1b`, cut at a length.

    An escape sequence in a function's name must not move a cursor or hide a line.
    """
    cut = text if len(text) <= max_chars else f"{text[: max_chars - 1]}…"
    if cut.isprintable():
        return cut
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in cut)
