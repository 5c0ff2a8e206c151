"""The gate behind the log: who waits, who goes on at once, and what counts; on a simulated clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from otelprof._core import Limits, Profiles
from otelprof.component import ComponentSettings, Kind, TraceWait
from otelprof.config.exporter import SendingQueueConfig
from otelprof.delivery.decisions import LOOK_INTERVAL_SECS, DecisionGate, TraceIntake
from otelprof.log.cursor import DropReason
from otelprof.log.memory import MemoryLog
from otelprof.model import ComponentId
from otelprof.processor.sampling.config import SamplingConfig
from otelprof.processor.sampling.sampling import TraceSampling
from otelprof.telemetry.decision_metrics import DECISION_FAILED_REQUESTS, DECISION_RELEASED_REQUESTS
from otelprof.telemetry.metrics import EXPORTER_DROPPED, Metrics
from otelprof.testing.clock import SimulatedClock
from tests.reference.build import Build
from tests.simulation.tail_sampler import trace_request

if TYPE_CHECKING:
    from collections.abc import Mapping

ID = ComponentId("otlp")
PIPELINE = ComponentId("profiles")
TRACE, OTHER = b"\1" * 16, b"\2" * 16
RULES: list[Mapping[str, Any]] = [
    {"match": {"service.name": "whole"}, "action": "keep"},
    {"match": {"trace": "kept"}, "action": "keep"},
    {"match": {"linked": True}, "action": "drop"},
]


@dataclass(frozen=True)
class Broken:
    """A processor with a bug."""

    wait: TraceWait

    def start(self) -> None:
        """Nothing to acquire."""

    def shutdown(self) -> None:
        """Nothing to release."""

    def process(self, profiles: Profiles) -> Profiles:
        """Fail."""
        raise AssertionError(profiles)


@dataclass(frozen=True)
class Unreadable:
    """Stands for a request on which the core panics."""

    memory_bytes: int = 10
    sample_count: int = 3
    profile_count: int = 1

    def pending_traces(self, policy: object) -> object:
        """Fail as a panic does."""
        raise RuntimeError(policy)


class Bench:
    """A gate without a thread, before one exporter."""

    def __init__(self, *, is_broken: bool = False, **queue: object) -> None:
        self.clock = SimulatedClock()
        self.metrics = Metrics()
        config = SendingQueueConfig.model_validate(queue)
        self.log = MemoryLog({ID: config}, self.clock, self.metrics)
        self.cursor = self.log.cursor(ID)
        logger = structlog.get_logger("test")
        settings = ComponentSettings(PIPELINE, Kind.PROCESSOR, logger, self.metrics, self.clock)
        sampling = TraceSampling(SamplingConfig.model_validate({"rules": RULES}), settings)
        processor = Broken(sampling.wait) if is_broken else sampling
        self.gate = DecisionGate(self.log, processor, [ID], settings)

    def append(self, *traces: bytes, service: str = "checkout") -> Profiles:
        """Acknowledge a request with a sample of each trace; one without a trace when there is none."""
        build = Build()
        profile = build.profile(build.scope({"service.name": service}), b"a profile's id 1")
        for trace in traces:
            build.sample(profile, 1, link=(trace, b"spanspan"))
        if not traces:
            build.sample(profile, 1)
        profiles = Profiles.decode(build.body)
        (held,) = self.log.append([(profiles, [ID])], {0: PIPELINE})
        self.gate.hold(held)
        return profiles

    def kept(self, *traces: bytes) -> None:
        """Hear of traces that were kept."""
        self.gate.observe(trace_request(list(traces)), Limits())

    def taken(self) -> list[int]:
        """What the exporter is given now, as numbers of samples."""
        found = []
        while (item := self.cursor.take()) is not None:
            found.append(item.profiles.sample_count)
            self.cursor.ack(item)
        return found

    def released(self, reason: str) -> float:
        """How many went on for a reason."""
        return self.metrics.value(DECISION_RELEASED_REQUESTS, pipeline="profiles", reason=reason)


def test_what_asks_for_no_trace_goes_on_at_once() -> None:
    """Unlinked samples do not wait, nor do linked ones that a rule before decides."""
    bench = Bench()
    bench.append()
    bench.append(TRACE, service="whole")
    bench.gate.step()
    assert ([1, 1], 2) == (bench.taken(), bench.released("decided"))


def test_a_request_waits_for_all_of_its_traces() -> None:
    """It goes on when the last of its traces is decided, and not before."""
    bench = Bench()
    bench.append(TRACE, OTHER)
    bench.kept(TRACE)
    bench.gate.step()
    assert [] == bench.taken()
    bench.kept(OTHER)
    bench.clock.advance(LOOK_INTERVAL_SECS)
    bench.gate.step()
    assert ([2], 1) == (bench.taken(), bench.released("decided"))


def test_news_is_looked_at_in_intervals() -> None:
    """However often traces come, waiting requests are looked at ten times a second, and then at once."""
    bench = Bench()
    bench.append(TRACE)
    bench.kept(OTHER)
    bench.gate.step()
    bench.kept(TRACE)
    secs = bench.gate.step()
    assert ([], LOOK_INTERVAL_SECS) == (bench.taken(), secs)
    bench.clock.advance(LOOK_INTERVAL_SECS)
    bench.gate.step()
    assert [1] == bench.taken()


def test_the_wait_has_an_end() -> None:
    """After `decision_wait` a request goes on by what is known then: kept traces stay, others go."""
    bench = Bench()
    bench.append(TRACE, OTHER)
    bench.kept(TRACE)
    bench.gate.step()
    assert [] == bench.taken()
    bench.clock.advance(10)
    bench.gate.step()
    assert ([1], 1) == (bench.taken(), bench.released("waited"))


def test_what_nothing_is_left_of_is_not_given_out() -> None:
    """A request of which the rules drop everything leaves the log, and no exporter sees it."""
    bench = Bench()
    bench.append(TRACE)
    bench.gate.step()
    bench.clock.advance(10)
    assert bench.gate.step() is None
    assert ([], 0, 0) == (bench.taken(), bench.log.memory_bytes, bench.cursor.size_bytes)


def test_what_waits_counts() -> None:
    """A request that waits takes its place in the queue and in the log, and its end frees both."""
    bench = Bench()
    profiles = bench.append(TRACE)
    bench.gate.step()
    size_bytes = profiles.memory_bytes
    assert (size_bytes, size_bytes) == (bench.log.memory_bytes, bench.cursor.size_bytes)
    assert size_bytes + 16 == bench.gate.waiting_bytes
    bench.gate.drain()
    assert (0, 0, 0) == (bench.log.memory_bytes, bench.cursor.size_bytes, bench.gate.waiting_bytes)


def test_a_full_queue_may_drop_what_waits() -> None:
    """With `drop_oldest` a request that waits can be dropped, counted, and is not decided."""
    size_bytes = Bench().append(TRACE).memory_bytes
    bench = Bench(queue_size=size_bytes * 3 // 2, on_overflow="drop_oldest")
    bench.append(TRACE)
    bench.append(TRACE)
    bench.kept(TRACE)
    bench.gate.step()
    overflow = DropReason.QUEUE_OVERFLOW.value
    assert ([1], 1) == (
        bench.taken(),
        bench.metrics.value(EXPORTER_DROPPED, exporter="otlp", reason=overflow),
    )


def test_a_call_that_outlives_the_drain_is_not_stranded() -> None:
    """What is acknowledged after the gate was drained goes on at once."""
    bench = Bench()
    bench.kept(TRACE)
    bench.gate.drain()
    bench.append(TRACE)
    assert ([1], 1) == (bench.taken(), bench.released("shutdown"))


def test_a_bug_in_the_rules_loses_nothing() -> None:
    """A request whose rules cannot be carried out goes on as it came, counted."""
    bench = Bench(is_broken=True)
    bench.append()
    bench.gate.step()
    assert ([1], 1) == (bench.taken(), bench.metrics.value(DECISION_FAILED_REQUESTS, pipeline="profiles"))


def test_a_bug_in_the_core_does_not_end_the_thread() -> None:
    """A request that cannot be asked for its traces goes on as it came, counted; the next one waits."""
    bench = Bench()
    broken: Any = Unreadable()
    (held,) = bench.log.append([(broken, [ID])], {0: PIPELINE})
    bench.gate.hold(held)
    bench.append(TRACE)
    bench.gate.step()
    assert ([3], 1) == (bench.taken(), bench.metrics.value(DECISION_FAILED_REQUESTS, pipeline="profiles"))
    assert bench.gate.waiting_bytes > 0


def test_every_pipeline_hears_of_a_trace() -> None:
    """With several pipelines that wait, each is told of every trace."""
    benches = [Bench(), Bench()]
    for bench in benches:
        bench.append(TRACE)
    observed = TraceIntake([bench.gate for bench in benches]).observe(trace_request([TRACE]), Limits())
    for bench in benches:
        bench.gate.step()
    assert (1, [1], [1]) == (observed.trace_count, *(bench.taken() for bench in benches))
