"""Incidents: while one lasts, sampling keeps everything of its service.

No thread waits for an end. It is looked at with each request, before anything is decided, and whenever
somebody asks which incidents last: no request is decided by an incident that is over.
"""

from __future__ import annotations

import math
from threading import Lock
from typing import TYPE_CHECKING, Final, NamedTuple

from otelprof.control import Incident
from otelprof.errors import ControlError
from otelprof.telemetry.admin_metrics import INCIDENT_CHANGES, INCIDENTS
from otelprof.telemetry.journal import PolicyEvent
from otelprof.telemetry.text import counted, printable
from otelprof.telemetry.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otelprof.component import ComponentSettings
    from otelprof.processor.sampling.adjustments import CurrentAdjustments
    from otelprof.processor.sampling.config import IncidentsConfig

BOOST: Final = "boost_on_new_version"
"""Who starts an incident because of a new version."""

_EVENTS: Final = {
    "started": "incident started",
    "replaced": "incident replaced",
    "stopped": "incident stopped",
    "ended": "incident ended",
}


class _Lasting(NamedTuple):
    """An incident, and when it ends on the clock that never goes back."""

    incident: Incident
    end: float


class Incidents:
    """The incidents of one sampling processor; an `IncidentControl`.

    Args:
        config: how many, and how long.
        adjustments: where a service is lifted, and settles again.
        settings: of the processor.
    """

    def __init__(
        self, config: IncidentsConfig, adjustments: CurrentAdjustments, settings: ComponentSettings
    ) -> None:
        self._config = config
        self._adjustments = adjustments
        self._clock = settings.clock
        self._id = str(settings.id)
        self._logger = settings.logger
        self._metrics = settings.metrics
        self._journal = settings.journal
        self._refusals = Throttle(settings.clock)
        self._lock = Lock()
        self._lasting: dict[str, _Lasting] = {}
        self._next_end = math.inf
        self._metrics.observe(INCIDENTS, lambda: len(self.active()), processor=self._id)

    def check(self, incident: Incident) -> None:
        """Say whether an incident could start now.

        Raises:
            ControlError: it is over a limit; names the limit and its key.
        """
        self.end_due()
        with self._lock:
            self._check(incident)

    def start(self, incident: Incident) -> None:
        """Keep everything of its service from now on; takes the place of an incident that the service has.

        Raises:
            ControlError: it is over a limit; names the limit and its key.
        """
        self.end_due()
        with self._lock:
            self._check(incident)
            self._start(incident)

    def boost(self, service: str, version: str, duration_secs: float) -> None:
        """Start an incident because a version is new, unless one lasts as long or a limit is reached."""
        now = self._clock.now()
        reason = f"new version {printable(version)}"
        incident = Incident(service, reason, BOOST, now, duration_secs)
        self.end_due()
        with self._lock:
            lasting = self._lasting.get(service)
            if lasting is not None and lasting.end >= self._clock.monotonic() + duration_secs:
                return
            try:
                self._check(incident)
            except ControlError as error:
                held_back = self._refusals.passed(BOOST)
                if held_back is not None:
                    self._logger.warning(
                        "new version starts no incident",
                        service=printable(service),
                        reason=reason,
                        why=str(error),
                        suppressed=held_back,
                    )
            else:
                self._start(incident)

    def stop(self, service: str, who: str) -> Incident | None:
        """End the incident of a service now; None when it has none."""
        self.end_due()
        with self._lock:
            lasting = self._lasting.get(service)
            if lasting is None:
                return None
            self._end(lasting.incident, "stopped", who)
            return lasting.incident

    def active(self) -> Sequence[Incident]:
        """Those that last, by service."""
        self.end_due()
        with self._lock:
            return sorted(lasting.incident for lasting in self._lasting.values())

    def end_due(self) -> None:
        """End those whose time is over. For every request: mostly it costs a look at the clock."""
        now = self._clock.monotonic()
        if now < self._next_end:
            return
        with self._lock:
            for lasting in list(self._lasting.values()):
                if lasting.end <= now:
                    self._end(lasting.incident, "ended", "time")

    def _check(self, incident: Incident) -> None:
        """Whether it is within the limits.

        Raises:
            ControlError: it is not, which is counted.
        """
        longest, most = self._config.max_duration, self._config.max_active
        message = None
        if incident.duration_secs > longest:
            message = (
                f"{incident.duration_secs / 60:g} minutes are more than the {longest / 60:g} that "
                f"{self._id}.incidents.max_duration allows"
            )
        elif incident.service not in self._lasting and len(self._lasting) >= most:
            message = (
                f"{counted(len(self._lasting), 'incident')} already, as many as "
                f"{self._id}.incidents.max_active allows: stop one of them first"
            )
        if message is not None:
            self._metrics.add(INCIDENT_CHANGES, processor=self._id, change="refused")
            raise ControlError(message)

    def _start(self, incident: Incident) -> None:
        change = "replaced" if incident.service in self._lasting else "started"
        end = self._clock.monotonic() + incident.duration_secs
        self._lasting[incident.service] = _Lasting(incident, end)
        self._adjustments.lift(incident.service)
        self._changed(change, incident, incident.who)

    def _end(self, incident: Incident, change: str, who: str) -> None:
        del self._lasting[incident.service]
        self._adjustments.settle(incident.service)
        self._changed(change, incident, who)

    def _changed(self, change: str, incident: Incident, who: str) -> None:
        """Who changed what, and when: the one place that every change comes through."""
        self._next_end = min((lasting.end for lasting in self._lasting.values()), default=math.inf)
        self._metrics.add(INCIDENT_CHANGES, processor=self._id, change=change)
        is_on = change in {"started", "replaced"}
        self._journal.record(
            PolicyEvent(
                time_secs=self._clock.now(),
                component=self._id,
                kind=f"incident_{change}",
                service=incident.service,
                what=f"everything of {printable(incident.service)} stays"
                if is_on
                else "the rules are in force again",
                probability=1.0 if is_on else None,
                until_secs=incident.end_secs if is_on else None,
                who=who,
                reason=incident.reason,
            )
        )
        self._logger.info(
            _EVENTS[change],
            service=printable(incident.service),
            reason=incident.reason,
            who=who,
            minutes=round(incident.duration_secs / 60, 3),
        )
