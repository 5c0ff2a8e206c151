"""Text from the wire, made safe for Markdown."""

from __future__ import annotations

from typing import Final

from otelprof.telemetry.text import MAX_CHARS, printable

_MARKUP: Final = frozenset("\\`*_[]<>&|~@#!{}$\"'")
_REFERS: Final = frozenset("@#")
_JOINER: Final = "&#8288;"  # no space and no break, and no name goes on behind it


def code(text: str, max_chars: int = MAX_CHARS) -> str:
    """A name in a fixed width that is no markup, no end of a cell, no mention and no HTML, whatever it holds.

    Not between backticks, which a name may hold itself: in HTML, with references for what could be markup.
    """
    return f"<code>{plain(text, max_chars).replace(_JOINER, '')}</code>"


def plain(text: str, max_chars: int = MAX_CHARS) -> str:
    """A text that is no markup, mentions nobody and refers to nothing, whatever it holds."""
    return "".join(
        f"&#{ord(char)};{_JOINER if char in _REFERS else ''}" if char in _MARKUP else char
        for char in printable(text, max_chars)
    )
