"""A world with a tail sampler: traces that are kept or not, and profiles that come before and after.

Everything but the network and the threads is the product's own: processor, gate, log and cursor, on a
simulated clock. One seed makes one run.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import structlog
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otelprof._core import Limits, Profiles
from otelprof.component import ComponentSettings, Kind
from otelprof.config.exporter import SendingQueueConfig
from otelprof.delivery.decisions import DecisionGate, Release
from otelprof.log.memory import MemoryLog
from otelprof.model import ComponentId
from otelprof.processor.sampling.config import SamplingConfig
from otelprof.processor.sampling.sampling import TraceSampling
from otelprof.telemetry.decision_metrics import DECISION_RELEASED_REQUESTS
from otelprof.telemetry.metrics import Metrics
from otelprof.testing.clock import SimulatedClock
from tests.reference.build import Build
from tests.reference.compare import on_the_wire

if TYPE_CHECKING:
    from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
        ExportProfilesServiceRequest,
    )

EXPORTER: Final = ComponentId("otlp")
PIPELINE: Final = ComponentId("profiles")
RULES: Final = [
    {"match": {"trace": "kept"}, "action": "keep"},
    {"match": {"linked": True}, "action": "demote"},
]
SPAN: Final = b"spanspan"
STACKS: Final = ("main", "work", "wait")
SLOT_SECS: Final = 0.1
"""What comes within one slot comes in one request."""

Sent = tuple[bytes, str, int]
"""A linked sample: its trace, its stack, its value."""


@dataclass(frozen=True)
class World:
    """What happens.

    Attributes:
        seed: of all chance.
        trace_count: how many traces there are.
        kept_share: how many of them the tail sampler keeps.
        duration_secs: over which they are decided, evenly.
        lateness_secs: profiles come up to so long before and after that.
        samples_per_trace: how many there are, each coming by itself.
    """

    seed: int
    trace_count: int
    kept_share: float = 0.1
    duration_secs: float = 60.0
    lateness_secs: float = 8.0
    samples_per_trace: int = 2


@dataclass
class Outcome:
    """What came of it.

    Attributes:
        wanted: samples of the traces that were kept.
        linked: samples that came out with their link.
        total_in: values by stack, as they came.
        total_out: values by stack, as they went out.
        max_waiting_bytes: the most that waited, in memory.
        max_log_bytes: the most that the log held.
        max_trace_bytes: the most that the traces took.
        released: requests that went on, by reason.
        requests: how many there were.
    """

    wanted: Counter[Sent] = field(default_factory=Counter)
    linked: Counter[Sent] = field(default_factory=Counter)
    total_in: Counter[str] = field(default_factory=Counter)
    total_out: Counter[str] = field(default_factory=Counter)
    max_waiting_bytes: int = 0
    max_log_bytes: int = 0
    max_trace_bytes: int = 0
    released: dict[str, int] = field(default_factory=dict)
    requests: int = 0

    @property
    def kept_whole(self) -> float:
        """How much of the kept traces' samples came out as it came in."""
        return (self.wanted & self.linked).total() / self.wanted.total()


class Simulation:
    """Runs a world against the product.

    Args:
        world: what happens.
        queue_size: of the exporter, in bytes.
        config: keys of the `sampling` processor.
    """

    def __init__(self, world: World, queue_size: int = 1 << 30, **config: object) -> None:
        self.outcome = Outcome()
        self._random = random.Random(world.seed)  # noqa: S311 - repeatable, not secret
        self._clock = SimulatedClock(world.seed)
        self._metrics = Metrics()
        queue = SendingQueueConfig.model_validate({"queue_size": queue_size})
        self.log = MemoryLog({EXPORTER: queue}, self._clock, self._metrics)
        sampling = SamplingConfig.model_validate({"rules": RULES, **config})
        self._processor = TraceSampling(sampling, self._settings(ComponentId("sampling"), Kind.PROCESSOR))
        self.gate = DecisionGate(
            self.log, self._processor, [EXPORTER], self._settings(PIPELINE, Kind.PROCESSOR)
        )
        self._samples, self._traces = self._slots(world)

    def run(self, *, until_secs: float | None = None) -> Outcome:
        """Let everything happen, or what happens until then; then drain."""
        for slot in sorted({*self._samples, *self._traces}):
            moment = slot * SLOT_SECS
            if until_secs is not None and moment > until_secs:
                break
            self._wait_until(moment)
            if slot in self._traces:
                self.gate.observe(trace_request(self._traces[slot]), Limits())
            if slot in self._samples:
                self._append(self._samples[slot])
            self._step()
        self.gate.drain()
        self._deliver()
        for reason in Release:
            count = self._metrics.value(
                DECISION_RELEASED_REQUESTS, pipeline=str(PIPELINE), reason=reason.value
            )
            if count:
                self.outcome.released[reason.value] = int(count)
        return self.outcome

    def _settings(self, id_: ComponentId, kind: Kind) -> ComponentSettings:
        return ComponentSettings(id_, kind, structlog.get_logger("test"), self._metrics, self._clock)

    def _slots(self, world: World) -> tuple[dict[int, list[Sent]], dict[int, list[bytes]]]:
        """What comes in each slot of time: samples, and traces that are kept."""
        samples: defaultdict[int, list[Sent]] = defaultdict(list)
        traces: defaultdict[int, list[bytes]] = defaultdict(list)
        chance = self._random
        for _ in range(world.trace_count):
            trace_id = chance.randbytes(16)
            decided_at = world.lateness_secs + chance.uniform(0, world.duration_secs)
            is_kept = chance.random() < world.kept_share
            if is_kept:
                traces[int(decided_at / SLOT_SECS)].append(trace_id)
            for _ in range(world.samples_per_trace):
                sample = (trace_id, chance.choice(STACKS), chance.randint(1, 1000))
                came_at = decided_at + chance.uniform(-world.lateness_secs, world.lateness_secs)
                samples[int(came_at / SLOT_SECS)].append(sample)
                if is_kept:
                    self.outcome.wanted[sample] += 1
        return samples, traces

    def _wait_until(self, moment: float) -> None:
        """Let time pass, and the gate do what is due on the way."""
        while (left_secs := moment - self._clock.monotonic()) > 0:
            due_secs = self._step()
            self._clock.advance(min(left_secs, max(due_secs or left_secs, 1e-6)))

    def _step(self) -> float | None:
        due_secs = self.gate.step()
        outcome, decisions = self.outcome, self._processor.wait.decisions
        outcome.max_waiting_bytes = max(outcome.max_waiting_bytes, self.gate.waiting_bytes)
        outcome.max_log_bytes = max(outcome.max_log_bytes, self.log.memory_bytes)
        outcome.max_trace_bytes = max(outcome.max_trace_bytes, decisions.memory_bytes)
        self._deliver()
        return due_secs

    def _append(self, samples: list[Sent]) -> None:
        profiles = Profiles.decode(profile_request(samples).SerializeToString())
        (held,) = self.log.append([(profiles, [EXPORTER])], {0: PIPELINE})
        self.gate.hold(held)
        self.outcome.requests += 1
        for _, stack, value in samples:
            self.outcome.total_in[stack] += value

    def _deliver(self) -> None:
        cursor = self.log.cursor(EXPORTER)
        while (item := cursor.take()) is not None:
            self._note(item.profiles)
            cursor.ack(item)

    def _note(self, profiles: Profiles) -> None:
        for stack, value in profiles.fold():
            self.outcome.total_out[stack] += value
        request = on_the_wire(profiles)
        tables: Any = request.dictionary
        for profile in request.resource_profiles[0].scope_profiles[0].profiles:
            for sample in profile.samples:
                link = tables.link_table[sample.link_index]
                if link.trace_id:
                    location = tables.location_table[
                        tables.stack_table[sample.stack_index].location_indices[0]
                    ]
                    name = tables.function_table[location.lines[0].function_index].name_strindex
                    self.outcome.linked[link.trace_id, tables.string_table[name], sample.values[0]] += 1


def profile_request(samples: list[Sent]) -> ExportProfilesServiceRequest:
    """A request with one Profile of these samples."""
    build = Build()
    profile = build.profile(build.scope({"service.name": "checkout"}))
    for trace_id, stack, value in samples:
        build.sample(profile, value, link=(trace_id, SPAN), stack=stack)
    return build.request


def trace_request(trace_ids: list[bytes]) -> bytes:
    """A request with one span of each trace, on the wire."""
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for trace_id in trace_ids:
        spans.add(trace_id=trace_id, span_id=SPAN, name="GET /", start_time_unix_nano=1, end_time_unix_nano=2)
    return request.SerializeToString()
