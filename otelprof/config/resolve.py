"""From a configuration file to what the pipeline is built of, or to everything that is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from otelprof.component import ComponentConfig, Factory, Kind, available, load_factory
from otelprof.config.explain import explain, nearest
from otelprof.config.exporter import ExporterConfig
from otelprof.config.load import join, read_document
from otelprof.config.models import ServiceConfig
from otelprof.errors import ConfigError, ConfigProblem
from otelprof.model import ComponentId

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from otelprof.config.exporter import SendingQueueConfig
    from otelprof.config.models import PipelineConfig, TelemetryConfig

PIPELINE_KINDS: Final = (Kind.RECEIVER, Kind.PROCESSOR, Kind.EXPORTER)
"""What pipelines are made of."""

_MIB: Final = 1 << 20
_DEFAULT_REQUEST_LIMIT_BYTES: Final = 256 * _MIB
_SECTIONS: Final = (*(kind.value for kind in Kind), "service")
_Components = dict[ComponentId, "ConfiguredComponent"]
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class ConfiguredComponent:
    """A component as the configuration defines it, not yet made."""

    id: ComponentId
    kind: Kind
    factory: Factory
    config: ComponentConfig


Made = tuple[ConfiguredComponent, ...]
"""A component, and the authenticators that it names: with others, it is another."""


@dataclass(frozen=True)
class Config:
    """A configuration that can be run.

    Attributes:
        components: by kind and id, in the order of the file. Every id in a pipeline or among the extensions
            of `service` is here; one that is here and in none of them is not run.
        service: what runs.
        warnings: what is probably a mistake, and no reason not to run.
    """

    components: Mapping[Kind, Mapping[ComponentId, ConfiguredComponent]]
    service: ServiceConfig
    warnings: tuple[ConfigProblem, ...]

    @property
    def pipelines(self) -> Mapping[ComponentId, PipelineConfig]:
        """The pipelines by id."""
        return self.service.pipelines

    @property
    def telemetry(self) -> TelemetryConfig:
        """How otelprof speaks of itself."""
        return self.service.telemetry

    @property
    def request_limit_bytes(self) -> int:
        """What all requests may take while they are read and worked on."""
        limit_mib = self.service.admission.request_limit_mib
        if limit_mib is not None:
            return limit_mib * _MIB
        limits = [one.config.memory_limit_bytes for one in self.used(Kind.PROCESSOR).values()]
        return min(
            (limit // 2 for limit in limits if limit is not None), default=_DEFAULT_REQUEST_LIMIT_BYTES
        )

    def used(self, kind: Kind) -> Mapping[ComponentId, ConfiguredComponent]:
        """The components of a kind that some pipeline names."""
        named = {id_ for pipeline in self.pipelines.values() for id_ in getattr(pipeline, kind.value)}
        return {id_: one for id_, one in self.components[kind].items() if id_ in named}

    def made_of(self, kind: Kind) -> Mapping[ComponentId, Made]:
        """What each of the components of a kind is made of that some pipeline names."""
        extensions = self.components[Kind.EXTENSION]
        return {
            id_: (one, *(extensions[named] for named in one.config.authenticators.values()))
            for id_, one in self.used(kind).items()
        }

    @property
    def queues(self) -> Mapping[ComponentId, SendingQueueConfig]:
        """The queues of the exporters that have one and run."""
        exporters = self.used(Kind.EXPORTER).items()
        queues = {id_: exporter_config(one).sending_queue for id_, one in exporters}
        return {id_: queue for id_, queue in queues.items() if queue.enabled}

    @property
    def storage(self) -> ConfiguredComponent | None:
        """The extension that keeps queues, of which there is one at most; None when all are in memory."""
        named = next((queue.storage for queue in self.queues.values() if queue.storage is not None), None)
        return None if named is None else self.components[Kind.EXTENSION][named]


def exporter_config(exporter: ConfiguredComponent) -> ExporterConfig:
    """Queue, retry and timeout of an exporter; the defaults for a plugin that does not offer them."""
    config: Any = exporter.config
    return config if isinstance(config, ExporterConfig) else ExporterConfig()


def load_config(path: Path, environ: Mapping[str, str]) -> Config:
    """Read, expand and validate a configuration file. Only the component types that it names are imported.

    Raises:
        ConfigError: with everything that is wrong, in the order of the file.
    """
    document = read_document(path, environ)
    resolver = _Resolver(document.data)
    config = resolver.resolve() if document.data or not document.problems else None
    misread = {problem.path for problem in document.problems}
    problems = document.problems + [one for one in resolver.problems if one.path not in misread]
    if problems or config is None:
        raise ConfigError(sorted(problems, key=lambda problem: _place(problem, document.order)))
    return config


class _Resolver:
    """Resolves one configuration, and remembers what was wrong."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.problems: list[ConfigProblem] = []
        self._data = data

    def resolve(self) -> Config | None:
        for section in self._data.keys() - set(_SECTIONS):
            message = f"is not a known section; known are {', '.join(_SECTIONS)}"
            self.problems.append(ConfigProblem(section, message, nearest(section, _SECTIONS)))
        components = {kind: self._components(kind) for kind in Kind}
        service = self._service()
        if service is None:
            return None
        self.problems.extend(_trace_problems(components, service))
        self.problems.extend(_storage_problems(components, service))
        self.problems.extend(_auth_problems(components, service))
        warnings = (*_unused(components, service), *_exposed(components))
        return Config(components, service, warnings)

    def _components(self, kind: Kind) -> _Components:
        found: _Components = {}
        for text, data in self._section(kind).items():
            path = join(kind.value, text)
            try:
                component_id = ComponentId.parse(text)
                factory = _factory(kind, component_id.type, path)
                config = _validate(factory.config, {} if data is None else data, path)
            except ValueError as error:
                self.problems.append(ConfigProblem(path, str(error)))
            except ConfigError as error:
                self.problems.extend(error.problems)
            else:
                found[component_id] = ConfiguredComponent(component_id, kind, factory, config)
        return found

    def _service(self) -> ServiceConfig | None:
        if "service" not in self._data:
            self.problems.append(ConfigProblem("service", "is required: it says which pipelines run"))
            return None
        # What is defined, and wrong, counts as defined: its own problem is enough.
        defined = {kind.value: list(self._section(kind)) for kind in Kind}
        try:
            return _validate(ServiceConfig, self._data["service"], "service", defined)
        except ConfigError as error:
            self.problems.extend(error.problems)
            return None

    def _section(self, kind: Kind) -> dict[str, Any]:
        body = self._data.get(kind.value)
        if body is None or isinstance(body, dict):
            return body or {}
        problem = ConfigProblem(kind.value, "must be a mapping from component ids to their configuration")
        if problem not in self.problems:
            self.problems.append(problem)
        return {}


def _factory(kind: Kind, component_type: str, path: str) -> Factory:
    """Import the factory of a component type.

    Raises:
        ConfigError: none or several packages offer it, or it cannot be imported.
    """
    what = f"{kind.value.removesuffix('s')} {component_type!r}"
    points = entry_points(group=kind.entry_point_group, name=component_type)
    if len(points) > 1:
        packages = ", ".join(sorted(point.dist.name for point in points if point.dist))
        raise ConfigError(
            [ConfigProblem(path, f"several packages offer the {what}, keep one of them: {packages}")]
        )
    if not points:
        known = sorted(available(kind))
        message = f"there is no {what}; installed are {', '.join(known)}"
        raise ConfigError([ConfigProblem(path, message, nearest(component_type, known))])
    return load_factory(kind, component_type, points[component_type])


def _validate(model: type[M], data: object, path: str, context: dict[str, list[str]] | None = None) -> M:
    try:
        return model.model_validate(data, context=context)
    except ValidationError as error:
        raise ConfigError(explain(error, model, data, path)) from error


def _trace_problems(
    components: Mapping[Kind, _Components], service: ServiceConfig
) -> Iterator[ConfigProblem]:
    """What a pipeline lacks whose processor decides by traces, behind the log."""
    processors, exporters = components[Kind.PROCESSOR], components[Kind.EXPORTER]
    for name, pipeline in service.pipelines.items():
        known = [processors[id_] for id_ in pipeline.processors if id_ in processors]
        waiting = [str(one.id) for one in known if one.config.waits_for_traces]
        path = join(join("service.pipelines", str(name)), Kind.PROCESSOR.value)
        if len(waiting) > 1:
            message = f"{' and '.join(waiting)} both have rules with trace: put all of them into one"
            yield ConfigProblem(path, message)
        for id_ in pipeline.exporters if waiting else ():
            config = exporters[id_].config if id_ in exporters else None
            if isinstance(config, ExporterConfig) and not config.sending_queue.enabled:
                message = (
                    f"{waiting[0]} has rules with trace, for which requests wait in a queue; {id_} has none"
                )
                yield ConfigProblem(path, message)


def _storage_problems(
    components: Mapping[Kind, _Components], service: ServiceConfig
) -> Iterator[ConfigProblem]:
    """What is wrong with the storages that queues name."""
    extensions = components[Kind.EXTENSION]
    running = [str(one) for one in service.extensions]
    named: dict[ComponentId, ComponentId] = {}
    for id_, exporter in components[Kind.EXPORTER].items():
        config = exporter.config
        storage = config.sending_queue.storage if isinstance(config, ExporterConfig) else None
        if storage is None:
            continue
        path = f"{join(Kind.EXPORTER.value, str(id_))}.sending_queue.storage"
        if storage not in service.extensions:
            message = f"{storage} is not in service.extensions, which has {', '.join(running) or 'none'}"
            yield ConfigProblem(path, message, nearest(str(storage), running))
        elif storage in extensions and not extensions[storage].config.keeps_queues:
            yield ConfigProblem(path, f"{storage} keeps no queues: name a file_storage")
        named[storage] = id_
        if len(named) > 1:
            first = next(iter(named))
            message = f"{storage} is a second storage beside {first}: one log serves all exporters, name one"
            yield ConfigProblem(path, message)
            del named[storage]


def _auth_problems(components: Mapping[Kind, _Components], service: ServiceConfig) -> Iterator[ConfigProblem]:
    """What is wrong with the authenticators that components name."""
    extensions = components[Kind.EXTENSION]
    running = [str(one) for one in service.extensions]
    for kind, defined in components.items():
        for id_, component in defined.items():
            for key, named in component.config.authenticators.items():
                path = f"{join(kind.value, str(id_))}.{key}"
                if named not in service.extensions:
                    message = (
                        f"{named} is not in service.extensions, which has {', '.join(running) or 'none'}"
                    )
                    yield ConfigProblem(path, message, nearest(str(named), running))
                elif named in extensions and not extensions[named].config.authenticates:
                    yield ConfigProblem(path, f"{named} knows no clients: name a bearertokenauth")


def _exposed(components: Mapping[Kind, _Components]) -> list[ConfigProblem]:
    """Secrets that go over a network in the clear."""
    return [
        ConfigProblem(f"{join(kind.value, str(id_))}.{key}", message)
        for kind, defined in components.items()
        for id_, component in defined.items()
        for key, message in component.config.exposed.items()
    ]


def _unused(components: Mapping[Kind, _Components], service: ServiceConfig) -> list[ConfigProblem]:
    used = {(Kind.EXTENSION, one) for one in service.extensions} | {
        (kind, one)
        for pipeline in service.pipelines.values()
        for kind in PIPELINE_KINDS
        for one in getattr(pipeline, kind.value)
    }
    return [
        ConfigProblem(
            join(kind.value, str(one)),
            "is defined, but no pipeline uses it"
            if kind in PIPELINE_KINDS
            else "is defined, but service.extensions does not name it",
        )
        for kind, defined in components.items()
        for one in defined
        if (kind, one) not in used
    ]


def _place(problem: ConfigProblem, order: Mapping[str, int]) -> int:
    """Where in the file a problem is: at the nearest path that the file has."""
    return order[max((path for path in order if problem.path.startswith(path)), key=len)] if order else 0
