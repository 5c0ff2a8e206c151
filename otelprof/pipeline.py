"""READ THIS FIRST: what runs, and the path of a request through it.

    client ─► Receiver ─► Intake: the processors of each pipeline ─► MemoryLog ─► answer to the client
                                                                         │
                                                    Exporter ◄─ Sender ◄─┘  one sender an exporter

1. A receiver (`receiver/`) is called by a client, takes memory for the request, of one budget for all of
   them (`receiver/admission.py`), has the Rust core decode the body into a frozen `Profiles`, and gives it to
   its intake. That is all it knows of what is behind it.
2. The intake runs the processors (`processor/`) of every pipeline that the receiver is in. Each may refuse
   the request, or return another handle. Nothing was taken yet: a refusal is the client's answer, and so are
   the Profiles that a policy refused one by one.
3. What is left goes into the log (`log/`), for all exporters of all these pipelines at once, or not at all.
   This is the acknowledgement: when `append` returns, the client is told that we have it.
4. A pipeline that samples by what the tracing side decided has that processor behind the log, at its gate
   (`delivery/decisions.py`): there a request waits for its traces, and then goes to its exporters.
5. Behind the log each exporter (`exporter/`) has a sender (`delivery/`), which delivers at the exporter's own
   pace, tries again, and counts what it has to give up.

Receivers and exporters are shared between pipelines by id; each pipeline has processors of its own, as in the
collector. Extensions stand beside the pipelines; what they may ask and change is in `control.py`. Start goes
from the end to the beginning, so that nothing is taken that cannot be delivered; stop goes the other way, so
that what was taken is delivered.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog

from otelprof.component import ComponentSettings, Kind, SamplingProcessor
from otelprof.config.exporter import ExporterConfig
from otelprof.control import PipelineParts, SamplingControl, ServiceControl
from otelprof.delivery.decisions import DecisionGate, TraceIntake
from otelprof.delivery.sender import DirectSender, Sender
from otelprof.log.memory import MemoryLog
from otelprof.receiver.admission import Admission
from otelprof.telemetry.journal import PolicyJournal
from otelprof.telemetry.logging import logger_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from otelprof._core import Profiles, Rejection
    from otelprof.clock import Clock
    from otelprof.component import Authenticator, Component, Exporter, Processor, TraceProcessor
    from otelprof.config.exporter import SendingQueueConfig
    from otelprof.config.resolve import Config, ConfiguredComponent
    from otelprof.consumer import Reservation, TraceConsumer
    from otelprof.log.memory import Held
    from otelprof.model import ComponentId
    from otelprof.telemetry.metrics import Metrics

_logger: Final[structlog.stdlib.BoundLogger] = structlog.get_logger(__name__)


class Service:
    """Everything that a configuration runs.

    Args:
        config: what to build.
        metrics: where all components count.
        clock: time and chance for all components.
    """

    def __init__(self, config: Config, metrics: Metrics, clock: Clock) -> None:
        self._config = config
        self._metrics = metrics
        self._clock = clock
        self._journal = PolicyJournal()
        self._authenticators: dict[ComponentId, Authenticator] = {}
        # From the end to the beginning: each part is given what is behind it.
        exporters = self._used(Kind.EXPORTER)
        queues = {id_: _exporter_config(one).sending_queue for id_, one in exporters.items()}
        self._upkeep: list[Component] = []
        self._log = self._build_log({id_: queue for id_, queue in queues.items() if queue.enabled})
        self._senders = {id_: self._build_sender(one) for id_, one in exporters.items()}
        self._controls: list[tuple[ComponentId, ComponentId, SamplingControl]] = []
        self._pipelines = {id_: self._build_pipeline(id_) for id_ in config.pipelines}
        gates = [pipeline.gate for pipeline in self._pipelines.values() if pipeline.gate is not None]
        self._gates = gates
        self._traces = TraceIntake(gates) if gates else None
        self._admission = Admission(config.request_limit_bytes, metrics)
        self._receivers = [self._build_receiver(one) for one in self._used(Kind.RECEIVER).values()]
        self._ready_since: float | None = None
        self._extensions = self._build_extensions()

    def start(self) -> None:
        """Start extensions, then exporters, processors and receivers.

        Raises:
            ConfigError: one cannot be started as it is configured; the others are shut down again.
        """
        try:
            for component in self._in_order():
                component.start()
            for pipeline, held in self._log.left_held:
                self._resume(pipeline, held)
            self._log.left_held.clear()
            self._ready_since = self._clock.now()
        except BaseException:
            _shutdown(self._in_order())
            raise

    def stop(self) -> None:
        """Take nothing more, deliver what was taken for up to `drain_timeout`, and release everything.

        Safe before `start`, and more than once.
        """
        self._ready_since = None
        _shutdown(self._receivers)
        self._log.close()
        deadline = self._clock.monotonic() + self._config.service.drain_timeout
        queued = [sender for sender in self._senders.values() if isinstance(sender, Sender)]
        for gate in self._gates:
            gate.drain()
        for sender in queued:
            sender.begin_drain(deadline)
        for sender in queued:
            sender.wait_drained(deadline)
        _shutdown(self._in_order())

    @property
    def undelivered_bytes(self) -> int:
        """Memory of what was acknowledged, and is not delivered to every exporter yet."""
        return self._log.memory_bytes

    def _in_order(self) -> list[Component]:
        """All components, in the order of their start."""
        processors = [one for pipeline in self._pipelines.values() for one in pipeline.processors]
        return [
            *self._extensions,
            self._log,
            *self._upkeep,
            *self._senders.values(),
            *processors,
            *self._gates,
            *self._receivers,
        ]

    def _resume(self, pipeline: ComponentId, held: Held) -> None:
        """Have a request of an earlier run wait again, or go on as it came where nothing waits any more."""
        running = self._pipelines.get(pipeline)
        if running is None or running.gate is None:
            self._log.settle(held, held.profiles)
        else:
            running.gate.hold(held)

    def _build_log(self, queues: Mapping[ComponentId, SendingQueueConfig]) -> MemoryLog:
        """The log: on disk for the exporters that name a storage, of which there is one at most."""
        named = next((queue.storage for queue in queues.values() if queue.storage is not None), None)
        if named is None:
            return MemoryLog(queues, self._clock, self._metrics)
        # SQLite, for who asks for it.
        from otelprof.log.durable import DurableLog, Storage  # noqa: PLC0415
        from otelprof.log.upkeep import Upkeep  # noqa: PLC0415

        config: Any = self._config.components[Kind.EXTENSION][named].config
        storage = Storage(named, config.directory, config.fsync, config.max_age, config.dead_letter)
        logger = logger_for(named, Kind.EXTENSION.value)
        log = DurableLog(queues, storage, self._clock, self._metrics, logger)
        self._upkeep.append(Upkeep(log, named, self._clock, logger))
        return log

    def _used(self, kind: Kind) -> Mapping[ComponentId, ConfiguredComponent]:
        """The components of a kind that some pipeline names."""
        named = {id_ for pipeline in self._config.pipelines.values() for id_ in getattr(pipeline, kind.value)}
        return {id_: one for id_, one in self._config.components[kind].items() if id_ in named}

    def _build_sender(self, exporter: ConfiguredComponent) -> Sender | DirectSender:
        settings = self._settings(exporter)
        config = _exporter_config(exporter)
        instance: Exporter = _create(exporter, settings)
        if not config.sending_queue.enabled:
            return DirectSender(instance, settings)
        return Sender(instance, self._log.cursor(exporter.id), config, settings)

    def _build_pipeline(self, pipeline: ComponentId) -> Pipeline:
        config = self._config.pipelines[pipeline]
        configured = [self._config.components[Kind.PROCESSOR][id_] for id_ in config.processors]
        processors: list[Processor] = []
        behind: TraceProcessor | None = None
        for one in configured:
            processor = _create(one, self._settings(one))
            if isinstance(processor, SamplingProcessor):
                self._controls.append((pipeline, one.id, processor.control))
            if one.config.waits_for_traces:
                behind = processor
            else:
                processors.append(processor)
        queued, direct = [], []
        for exporter in config.exporters:
            sender = self._senders[exporter]
            if isinstance(sender, DirectSender):
                direct.append(sender)
            else:
                queued.append(exporter)
        gate = None
        if behind is not None:
            settings = ComponentSettings(
                pipeline, Kind.PROCESSOR, logger_for(pipeline, "pipeline"), self._metrics, self._clock
            )
            gate = DecisionGate(self._log, behind, queued, settings)
        return Pipeline(tuple(processors), tuple(queued), tuple(direct), gate)

    def _build_receiver(self, receiver: ConfiguredComponent) -> Component:
        pipelines = [
            self._pipelines[id_]
            for id_, config in self._config.pipelines.items()
            if receiver.id in config.receivers
        ]
        intake = Intake(pipelines, self._log, self._admission, self._traces)
        instance: Component = _create(receiver, self._settings(receiver), intake)
        return instance

    def _build_extensions(self) -> list[Component]:
        parts = {
            id_: PipelineParts(config.receivers, config.processors, config.exporters)
            for id_, config in self._config.pipelines.items()
        }
        control = ServiceControl(parts, self._controls, self._clock, lambda: self._ready_since)
        configured = self._config.components[Kind.EXTENSION]
        named = [configured[id_] for id_ in self._config.service.extensions]
        extensions = [_create(one, self._settings(one), control) for one in named]
        for one, extension in zip(named, extensions, strict=True):
            if one.config.authenticates:
                self._authenticators[one.id] = extension
        return extensions

    def _settings(self, component: ConfiguredComponent) -> ComponentSettings:
        logger = logger_for(component.id, component.kind.value)
        return ComponentSettings(
            component.id,
            component.kind,
            logger,
            self._metrics,
            self._clock,
            self._journal,
            self._authenticators,
        )


@dataclass(frozen=True)
class Pipeline:
    """What one pipeline does to a request, and where it goes.

    Attributes:
        processors: in their order.
        queued: exporters that read the log.
        direct: exporters without a queue, inside the client's call.
        gate: where requests wait, behind the log, for decisions about their traces; None when they do not.
    """

    processors: tuple[Processor, ...]
    queued: tuple[ComponentId, ...]
    direct: tuple[DirectSender, ...]
    gate: DecisionGate | None = None

    def process(self, profiles: Profiles) -> tuple[Profiles, Sequence[Rejection]]:
        """Run the processors.

        Returns:
            What is left, and the Profiles that they refused one by one.

        Raises:
            OtelprofError: one of them refused the request.
        """
        refused: list[Rejection] = []
        for processor in self.processors:
            result = processor.process(profiles)
            # What did not change keeps the rejections that it had; those of another request are its own.
            if list(map(_facts, result.rejections)) != list(map(_facts, profiles.rejections)):
                refused.extend(result.rejections)
            profiles = result
        return profiles, refused


class Intake:
    """The `Consumer` behind a receiver: all pipelines that the receiver is in."""

    def __init__(
        self,
        pipelines: Iterable[Pipeline],
        log: MemoryLog,
        admission: Admission,
        traces: TraceConsumer | None = None,
    ) -> None:
        self._pipelines = tuple(pipelines)
        self._log = log
        self._admission = admission
        self._traces = traces

    @property
    def traces(self) -> TraceConsumer | None:
        """Who takes traces; None when no pipeline asks for them."""
        return self._traces

    def reserve(self, client: str) -> Reservation:
        """The memory of one request: of the budget that all receivers share."""
        return self._admission.reserve(client)

    def admit(self, expected_bytes: int) -> None:
        """Refuse, before it is read, what some queue has no room for.

        Raises:
            RetryableError: there is no room now; the client may send it again.
        """
        for pipeline in self._pipelines:
            self._log.admit(pipeline.queued, expected_bytes)

    def consume(self, profiles: Profiles) -> Sequence[Rejection]:
        """Process a request and acknowledge it: for every pipeline, or for none.

        A request without Profiles is a success, and goes no further, as in the collector. An exporter without
        a queue has delivered when this returns; when something behind it fails, the client sends the request
        again, and that exporter delivers it twice.

        Raises:
            RetryableError: nothing was acknowledged; the client may send it again.
            PermanentError: nothing was acknowledged, nor will be.
        """
        processed = [(pipeline, *pipeline.process(profiles)) for pipeline in self._pipelines]
        left = [(pipeline, result) for pipeline, result, _ in processed if result.profile_count]
        for pipeline, result in left:
            for sender in pipeline.direct:
                sender.deliver(result)
        gates = {number: one.gate for number, (one, _) in enumerate(left) if one.gate is not None}
        waits = {number: gate.pipeline for number, gate in gates.items()}
        held = self._log.append([(result, pipeline.queued) for pipeline, result in left], waits)
        for gate, one in zip(gates.values(), held, strict=True):
            gate.hold(one)
        return _told_once([refused for _, _, refused in processed])


_Facts = tuple[str, str, int, int]


def _facts(rejection: Rejection) -> _Facts:
    """What a rejection says: two that say the same are equal."""
    return rejection.reason, rejection.message, rejection.profile_count, rejection.sample_count


def _told_once(refused: Iterable[Sequence[Rejection]]) -> Sequence[Rejection]:
    """What several pipelines refused of one request; a Profile that all refuse alike is one Profile."""
    counts: Counter[_Facts] = Counter()
    by_facts: dict[_Facts, Rejection] = {}
    for rejections in refused:
        found = {_facts(rejection): rejection for rejection in rejections}
        by_facts |= found
        counts |= Counter(map(_facts, rejections))
    return [by_facts[facts] for facts in counts.elements()]


def _create(component: ConfiguredComponent, *arguments: object) -> Any:  # noqa: ANN401 - of the factory's kind
    """Make a component; what its factory is given beside the configuration depends on its kind."""
    create: Callable[..., Any] = component.factory.create
    return create(component.config, *arguments)


def _exporter_config(exporter: ConfiguredComponent) -> ExporterConfig:
    """Queue, retry and timeout of an exporter; the defaults for a plugin that does not offer them."""
    config: Any = exporter.config
    return config if isinstance(config, ExporterConfig) else ExporterConfig()


def _shutdown(components: Sequence[Component]) -> None:
    """Shut components down, the last first; one that fails does not keep the others from it."""
    for component in reversed(components):
        try:
            component.shutdown()
        except Exception:
            _logger.exception("shutdown failed", component=type(component).__name__)
