"""What extensions may ask and change: every pipeline at once, or none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from otelprof.control import Incident, ServiceControl
from otelprof.errors import ControlError
from otelprof.model import ComponentId
from otelprof.testing.clock import EPOCH_SECS, SimulatedClock

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FIRST = ComponentId("profiles")
SECOND = ComponentId("profiles", "raw")
SAMPLING = ComponentId("sampling")


class Held:
    """The incidents of a processor that only holds them; a `SamplingControl` too."""

    def __init__(self, longest_secs: float = 3600.0) -> None:
        self.longest_secs = longest_secs
        self.held: dict[str, Incident] = {}
        self.rules: Sequence[str] = ()

    @property
    def incidents(self) -> Held:
        """Itself."""
        return self

    def check(self, incident: Incident) -> None:
        """Refuse what is too long."""
        if incident.duration_secs > self.longest_secs:
            message = "too long"
            raise ControlError(message)

    def start(self, incident: Incident) -> None:
        """Hold it."""
        self.check(incident)
        self.held[incident.service] = incident

    def stop(self, service: str, who: str) -> Incident | None:  # noqa: ARG002 - of the protocol
        """Let go of it."""
        return self.held.pop(service, None)

    def active(self) -> Sequence[Incident]:
        """What is held."""
        return list(self.held.values())

    def sampling_probabilities(self) -> Mapping[str, float]:
        """Nothing."""
        return {}


def control(*processors: tuple[ComponentId, Held]) -> ServiceControl:
    """A service whose pipelines have these processors."""
    sampling = [(pipeline, SAMPLING, held) for pipeline, held in processors]
    return ServiceControl({}, sampling, SimulatedClock(), lambda: None)


def test_an_incident_is_in_every_pipeline() -> None:
    """It starts in all of them at once, is listed once, and stops in all of them."""
    first, second = Held(), Held()
    service = control((FIRST, first), (SECOND, second))
    incident = service.start_incident("checkout", "errors", 60.0, "ada")
    assert Incident("checkout", "errors", "ada", EPOCH_SECS, 60.0) == incident
    assert {"checkout": incident} == first.held == second.held
    assert {incident: [FIRST, SECOND]} == service.incidents()
    assert incident == service.stop_incident("checkout", "bob")
    assert {} == first.held == second.held
    assert {} == service.incidents()


def test_one_refusal_changes_nothing() -> None:
    """When a processor refuses an incident, no other has it."""
    first, second = Held(), Held(longest_secs=30.0)
    service = control((FIRST, first), (SECOND, second))
    with pytest.raises(ControlError, match="too long"):
        service.start_incident("checkout", "errors", 60.0, "ada")
    assert {} == first.held == second.held


def test_an_incident_of_one_pipeline_is_listed_and_stopped() -> None:
    """What a processor started by itself is told with its pipeline alone, and stops as any other."""
    first, second = Held(), Held()
    service = control((FIRST, first), (SECOND, second))
    incident = Incident("checkout", "new version 2", "boost_on_new_version", EPOCH_SECS, 60.0)
    second.start(incident)
    assert {incident: [SECOND]} == service.incidents()
    assert incident == service.stop_incident("checkout", "ada")
    assert {} == service.incidents()


def test_two_processors_of_one_pipeline() -> None:
    """A pipeline that samples twice is named once."""
    first, second = Held(), Held()
    service = control((FIRST, first), (FIRST, second))
    incident = service.start_incident("checkout", "errors", 60.0, "ada")
    assert {incident: [FIRST]} == service.incidents()


def test_there_is_nothing_to_stop() -> None:
    """A service without an incident is named, and how to see those that have one."""
    with pytest.raises(ControlError, match=r"'checkout' has no incident: `otelprof incident list`"):
        control((FIRST, Held())).stop_incident("checkout", "ada")


def test_nothing_samples() -> None:
    """Without a sampling processor an incident would change nothing, and that is said."""
    with pytest.raises(
        ControlError, match="no pipeline has a sampling processor, so everything is kept already"
    ):
        control().start_incident("checkout", "errors", 60.0, "ada")
    with pytest.raises(ControlError, match="no pipeline has a sampling processor"):
        control().stop_incident("checkout", "ada")
    assert {} == control().incidents()
