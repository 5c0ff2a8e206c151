"""What an operator hears of senders of older revisions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import structlog
from structlog.testing import capture_logs

from otelprof._core import Limits, Profiles, Rejection
from otelprof.component import ComponentSettings, Kind
from otelprof.errors import AmbiguousRevisionError
from otelprof.model import ComponentId
from otelprof.otlp_headers import SenderHeaders
from otelprof.receiver.admission import Admission
from otelprof.receiver.otlp_intake import OtlpIntake
from otelprof.telemetry.metrics import REQUESTS_BY_REVISION, REVISION_FIELDS_DROPPED, Metrics
from otelprof.testing.clock import SimulatedClock
from tests.recordings import OWN
from tests.reference.build import Build

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otelprof.consumer import Reservation

OLD = OWN / "old-schema" / "ap41-burn-cpu.otlp"
CURRENT = OWN / "async-profiler" / "ap46-burn-cpu.otlp"


def room(client: str = "somebody") -> Reservation:
    """Memory of a budget that is never short."""
    return Admission(1 << 30, Metrics()).reserve(client)


class Taken:
    """A consumer that takes every request, and no traces."""

    traces = None

    def reserve(self, client: str) -> Reservation:
        """Of a budget that is never short."""
        return room(client)

    def admit(self, expected_bytes: int) -> None:
        """There is room."""

    def consume(self, profiles: Profiles) -> Sequence[Rejection]:  # noqa: ARG002 - of the protocol
        """Nothing is refused."""
        return []


class Bench:
    """An intake, its clock and what it counted."""

    def __init__(self) -> None:
        self.clock, self.metrics = SimulatedClock(), Metrics()
        settings = ComponentSettings(
            ComponentId("otlp"), Kind.RECEIVER, structlog.get_logger("test"), self.metrics, self.clock
        )
        self.intake = OtlpIntake(Limits(), settings, Taken(), "grpc")

    def count(self, revision: str) -> float:
        """Requests of a revision."""
        return self.metrics.value(REQUESTS_BY_REVISION, receiver="otlp", revision=revision)


def test_requests_are_counted_by_revision() -> None:
    """Each request counts under its revision, and what could not be carried under its field."""
    bench = Bench()
    for path in (OLD, OLD, CURRENT):
        bench.intake.take(path.read_bytes(), SenderHeaders(), "ipv4:10.0.0.1:1", room())
    dropped = bench.metrics.value(REVISION_FIELDS_DROPPED, receiver="otlp", field="aggregation_temporality")
    assert (2, 1, 4) == (bench.count("1.7"), bench.count("1.10"), dropped)


def test_ambiguous_requests_are_counted() -> None:
    """What is refused between two revisions counts, too."""
    build, bench = Build(), Bench()
    profile = build.profile(build.scope({"service.name": "checkout"}))
    sample = build.sample(profile, moments=[0], attributes={"thread.name": "main"})
    profile.attribute_indices.extend(sample.attribute_indices)
    with pytest.raises(AmbiguousRevisionError):
        bench.intake.take(build.body, SenderHeaders(), "", room())
    assert 1 == bench.count("ambiguous")


def test_a_warning_names_the_sender() -> None:
    """One line in a while says who sends which revision; a current one is no news."""
    bench = Bench()
    with capture_logs() as logs:
        for peer in ("ipv4:10.0.0.1:1", "ipv4:10.0.0.2:1"):
            bench.intake.take(OLD.read_bytes(), SenderHeaders(), peer, room())
        bench.intake.take(CURRENT.read_bytes(), SenderHeaders(), "ipv4:10.0.0.3:1", room())
        bench.clock.advance(60.0)
        bench.intake.take(OLD.read_bytes(), SenderHeaders(), "ipv4:10.0.0.2:1", room())
    told = [(line["log_level"], line["revision"], line["peer"], line["suppressed"]) for line in logs]
    assert [("warning", "1.7", "ipv4:10.0.0.1:1", 0), ("warning", "1.7", "ipv4:10.0.0.2:1", 1)] == told
