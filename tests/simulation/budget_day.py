"""Days of load against a budget: real samples, other traces, and a processor that restarts in between.

Everything is the product's own, on a simulated clock: the configuration, the processor, the core. Requests
are one recording over and over, each time with other ids and fewer samples. One seed makes one run.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import structlog
from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from otelprof._core import Profiles
from otelprof.component import ComponentSettings, Kind
from otelprof.model import ComponentId
from otelprof.processor.sampling.config import SamplingConfig
from otelprof.processor.sampling.sampling import TraceSampling
from otelprof.telemetry.metrics import Metrics
from otelprof.telemetry.policy_metrics import (
    BUDGET_ALLOWED_BYTES,
    BUDGET_PROBABILITY,
    BUDGET_SPENT_BYTES,
)
from otelprof.testing.clock import SimulatedClock
from tests.recordings import OWN

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SAMPLING: Final = ComponentId("sampling")
RECORDING: Final = OWN / "ebpf-linked" / "00005.otlp"
SECS_PER_HOUR: Final = 3_600
SECS_PER_DAY: Final = 86_400
RULES: Final[list[dict[str, Any]]] = [
    {"match": {"trace": ["error", "slow(>500ms)"]}, "sampling_probability": 1},
    {"match": {"service.name": "cart", "linked": True}, "sampling_probability": 1, "otherwise": "demote"},
    {"match": {"linked": True}, "sampling_probability": 1},
    {"match": {"linked": False}, "sampling_probability": 1},
]


@dataclass(frozen=True)
class World:
    """What happens.

    Attributes:
        seed: of all chance.
        steps: the load of each slice of the day, all of them equally long, in requests an interval.
        services: whose load this is; the second has its steps in another order, and so on.
        interval_secs: between two groups of requests.
        budget_share: what each service may cost, of what all of its load would.
        error_share: how many traces have an error or are slow.
        variants: how many different requests a service has.
    """

    seed: int
    steps: Sequence[float] = (1, 1, 10, 1, 10, 10, 1, 10)
    services: Sequence[str] = ("checkout", "cart", "search")
    interval_secs: float = 10.0
    budget_share: float = 0.2
    error_share: float = 0.02
    variants: int = 100

    def load(self, service: str, second: float) -> float:
        """Requests of a service in an interval at a second of the day."""
        slice_ = int(second % SECS_PER_DAY / SECS_PER_DAY * len(self.steps))
        return self.steps[(slice_ + 3 * self.services.index(service)) % len(self.steps)]


@dataclass
class Minute:
    """What one service did in a minute.

    Attributes:
        offered_bytes: what came.
        bytes_: what was let through.
        errors: samples of error and slow traces that came.
        errors_kept: those of them that stayed.
        probability: at the end.
        left_bytes: what was left of the budget at its begin.
    """

    offered_bytes: int = 0
    bytes_: int = 0
    errors: int = 0
    errors_kept: int = 0
    probability: float = 1.0
    left_bytes: float = 0.0


@dataclass
class Outcome:
    """What came of it.

    Attributes:
        budget_bytes: of each service, for a day.
        minutes: by service.
        direction_changes: of each probability, from up to down and back.
        moves: of each probability.
        before_restart: what was spent, by service.
        after_restart: the same, as the next one knew it.
    """

    budget_bytes: int
    minutes: dict[str, list[Minute]] = field(default_factory=dict)
    direction_changes: Counter[str] = field(default_factory=Counter)
    moves: Counter[str] = field(default_factory=Counter)
    before_restart: dict[str, float] = field(default_factory=dict)
    after_restart: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Variant:
    """A request.

    Attributes:
        body: on the wire.
        ids: where the ids of Profiles and of traces without an error begin.
        size_bytes: as otelprof writes it.
        errors: samples of error traces.
    """

    body: bytes
    ids: Sequence[int]
    size_bytes: int
    errors: int

    def drawn(self, chance: random.Random) -> Profiles:
        """The request with other ids."""
        body = bytearray(self.body)
        for place in self.ids:
            body[place : place + 16] = chance.randbytes(16)
        return Profiles.decode(bytes(body))


class Day:
    """A world that runs.

    Args:
        world: what happens.
        state_file: where the budget writes its ledgers; None keeps them in memory.
        restart_after_secs: when the processor is shut down and another one goes on; None never.
    """

    def __init__(
        self, world: World, state_file: Path | None = None, restart_after_secs: float | None = None
    ) -> None:
        self._world = world
        self._random = random.Random(world.seed)  # noqa: S311 - repeatable, not secret
        self._restart_after_secs = restart_after_secs
        self._clock = SimulatedClock(world.seed)
        self._traces = ExportTraceServiceRequest()
        recording = ExportProfilesServiceRequest.FromString(RECORDING.read_bytes())
        self._pool = {
            service: [self._variant(recording, service) for _ in range(world.variants)]
            for service in world.services
        }
        whole_day = max(self._offered_bytes(service) for service in world.services)
        self._outcome = Outcome(round(whole_day * world.budget_share))
        budget = {"bytes_per_day": self._outcome.budget_bytes, "state_file": state_file}
        data = {"rules": RULES, "budget": budget, "trace_window": "2d", "trace_attributes": False}
        self._config = SamplingConfig.model_validate(data)

    def run(self, days: int = 1) -> Outcome:
        """Let days pass."""
        processor, metrics = self._started()
        outcome = self._outcome
        directions: dict[str, int] = {}
        probabilities = dict.fromkeys(self._world.services, 1.0)
        while (second := self._clock.monotonic()) < days * SECS_PER_DAY:
            if self._restart_after_secs is not None and second >= self._restart_after_secs:
                self._restart_after_secs = None
                outcome.before_restart = self._spent(metrics)
                processor.shutdown()
                processor, metrics = self._started()
                outcome.after_restart = self._spent(metrics)
            for service in self._world.services:
                self._send(processor, metrics, service)
                before, now = probabilities[service], _gauge(metrics, BUDGET_PROBABILITY, service)
                if now == before:
                    continue
                probabilities[service] = now
                outcome.moves[service] += 1
                direction = 1 if now > before else -1
                outcome.direction_changes[service] += direction != directions.get(service, direction)
                directions[service] = direction
            self._clock.advance(self._world.interval_secs)
        processor.shutdown()
        return outcome

    def _started(self) -> tuple[TraceSampling, Metrics]:
        """A processor that knows the traces with an error."""
        metrics = Metrics()
        logger = structlog.get_logger("simulation")
        settings = ComponentSettings(SAMPLING, Kind.PROCESSOR, logger, metrics, self._clock)
        processor = TraceSampling(self._config, settings)
        processor.start()
        processor.wait.decisions.observe(self._traces.SerializeToString(), self._clock.monotonic())
        return processor, metrics

    def _send(self, processor: TraceSampling, metrics: Metrics, service: str) -> None:
        """Send what a service sends in an interval."""
        minutes = self._outcome.minutes.setdefault(service, [])
        if len(minutes) <= self._clock.monotonic() // 60:
            allowed = _gauge(metrics, BUDGET_ALLOWED_BYTES, service) or self._outcome.budget_bytes
            left_bytes = allowed - _gauge(metrics, BUDGET_SPENT_BYTES, service)
            minutes.append(Minute(left_bytes=left_bytes))
        minute = minutes[-1]
        for _ in range(self._poisson(self._world.load(service, self._clock.now()))):
            variant = self._random.choice(self._pool[service])
            left = processor.process(variant.drawn(self._random))
            minute.offered_bytes += variant.size_bytes
            minute.bytes_ += left.wire_bytes if left.profile_count else 0
            minute.errors += variant.errors
            minute.errors_kept += errors(left.to_proto()) if variant.errors else 0
        minute.probability = _gauge(metrics, BUDGET_PROBABILITY, service)

    def _spent(self, metrics: Metrics) -> dict[str, float]:
        services = self._world.services
        return {service: _gauge(metrics, BUDGET_SPENT_BYTES, service) for service in services}

    def _offered_bytes(self, service: str) -> float:
        """What a service would cost on an average day if all of it stayed."""
        pool = self._pool[service]
        request_bytes = sum(variant.size_bytes for variant in pool) / len(pool)
        requests = sum(self._world.steps) / len(self._world.steps) * SECS_PER_DAY / self._world.interval_secs
        return request_bytes * requests

    def _variant(self, recording: ExportProfilesServiceRequest, service: str) -> Variant:
        """The recording with a part of its samples, some of them of traces with an error."""
        request = ExportProfilesServiceRequest()
        request.CopyFrom(recording)
        ids = []
        for link in list(request.dictionary.link_table)[1:]:
            if self._random.random() < self._world.error_share:
                link.trace_id = error_id(self._random)
                self._decide(link.trace_id)
            else:
                link.trace_id = self._random.randbytes(16)
                ids.append(link.trace_id)
        part = self._random.uniform(0.6, 1)
        for group in request.resource_profiles:
            del group.resource.attributes[:]
            group.resource.attributes.add(key="service.name").value.string_value = service
            for profile in (profile for scope in group.scope_profiles for profile in scope.profiles):
                profile.profile_id = self._random.randbytes(16)
                ids.append(profile.profile_id)
                kept = [sample for sample in profile.samples if self._random.random() < part]
                del profile.samples[:]
                profile.samples.extend(kept)
        body = request.SerializeToString()
        places = [body.index(id_) for id_ in ids]
        return Variant(body, places, Profiles.decode(body).wire_bytes, errors(request))

    def _decide(self, trace_id: bytes) -> None:
        """The tracing side keeps a trace that has an error."""
        span = self._traces.resource_spans.add().scope_spans.add().spans.add(trace_id=trace_id)
        span.span_id = self._random.randbytes(8)
        span.status.code = Status.STATUS_CODE_ERROR

    def _poisson(self, mean: float) -> int:
        """How often something happens that happens so often on average (Knuth)."""
        count, left, end = 0, self._random.random(), math.exp(-mean)
        while left > end:
            count += 1
            left *= self._random.random()
        return count


def error_id(chance: random.Random) -> bytes:
    """A trace id that tells that it has an error."""
    return b"error:" + chance.randbytes(10)


def errors(request: ExportProfilesServiceRequest) -> int:
    """Samples of traces with an error that are linked."""
    links = [link.trace_id.startswith(b"error:") for link in request.dictionary.link_table]
    return sum(
        links[sample.link_index]
        for group in request.resource_profiles
        for scope in group.scope_profiles
        for profile in scope.profiles
        for sample in profile.samples
    )


def _gauge(metrics: Metrics, spec: Any, service: str) -> float:
    return metrics.value(spec, processor=str(SAMPLING), service=service)
