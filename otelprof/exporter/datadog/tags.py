"""Datadog's tags: `key:value`, joined by commas, with nothing to escape a comma by."""

from __future__ import annotations

import re
from typing import Final

MAX_TAG_CHARS: Final = 200
"""Datadog's documentation, "Define tags"; the colon is one of them."""

_OTHER: Final = re.compile(r"[^\w./:-]")


def clean(text: str) -> str:
    """The text with `_` for what no tag may hold; without colons at its ends."""
    return _OTHER.sub("_", text).strip(":")


def tag(key: str, value: str) -> str | None:
    """A tag that Datadog takes; None when nothing is left of it.

    Args:
        key: begins with a letter.
        value: of the wire: any text.
    """
    key, value = clean(key), clean(value)
    if not key[:1].isalpha() or not value:
        return None
    return f"{key}:{value}"[:MAX_TAG_CHARS].rstrip(":")
