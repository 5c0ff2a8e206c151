"""What can be asked of a running service, and changed in it: all that an extension knows of the pipelines.

A sampling processor offers a `SamplingControl`. The service has one `ServiceControl` for all of them, and for
its pipelines; the pipeline builds it, and gives it to extensions.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Protocol

from otelprof.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from otelprof.clock import Clock
    from otelprof.model import ComponentId


@dataclass(frozen=True, order=True)
class Incident:
    """Everything of a service is kept for a while.

    Attributes:
        service: its `service.name`, or `unknown_service` for those without one.
        reason: in somebody's words; on one line.
        who: started it, in words; on one line.
        start_secs: since the UNIX epoch.
        duration_secs: from its start to its end, unless it is stopped before.
    """

    service: str
    reason: str
    who: str
    start_secs: float
    duration_secs: float

    @property
    def end_secs(self) -> float:
        """When it ends by itself, since the UNIX epoch."""
        return self.start_secs + self.duration_secs


class IncidentControl(Protocol):
    """The incidents of one sampling processor. Safe to use from any thread."""

    def check(self, incident: Incident) -> None:
        """Say whether an incident could start now.

        Raises:
            ControlError: it is over a limit; names the limit and its key.
        """

    def start(self, incident: Incident) -> None:
        """Keep everything of its service from now on; takes the place of an incident that the service has.

        Raises:
            ControlError: it is over a limit; names the limit and its key.
        """

    def stop(self, service: str, who: str) -> Incident | None:
        """End the incident of a service now; None when it has none."""

    def active(self) -> Sequence[Incident]:
        """Those that last, by service."""


class SamplingControl(Protocol):
    """What one sampling processor can be asked, and told. Safe to use from any thread."""

    @property
    def incidents(self) -> IncidentControl:
        """Its incidents."""

    @property
    def rules(self) -> Sequence[str]:
        """What its rules do, in words, one line each."""

    def sampling_probabilities(self) -> Mapping[str, float]:
        """By service, what no rule that samples keeps more of now, 0 to 1; 1 while an incident lasts.

        The empty name is every service that is not listed; without it those are sampled as the rules say.
        """


@dataclass(frozen=True)
class PipelineParts:
    """Which components a pipeline is made of, in the order that a request goes through them."""

    receivers: tuple[ComponentId, ...]
    processors: tuple[ComponentId, ...]
    exporters: tuple[ComponentId, ...]


class ServiceControl:
    """A running service, as an extension sees it. Safe to use from any thread.

    Args:
        pipelines: by id.
        sampling: the sampling processors that can be asked, each with its pipeline.
        clock: when incidents start.
        ready_since: when everything had started, since the UNIX epoch; None before, and when something stops.
    """

    def __init__(
        self,
        pipelines: Mapping[ComponentId, PipelineParts],
        sampling: Iterable[tuple[ComponentId, ComponentId, SamplingControl]],
        clock: Clock,
        ready_since: Callable[[], float | None],
    ) -> None:
        self.describe(pipelines, sampling)
        self.ready_since = ready_since
        self._clock = clock
        self._changes = Lock()

    def describe(
        self,
        pipelines: Mapping[ComponentId, PipelineParts],
        sampling: Iterable[tuple[ComponentId, ComponentId, SamplingControl]],
    ) -> None:
        """Say what runs from now on."""
        self.pipelines = dict(pipelines)
        self.sampling = tuple(sampling)

    def start_incident(self, service: str, reason: str, duration_secs: float, who: str) -> Incident:
        """Keep everything of a service from now on, in every pipeline that samples.

        Raises:
            ControlError: no pipeline samples, or it is over a limit of one of them; nothing was changed.
        """
        with self._changes:
            incident = Incident(service, reason, who, self._clock.now(), duration_secs)
            controls = self._controls()
            # All or none; only a new version could take the last place in between.
            for control in controls:
                control.check(incident)
            for control in controls:
                control.start(incident)
        return incident

    def stop_incident(self, service: str, who: str) -> Incident:
        """End the incidents of a service now, in every pipeline.

        Raises:
            ControlError: it has none, or no pipeline samples.
        """
        with self._changes:
            stopped = [control.stop(service, who) for control in self._controls()]
        ended = [one for one in stopped if one is not None]
        if not ended:
            message = f"{service!r} has no incident: `otelprof incident list` says which services have one"
            raise ControlError(message)
        return max(ended, key=lambda one: one.end_secs)

    def incidents(self) -> Mapping[Incident, Sequence[ComponentId]]:
        """The incidents that last, by service, each with the pipelines that it is in."""
        found: dict[Incident, list[ComponentId]] = {}
        for pipeline, _, control in self.sampling:
            for incident in control.incidents.active():
                pipelines = found.setdefault(incident, [])
                if pipeline not in pipelines:
                    pipelines.append(pipeline)
        return dict(sorted(found.items()))

    def _controls(self) -> Sequence[IncidentControl]:
        """The incidents of every processor that has some.

        Raises:
            ControlError: there is none.
        """
        if not self.sampling:
            message = "no pipeline has a sampling processor, so everything is kept already"
            raise ControlError(message)
        return [control.incidents for _, _, control in self.sampling]
