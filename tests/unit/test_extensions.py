"""Extensions: how they are configured, when they start and stop, and what they are given."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from otelprof.component import (
    ComponentConfig,
    ExporterFactory,
    ExtensionFactory,
    Factory,
    Kind,
    ProcessorFactory,
    ReceiverFactory,
)
from otelprof.config.exporter import ExporterConfig, SendingQueueConfig
from otelprof.config.models import ServiceConfig
from otelprof.config.resolve import Config, ConfiguredComponent, load_config
from otelprof.control import PipelineParts, ServiceControl
from otelprof.errors import ConfigError
from otelprof.model import ComponentId
from otelprof.pipeline import Service
from otelprof.telemetry.metrics import Metrics
from otelprof.testing.clock import EPOCH_SECS, SimulatedClock

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TEXT = """
receivers: {otlp: {protocols: {grpc: {}}}}
exporters: {debug: {}}
extensions: {admin: {}, admin/second: {endpoint: "unix:///tmp/second.sock"}}
service:
  extensions: [admin]
  pipelines: {profiles: {receivers: [otlp], exporters: [debug]}}
"""


class Recorder:
    """A component of any kind, which writes down when it starts and stops.

    Args:
        journal: where to.
        arguments: what its factory was given: its configuration, its settings, and what is of its kind.
    """

    def __init__(self, journal: list[str], *arguments: Any) -> None:
        self._journal = journal
        self._name = str(arguments[1].id)

    def start(self) -> None:
        """Write it down."""
        self._journal.append(f"start {self._name}")

    def shutdown(self) -> None:
        """Write it down."""
        self._journal.append(f"stop {self._name}")

    def export(self, _profiles: object) -> None:
        """Nothing."""


class Direct(ExporterConfig):
    """Without a queue there are no threads."""

    sending_queue: SendingQueueConfig = SendingQueueConfig(enabled=False)


def recorded(journal: list[str], given: list[Any], extensions: Sequence[str]) -> Service:
    """A service with one pipeline and these extensions, all of recorders; control is put into `given`."""

    def create(*arguments: Any) -> Recorder:
        given.append(arguments[2])
        return Recorder(journal, *arguments)

    record: Any = partial(Recorder, journal)
    factories: dict[Kind, tuple[Sequence[str], Factory]] = {
        Kind.RECEIVER: (["in"], ReceiverFactory(ComponentConfig, record)),
        Kind.PROCESSOR: (["step"], ProcessorFactory(ComponentConfig, record)),
        Kind.EXPORTER: (["out"], ExporterFactory(Direct, record)),
        Kind.EXTENSION: (["unused", *extensions], ExtensionFactory(ComponentConfig, create)),
    }
    components = {
        kind: {
            ComponentId(name): ConfiguredComponent(ComponentId(name), kind, factory, factory.config())
            for name in names
        }
        for kind, (names, factory) in factories.items()
    }
    parts = {"receivers": ["in"], "processors": ["step"], "exporters": ["out"]}
    service = ServiceConfig.model_validate({"extensions": extensions, "pipelines": {"profiles": parts}})
    return Service(Config(components, service, ()), Metrics(), SimulatedClock())


def test_extensions_start_first_and_stop_last() -> None:
    """They start in their order before all other components, and stop after them; others do not run."""
    journal: list[str] = []
    service = recorded(journal, [], ["two", "one"])
    service.start()
    assert ["start two", "start one"] == journal[:2]
    assert {"start in", "start step", "start out"} == set(journal[2:])
    journal.clear()
    service.stop()
    assert ["stop one", "stop two"] == journal[-2:]
    assert {"stop in", "stop step", "stop out"} == set(journal[:-2])


def test_extensions_see_the_pipelines() -> None:
    """Each is given the control of the whole service: the same for all."""
    given: list[ServiceControl] = []
    service = recorded([], given, ["one", "two"])
    service.start()
    service.stop()
    assert given[0] is given[1]
    parts = PipelineParts((ComponentId("in"),), (ComponentId("step"),), (ComponentId("out"),))
    assert {ComponentId("profiles"): parts} == given[0].pipelines
    assert () == given[0].sampling


def test_extensions_hear_when_the_service_is_ready() -> None:
    """It is ready when everything has started, and no more when it stops."""
    given: list[ServiceControl] = []
    service = recorded([], given, ["one"])
    service.start()
    ready = [given[0].ready_since()]
    service.stop()
    ready.append(given[0].ready_since())
    assert [EPOCH_SECS, None] == ready


def load(folder: Path, text: str) -> Config:
    """Load a file with this text."""
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, {})


def test_only_named_extensions_run(tmp_path: Path) -> None:
    """One that `service.extensions` does not name is a warning."""
    config = load(tmp_path, TEXT)
    assert (ComponentId("admin"),) == config.service.extensions
    assert ["extensions.admin/second: is defined, but service.extensions does not name it"] == list(
        map(str, config.warnings)
    )


@pytest.mark.parametrize(
    ("extensions", "problem"),
    [
        ("[admn]", "service.extensions[0]: 'admn' is not defined under extensions (did you mean 'admin'?)"),
        ("[admin, admin]", "service.extensions: admin is listed more than once"),
        ("admin", "service.extensions: must be a list, not 'admin'"),
    ],
)
def test_mistakes(tmp_path: Path, extensions: str, problem: str) -> None:
    """What is wrong with the list is told as for a pipeline's."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, TEXT.replace("[admin]", extensions))
    assert [problem] == list(map(str, caught.value.problems))
