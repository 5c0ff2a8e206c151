"""Clients of a simulation: they send, keep to what they are told, send again, and give up in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otelprof._core import Limits, Profiles
from otelprof.errors import RetryableError
from tests.simulation.loop import CrashError
from tests.simulation.requests import names_of, request, trace

if TYPE_CHECKING:
    from otelprof.consumer import Consumer
    from tests.simulation.ledger import Ledger
    from tests.simulation.loop import Loop
    from tests.simulation.scenario import Scenario

MAX_ATTEMPTS: Final = 8
MAX_SAMPLES: Final = 12
_LOST_ANSWERS: Final = 0.03
_NOISY: Final = 0.2
_BAD: Final = 0.2
_KEPT_TRACES: Final = 0.3


class Clients:
    """All of them, over all lives of the service.

    Args:
        scenario: how many there are, and how much they send.
        loop: whose time passes.
        ledger: what was acknowledged is written there.
    """

    def __init__(self, scenario: Scenario, loop: Loop, ledger: Ledger) -> None:
        self.intake: Consumer | None = None
        """Of the service that runs; None while none does."""
        self.waiting = 0
        """Requests that are still to be sent, or to be sent again."""
        self.exporters: list[str] = []
        """Whom a request is for, by name."""
        self._loop = loop
        self._ledger = ledger
        self._numbers = iter(range(1 << 31))
        self._pause_secs = scenario.pause_secs
        for _ in range(scenario.clients):
            self.waiting += scenario.requests
            self._later(scenario.requests)

    def _later(self, left: int) -> None:
        if left:
            self._loop.after(self._loop.chance.uniform(0, self._pause_secs), lambda: self._send_next(left))

    def _send_next(self, left: int) -> None:
        chance = self._loop.chance
        number, samples = next(self._numbers), chance.randint(1, MAX_SAMPLES)
        body = request(
            number, samples, is_noisy=chance.random() < _NOISY, has_bad_profile=chance.random() < _BAD
        )
        if chance.random() < _KEPT_TRACES:
            self._loop.after(chance.uniform(0, 10), lambda: self._observe(number))
        self._send(body, names_of(number, samples), left, 1)

    def _observe(self, number: int) -> None:
        """The tracing side keeps the trace of a request."""
        if self.intake is not None and self.intake.traces is not None:
            self.intake.traces.observe(trace(number), Limits())

    def _send(self, body: bytes, names: list[str], left: int, attempt: int) -> None:
        """Send a request; when it is taken, or given up, go on to the next one."""
        try:
            retry_after_secs = self._try(body, names)
        except CrashError:
            self._loop.after(1.0, lambda: self._send(body, names, left, attempt))
            raise
        if retry_after_secs is not None and attempt < MAX_ATTEMPTS:
            wait_secs = retry_after_secs * self._loop.chance.uniform(1, 2)
            self._loop.after(wait_secs, lambda: self._send(body, names, left, attempt + 1))
            return
        self.waiting -= 1
        self._later(left - 1)

    def _try(self, body: bytes, names: list[str]) -> float | None:
        """Send it once, as a receiver takes it; after how long it is to be sent again, None when never."""
        intake = self.intake
        if intake is None:
            return 1.0
        accounts = [self._ledger.account(name) for name in self.exporters]
        try:
            intake.admit(2 * len(body))
            intake.consume(Profiles.decode(body))
        except RetryableError as error:
            self._ledger.events["told to come back"] += 1
            return error.retry_after_secs or 1.0
        except Exception:  # noqa: BLE001 - a PermanentError, or a bug of an exporter without a queue
            self._ledger.events["refused"] += 1
            return None
        except CrashError:
            # The process ended in it.
            for account in accounts:
                account.maybe.update(names)
            raise
        self._ledger.requests += 1
        for account in accounts:
            account.owed.update(names)
        # An answer that is lost: the client cannot know, and sends again.
        return 0.5 if self._loop.chance.random() < _LOST_ANSWERS else None
