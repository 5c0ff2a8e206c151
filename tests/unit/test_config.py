"""From a configuration file to what the pipeline is built of, or to everything that is wrong with it."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

import pytest

from otelprof.component import ExporterFactory, Kind, ReceiverFactory
from otelprof.config.endpoint import Endpoint
from otelprof.config.exporter import ExporterConfig, RetryConfig, SendingQueueConfig
from otelprof.config.resolve import Config, load_config
from otelprof.errors import ConfigError
from otelprof.model import ComponentId

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A stranger's package, as pip would install it.
CODE = """
from typing import Literal
from pydantic import SecretStr
from otelprof.component import ComponentConfig, ExporterFactory, ProcessorFactory, ReceiverFactory
from otelprof.config.endpoint import Endpoint
from otelprof.config.exporter import ExporterConfig
from otelprof.config.section import Section
from otelprof.config.tls import ClientTLS

class Listen(Section):
    endpoint: Endpoint = Endpoint("127.0.0.1", 4317)

class InConfig(ComponentConfig):
    listen: Listen = Listen()

class Rule(Section):
    keep: bool = True

class StepConfig(ComponentConfig):
    rules: list[Rule] = []

class OutConfig(ExporterConfig):
    endpoint: Endpoint
    api_key: SecretStr | None = None
    headers: dict[str, str] = {}
    compression: Literal["gzip", "none"] = "gzip"
    tls: ClientTLS | None = None

receiver = ReceiverFactory(InConfig, lambda config, settings, consumer: None)
processor = ProcessorFactory(StepConfig, lambda config, settings: None)
exporter = ExporterFactory(OutConfig, lambda config, settings: None)
"""
ENTRY_POINTS = """
[otelprof.receivers]
acme = acme_otelprof:receiver
broken = acme_otelprof:nothing
[otelprof.processors]
acme = acme_otelprof:processor
[otelprof.exporters]
acme = acme_otelprof:exporter
misplaced = acme_otelprof:processor
untouched = acme_untouched:factory
"""
GOOD = """
receivers:
  acme:
processors:
  acme/first: {rules: [{keep: false}]}
exporters:
  acme:
    endpoint: far:4317
    sending_queue: {queue_size: 4MiB, on_overflow: drop_oldest}
service:
  pipelines:
    profiles: {receivers: [acme], processors: [acme/first], exporters: [acme]}
"""


def install(site: Path, package: str, entry_points: str) -> None:
    """Put a package's metadata where importlib finds it."""
    info = site / f"{package}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n", encoding="utf-8"
    )
    (info / "entry_points.txt").write_text(entry_points, encoding="utf-8")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory on the path with a stranger's package in it."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "acme_otelprof.py").write_text(CODE, encoding="utf-8")
    (site / "acme_untouched.py").write_text("raise RuntimeError('imported')", encoding="utf-8")
    install(site, "acme_otelprof", ENTRY_POINTS)
    monkeypatch.syspath_prepend(site)
    importlib.invalidate_caches()
    yield site
    sys.modules.pop("acme_otelprof", None)


def load(tmp_path: Path, text: str, **environ: str) -> Config:
    """Load a file with this text."""
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, environ)


def problems(tmp_path: Path, text: str, **environ: str) -> list[str]:
    """What is wrong with a file with this text."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, **environ)
    assert str(caught.value).splitlines() == list(map(str, caught.value.problems))
    return list(map(str, caught.value.problems))


@pytest.mark.usefixtures("site")
class TestGood:
    """Configurations that can be run."""

    def test_components(self, tmp_path: Path) -> None:
        """Every component is there by kind and id, with its factory and its validated configuration."""
        config = load(tmp_path, GOOD)
        receiver = config.components[Kind.RECEIVER][ComponentId("acme")]
        exporter = config.components[Kind.EXPORTER][ComponentId("acme")]
        out: Any = exporter.config

        assert list(config.components[Kind.PROCESSOR]) == [ComponentId("acme", "first")]
        assert (receiver.id, receiver.kind) == (ComponentId("acme"), Kind.RECEIVER)
        assert isinstance(receiver.factory, ReceiverFactory)
        assert isinstance(exporter.factory, ExporterFactory)
        assert isinstance(receiver.config, receiver.factory.config)
        assert out.endpoint == Endpoint("far", 4317)
        assert out.sending_queue == SendingQueueConfig(queue_size=4_194_304, on_overflow="drop_oldest")
        assert config.warnings == ()

    def test_defaults(self, tmp_path: Path) -> None:
        """What is not written has the collector's defaults."""
        service = load(tmp_path, GOOD).service

        assert service.drain_timeout == 20
        assert str(service.telemetry.metrics.endpoint) == "127.0.0.1:8888"
        assert (service.telemetry.logs.level, service.telemetry.logs.encoding) == ("info", "console")

    def test_service(self, tmp_path: Path) -> None:
        """Telemetry and several named pipelines are read; null turns metrics off."""
        text = GOOD + (
            "    profiles/incident: {receivers: [acme], exporters: [acme]}\n"
            "  drain_timeout: 1m\n"
            "  telemetry: {logs: {level: WARN, encoding: json}, metrics: {endpoint: null}}\n"
        )
        config = load(tmp_path, text)
        incident = config.pipelines[ComponentId("profiles", "incident")]

        assert list(map(str, config.pipelines)) == ["profiles", "profiles/incident"]
        assert (incident.receivers, incident.processors) == ((ComponentId("acme"),), ())
        assert config.service.drain_timeout == 60
        assert config.telemetry.metrics.endpoint is None
        assert (config.telemetry.logs.level, config.telemetry.logs.encoding) == ("warn", "json")

    def test_unused(self, tmp_path: Path) -> None:
        """A component that no pipeline uses is a warning."""
        text = GOOD.replace("  acme/first:", "  acme:\n  acme/first:").replace(
            "receivers:\n", "receivers:\n  acme/b:\n", 1
        )

        assert list(map(str, load(tmp_path, text).warnings)) == [
            "receivers.acme/b: is defined, but no pipeline uses it",
            "processors.acme: is defined, but no pipeline uses it",
        ]

    def test_only_what_is_named_is_imported(self, tmp_path: Path) -> None:
        """A package whose type the configuration does not name is not imported."""
        load(tmp_path, GOOD)

        assert "acme_otelprof" in sys.modules
        assert "acme_untouched" not in sys.modules

    def test_frozen(self, tmp_path: Path) -> None:
        """Nothing of a configuration can be changed."""
        config = load(tmp_path, GOOD)
        with pytest.raises(AttributeError):
            config.warnings = ()  # type: ignore[misc] # what is tested
        with pytest.raises(ValueError, match="frozen"):
            config.service.drain_timeout = 1.0  # type: ignore[misc] # what is tested


@pytest.mark.usefixtures("site")
class TestProblems:
    """Configurations that cannot be run, and what the user is told."""

    @pytest.mark.parametrize(
        ("old", "new", "problem"),
        [
            (
                "receivers:\n  acme:",
                "recievers: {}\nreceivers:\n  acme:",
                (
                    "recievers: is not a known section; known are receivers, processors, exporters, "
                    "extensions, service (did you mean 'receivers'?)"
                ),
            ),
            ("  acme/first:", "  acme/first: {}\n  a b:", "processors.a b: 'a b' is not a component id"),
            (
                "  acme/first:",
                "  acmee:\n  acme/first:",
                "processors.acmee: there is no processor 'acmee'; installed are",
            ),
            (
                "  acme:\nproc",
                "  acme:\n  broken:\nproc",
                "receivers.broken: acme_otelprof:nothing cannot be imported",
            ),
            (
                "exporters:\n",
                "exporters:\n  misplaced:\n",
                "exporters.misplaced: acme_otelprof:processor is a ProcessorFactory, not a ExporterFactory",
            ),
            (
                "exporters:\n",
                "exporters:\n  untouched:\n",
                "exporters.untouched: acme_untouched:factory cannot be imported: imported",
            ),
            (
                "processors:\n  acme/first: {rules: [{keep: false}]}",
                "processors: false",
                "processors: must be a",
            ),
            (
                "receivers:\n  acme:",
                "receivers: [acme]",
                "receivers: must be a mapping from component ids to their",
            ),
            ("  acme:\nproc", "  acme: 5\nproc", "receivers.acme: must be a mapping, not 5"),
            (
                "  acme:\nproc",
                "  acme: {listen: []}\nproc",
                "receivers.acme.listen: must be a mapping, not a list",
            ),
            (
                "{keep: false}",
                "{}, {kept: 1}",
                "processors.acme/first.rules[1].kept: is not a known key; known are keep (did you mean",
            ),
            (
                "{keep: false}",
                "{keep: maybe}",
                "processors.acme/first.rules[0].keep: must be true or false, not 'maybe'",
            ),
            ("endpoint: far:4317", "headers: {}", "exporters.acme.endpoint: is required"),
            ("far:4317", "far", "exporters.acme.endpoint: 'far' is not an endpoint: write host:port"),
            (
                "far:4317",
                "far:4317\n    compression: gzp",
                "exporters.acme.compression: must be 'gzip' or 'none', not 'gzp' (did you mean 'gzip'?)",
            ),
            (
                "queue_size:",
                "queue_sise:",
                (
                    "exporters.acme.sending_queue.queue_sise: is not a known key; known are enabled, "
                    "num_consumers, queue_size, sizer, on_overflow, batch, storage "
                    "(did you mean 'queue_size'?)"
                ),
            ),
            (
                "queue_size: 4MiB",
                "queue_size: 0",
                "exporters.acme.sending_queue.queue_size: must be greater than 0, not 0",
            ),
            (
                "queue_size: 4MiB",
                "sizer: items",
                "exporters.acme.sending_queue.sizer: 'items' is not offered: the queue is bounded by bytes",
            ),
            (
                "queue_size: 4MiB",
                "block_on_overflow: true",
                "exporters.acme.sending_queue.block_on_overflow: is not offered: a full queue refuses",
            ),
            (
                "far:4317",
                "far:4317\n    tls: {insecure_skip_verify: true}",
                "exporters.acme.tls.insecure_skip_verify: is not offered: it would trust anybody's",
            ),
            (
                "far:4317",
                "far:4317\n    tls: {cert_file: a}",
                "exporters.acme.tls: cert_file and key_file need each other",
            ),
            ("far:4317", "far:4317\n    timeout: 0", "exporters.acme.timeout: must be greater than 0, not 0"),
            (
                "far:4317",
                "far:4317\n    retry_on_failure: {max_elapsed_time: 1s}",
                "exporters.acme.retry_on_failure: max_elapsed_time (1 s) must not be less",
            ),
            ("far:4317", "${env:NOPE}", "exporters.acme.endpoint: the environment variable NOPE is not set"),
            ("service:\n", "servise:\n", "service: is required: it says which pipelines run"),
            (
                "[acme/first]",
                "[acme/frist]",
                (
                    "service.pipelines.profiles.processors[0]: 'acme/frist' is not defined under processors "
                    "(did you mean 'acme/first'?)"
                ),
            ),
            ("[acme/first]", "[7]", "service.pipelines.profiles.processors[0]: '7' is not a component id"),
            (
                "[acme/first]",
                "acme/first",
                "service.pipelines.profiles.processors: must be a list, not 'acme/first'",
            ),
            (
                "[acme/first]",
                "[acme/first, acme/first]",
                "service.pipelines.profiles.processors: acme/first is listed more than once",
            ),
            (
                "receivers: [acme]",
                "receivers: []",
                "service.pipelines.profiles.receivers: a pipeline needs receivers",
            ),
            (", exporters: [acme]", "", "service.pipelines.profiles.exporters: is required"),
            (
                "    profiles:",
                "    traces:",
                "service.pipelines.traces: 'traces' is not a pipeline of profiles",
            ),
            (
                "  pipelines:",
                "  telemetry: {logs: 3}\n  pipelines:",
                "service.telemetry.logs: must be a mapping, not 3",
            ),
            (
                "  pipelines:",
                "  telemetry: {logs: {level: loud}}\n  pipelines:",
                "service.telemetry.logs.level: must be 'debug', 'info', 'warn' or 'error', not 'loud'",
            ),
            (
                "  pipelines:",
                "  telemetry: {metrics: {endpoint: 8888}}\n  pipelines:",
                "service.telemetry.metrics.endpoint: 8888 is not an endpoint: write host:port",
            ),
            (
                "  pipelines:",
                "  telemetry: {metrics: {endpoint: ':8888'}}\n  pipelines:",
                "service.telemetry.metrics: :8888 can be reached from other machines",
            ),
            (
                "  pipelines:",
                "  drain_timeout: soon\n  pipelines:",
                "service.drain_timeout: 'soon' is not a duration: write 300ms, 10s or 1m30s",
            ),
        ],
    )
    def test_one(self, tmp_path: Path, old: str, new: str, problem: str) -> None:
        """A problem names the key, the value and what is allowed, and the nearest known name."""
        assert old in GOOD
        found = problems(tmp_path, GOOD.replace(old, new, 1))

        assert [one for one in found if one.startswith(problem)], "\n".join(found)

    def test_all_at_once(self, tmp_path: Path) -> None:
        """Everything that is wrong is in one error, in the order of the file."""
        text = """
recievers:
receivers:
  acme: {listen: {endpoint: here, port: 1}}
exporters:
  acme:
    endpoint: ${env:NOPE}
    endpoint: far:4317
    compression: gzp
    sending_queue: {sizer: requests, num_consumers: 0}
  acmee:
  debug/a b:
service:
  drain_timeout: 5 s
  pipelines:
    profiles:
      receivers: [acme, otpl, acmee]
      exporters: []
    profiles/second: {exporters: [acme]}
  telemtry:
"""
        found = problems(tmp_path, text)

        assert [problem.split(": ", 1)[0] for problem in found] == [
            "recievers",
            "receivers.acme.listen.endpoint",
            "receivers.acme.listen.port",
            "exporters.acme.endpoint",
            "exporters.acme.endpoint",
            "exporters.acme.compression",
            "exporters.acme.sending_queue.sizer",
            "exporters.acme.sending_queue.num_consumers",
            "exporters.acmee",
            "exporters.debug/a b",
            "service.drain_timeout",
            "service.pipelines.profiles.receivers[1]",
            "service.pipelines.profiles.receivers[2]",
            "service.pipelines.profiles.exporters",
            "service.pipelines.profiles/second.receivers",
            "service.telemtry",
        ]

    def test_broken_definition_is_defined(self, tmp_path: Path) -> None:
        """A reference to a component whose own configuration is wrong is not a problem beside."""
        found = problems(tmp_path, GOOD.replace("far:4317", "far"))

        assert found == [
            "exporters.acme.endpoint: 'far' is not an endpoint: write host:port, with a port from 0 to 65535"
        ]

    def test_several_packages(self, tmp_path: Path, site: Path) -> None:
        """A type that several packages offer is a problem that names them."""
        install(site, "other_otelprof", "[otelprof.exporters]\nacme = acme_otelprof:exporter\n")
        (found,) = problems(tmp_path, GOOD)

        assert found.startswith("exporters.acme: several packages offer the exporter 'acme'")
        assert found.endswith(": acme_otelprof, other_otelprof")

    def test_secrets_are_not_shown(self, tmp_path: Path) -> None:
        """The value of a key that may hold a secret is not in the message."""
        text = GOOD.replace("far:4317", "far:4317\n    api_key: 12345\n    headers: {x: [hunter2]}")
        found = problems(tmp_path, text)

        assert found == [
            "exporters.acme.api_key: must be a text (put it in quotes)",
            "exporters.acme.headers.x: must be a text (put it in quotes)",
        ]

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("", "service: is required"),
            ("service:\n", "service.pipelines: is required"),
            ("- a", "config.yaml must be"),
        ],
    )
    def test_nothing_to_run(self, tmp_path: Path, text: str, problem: str) -> None:
        """A file without pipelines is refused with one problem."""
        (found,) = problems(tmp_path, text)

        assert problem in found

    def test_syntax(self, tmp_path: Path) -> None:
        """A file that is not YAML is one problem, with its line; nothing follows from it."""
        (found,) = problems(tmp_path, "receivers: [\n")

        assert "is not YAML: line 2, column 1" in found


def test_collector_defaults() -> None:
    """Queue, retry and timeout have the collector's keys and defaults, but a queue in bytes."""
    config = ExporterConfig()

    assert config.timeout == 5
    assert config.sending_queue.model_dump() == {
        "enabled": True,
        "num_consumers": 10,
        "queue_size": 268_435_456,
        "sizer": "bytes",
        "on_overflow": "refuse",
        "batch": None,
        "storage": None,
    }
    assert config.retry_on_failure.model_dump() == {
        "enabled": True,
        "initial_interval": 5,
        "randomization_factor": 0.5,
        "multiplier": 1.5,
        "max_interval": 30,
        "max_elapsed_time": 300,
    }


def test_never_give_up() -> None:
    """`max_elapsed_time: 0` retries for good, whatever the intervals."""
    assert RetryConfig(max_elapsed_time=0).max_elapsed_time == 0
