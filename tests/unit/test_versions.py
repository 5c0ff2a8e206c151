"""New versions of services: which are told, and what is forgotten."""

from __future__ import annotations

import structlog
from structlog.testing import capture_logs

from otelprof.component import ComponentSettings, Kind
from otelprof.model import ComponentId
from otelprof.processor.sampling.versions import (
    FORGET_SECS,
    MAX_CHARS,
    MAX_SERVICES,
    MAX_VERSIONS,
    KnownVersions,
)
from otelprof.telemetry.metrics import Metrics
from otelprof.testing.clock import SimulatedClock


def known(clock: SimulatedClock | None = None) -> KnownVersions:
    """Nothing known yet."""
    logger = structlog.get_logger("test")
    settings = ComponentSettings(
        ComponentId("sampling"), Kind.PROCESSOR, logger, Metrics(), clock or SimulatedClock()
    )
    return KnownVersions(settings)


def test_the_first_version_is_not_new() -> None:
    """A service that was not known has no new version; another one is new, once."""
    versions = known()
    assert [] == versions.new([("checkout", "1"), ("cart", "7")])
    assert [("checkout", "2")] == versions.new([("checkout", "2"), ("cart", "7")])
    assert [] == versions.new([("checkout", "2")])


def test_the_old_version_of_a_rolling_deploy_is_not_new() -> None:
    """While two versions run side by side, the old one is known."""
    versions = known()
    versions.new([("checkout", "1")])
    assert [("checkout", "2")] == versions.new([("checkout", "2"), ("checkout", "1")])
    assert [] == versions.new([("checkout", "1"), ("checkout", "2")])


def test_too_many_versions() -> None:
    """A service that says another version each time is not listened to any more, which is logged once."""
    versions = known()
    with capture_logs() as logs:
        told = [new for number in range(MAX_VERSIONS * 2) for new in versions.new([("a", str(number))])]
    assert MAX_VERSIONS - 1 == len(told)
    assert ["too many versions of a service, new ones are not noticed"] == [log["event"] for log in logs]


def test_old_versions_make_room() -> None:
    """Versions that were not seen for a day are forgotten, where there is no room for a new one."""
    clock = SimulatedClock()
    versions = known(clock)
    for number in range(MAX_VERSIONS):
        versions.new([("a", str(number))])
    clock.advance(FORGET_SECS)
    versions.new([("a", "0")])
    clock.advance(1.0)
    assert [("a", "new")] == versions.new([("a", "new")])
    assert [] == versions.new([("a", "0")])
    assert [("a", "1")] == versions.new([("a", "1")])


def test_too_many_services() -> None:
    """Services over the limit are not watched, and those that are known still are; a day makes room."""
    clock = SimulatedClock()
    versions = known(clock)
    with capture_logs() as logs:
        versions.new([(f"service-{number}", "1") for number in range(MAX_SERVICES + 5)])
    assert ["too many services, new versions of further ones are not noticed"] == [
        log["event"] for log in logs
    ]
    last = f"service-{MAX_SERVICES + 4}"
    assert [("service-0", "2")] == versions.new([("service-0", "2"), (last, "2")])
    clock.advance(FORGET_SECS + 1.0)
    assert [] == versions.new([(last, "2")])
    assert [(last, "3")] == versions.new([(last, "3")])


def test_long_names_are_not_looked_at() -> None:
    """What would take memory takes none: a long version is never new."""
    versions = known()
    versions.new([("a", "1")])
    assert [] == versions.new([("a", "x" * (MAX_CHARS + 1)), ("y" * (MAX_CHARS + 1), "1")])
    assert [("a", "x" * MAX_CHARS)] == versions.new([("a", "x" * MAX_CHARS)])
