"""What policy was in force, and when: told by who decides, read by who stores it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_EVENTS: Final = 10_000
"""That are remembered; who reads too slowly misses the oldest."""


@dataclass(frozen=True)
class PolicyEvent:
    """A rule, a threshold or an incident, from a moment on.

    Attributes:
        time_secs: since the UNIX epoch.
        component: whose it is, by id.
        kind: `rule`, `probability` (of a budget), `incident_started`, `incident_replaced`, `incident_stopped`
            or `incident_ended`.
        service: for which; empty for every one.
        what: in words.
        probability: with which a trace is kept from now on; None when the event says nothing of it.
        until_secs: when it ends by itself, since the UNIX epoch; None when it does not.
        who: made it so; empty for the configuration.
        reason: in somebody's words.
    """

    time_secs: float
    component: str
    kind: str
    service: str = ""
    what: str = ""
    probability: float | None = None
    until_secs: float | None = None
    who: str = ""
    reason: str = ""


class PolicyJournal:
    """The events of one service, in their order; safe across threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._events: deque[PolicyEvent] = deque(maxlen=MAX_EVENTS)
        self._first = 0

    def record(self, event: PolicyEvent) -> None:
        """Add one; of too many, the oldest goes."""
        with self._lock:
            if len(self._events) == MAX_EVENTS:
                self._first += 1
            self._events.append(event)

    def since(self, place: int) -> tuple[Sequence[PolicyEvent], int]:
        """The events from a place on (0 is the first), and the place behind them."""
        with self._lock:
            start = max(place - self._first, 0)
            return list(self._events)[start:], self._first + len(self._events)
