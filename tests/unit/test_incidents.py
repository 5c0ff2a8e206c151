"""Incidents of a sampling processor: what stays while one lasts, when it ends, and what is told of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from pydantic import ValidationError
from structlog.testing import capture_logs

from otelprof._core import Profiles
from otelprof.component import ComponentSettings, Kind, SamplingProcessor
from otelprof.config.explain import explain
from otelprof.control import Incident
from otelprof.errors import ControlError
from otelprof.model import ComponentId
from otelprof.processor.sampling.config import SamplingConfig
from otelprof.processor.sampling.sampling import Sampling, factory
from otelprof.telemetry.admin_metrics import INCIDENT_CHANGES, INCIDENT_SAMPLES, INCIDENTS
from otelprof.telemetry.metrics import Metrics
from otelprof.testing.clock import EPOCH_SECS, SimulatedClock
from tests.e2e.harness import request
from tests.recordings import OWN

if TYPE_CHECKING:
    from collections.abc import Iterator

NEVER = {"by": "profile", "sampling_probability": 2**-56}
SAMPLES = 3
# 474 samples, 90 of them with a Link.
LINKED = OWN / "ebpf-linked" / "00005.otlp"


class Sampled:
    """A processor of which next to nothing stays."""

    def __init__(self, **config: Any) -> None:
        self.clock = SimulatedClock()
        self.metrics = Metrics()
        logger = structlog.get_logger("test")
        settings = ComponentSettings(
            ComponentId("sampling"), Kind.PROCESSOR, logger, self.metrics, self.clock
        )
        self.processor = Sampling(SamplingConfig.model_validate({"rules": [NEVER], **config}), settings)
        self.incidents = self.processor.control.incidents

    def kept(self, service: str = "checkout", version: str = "") -> int:
        """How many samples of a request stay."""
        message = request(samples=SAMPLES, service=service)
        if version:
            attribute = message.resource_profiles[0].resource.attributes.add(key="service.version")
            attribute.value.string_value = version
        return self.processor.process(Profiles.decode(message.SerializeToString())).sample_count

    def start(self, service: str = "checkout", secs: float = 60.0, reason: str = "errors") -> Incident:
        """Start an incident now."""
        incident = Incident(service, reason, "ada", self.clock.now(), secs)
        self.incidents.start(incident)
        return incident

    def changes(self) -> dict[str, float]:
        """What was counted."""
        return {
            sample.labels["change"]: sample.value
            for family in self.metrics.collect()
            if family.name == INCIDENT_CHANGES.name
            for sample in family.samples
        }


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[Any]]:
    """What is logged."""
    with capture_logs() as logs:
        yield logs


def test_an_incident_keeps_everything_of_its_service() -> None:
    """While it lasts all of the service stays, and says so; another service is sampled as before."""
    sampled = Sampled()
    assert 0 == sampled.kept()
    sampled.start()
    assert (SAMPLES, 0) == (sampled.kept(), sampled.kept("cart"))
    assert SAMPLES == sampled.metrics.value(INCIDENT_SAMPLES, processor="sampling")
    sampled.incidents.stop("checkout", "bob")
    assert 0 == sampled.kept()


def test_it_ends_by_itself() -> None:
    """The first request after its end is sampled again, and nobody had to look."""
    sampled = Sampled()
    incident = sampled.start(secs=60.0)
    sampled.clock.advance(59.9)
    assert SAMPLES == sampled.kept()
    assert [incident] == sampled.incidents.active()
    sampled.clock.advance(0.1)
    assert 0 == sampled.kept()
    assert [] == sampled.incidents.active()
    assert {"started": 1, "ended": 1} == sampled.changes()


def test_whoever_lists_ends_what_is_over() -> None:
    """Without a request, an incident is over for whoever asks: the list, the metric and the thresholds."""
    sampled = Sampled()
    for look in (
        sampled.incidents.active,
        sampled.processor.control.sampling_probabilities,
        lambda: sampled.metrics.value(INCIDENTS, processor="sampling"),
    ):
        sampled.start()
        assert look()
        sampled.clock.advance(60.0)
        assert not look()
    assert {"started": 3, "ended": 3} == sampled.changes()


def test_a_second_incident_replaces_the_first() -> None:
    """A service has one incident: the later one, with its own end, be it sooner or later."""
    sampled = Sampled()
    sampled.start(secs=60.0)
    later = sampled.start(secs=10.0, reason="worse")
    assert [later] == sampled.incidents.active()
    sampled.clock.advance(10.0)
    assert 0 == sampled.kept()
    assert {"started": 1, "replaced": 1, "ended": 1} == sampled.changes()


def test_incidents_of_several_services() -> None:
    """Each ends in its own time; they are listed by service."""
    sampled = Sampled()
    checkout, cart = sampled.start(secs=60.0), sampled.start("cart", secs=30.0)
    assert [cart, checkout] == sampled.incidents.active()
    sampled.clock.advance(30.0)
    assert (0, SAMPLES) == (sampled.kept("cart"), sampled.kept())
    sampled.clock.advance(30.0)
    assert (0, 0) == (sampled.kept("cart"), sampled.kept())


def test_every_change_is_logged_with_who_and_why(logs: list[Any]) -> None:
    """Start, replacement, stop and end are lines with the service, the reason, and who it was."""
    sampled = Sampled()
    sampled.start()
    sampled.start(secs=90.0, reason="worse")
    sampled.incidents.stop("checkout", "bob")
    sampled.start("a\x1b[2J")
    sampled.clock.advance(60.0)
    sampled.incidents.active()
    assert [
        ("incident started", "checkout", "errors", "ada", 1.0),
        ("incident replaced", "checkout", "worse", "ada", 1.5),
        ("incident stopped", "checkout", "worse", "bob", 1.5),
        ("incident started", "a\\x1b[2J", "errors", "ada", 1.0),
        ("incident ended", "a\\x1b[2J", "errors", "time", 1.0),
    ] == [tuple(log[key] for key in ("event", "service", "reason", "who", "minutes")) for log in logs]


def test_what_the_tracing_side_did_not_keep_stays_too() -> None:
    """A rule that asks for traces keeps everything of the service while an incident lasts."""
    rules = [{"match": {"trace": "unknown"}, "action": "demote"}]
    config = SamplingConfig.model_validate({"rules": rules})
    logger = structlog.get_logger("test")
    settings = ComponentSettings(ComponentId("sampling"), Kind.PROCESSOR, logger, Metrics(), SimulatedClock())
    processor = factory.create(config, settings)
    assert isinstance(processor, SamplingProcessor)
    profiles = Profiles.decode(LINKED.read_bytes())
    (service,) = {row.service for row in profiles.summary if row.linked_sample_count}

    def linked() -> int:
        return sum(row.linked_sample_count for row in processor.process(profiles).summary)

    kept = [linked()]
    processor.control.incidents.start(Incident(service, "errors", "ada", EPOCH_SECS, 60.0))
    kept.append(linked())
    assert [0, sum(row.linked_sample_count for row in profiles.summary)] == kept


def test_threads_agree() -> None:
    """Changed and asked for from several threads, what is lifted is what lasts, and changes add up."""
    sampled = Sampled()
    services = [f"service-{number}" for number in range(4)]

    def work(service: str) -> None:
        for _ in range(200):
            sampled.incidents.start(Incident(service, "errors", "ada", EPOCH_SECS, 60.0))
            sampled.incidents.active()
            sampled.incidents.stop(service, "bob")
        sampled.incidents.start(Incident(service, "errors", "ada", EPOCH_SECS, 60.0))

    with ThreadPoolExecutor(len(services)) as threads:
        list(threads.map(work, services))
    assert services == [one.service for one in sampled.incidents.active()]
    assert dict.fromkeys(services, 1.0) == sampled.processor.control.sampling_probabilities()
    assert {"started": 804, "stopped": 800} == sampled.changes()


def test_limits() -> None:
    """Too long and too many are refused with the limit and its key, and counted; nothing changes."""
    sampled = Sampled(incidents={"max_active": 1, "max_duration": "2m"})
    with pytest.raises(
        ControlError, match=r"3 minutes are more than the 2 that sampling\.incidents\.max_duration"
    ):
        sampled.start(secs=180.0)
    first = sampled.start(secs=120.0)
    with pytest.raises(
        ControlError, match=r"1 incident already, as many as sampling\.incidents\.max_active allows"
    ):
        sampled.start("cart")
    with pytest.raises(ControlError):
        sampled.incidents.check(Incident("cart", "errors", "ada", EPOCH_SECS, 1.0))
    assert [first] == sampled.incidents.active()
    assert {"started": 1, "refused": 3} == sampled.changes()
    # Its own place may be taken anew, and an end makes room.
    sampled.start(secs=60.0)
    sampled.clock.advance(60.0)
    assert [sampled.start("cart")] == sampled.incidents.active()


def test_there_is_nothing_to_stop() -> None:
    """To stop what has ended is nothing, and not counted."""
    sampled = Sampled()
    sampled.start()
    sampled.clock.advance(60.0)
    assert sampled.incidents.stop("checkout", "bob") is None
    assert {"started": 1, "ended": 1} == sampled.changes()


def test_a_new_version_is_an_incident() -> None:
    """The first request with a new version is kept whole, and so are all of the service, for a while."""
    sampled = Sampled(boost_on_new_version="30m")
    assert (0, 0) == (sampled.kept(version="1"), sampled.kept("cart", version="1"))
    assert SAMPLES == sampled.kept(version="2")
    assert (SAMPLES, 0) == (sampled.kept(version="1"), sampled.kept("cart", version="1"))
    assert [
        Incident("checkout", "new version 2", "boost_on_new_version", EPOCH_SECS, 1800.0)
    ] == sampled.incidents.active()
    sampled.clock.advance(1800.0)
    assert (0, 0) == (sampled.kept(version="1"), sampled.kept(version="2"))


def test_versions_are_only_looked_at_when_asked() -> None:
    """Without `boost_on_new_version` a new version changes nothing."""
    sampled = Sampled()
    assert (0, 0) == (sampled.kept(version="1"), sampled.kept(version="2"))


def test_a_boost_shortens_no_incident() -> None:
    """A new version leaves an incident that lasts longer, and takes the place of one that ends before."""
    sampled = Sampled(boost_on_new_version="30m")
    sampled.kept(version="1")
    longer = sampled.start(secs=7200.0)
    sampled.kept(version="2")
    assert [longer] == sampled.incidents.active()
    sampled.start(secs=60.0)
    sampled.kept(version="3")
    assert ["new version 3"] == [one.reason for one in sampled.incidents.active()]


def test_a_boost_over_the_limit_fails_no_request(logs: list[Any]) -> None:
    """Where there are too many incidents, a new version starts none: logged once, counted, and sampled."""
    sampled = Sampled(boost_on_new_version="30m", incidents={"max_active": 1})
    sampled.start("cart")
    sampled.kept(version="1")
    assert (0, 0) == (sampled.kept(version="2"), sampled.kept(version="3"))
    assert {"started": 1, "refused": 2} == sampled.changes()
    assert ["incident started", "new version starts no incident"] == [log["event"] for log in logs]


def test_the_processor_can_be_asked() -> None:
    """It is a `SamplingProcessor`: its rules in words, and what they are adjusted to."""
    sampled = Sampled()
    assert isinstance(sampled.processor, SamplingProcessor)
    assert "1.388e-15 % of profiles stay" in sampled.processor.control.rules[0]
    sampled.start()
    assert {"checkout": 1.0} == sampled.processor.control.sampling_probabilities()


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (
            {"boost_on_new_version": "2h", "incidents": {"max_duration": "1h"}},
            "sampling: boost_on_new_version is 7200 s, more than incidents.max_duration, 3600 s",
        ),
        (
            {"boost_on_new_version": "2h", "rules": [{"action": "keep"}]},
            "sampling: boost_on_new_version does nothing where no rule samples",
        ),
        ({"boost_on_new_version": 0}, "sampling.boost_on_new_version: must be greater than 0, not 0"),
        (
            {"incidents": {"max_active": 0}},
            "sampling.incidents.max_active: must be greater than or equal to 1",
        ),
    ],
)
def test_mistakes(config: dict[str, Any], problem: str) -> None:
    """A configuration that could do nothing of what it says is refused, with what to do."""
    data = {"rules": [NEVER], **config}
    with pytest.raises(ValidationError) as caught:
        SamplingConfig.model_validate(data)
    (found,) = explain(caught.value, SamplingConfig, data, "sampling")
    assert str(found).startswith(problem)


def test_in_words() -> None:
    """`validate` says what a new version does."""
    config = SamplingConfig.model_validate({"rules": [NEVER], "boost_on_new_version": "30m"})
    assert (
        "a new service.version of a service: whatever was sampled stays, for 30 minutes"
        == config.in_words()[-1]
    )
