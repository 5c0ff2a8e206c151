"""Text from the wire, made safe for Markdown."""

from __future__ import annotations

from typing import Final

from otelprof.telemetry.text import MAX_CHARS, printable

_MARKUP: Final = frozenset("\\`*_[]<>&|~@#!{}$\"'")


def code(text: str, max_chars: int = MAX_CHARS) -> str:
    """A name in a fixed width that is no markup, no end of a cell, no mention and no HTML, whatever it holds.

    Not between backticks, which a name may hold itself: in HTML, with references for what could be markup.
    """
    return f"<code>{plain(text, max_chars)}</code>"


def plain(text: str, max_chars: int = MAX_CHARS) -> str:
    """A text that is no markup, whatever it holds. A mention of somebody is safe in `code` alone."""
    return "".join(f"&#{ord(char)};" if char in _MARKUP else char for char in printable(text, max_chars))
