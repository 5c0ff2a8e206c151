"""A service that changes to another configuration: what runs on, and what goes over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from otelprof.clock import SystemClock
from otelprof.config.resolve import load_config
from otelprof.errors import ConfigError
from otelprof.extension.health_check import HealthCheck
from otelprof.pipeline import Service
from otelprof.reload import Reloader, changes
from otelprof.telemetry.admission_metrics import ADMISSION_LIMIT_BYTES
from otelprof.telemetry.metrics import Metrics
from otelprof.telemetry.service_metrics import CONFIG_CHANGED_AT, CONFIG_PROBLEMS, CONFIG_RELOADS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from otelprof.config.resolve import Config
    from otelprof.control import ServiceControl

TEXT = """
receivers: {otlp: {protocols: {grpc: {endpoint: "127.0.0.1:0"}}}}
processors: {sampling: {rules: [{action: keep}]}}
exporters: {debug: {}}
extensions: {health_check: {endpoint: "127.0.0.1:0"}}
service:
  extensions: [health_check]
  pipelines: {profiles: {receivers: [otlp], processors: [sampling], exporters: [debug]}}
"""


class Bench:
    """A service that runs, and the control that its extension was given."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "otelprof.yaml"
        self.metrics = Metrics()
        self.service = Service(self.load(TEXT), self.metrics, SystemClock())
        self.service.start()
        self.reloader = Reloader(self.path, self.service, self.metrics, SystemClock())

    def load(self, text: str) -> Config:
        """Write a file, and load it."""
        self.path.write_text(text, encoding="utf-8")
        return load_config(self.path, {})

    def outcomes(self) -> dict[str, float]:
        """Reloads by outcome."""
        return {
            outcome: count
            for outcome in ("changed", "unchanged", "refused")
            if (count := self.metrics.value(CONFIG_RELOADS, outcome=outcome))
        }


@pytest.fixture
def control(monkeypatch: pytest.MonkeyPatch) -> list[ServiceControl]:
    """What the extension is given, once the service has been made."""
    given: list[ServiceControl] = []
    create = HealthCheck.__init__

    def init(self: HealthCheck, config: Any, settings: Any, control: ServiceControl) -> None:
        given.append(control)
        create(self, config, settings, control)

    monkeypatch.setattr(HealthCheck, "__init__", init)
    return given


@pytest.fixture
def bench(tmp_path: Path, control: list[ServiceControl]) -> Iterator[Bench]:
    """A service that runs."""
    bench = Bench(tmp_path)
    assert 1 == len(control)
    yield bench
    bench.service.stop()


def test_incidents_last_through_a_change(bench: Bench, control: list[ServiceControl]) -> None:
    """New rules are no reason to stop what somebody wanted for an hour; it ends when it was to end."""
    started = control[0].start_incident("checkout", "high latency", 3600.0, "somebody")
    bench.service.change_to(bench.load(TEXT.replace("{action: keep}", "{action: drop}")))
    (lasting,) = control[0].incidents()
    assert 1 == len(control)
    assert ("checkout", "high latency", "somebody") == (lasting.service, lasting.reason, lasting.who)
    assert started.end_secs == pytest.approx(lasting.end_secs, abs=0.1)


def test_incidents_over_a_new_limit_end(bench: Bench, control: list[ServiceControl]) -> None:
    """A lower limit holds for those that last, too."""
    control[0].start_incident("checkout", "high latency", 3600.0, "somebody")
    limited = "rules: [{action: keep}], incidents: {max_duration: 1m}"
    bench.service.change_to(bench.load(TEXT.replace("rules: [{action: keep}]", limited)))
    assert {} == control[0].incidents()


def test_extensions_see_what_runs_now(bench: Bench, control: list[ServiceControl]) -> None:
    """The control that an extension has speaks of the pipelines as they are."""
    bench.service.change_to(bench.load(TEXT.replace("profiles:", "profiles/new:")))
    assert ["profiles/new"] == list(map(str, control[0].pipelines))
    assert ["profiles/new"] == [str(pipeline) for pipeline, _, _ in control[0].sampling]


def test_what_is_refused_is_changed_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin that breaks when it is started is refused as a wrong file is, and counted."""
    at = bench.metrics.value(CONFIG_CHANGED_AT)
    broken = "otelprof.processor.memory_limiter.MemoryLimiter.start"
    monkeypatch.setattr(broken, lambda _: 1 / 0)
    before = bench.service.config
    text = TEXT.replace("processors: {", "processors: {memory_limiter: {limit_mib: 4000}, ")
    bench.path.write_text(text.replace("[sampling]", "[memory_limiter, sampling]"), encoding="utf-8")
    bench.reloader.reload()
    assert bench.service.config is before
    assert ({"refused": 1}, 1, at) == (
        bench.outcomes(),
        bench.metrics.value(CONFIG_PROBLEMS),
        bench.metrics.value(CONFIG_CHANGED_AT),
    )


def test_reloads_are_counted(bench: Bench) -> None:
    """By outcome, with the time of the last that changed something."""
    at = bench.metrics.value(CONFIG_CHANGED_AT)
    for text in (TEXT, TEXT.replace("keep", "drop"), TEXT.replace("keep", "drpo"), TEXT):
        bench.path.write_text(text, encoding="utf-8")
        bench.reloader.reload()
    assert {"unchanged": 1, "changed": 2, "refused": 1} == bench.outcomes()
    assert bench.metrics.value(CONFIG_CHANGED_AT) > at
    assert 0 == bench.metrics.value(CONFIG_PROBLEMS)


def test_when_nothing_can_run_it_ends(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who can neither go on nor go back says so to whoever started it."""
    monkeypatch.setattr("otelprof.processor.sampling.sampling.Sampling.start", lambda _: 1 / 0)
    bench.path.write_text(TEXT.replace("keep", "drop"), encoding="utf-8")
    with pytest.raises(ZeroDivisionError):
        bench.reloader.reload()


def test_the_memory_of_requests_is_resized(bench: Bench) -> None:
    """What all requests may have together follows the file; nobody is started anew for it."""
    limited = "service:\n  admission: {request_limit_mib: 3}"
    bench.service.change_to(bench.load(TEXT.replace("service:", limited)))
    assert 3 << 20 == bench.metrics.value(ADMISSION_LIMIT_BYTES)


def test_changes_are_named(bench: Bench) -> None:
    """What differs is said by its path in the file."""
    document = yaml.safe_load(TEXT)
    document["exporters"]["debug/two"] = {}
    document["processors"]["sampling"]["rules"][0]["action"] = "drop"
    document["service"]["pipelines"]["profiles"]["exporters"] = ["debug", "debug/two"]
    document["service"]["drain_timeout"] = "1s"
    after = bench.load(yaml.safe_dump(document))
    assert [
        "processors.sampling",
        "exporters.debug/two",
        "service.pipelines.profiles",
        "service.drain_timeout",
    ] == list(changes(bench.service.config, after))


def test_a_bad_endpoint_of_a_new_receiver_is_named(bench: Bench) -> None:
    """The problem says which key of which component; what ran runs on."""
    text = TEXT.replace("127.0.0.1:0", "192.0.2.1:1", 1).replace(
        "grpc: {", "grpc: {allow_unauthenticated: true, "
    )
    before = bench.service.config
    with pytest.raises(ConfigError, match=r"receivers\.otlp\.protocols\.grpc\.endpoint"):
        bench.service.change_to(bench.load(text))
    bench.service.change_to(before)
    assert bench.service.config is before
