"""What a component is: its lifecycle, its factory, and the door it enters by.

A component's package names a `Factory` under one of the entry-point groups `otelprof.receivers`,
`otelprof.processors`, `otelprof.exporters` and `otelprof.extensions`. Built-in components enter by the same
door as a stranger's, and only what a configuration names is imported.

Lifecycle, as in the collector's `component.Component`: construct (no side effect) → `start` once → work →
`shutdown`. `shutdown` may come before `start` and more than once; when it has returned, no thread, socket or
file of the component is left.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, runtime_checkable

from pydantic import BaseModel, ConfigDict

from otelprof.errors import ConfigError, ConfigProblem
from otelprof.telemetry.journal import PolicyJournal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import structlog

    from otelprof._core import Policy, Profiles, TraceDecisions
    from otelprof.clock import Clock
    from otelprof.consumer import Consumer
    from otelprof.control import SamplingControl, ServiceControl
    from otelprof.model import ComponentId
    from otelprof.telemetry.metrics import Metrics


class Kind(StrEnum):
    """The kinds of component, by the name of their section in the configuration."""

    RECEIVER = "receivers"
    PROCESSOR = "processors"
    EXPORTER = "exporters"
    EXTENSION = "extensions"

    @property
    def entry_point_group(self) -> str:
        """The group that components of this kind are registered under."""
        return f"otelprof.{self.value}"


class ComponentConfig(BaseModel):
    """Base of every component's configuration: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    def waits_for_traces(self) -> bool:
        """Whether it makes a `TraceProcessor`: one that decides behind the log, by traces."""
        return False

    @property
    def keeps_queues(self) -> bool:
        """Whether it is an extension that `sending_queue.storage` can name."""
        return False

    @property
    def authenticates(self) -> bool:
        """Whether it makes an `Authenticator`: an extension that `auth.authenticator` can name."""
        return False

    @property
    def authenticators(self) -> Mapping[str, ComponentId]:
        """The authenticators that it names, by the key that does."""
        return {}

    @property
    def exposed(self) -> Mapping[str, str]:
        """What it lets be read or changed on the way that should not be, by the key that does."""
        return {}

    @property
    def memory_limit_bytes(self) -> int | None:
        """Of the process, where it sets one."""
        return None

    def in_words(self) -> tuple[str, ...]:
        """What it will do, in plain words, one line each, for `otelprof validate`; nothing by default."""
        return ()


class Component(Protocol):
    """What has a lifecycle."""

    def start(self) -> None:
        """Acquire what is needed; called once, before any work."""

    def shutdown(self) -> None:
        """Release everything. Safe before `start`, and more than once."""


class Receiver(Component, Protocol):
    """Where requests come in. Made with the `Consumer` behind it."""


@runtime_checkable
class AnnouncingReceiver(Receiver, Protocol):
    """A receiver that has a health service of its own."""

    def announce_shutdown(self) -> None:
        """Say there that it is about to stop, and go on taking requests. Safe before `start`."""


class Processor(Component, Protocol):
    """Looks at a request inside the client's call, before the log."""

    def process(self, profiles: Profiles) -> Profiles:
        """The request as it goes on: the same handle, or a new one. A handle is never changed.

        Profiles that are refused one by one stand in the `rejections` of the new one: the client is told.

        Raises:
            RetryableError: not now; the client may send it again.
            PermanentError: never.
        """


@dataclass(frozen=True)
class TraceWait:
    """What requests wait for, before a processor decides about them by their traces.

    Attributes:
        decisions: the traces that are known to be kept.
        policy: what asks for them.
        wait_secs: how long a request waits at most.
        max_bytes: how much may wait, of memory.
    """

    decisions: TraceDecisions
    policy: Policy
    wait_secs: float
    max_bytes: int


class TraceProcessor(Processor, Protocol):
    """A processor that decides by traces: its `process` is called behind the log, after the wait."""

    @property
    def wait(self) -> TraceWait:
        """What requests wait for."""


@runtime_checkable
class SamplingProcessor(Processor, Protocol):
    """A processor whose sampling can be asked about, and changed for a while."""

    @property
    def control(self) -> SamplingControl:
        """How."""


class Exporter(Component, Protocol):
    """Where profiles go. Queue, retry and timeout are around it, not in it."""

    def export(self, profiles: Profiles) -> None:
        """Deliver a request; returning means delivered. Called from several threads at once.

        Raises:
            RetryableError: the same request, or what of it is `undelivered`, should be sent again, not before
                `retry_after_secs`.
            PermanentError: it should be dropped, counted.
        """


class Extension(Component, Protocol):
    """Beside the pipelines: no request goes through it. Started before all others, shut down after them."""


@dataclass(frozen=True)
class Principal:
    """Who sends, as an authenticator knows them.

    Attributes:
        client: whom the memory of their requests counts for; no secret can be read from it.
        charge: is told the bytes of each request, and raises OverloadedError when there are too many.
    """

    client: str
    charge: Callable[[int], None]


class Authenticator(Extension, Protocol):
    """An extension that knows clients, and has something that others know. Safe to use from any thread."""

    def authenticate(self, headers: Sequence[str]) -> Principal:
        """Who sends.

        Args:
            headers: each `authorization` of the request.

        Raises:
            UnauthenticatedError: it cannot be told.
        """

    def authorization(self) -> tuple[str, str]:
        """Name and value of the header that a request is to be sent with, as it is now.

        Raises:
            RetryableError: there is none yet.
        """


@dataclass(frozen=True)
class ComponentSettings:
    """What every component is given beside its configuration.

    `authenticators` are there from `start` on.
    """

    id: ComponentId
    kind: Kind
    logger: structlog.stdlib.BoundLogger
    metrics: Metrics
    clock: Clock
    journal: PolicyJournal = field(default_factory=PolicyJournal)
    authenticators: Mapping[ComponentId, Authenticator] = field(default_factory=dict)


C = TypeVar("C", bound=ComponentConfig)


@dataclass(frozen=True)
class ReceiverFactory(Generic[C]):
    """How a receiver is configured and made."""

    config: type[C]
    create: Callable[[C, ComponentSettings, Consumer], Receiver]


@dataclass(frozen=True)
class ProcessorFactory(Generic[C]):
    """How a processor is configured and made."""

    config: type[C]
    create: Callable[[C, ComponentSettings], Processor]


@dataclass(frozen=True)
class ExporterFactory(Generic[C]):
    """How an exporter is configured and made.

    The configuration derives from `otelprof.config.exporter.ExporterConfig`, which has `sending_queue`,
    `retry_on_failure` and `timeout` with the collector's keys.
    """

    config: type[C]
    create: Callable[[C, ComponentSettings], Exporter]


@dataclass(frozen=True)
class ExtensionFactory(Generic[C]):
    """How an extension is configured and made."""

    config: type[C]
    create: Callable[[C, ComponentSettings, ServiceControl], Extension]


Factory = ReceiverFactory[Any] | ProcessorFactory[Any] | ExporterFactory[Any] | ExtensionFactory[Any]
_FACTORY_CLASS: dict[Kind, type] = {
    Kind.RECEIVER: ReceiverFactory,
    Kind.PROCESSOR: ProcessorFactory,
    Kind.EXPORTER: ExporterFactory,
    Kind.EXTENSION: ExtensionFactory,
}


def available(kind: Kind) -> dict[str, EntryPoint]:
    """The entry points of a kind by component type; nothing is imported."""
    return {point.name: point for point in entry_points(group=kind.entry_point_group)}


def load_factory(kind: Kind, component_type: str, point: EntryPoint) -> Factory:
    """Import a component's factory.

    Raises:
        ConfigError: it cannot be imported, or is not a factory of this kind.
    """
    path = f"{kind.value}.{component_type}"
    try:
        factory = point.load()
    except Exception as error:
        message = f"{point.value} cannot be imported: {error}"
        raise ConfigError([ConfigProblem(path, message)]) from error
    if not isinstance(factory, _FACTORY_CLASS[kind]):
        message = f"{point.value} is a {type(factory).__name__}, not a {_FACTORY_CLASS[kind].__name__}"
        raise ConfigError([ConfigProblem(path, message)])
    return factory  # type: ignore[return-value] # narrowed by the table above
