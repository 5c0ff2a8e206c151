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

A start is the change from nothing to a configuration, and a reload that from one to another: what is
configured as before runs on (`docs/decisions/0006-reload.md`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from threading import Condition
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import structlog

from otelprof.component import AnnouncingReceiver, Component, ComponentSettings, Kind, SamplingProcessor
from otelprof.config.resolve import exporter_config
from otelprof.control import PipelineParts, ServiceControl
from otelprof.delivery.decisions import DecisionGate, TraceIntake
from otelprof.delivery.sender import DirectSender, Sender
from otelprof.errors import ConfigError, ConfigProblem, ControlError
from otelprof.intake import Intake, Passage, Pipeline
from otelprof.log.memory import MemoryLog
from otelprof.receiver.admission import Admission
from otelprof.shutdown import shut_down
from otelprof.telemetry.journal import PolicyJournal
from otelprof.telemetry.logging import logger_for
from otelprof.telemetry.service_metrics import CONFIG_CHANGED_AT
from otelprof.telemetry.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from otelprof.clock import Clock
    from otelprof.component import Authenticator, Exporter, Processor
    from otelprof.config.resolve import Config, ConfiguredComponent, Made
    from otelprof.control import Incident, SamplingControl
    from otelprof.log.memory import Held
    from otelprof.model import ComponentId
    from otelprof.telemetry.metrics import Metrics

# A change of the pipelines waits so long for requests that are in them; then it is made around them.
_PASSAGE_SECS: Final = 5.0
# What everything is given to end in, once it was told to; a sender gives its threads `JOIN_SECS` of it.
_RELEASE_SECS: Final = 1.8
# A receiver that takes no new request and holds some that do not end; with a longer drain it may have that.
_LEAST_CLOSING_SECS: Final = 0.4
_MOST_CLOSING_SECS: Final = 6.0
_EXTENSION_SECS: Final = 0.7

C = TypeVar("C", bound=Component)
K = TypeVar("K")
M = TypeVar("M")
_Key = tuple["ComponentId", "ComponentId"]

_logger: Final[structlog.stdlib.BoundLogger] = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Part(Generic[M, C]):
    """A component that runs, and what it was made of: with the same it need not be made again."""

    made_of: M
    component: C


class Service:
    """Everything that a configuration runs.

    Args:
        config: what to run.
        metrics: where all components count.
        clock: time and chance for all components.
    """

    def __init__(self, config: Config, metrics: Metrics, clock: Clock) -> None:
        self._config = config
        self._metrics = metrics
        self._clock = clock
        self._journal = PolicyJournal()
        self._ready_since: float | None = None
        self._control = ServiceControl({}, (), clock, lambda: self._ready_since)
        self._authenticators: dict[ComponentId, Authenticator] = {}
        self._admission = Admission(config.request_limit_bytes, metrics)
        self._passage = Passage()
        self._traces = TraceIntake(())
        self._storage = config.storage
        self._upkeep: list[Component] = []
        self._log = self._build_log(config)
        # What runs, by what the configuration calls it.
        self._extensions: dict[ComponentId, _Part[ConfiguredComponent, Component]] = {}
        self._senders: dict[ComponentId, _Part[Made, Sender | DirectSender]] = {}
        self._processors: dict[_Key, _Part[ConfiguredComponent, Processor]] = {}
        self._gates: dict[ComponentId, _Part[ConfiguredComponent, DecisionGate]] = {}
        self._pipelines: dict[ComponentId, Pipeline] = {}
        self._intakes: dict[ComponentId, Intake] = {}
        self._receivers: dict[ComponentId, _Part[tuple[Made, bool], Component]] = {}
        # What a change leaves behind: exporters that still deliver what they have, those that nobody is led
        # to any more, and the incidents of a processor whose successor is to go on with them.
        self._retired: list[Sender] = []
        self._left: dict[ComponentId, _Part[Made, Sender | DirectSender]] = {}
        self._incidents: dict[_Key, Sequence[Incident]] = {}

    @property
    def config(self) -> Config:
        """What it runs."""
        return self._config

    def start(self) -> None:
        """Start extensions, then the log, exporters, processors and receivers.

        Raises:
            ConfigError: one cannot be started as it is configured; the others are shut down again.
        """
        try:
            self._change_extensions()
            self._log.start()
            for component in self._upkeep:
                component.start()
            self._change_pipelines()
            for pipeline, held in self._log.left_held:
                self._resume(pipeline, held)
            self._log.left_held.clear()
            self._ready_since = self._clock.now()
            self._metrics.set(CONFIG_CHANGED_AT, self._ready_since)
        except BaseException:
            self._release()
            raise

    def change_to(self, config: Config) -> None:
        """Run another configuration from now on. What is configured as before runs on; no request is lost.

        Raises:
            ConfigError: something cannot be started as it is configured, or not be changed while it runs.
                What was changed before that stays so: change to the configuration before.
        """
        problems = list(self._fixed(config))
        if problems:
            raise ConfigError(problems)
        self._config = config
        self._admission.resize(config.request_limit_bytes)
        self._change_extensions()
        self._change_pipelines()

    def stop(self) -> None:
        """Take nothing more, deliver what was taken for up to `drain_timeout`, and release everything.

        Before that it says, where health is asked for, that it will, and goes on for `shutdown_delay`.

        Safe before `start`, and more than once. Whatever does not end is left behind, with a warning.
        """
        self._announce_stop()
        drain_secs = self._config.service.drain_timeout
        deadline = self._clock.monotonic() + drain_secs
        shut_down(_components(self._receivers), min(max(drain_secs, _LEAST_CLOSING_SECS), _MOST_CLOSING_SECS))
        self._log.close()
        for gate in _components(self._gates):
            gate.drain()
        queued = [sender for sender in _components(self._senders) if isinstance(sender, Sender)]
        for sender in queued:
            sender.begin_drain(deadline)
        for sender in (*queued, *self._retired):
            sender.wait_drained(deadline)
        self._release()

    @property
    def undelivered_bytes(self) -> int:
        """Memory of what was acknowledged, and is not delivered to every exporter yet."""
        return self._log.memory_bytes

    def _announce_stop(self) -> None:
        was_ready, self._ready_since = self._ready_since is not None, None
        for receiver in _components(self._receivers):
            if isinstance(receiver, AnnouncingReceiver):
                receiver.announce_shutdown()
        delay_secs = self._config.service.shutdown_delay
        if was_ready and delay_secs:
            stopping = Condition()
            with stopping:
                self._clock.wait(stopping, delay_secs)

    def _release(self) -> None:
        """Shut everything down, the last first; what stays in queues is counted."""
        receivers, gates = _components(self._receivers), _components(self._gates)
        processors, senders = _components(self._processors), _components(self._senders)
        left = [*_components(self._left), *self._retired]
        for components in (receivers, [*gates, *processors], [*senders, *left]):
            shut_down(components, _RELEASE_SECS)
        shut_down(self._upkeep, _LEAST_CLOSING_SECS)
        self._log.shutdown()
        for extension in reversed(_components(self._extensions)):
            shut_down([extension], _EXTENSION_SECS)

    def _fixed(self, config: Config) -> Iterator[ConfigProblem]:
        """What cannot become as this configuration has it while the log is open."""
        storage = config.storage
        if storage is not None and storage != self._storage:
            message = "keeps queues, and cannot be added or changed while otelprof runs: restart it"
            yield ConfigProblem(f"extensions.{storage.id}", message)
        before = self._config.queues
        for id_, queue in config.queues.items():
            if id_ in before and before[id_].storage != queue.storage:
                message = f"is {before[id_].storage}, and cannot be changed while otelprof runs: restart it"
                yield ConfigProblem(f"exporters.{id_}.sending_queue.storage", message)

    def _change_extensions(self) -> None:
        configured = self._config.components[Kind.EXTENSION]
        wanted = {id_: configured[id_] for id_ in self._config.service.extensions}
        shut_down(_taken_off(self._extensions, wanted), _RELEASE_SECS)
        for id_ in self._authenticators.keys() - wanted.keys():
            del self._authenticators[id_]
        for id_, one in wanted.items():
            if id_ not in self._extensions:
                extension = _create(one, self._settings(one), self._control)
                _start(self._extensions, id_, one, extension)
                if one.config.authenticates:
                    self._authenticators[id_] = extension

    def _change_pipelines(self) -> None:
        self._change_exporters()
        with self._passage.closed(_PASSAGE_SECS):
            self._change_processors()
            self._lead()
        self._let_go()
        self._change_receivers()

    def _change_exporters(self) -> None:
        """Have the exporters that are wanted; those that are not are kept, until nobody is led to them."""
        wanted = self._config.made_of(Kind.EXPORTER)
        deadline = self._clock.monotonic() + self._config.service.drain_timeout
        for id_ in [id_ for id_, part in self._left.items() if wanted.get(id_) == part.made_of]:
            # A change that failed had left it.
            if (successor := self._senders.pop(id_, None)) is not None:
                _halt(successor.component, deadline)
            self._senders[id_] = self._left.pop(id_)
        for id_ in [id_ for id_, part in self._senders.items() if wanted.get(id_) != part.made_of]:
            part = self._senders.pop(id_)
            if (
                isinstance(part.component, Sender)
                and id_ in wanted
                and exporter_config(wanted[id_][0]).sending_queue.enabled
            ):
                # The next one takes over what waits in its queue.
                part.component.halt(deadline)
            else:
                self._left[id_] = part
        for id_, one in wanted.items():
            if id_ not in self._senders:
                sender = self._build_sender(one[0])
                try:
                    sender.start()
                except BaseException:
                    _halt(sender, self._clock.monotonic())
                    raise
                self._senders[id_] = _Part(one, sender)

    def _change_processors(self) -> None:
        """Have the processors and gates that are wanted. The passage is closed."""
        wanted: dict[_Key, ConfiguredComponent] = {}
        wanted_gates: dict[ComponentId, ConfiguredComponent] = {}
        for pipeline, parts in self._config.pipelines.items():
            for id_ in parts.processors:
                one = self._config.components[Kind.PROCESSOR][id_]
                if one.config.waits_for_traces:
                    wanted_gates[pipeline] = one
                else:
                    wanted[pipeline, id_] = one
        self._incidents |= {key: one.incidents.active() for key, one in self._sampling().items()}
        gates, processors = _taken_off(self._gates, wanted_gates), _taken_off(self._processors, wanted)
        shut_down(gates, _PASSAGE_SECS)
        shut_down(processors, _RELEASE_SECS)
        for key, one in wanted.items():
            if key not in self._processors:
                processor = _create(one, self._settings(one))
                _start(self._processors, key, one, processor)
                self._go_on_with_incidents(key, processor)
        for pipeline, one in wanted_gates.items():
            if pipeline not in self._gates:
                gate = self._build_gate(pipeline, one)
                _start(self._gates, pipeline, one, gate)
                self._go_on_with_incidents((pipeline, one.id), gate.processor)

    def _lead(self) -> None:
        """Lead requests through what runs now. The passage is closed."""
        self._pipelines = {id_: self._pipeline(id_) for id_ in self._config.pipelines}
        for pipeline in self._pipelines.values():
            if pipeline.gate is not None:
                pipeline.gate.lead_to(pipeline.queued)
        self._traces.lead_to(_components(self._gates))
        for receiver, intake in self._intakes.items():
            intake.lead_to(self._pipelines_of(receiver))
        parts = {
            id_: PipelineParts(config.receivers, config.processors, config.exporters)
            for id_, config in self._config.pipelines.items()
        }
        sampling = self._sampling()
        keys = [(id_, one) for id_, config in self._config.pipelines.items() for one in config.processors]
        self._control.describe(parts, [(*key, sampling[key]) for key in keys if key in sampling])

    def _let_go(self) -> None:
        """Have the exporters that nobody is led to any more deliver what they have, and end."""
        self._incidents.clear()
        self._log.keep_only(self._config.queues)
        self._retired = [sender for sender in self._retired if not sender.is_done]
        for sender in _components(self._left):
            if isinstance(sender, Sender):
                sender.retire(self._clock.monotonic() + self._config.service.drain_timeout)
                self._retired.append(sender)
            else:
                shut_down([sender], _RELEASE_SECS)
        self._left.clear()

    def _change_receivers(self) -> None:
        """Have the receivers that are wanted: the others end first, since one may want another's port."""
        # What a receiver offers depends on whether somebody asks for traces.
        traces = self._traces if self._gates else None
        wanted = {
            id_: (made_of, bool(traces)) for id_, made_of in self._config.made_of(Kind.RECEIVER).items()
        }
        shut_down(_taken_off(self._receivers, wanted), _MOST_CLOSING_SECS)
        self._intakes = {id_: intake for id_, intake in self._intakes.items() if id_ in self._receivers}
        for id_, made_of in wanted.items():
            if id_ not in self._receivers:
                one = made_of[0][0]
                intake = Intake(
                    self._pipelines_of(id_), self._log, self._admission, traces, passage=self._passage
                )
                receiver = _create(one, self._settings(one), intake)
                _start(self._receivers, id_, made_of, receiver)
                self._intakes[id_] = intake

    def _sampling(self) -> Mapping[_Key, SamplingControl]:
        """The sampling that can be asked, of everything that runs."""
        running: dict[_Key, Processor] = {key: part.component for key, part in self._processors.items()}
        for pipeline, gate in self._gates.items():
            running[pipeline, gate.made_of.id] = gate.component.processor
        return {key: one.control for key, one in running.items() if isinstance(one, SamplingProcessor)}

    def _go_on_with_incidents(self, key: _Key, processor: Processor) -> None:
        """Have those that its predecessor had, for as long as they were to last."""
        if not isinstance(processor, SamplingProcessor):
            return
        now = self._clock.now()
        for incident in self._incidents.get(key, ()):
            try:
                processor.control.incidents.start(
                    replace(incident, start_secs=now, duration_secs=incident.end_secs - now)
                )
            except ControlError as error:
                service = printable(incident.service)
                _logger.warning("incident ends with the change", service=service, why=str(error))

    def _resume(self, pipeline: ComponentId, held: Held) -> None:
        """Have a request of an earlier run wait again, or go on as it came where nothing waits any more."""
        running = self._pipelines.get(pipeline)
        if running is None or running.gate is None:
            self._log.settle(held, held.profiles)
        else:
            running.gate.hold(held)

    def _build_log(self, config: Config) -> MemoryLog:
        """The log: on disk for the exporters that name a storage, of which there is one at most."""
        queues = config.queues
        if self._storage is None:
            return MemoryLog(queues, self._clock, self._metrics)
        # SQLite, for who asks for it.
        from otelprof.log.durable import DurableLog, Storage  # noqa: PLC0415
        from otelprof.log.upkeep import Upkeep  # noqa: PLC0415

        id_ = self._storage.id
        kept: Any = self._storage.config
        storage = Storage(id_, kept.directory, kept.fsync, kept.max_age, kept.dead_letter)
        logger = logger_for(id_, Kind.EXTENSION.value)
        log = DurableLog(queues, storage, self._clock, self._metrics, logger)
        self._upkeep.append(Upkeep(log, id_, self._clock, logger))
        return log

    def _build_sender(self, exporter: ConfiguredComponent) -> Sender | DirectSender:
        settings = self._settings(exporter)
        config = exporter_config(exporter)
        instance: Exporter = _create(exporter, settings)
        if not config.sending_queue.enabled:
            return DirectSender(instance, settings)
        return Sender(instance, self._log.renew(exporter.id, config.sending_queue), config, settings)

    def _build_gate(self, pipeline: ComponentId, behind: ConfiguredComponent) -> DecisionGate:
        logger = logger_for(pipeline, "pipeline")
        settings = ComponentSettings(pipeline, Kind.PROCESSOR, logger, self._metrics, self._clock)
        exporters = self._config.pipelines[pipeline].exporters
        return DecisionGate(self._log, _create(behind, self._settings(behind)), exporters, settings)

    def _pipeline(self, id_: ComponentId) -> Pipeline:
        """A pipeline of what runs."""
        config = self._config.pipelines[id_]
        processors = [self._processors.get((id_, one)) for one in config.processors]
        queued, direct = [], []
        for exporter in config.exporters:
            sender = self._senders[exporter].component
            if isinstance(sender, DirectSender):
                direct.append(sender)
            else:
                queued.append(exporter)
        gate = self._gates.get(id_)
        return Pipeline(
            tuple(part.component for part in processors if part is not None),
            tuple(queued),
            tuple(direct),
            None if gate is None else gate.component,
        )

    def _pipelines_of(self, receiver: ComponentId) -> list[Pipeline]:
        configured = self._config.pipelines.items()
        return [self._pipelines[id_] for id_, config in configured if receiver in config.receivers]

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


def _start(parts: dict[K, _Part[M, C]], key: K, made_of: M, component: C) -> None:
    """Start a component, and remember it; what does not start is shut down."""
    try:
        component.start()
    except BaseException:
        shut_down([component], _RELEASE_SECS)
        raise
    parts[key] = _Part(made_of, component)


def _halt(sender: Sender | DirectSender, deadline: float) -> None:
    """Stop a sender that another takes the place of; what waits for it stays in the log."""
    if isinstance(sender, Sender):
        sender.halt(deadline)
    else:
        shut_down([sender], _RELEASE_SECS)


def _taken_off(parts: dict[K, _Part[M, C]], wanted: Mapping[K, M]) -> list[C]:
    """Take off what is not wanted as it is."""
    gone = [key for key, part in parts.items() if wanted.get(key) != part.made_of]
    return [parts.pop(key).component for key in gone]


def _components(parts: Mapping[Any, _Part[Any, C]]) -> list[C]:
    return [part.component for part in parts.values()]


def _create(component: ConfiguredComponent, *arguments: object) -> Any:  # noqa: ANN401 - of the factory's kind
    """Make a component; what its factory is given beside the configuration depends on its kind."""
    create: Callable[..., Any] = component.factory.create
    return create(component.config, *arguments)
