"""What became of requests, and is not in the file of the durable log yet: the marks tell it until then."""

from __future__ import annotations

import json
from collections import deque
from enum import StrEnum
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    OneStep = tuple["Step", int, str]

MAX_MARKED_STEPS: Final = 64
"""So many may wait for the next write to the file, in the marks."""


class Step(StrEnum):
    """What is written of a request after its append."""

    PASSED = "passed"
    """An exporter has passed it, and not all have."""
    SETTLED = "settled"
    """An exporter has passed it, and now all have."""
    SPARED = "spared"
    """An attempt has ended without a crash, or no further one is made."""


class Steps:
    """Steps, oldest first, each with the request's row and the exporter.

    They are added under the log's lock, and taken off by one thread at a time.
    """

    def __init__(self) -> None:
        self._waiting: deque[OneStep] = deque()
        # Of each: what the marks say of it.
        self._texts: deque[str] = deque()
        self.added = 0
        """How many there ever were."""

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def are_many(self) -> bool:
        """The marks are not to tell all of them for long."""
        return len(self._waiting) >= MAX_MARKED_STEPS

    def add(self, step: Step, row: int, exporter: str) -> None:
        """One more."""
        # The text first: what is taken off has one.
        self._texts.append("" if step is Step.SPARED else f"[{row},{quoted(exporter)}]")
        self._waiting.append((step, row, exporter))
        self.added += 1

    def all(self) -> Sequence[OneStep]:
        """As they are now."""
        return tuple(self._waiting)

    def written(self, count: int) -> None:
        """So many of the oldest are in the file."""
        for _ in range(count):
            self._waiting.popleft()
            self._texts.popleft()

    def passed_text(self) -> str:
        """Who has passed what, as JSON."""
        # While the file takes nothing there is no end of them.
        return ",".join(filter(None, list(islice(self._texts, 4 * MAX_MARKED_STEPS))))


@cache
def quoted(name: str) -> str:
    """The name of an exporter, as JSON; there are few of them."""
    return json.dumps(name)
