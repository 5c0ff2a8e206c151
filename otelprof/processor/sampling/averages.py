"""What comes per second, lately; and what a sample costs, when it stays and when it is demoted."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FAST_SECS: Final = 40.0
SLOW_SECS: Final = 600.0

# After so many seconds nothing of the old load is left in the fast average.
_CHANGING_SECS: Final = 5 * FAST_SECS
# The load has changed when the fast average is so far from the slow one, and by more than chance has it.
_CHANGE: Final = math.log(1.5)
_DEVIATIONS: Final = 3.0
# Of a demoted sample to one that stays, before anything is known: it keeps its stack.
_RATIO_BEFORE: Final = 0.5
_MAX_RATIO: Final = 0.95
# How much what was known before weighs against what was measured.
_RIDGE: Final = 0.01


class Average:
    """Exponential averages of amounts per second.

    Args:
        window_secs: the time constant.
    """

    def __init__(self, window_secs: float) -> None:
        self._window_secs = window_secs
        self._sums: dict[int, float] = {}
        self._weight = 0.0

    def step(self, came: Mapping[int, float], elapsed_secs: float) -> None:
        """Take over what came, evenly, in more than 0 seconds."""
        kept = math.exp(-elapsed_secs / self._window_secs)
        # Until the window is full, the average is that of the time since the start.
        self._weight = self._weight * kept + (1 - kept)
        for what in self._sums.keys() | came.keys():
            rate = came.get(what, 0.0) / elapsed_secs
            self._sums[what] = self._sums.get(what, 0.0) * kept + rate * (1 - kept)

    def of(self, what: int) -> float:
        """Per second; 0 before the first step."""
        return self._sums.get(what, 0.0) / self._weight if self._weight else 0.0

    def items(self) -> Iterator[tuple[int, float]]:
        """All of them."""
        return ((what, self.of(what)) for what in self._sums)

    def restart(self, other: Average) -> None:
        """Forget everything but what an average of a shorter window says, as far as that goes back."""
        self._weight = 1 - math.exp(-other._window_secs / self._window_secs)
        self._sums = {what: rate * self._weight for what, rate in other.items()}


class Rates:
    """What comes per second, on average over the last minutes, or since the load has changed.

    A minute tells a change of load, and is too short where few requests come: chance would look like load. So
    ten minutes count, until the last one says something else; then that counts until it has seen the change.
    """

    _REQUESTS = -1

    def __init__(self) -> None:
        self._pending: defaultdict[int, float] = defaultdict(float)
        self._fast = Average(FAST_SECS)
        self._slow = Average(SLOW_SECS)
        self._changing_secs = 0.0

    def add(self, amounts: Mapping[int, float]) -> None:
        """A request came; what it holds, by numbers from 0 on."""
        self._pending[self._REQUESTS] += 1
        for what, amount in amounts.items():
            self._pending[what] += amount

    def step(self, elapsed_secs: float) -> None:
        """Time went by since the last step, more than 0."""
        for average in (self._fast, self._slow):
            average.step(self._pending, elapsed_secs)
        self._pending.clear()
        self._changing_secs = _CHANGING_SECS if self._has_changed() else self._changing_secs - elapsed_secs
        if self._changing_secs > 0:
            self._slow.restart(self._fast)

    def of(self, what: int) -> float:
        """Per second; 0 before the first step."""
        return self._slow.of(what)

    def items(self) -> list[tuple[int, float]]:
        """All of them, per second."""
        return [(what, rate) for what, rate in self._slow.items() if what != self._REQUESTS]

    def _has_changed(self) -> bool:
        fast, slow = (sum(rate for _, rate in one.items()) for one in (self._fast, self._slow))
        if fast <= 0 or slow <= 0:
            return fast != slow
        # Of so many requests that came by chance, the fast average tells.
        requests = max(self._slow.of(self._REQUESTS) * 2 * FAST_SECS, 1.0)
        return abs(math.log(fast / slow)) > max(_CHANGE, _DEVIATIONS / math.sqrt(requests))


class Costs:
    """Bytes of a sample that stays, and of one that is demoted.

    Requests differ in how many of their samples stay, and that tells the two apart (least squares, drawn
    towards what was known before where requests are all alike); the level is that of the last minutes.
    """

    _KEPT, _DEMOTED, _BYTES = range(3)

    def __init__(self) -> None:
        self._level = Rates()
        self._came: defaultdict[int, float] = defaultdict(float)
        self._moments = Average(SLOW_SECS)
        self._ratio = _RATIO_BEFORE
        self._kept_bytes = 0.0

    def add(self, kept: int, demoted: int, size_bytes: float) -> None:
        """What stayed of a request, and the bytes of it."""
        amounts = (kept, demoted, size_bytes)
        self._level.add(dict(enumerate(amounts)))
        # A request says as much of a sample as it has samples.
        count = kept + demoted
        if count:
            for place, (one, other) in enumerate(_PAIRS):
                self._came[place] += amounts[one] * amounts[other] / count

    def step(self, elapsed_secs: float) -> None:
        """Time went by since the last step, more than 0."""
        self._level.step(elapsed_secs)
        self._moments.step(self._came, elapsed_secs)
        self._came.clear()
        self._ratio = self._measured_ratio()
        samples = self._level.of(self._KEPT) + self._ratio * self._level.of(self._DEMOTED)
        if samples > 0:
            self._kept_bytes = self._level.of(self._BYTES) / samples

    @property
    def kept_bytes(self) -> float:
        """Of a sample that stays; 0 when nothing is known."""
        return self._kept_bytes

    @property
    def demoted_bytes(self) -> float:
        """Of a sample that is demoted."""
        return self._kept_bytes * self._ratio

    def weight(self, kept: int, demoted: int) -> float:
        """What samples cost, in samples that stay."""
        return kept + self._ratio * demoted

    def _measured_ratio(self) -> float:
        """Minimises the square of bytes - a * kept - b * demoted, and, a little, of b - a * what it was."""
        kk, kd, dd, kb, db = (self._moments.of(place) for place in range(len(_PAIRS)))
        ridge, before = _RIDGE * (kk + dd), self._ratio
        kk, kd, dd = kk + ridge * before**2, kd - ridge * before, dd + ridge
        kept, demoted = kb * dd - db * kd, db * kk - kb * kd
        if kept <= 0:
            return before
        return min(max(demoted / kept, 0.0), _MAX_RATIO)


# kept * kept, kept * demoted, demoted * demoted, kept * bytes, demoted * bytes
_PAIRS: Final = ((0, 0), (0, 1), (1, 1), (0, 2), (1, 2))
