"""What changes the rules for a while: thresholds of a budget, and services that an incident lifts."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Final

from otelprof._core import Adjustments
from otelprof.processor.sampling.threshold import probability_of

if TYPE_CHECKING:
    from collections.abc import Mapping

EVERY_SERVICE: Final = ""
"""The key of every service without an entry of its own."""


class CurrentAdjustments:
    """The adjustments that are in force now; safe to use from any thread.

    What the core is given is made when something changes, never for a request.

    Args:
        counts_services: have the core tell what rules did to each service, also while nothing is adjusted.
    """

    def __init__(self, *, counts_services: bool = False) -> None:
        self._counts_services = counts_services
        self._changing = Lock()
        self._thresholds: Mapping[str, int] = {}
        self._spared: Mapping[str, int] = {}
        self._lifted: frozenset[str] = frozenset()
        self._current = self._made()

    def set_thresholds(self, thresholds: Mapping[str, int], spared: Mapping[str, int] | None = None) -> None:
        """Replace the least thresholds of rules that sample.

        Args:
            thresholds: in [0, 2^56) by service.
            spared: the same of rules for `error` and slow traces, which `thresholds` leaves alone.

        Raises:
            ValueError: a threshold is out of its range; nothing changed.
        """
        with self._changing:
            before = self._thresholds, self._spared
            self._thresholds, self._spared = dict(thresholds), dict(spared or {})
            try:
                self._current = self._made()
            except ValueError:
                self._thresholds, self._spared = before
                raise

    def lift(self, service: str) -> None:
        """Keep everything of a service, from the next request on; of every service when the name is empty."""
        with self._changing:
            self._lifted |= {service}
            self._current = self._made()

    def settle(self, service: str) -> None:
        """End that, however often it began."""
        with self._changing:
            self._lifted -= {service}
            self._current = self._made()

    def current(self) -> Adjustments | None:
        """What the core is given; None when nothing is adjusted."""
        return self._current

    def thresholds(self) -> Mapping[str, float]:
        """The probability that the threshold of each service leaves, 1 where it is lifted.

        Error and slow traces may have more. A service that is not here, and for which no empty name stands,
        has what its rules say.
        """
        with self._changing:
            thresholds, lifted = self._thresholds, self._lifted
        left = {service: probability_of(threshold) for service, threshold in thresholds.items()}
        return left | dict.fromkeys(lifted, 1.0)

    def _made(self) -> Adjustments | None:
        if not (self._counts_services or self._thresholds or self._spared or self._lifted):
            return None
        return Adjustments(thresholds=self._thresholds, spared=self._spared, lifted=self._lifted)
