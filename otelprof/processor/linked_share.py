"""How much of each service is linked, over the last minutes, against the minimum that is asked for."""

from __future__ import annotations

from collections import deque
from threading import Lock
from typing import TYPE_CHECKING, Final

from otelprof.telemetry.metrics import MAX_LABEL_CHARS
from otelprof.telemetry.policy_metrics import LINKED_SHARE_BELOW_MINIMUM
from otelprof.telemetry.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otelprof.component import ComponentSettings

WINDOW_SECS: Final = 300.0
MAX_SERVICES: Final = 1_000
"""Services that are watched at once; further ones are not, which is logged."""
MIN_SAMPLES: Final = 100
"""Of a service in the window: fewer are no ground for a warning."""

# The window moves by slices, so that a service's state is a few numbers whatever its load.
_SLICES: Final = 10
_SLICE_SECS: Final = WINDOW_SECS / _SLICES


class LinkedShares:
    """Watches the linked share of services. Safe to use from any thread.

    Args:
        minimum: the least share of a service, 0 to 1; None when it is not watched.
        settings: of the processor that watches.
    """

    def __init__(self, minimum: Callable[[str], float | None], settings: ComponentSettings) -> None:
        self._minimum = minimum
        self._id = str(settings.id)
        self._clock = settings.clock
        self._logger = settings.logger
        self._metrics = settings.metrics
        self._lock = Lock()
        self._services: dict[str, _Service] = {}
        self._slice = -1
        self._is_full = False

    def count(self, found: Mapping[str, tuple[int, int]]) -> None:
        """Take the samples of a request into account.

        Args:
            found: by service, how many samples are linked, and how many there are.
        """
        with self._lock:
            now = int(self._clock.monotonic() / _SLICE_SECS)
            for name, (linked, total) in found.items():
                minimum = self._minimum(name)
                if minimum is not None:
                    self._count(printable(name, MAX_LABEL_CHARS), minimum, (now, linked, total))
            if now != self._slice:
                self._slice = now
                self._forget(now)

    def _count(self, name: str, minimum: float, counts: tuple[int, int, int]) -> None:
        service = self._services.get(name)
        if service is None:
            if len(self._services) >= MAX_SERVICES:
                self._log_full()
                return
            service = self._services[name] = _Service(minimum)
        service.add(counts)
        self._judge(name, service)

    def _forget(self, now: int) -> None:
        """Let the past go: a service of which nothing came in the whole window is no longer watched."""
        for name, service in list(self._services.items()):
            service.forget(now)
            self._judge(name, service)
            if not service.slices:
                del self._services[name]

    def _judge(self, name: str, service: _Service) -> None:
        linked, total = service.sums()
        share = linked / total if total else 1.0
        is_below = total >= MIN_SAMPLES and share < service.minimum
        labels = {"processor": self._id, "service": name}
        self._metrics.set(LINKED_SHARE_BELOW_MINIMUM, int(is_below), **labels)
        if is_below is service.is_below:
            return
        service.is_below = is_below
        facts = {"service": name, "share": round(share, 3), "minimum": service.minimum, "samples": total}
        if is_below:
            self._logger.warning("linked share is below its minimum", window_secs=WINDOW_SECS, **facts)
        else:
            self._logger.info("linked share is no longer below its minimum", **facts)

    def _log_full(self) -> None:
        if not self._is_full:
            self._is_full = True
            self._logger.warning("too many services, further ones are not watched", limit=MAX_SERVICES)


class _Service:
    """What came of one service, by slice of the window."""

    def __init__(self, minimum: float) -> None:
        self.minimum = minimum
        self.is_below = False
        self.slices: deque[tuple[int, int, int]] = deque()

    def add(self, counts: tuple[int, int, int]) -> None:
        """Add to the newest slice: its number, linked samples, all samples."""
        now, linked, total = counts
        self.forget(now)
        if self.slices and self.slices[-1][0] == now:
            _, before_linked, before_total = self.slices.pop()
            linked, total = linked + before_linked, total + before_total
        self.slices.append((now, linked, total))

    def forget(self, now: int) -> None:
        """Drop the slices that have left the window."""
        while self.slices and self.slices[0][0] <= now - _SLICES:
            self.slices.popleft()

    def sums(self) -> tuple[int, int]:
        """Linked samples, and all samples, of the window."""
        return sum(linked for _, linked, _ in self.slices), sum(total for _, _, total in self.slices)
