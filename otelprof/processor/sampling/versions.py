"""Which versions of a service are known, so that a new one is noticed: a deploy."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Final

from otelprof.telemetry.text import printable
from otelprof.telemetry.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otelprof.component import ComponentSettings

MAX_SERVICES: Final = 1_000
MAX_VERSIONS: Final = 32
"""Of one service: more new ones in a day are no deploys, and must not keep an incident going."""
MAX_CHARS: Final = 200
"""Of a service's name, and of a version; what is longer is not looked at."""
FORGET_SECS: Final = 86_400.0
"""Where there is no room, what was not seen for so long makes some."""


class KnownVersions:
    """Remembers versions, and tells new ones. Safe to use from any thread."""

    def __init__(self, settings: ComponentSettings) -> None:
        self._clock = settings.clock
        self._logger = settings.logger
        self._warnings = Throttle(settings.clock)
        self._lock = Lock()
        # When each version was last seen, by service.
        self._seen: dict[str, dict[str, float]] = {}

    def new(self, found: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """The versions that were not known, of services that were.

        Args:
            found: services with their versions, as a request has them.
        """
        now = self._clock.monotonic()
        with self._lock:
            return [pair for pair in found if self._is_new(*pair, now)]

    def _is_new(self, service: str, version: str, now: float) -> bool:
        if max(len(service), len(version)) > MAX_CHARS:
            return False
        versions = self._seen.get(service)
        if versions is None:
            self._meet(service, version, now)
            return False
        if version in versions:
            versions[version] = now
            return False
        if len(versions) >= MAX_VERSIONS:
            for old in [one for one, seen in versions.items() if now - seen > FORGET_SECS]:
                del versions[old]
        if len(versions) >= MAX_VERSIONS:
            self._warn("too many versions of a service, new ones are not noticed", MAX_VERSIONS, service)
            return False
        versions[version] = now
        return True

    def _meet(self, service: str, version: str, now: float) -> None:
        """Remember a service that is not known: its first version is not a new one."""
        if len(self._seen) >= MAX_SERVICES:
            for name, versions in list(self._seen.items()):
                if now - max(versions.values()) > FORGET_SECS:
                    del self._seen[name]
        if len(self._seen) >= MAX_SERVICES:
            self._warn(
                "too many services, new versions of further ones are not noticed", MAX_SERVICES, service
            )
            return
        self._seen[service] = {version: now}

    def _warn(self, event: str, limit: int, service: str) -> None:
        held_back = self._warnings.passed(event)
        if held_back is not None:
            self._logger.warning(event, limit=limit, service=printable(service), suppressed=held_back)
