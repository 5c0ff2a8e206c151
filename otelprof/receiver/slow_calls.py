"""Calls of a gRPC server whose message does not come: each keeps a thread waiting, until it is ended here."""

from __future__ import annotations

from contextlib import contextmanager
from threading import Condition, Thread
from typing import TYPE_CHECKING, Final

import grpc

from otelprof.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otelprof.clock import Clock

# Of the timeout: how often somebody looks, and so by how much a call may be late.
_LOOK_SHARE: Final = 0.25
_KEY: Final = "protocols.grpc.read_timeout"


class SlowCalls:
    """Ends calls that wait too long. gRPC itself has no bound on what a client takes over a message.

    Args:
        timeout_secs: how long a call may wait, more than 0; up to a quarter more.
        clock: what it is measured with.
        name: of the thread that looks.
    """

    def __init__(self, timeout_secs: float, clock: Clock, name: str) -> None:
        self._timeout_secs = timeout_secs
        self._clock = clock
        self._waiting: dict[grpc.ServicerContext, float] = {}
        self._changed = Condition()
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
    def bounded(self, context: grpc.ServicerContext) -> Iterator[None]:
        """Have a call wait for something: when it waits too long it is cancelled, which ends the wait.

        Raises:
            UnavailableError: it did.
        """
        due = self._clock.monotonic() + self._timeout_secs
        with self._changed:
            self._waiting[context] = due
        try:
            yield
        except grpc.RpcError as error:
            with self._changed:
                is_late = context not in self._waiting
            if not is_late:
                raise
            message = f"the request did not come whole within {self._timeout_secs:g} s ({_KEY})"
            raise UnavailableError(message) from error
        finally:
            with self._changed:
                self._waiting.pop(context, None)

    def _look(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed, self._timeout_secs * _LOOK_SHARE)
                if self._is_closed:
                    return
                now = self._clock.monotonic()
                late = [context for context, due in self._waiting.items() if due <= now]
                for context in late:
                    del self._waiting[context]
            for context in late:
                context.cancel()  # type: ignore[no-untyped-call] # in its stubs
