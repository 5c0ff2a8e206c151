"""Calls of a gRPC server whose message comes slowly: counted for what they may hold, and ended in time."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition, Thread
from typing import TYPE_CHECKING, Final

import grpc

from otelprof.errors import RetryableError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otelprof.clock import Clock
    from otelprof.consumer import Reservation

# How long a message may come without being counted: nearly every one is there by then.
_SLOW_SECS: Final = 1.0
# Of the timeout: by how much a call may be ended late.
_LOOK_SHARE: Final = 0.25
_KEY: Final = "protocols.grpc.read_timeout"


@dataclass(eq=False)
class _Waiting:
    """A call whose message has not come."""

    context: grpc.ServicerContext
    memory: Reservation
    since_secs: float
    is_counted: bool = False
    ended_for: RetryableError | None = None


class SlowCalls:
    """Looks after calls that wait. gRPC bounds neither how long a message takes nor says how much of it came.

    Args:
        timeout_secs: how long a call may wait, more than 0; up to a quarter more.
        message_bytes: what a message may have: what a call counts for that waits longer than a second.
        clock: what it is measured with.
        name: of the thread that looks; it sleeps when none has come for a while: to wake it for each would
            cost more than the call.
    """

    def __init__(self, timeout_secs: float, message_bytes: int, clock: Clock, name: str) -> None:
        self._timeout_secs = timeout_secs
        self._message_bytes = message_bytes
        self._clock = clock
        self._waiting: set[_Waiting] = set()
        self._changed = Condition()
        self._is_asleep = False
        self._has_come = False
        self._is_closed = False
        self._thread = Thread(target=self._look, name=name, daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """Look no more. Safe before `start`, and more than once."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    @contextmanager
    def bounded(self, context: grpc.ServicerContext, memory: Reservation) -> Iterator[None]:
        """Have a call wait for its message. When it is ended, the wait is.

        Raises:
            RetryableError: it waited too long, or there is no memory for what may have come of it.
        """
        waiting = _Waiting(context, memory, self._clock.monotonic())
        with self._changed:
            self._waiting.add(waiting)
            self._has_come = True
            if self._is_asleep:
                self._is_asleep = False
                self._changed.notify()
        try:
            yield
        except (grpc.RpcError, StopIteration) as error:
            # The end of the messages may be heard of before the end of the call.
            if waiting.ended_for is None:
                raise
            raise waiting.ended_for from error
        finally:
            with self._changed:
                self._waiting.discard(waiting)
        if waiting.ended_for is not None:
            # The message came in the same moment; the client was told that it did not.
            raise waiting.ended_for

    def _look(self) -> None:
        interval_secs = min(_SLOW_SECS, self._timeout_secs * _LOOK_SHARE)
        with self._changed:
            while not self._is_closed:
                self._is_asleep = not (self._waiting or self._has_come)
                self._has_come = False
                self._changed.wait(None if self._is_asleep else interval_secs)
                now = self._clock.monotonic()
                for waiting in self._waiting:
                    if waiting.ended_for is None:
                        self._judge(waiting, now)

    def _judge(self, waiting: _Waiting, now: float) -> None:
        waited_secs = now - waiting.since_secs
        if waited_secs >= self._timeout_secs:
            message = f"the request did not come whole within {self._timeout_secs:g} s ({_KEY})"
            waiting.ended_for = UnavailableError(message)
        elif waited_secs >= _SLOW_SECS and not waiting.is_counted:
            waiting.is_counted = True
            try:
                waiting.memory.take(self._message_bytes)
            except RetryableError as error:
                waiting.ended_for = error
        if waiting.ended_for is not None:
            waiting.context.cancel()  # type: ignore[no-untyped-call] # in its stubs
