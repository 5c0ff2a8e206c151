"""Frozen values that every layer speaks of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

# The collector's own patterns (component.ID): a type, then optionally a name after a slash.
_TYPE: Final = re.compile(r"[a-zA-Z][0-9a-zA-Z_]{0,62}")
_NAME: Final = re.compile(r"[^/\s\x00-\x1f]{1,1024}")


@dataclass(frozen=True, order=True)
class ComponentId:
    """What the configuration calls a component: `type` or `type/name`, as in the collector.

    Raises:
        ValueError: from `parse`, for a text of another form.
    """

    type: str
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> ComponentId:
        """Read `type[/name]`."""
        kind, slash, name = text.partition("/")
        if not _TYPE.fullmatch(kind) or (slash and not _NAME.fullmatch(name)):
            message = (
                f"{text!r} is not a component id: a type of letters, digits and _, then optionally /name"
            )
            raise ValueError(message)
        return cls(kind, name)

    def __str__(self) -> str:
        return f"{self.type}/{self.name}" if self.name else self.type
