"""Simulated time in which a whole service runs in one thread, and always the same way for one seed.

Nobody waits here. A thread of the product is an `Actor` that is asked to take its next step; what takes time
on the far side of a network lets it pass with `Loop.run`, and meanwhile everything else goes on *inside* of
that call. So a slow `export` has others beside it, as with threads, though the innermost ends first.
"""

from __future__ import annotations

import heapq
import math
import random
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from otelprof.delivery.decisions import DecisionGate
from otelprof.delivery.sender import Sender
from otelprof.log.upkeep import INTERVAL_SECS, Upkeep
from otelprof.testing.clock import SimulatedClock

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

# Two moments of a monotonic clock that are nearer than this are one.
TICK_SECS: Final = 1e-6
# A seed that takes so many steps turns in a circle.
MAX_STEPS: Final = 200_000


class CrashError(BaseException):
    """The process ends here. Not an `Exception`: nobody who runs in it can do anything about it."""


class StuckError(AssertionError):
    """Steps are taken, and time does not move."""


class Actor(Protocol):
    """What a thread of the product would do."""

    def step(self) -> float | None:
        """Do one thing; how long until there is another: 0 when this was one, None when others decide it."""


class Loop:
    """Events, actors, and the time.

    Args:
        seed: of all chance.
    """

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self.clock = LoopClock(self, seed)
        self.gates: list[Actor] = []
        self.actors: list[Actor] = []
        self.is_over = False
        """Whoever still runs is to come to its end."""
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = iter(range(1 << 62))
        self._steps = 0

    def after(self, secs: float, do: Callable[[], None]) -> None:
        """Have something happen."""
        heapq.heappush(self._events, (self.clock.monotonic() + secs, next(self._numbers), do))

    def run(self, until: float) -> None:
        """Let happen what is due, up to a moment, or until it is over."""
        while not self.is_over and self.once(until):
            pass

    def once(self, until: float) -> bool:
        """Let the next thing happen, if it does before a moment; else let the time pass.

        Raises:
            StuckError: this goes on for ever.
        """
        self._steps += 1
        if self._steps > MAX_STEPS:
            message = f"{MAX_STEPS} steps, and it is {self.clock.monotonic():.6f} s"
            raise StuckError(message)
        due_at = self._step_actors()
        if due_at is None:
            return True
        now = self.clock.monotonic()
        if self._events:
            due_at = min(due_at, self._events[0][0])
        due_at = max(due_at, now)
        if due_at > until or due_at == math.inf:
            self.clock.advance(max(until - now, 0.0) if until < math.inf else 0.0)
            return False
        self.clock.advance(due_at - now)
        if self._events and self._events[0][0] <= due_at:
            _, _, do = heapq.heappop(self._events)
            do()
        return True

    def _step_actors(self) -> float | None:
        """Give each a turn, from any of them on; None when one did something, else when one may next.

        Gates come first, for they say only when they have something to do, not that they did.
        """
        due_at = math.inf
        actors = self.actors
        first = self.chance.randrange(len(actors)) if actors else 0
        for actor in (*self.gates, *actors[first:], *actors[:first]):
            secs = actor.step()
            if secs == 0:
                return None
            if secs is not None:
                due_at = min(due_at, self.clock.monotonic() + max(secs, TICK_SECS))
        return due_at


class LoopClock(SimulatedClock):
    """A simulated clock of which a wait is what happens meanwhile."""

    def __init__(self, loop: Loop, seed: int) -> None:
        super().__init__(seed)
        self._loop = loop

    def wait(self, condition: threading.Condition, timeout_secs: float | None) -> bool:
        """Let one thing happen: that may be what is waited for, and who waits looks again in any case."""
        condition.release()
        try:
            self._loop.once(self.monotonic() + (timeout_secs or 0.0))
        finally:
            condition.acquire()
        return True


class SimulatedThread:
    """Stands in for `threading.Thread`: who works in a loop takes steps in ours, others do all at once."""

    def __init__(self, loop: Loop, target: Callable[..., None], args: Sequence[object] = ()) -> None:
        self._owner: Any = getattr(target, "__self__", None)
        works = target.__name__ == "_work"
        self._once: Callable[[], None] | None = None if works else partial(target, *args)
        self._actors = loop.actors if isinstance(self._owner, Sender) else loop.gates
        self._clock = loop.clock
        self._tended_at = -math.inf
        self._is_busy = False

    def start(self) -> None:
        """Take steps from now on, or do it all."""
        if self._once is None:
            self._actors.append(self)
        else:
            self._once()

    def join(self, _timeout_secs: float | None = None) -> None:
        """Take no more."""
        if self in self._actors:
            self._actors.remove(self)

    def is_alive(self) -> bool:
        """A thread that was joined has ended."""
        return self in self._actors

    def step(self) -> float | None:
        """Have the owner take a step, unless this thread is in the middle of one, or the owner has ended."""
        if self._is_busy or _is_closed(self._owner):
            return None
        self._is_busy = True
        try:
            due_secs: float | None = self._tend() if isinstance(self._owner, Upkeep) else self._owner.step()
        finally:
            self._is_busy = False
        return due_secs

    def _tend(self) -> float:
        """Upkeep waits by itself: here it is asked again after its interval."""
        now = self._clock.monotonic()
        if now >= self._tended_at + INTERVAL_SECS:
            self._owner._log.tend()  # noqa: SLF001 - as its thread does
            self._tended_at = now
        return self._tended_at + INTERVAL_SECS - now


def _is_closed(owner: Any) -> bool:
    """Whether a sender, a gate or the upkeep would leave its loop."""
    if isinstance(owner, Upkeep):
        return bool(owner._is_stopped)  # noqa: SLF001 - as their threads ask
    return bool(owner._closed if isinstance(owner, DecisionGate) else owner._cursor.closed)  # noqa: SLF001 - as above
