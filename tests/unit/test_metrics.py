"""The metrics that otelprof serves about itself."""

from __future__ import annotations

import math
import pkgutil
import re
import threading
from contextlib import closing
from http.client import HTTPConnection
from importlib import import_module
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from otelprof import telemetry
from otelprof.clock import SystemClock
from otelprof.errors import ConfigError
from otelprof.telemetry import metrics as table
from otelprof.telemetry.exposition import text_exposition
from otelprof.telemetry.metric_spec import MetricSpec
from otelprof.telemetry.metrics import (
    EXPORTER_QUEUE_SIZE,
    EXPORTER_SENT,
    LINKED_SAMPLES,
    MAX_LABEL_CHARS,
    MAX_SERIES,
    METRICS,
    OVERFLOW,
    RECEIVER_ACCEPTED,
    Metrics,
)
from otelprof.telemetry.process import observe_process
from otelprof.telemetry.server import MetricsServer
from otelprof.telemetry.service_metrics import PROCESS_CPU, PROCESS_MEMORY, PROCESS_UPTIME

ROOT = Path(__file__).parents[2]
ACCEPTED = {"receiver": "otlp", "transport": "grpc", "sample_type": "samples:count"}
LABELS = 'receiver="otlp",transport="grpc",sample_type="samples:count"'


def scrape(port: int, path: str = "/metrics", accept: str = "*/*") -> tuple[int, str | None, str]:
    """Status, content type and body of an answer."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", path, headers={"Accept": accept})
        response = connection.getresponse()
        return response.status, response.getheader("Content-Type"), response.read().decode()


class TestMetrics:
    """The values."""

    def test_counts(self) -> None:
        """What is added to a counter adds up, series by series."""
        metrics = Metrics()
        metrics.add(EXPORTER_SENT, 2, exporter="otlp")
        metrics.add(EXPORTER_SENT, 3, exporter="otlp")
        metrics.add(EXPORTER_SENT, exporter="otlp", server_address="far", server_port="4317")

        assert metrics.value(EXPORTER_SENT, exporter="otlp") == 5
        assert metrics.value(EXPORTER_SENT, exporter="otlp", server_address="far", server_port="4317") == 1
        assert metrics.value(EXPORTER_SENT, exporter="debug") == 0

    def test_labels_in_any_order(self) -> None:
        """Labels are names: in whatever order they are given, they mean one series."""
        metrics = Metrics()
        for labels in (ACCEPTED, dict(reversed(ACCEPTED.items())), ACCEPTED):
            metrics.add(RECEIVER_ACCEPTED, 1, **labels)

        assert metrics.value(RECEIVER_ACCEPTED, **ACCEPTED) == 3
        assert len(next(iter(metrics.collect())).samples) == 1

    def test_gauge(self) -> None:
        """A gauge has the value that it was given last, or that its callback gives now."""
        metrics = Metrics()
        metrics.set(EXPORTER_QUEUE_SIZE, 7, exporter="a", data_type="profiles")
        metrics.set(EXPORTER_QUEUE_SIZE, 5, exporter="a", data_type="profiles")
        readings = iter([1.0, 2.0])
        metrics.observe(EXPORTER_QUEUE_SIZE, lambda: next(readings), exporter="b", data_type="profiles")

        assert metrics.value(EXPORTER_QUEUE_SIZE, exporter="a", data_type="profiles") == 5
        assert metrics.value(EXPORTER_QUEUE_SIZE, exporter="b", data_type="profiles") == 1
        assert metrics.value(EXPORTER_QUEUE_SIZE, exporter="b", data_type="profiles") == 2

    @pytest.mark.parametrize(
        "labels",
        [{}, {"exporter": "a", "other": "b"}, {"other": "b"}, {"server_address": "far"}],
        ids=["none", "one more", "another", "optional only"],
    )
    def test_labels_must_be_declared(self, labels: dict[str, str]) -> None:
        """Labels other than those of the table are refused, and the message says which are right."""
        with pytest.raises(ValueError, match=r"\{exporter, server_address\?, server_port\?\}"):
            Metrics().add(EXPORTER_SENT, 1, **labels)

    def test_counter_never_falls(self) -> None:
        """A counter can neither be set nor be lowered."""
        with pytest.raises(ValueError, match="cannot grow by -1"):
            Metrics().add(EXPORTER_SENT, -1, exporter="a")
        with pytest.raises(ValueError, match="cannot be set"):
            Metrics().set(EXPORTER_SENT, 1, exporter="a")

    def test_observed_series_cannot_be_added_to(self) -> None:
        """A series has one owner: its callback, or those who add."""
        metrics = Metrics()
        metrics.observe(PROCESS_CPU, lambda: 1.0)
        with pytest.raises(TypeError, match="is observed"):
            metrics.add(PROCESS_CPU)

    def test_series_are_capped(self) -> None:
        """Past the cap new label values share one series, known ones keep theirs, and the sum stays right."""
        metrics = Metrics()
        for number in range(MAX_SERIES + 50):
            metrics.add(LINKED_SAMPLES, service=f"service-{number}")
        metrics.add(LINKED_SAMPLES, service="service-0")
        samples = next(iter(metrics.collect())).samples

        assert len(samples) == MAX_SERIES + 1
        assert metrics.value(LINKED_SAMPLES, service=OVERFLOW) == 50
        assert metrics.value(LINKED_SAMPLES, service="service-0") == 2
        assert sum(sample.value for sample in samples) == MAX_SERIES + 51

    def test_long_labels_are_cut(self) -> None:
        """A name of a megabyte from the wire does not stay in memory, and what has it is still counted."""
        metrics = Metrics()
        metrics.add(LINKED_SAMPLES, 2, service="x" * 1_000_000)
        metrics.add(LINKED_SAMPLES, 3, service="x" * 1_000_001)
        (sample,) = next(iter(metrics.collect())).samples

        assert ({"service": "x" * (MAX_LABEL_CHARS - 1) + "…"}, 5) == (sample.labels, sample.value)

    def test_hostile_labels_are_escaped(self) -> None:
        """What a terminal would obey does not reach who reads the metrics in one."""
        metrics = Metrics()
        metrics.add(LINKED_SAMPLES, service="\x1b[2Jshop\n")

        assert b'otelprof_linked_samples{service="\\\\x1b[2Jshop\\\\n"} 1.0\n' in text_exposition(metrics)

    def test_threads(self) -> None:
        """No count is lost between threads that add and one that reads."""
        metrics = Metrics()

        def add() -> None:
            for number in range(2_000):
                metrics.add(LINKED_SAMPLES, service=str(number % 10))

        threads = [threading.Thread(target=add) for _ in range(8)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            text_exposition(metrics)
        for thread in threads:
            thread.join()

        assert [metrics.value(LINKED_SAMPLES, service=str(digit)) for digit in range(10)] == [1_600] * 10

    def test_failing_callback_spares_the_others(self) -> None:
        """A callback that raises reads as NaN, and the other metrics are served."""
        metrics = Metrics()
        metrics.observe(PROCESS_CPU, lambda: 1 / 0)
        metrics.add(LINKED_SAMPLES, service="a")

        assert math.isnan(metrics.value(PROCESS_CPU))
        assert b'otelprof_linked_samples{service="a"} 1.0' in text_exposition(metrics)

    def test_callback_may_use_metrics(self) -> None:
        """A callback runs without the lock, so it can take one that is held while somebody counts."""
        metrics = Metrics()
        metrics.add(LINKED_SAMPLES, 3, service="a")
        metrics.observe(PROCESS_CPU, lambda: metrics.value(LINKED_SAMPLES, service="a"))

        assert metrics.value(PROCESS_CPU) == 3

    def test_process(self) -> None:
        """CPU time, memory and uptime of this process are positive."""
        metrics = Metrics()
        observe_process(metrics, SystemClock())

        assert metrics.value(PROCESS_CPU) > 0
        assert metrics.value(PROCESS_MEMORY) > 1_000_000
        assert metrics.value(PROCESS_UPTIME) >= 0


class TestExposition:
    """The text that a scraper reads."""

    def test_exact_names(self) -> None:
        """HELP, TYPE and the series carry the very name, without `_total`, and the right type."""
        metrics = Metrics()
        metrics.add(RECEIVER_ACCEPTED, 7, **ACCEPTED)
        metrics.set(EXPORTER_QUEUE_SIZE, 1.5, exporter="a", data_type="profiles")

        assert text_exposition(metrics).decode().splitlines() == [
            f"# HELP otelcol_receiver_accepted_profile_samples {RECEIVER_ACCEPTED.meaning}",
            "# TYPE otelcol_receiver_accepted_profile_samples counter",
            f"otelcol_receiver_accepted_profile_samples{{{LABELS}}} 7.0",
            f"# HELP otelcol_exporter_queue_size {EXPORTER_QUEUE_SIZE.meaning}",
            "# TYPE otelcol_exporter_queue_size gauge",
            'otelcol_exporter_queue_size{exporter="a",data_type="profiles"} 1.5',
        ]

    def test_parseable(self) -> None:
        """The Prometheus client reads every metric of the table back with its labels and value."""
        metrics = Metrics()
        for spec in METRICS:
            labels = {name: f'{name} "quoted" \\ and\nnew line' for name in spec.labels}
            metrics.observe(spec, lambda: 2.0, **labels)
        families = {
            family.name: family
            for family in text_string_to_metric_families(text_exposition(metrics).decode())
        }

        assert list(families) == [spec.name for spec in METRICS]
        for spec in METRICS:
            family = families[spec.name]
            labels = {name: f'{name} "quoted" \\ and\\nnew line' for name in spec.labels}
            assert (family.type, family.documentation) == (spec.kind, spec.meaning)
            assert [(sample.labels, sample.value) for sample in family.samples] == [(labels, 2.0)]

    def test_empty(self) -> None:
        """A metric without a series is not mentioned."""
        metrics = Metrics()

        assert metrics.value(EXPORTER_SENT, exporter="a") == 0
        assert text_exposition(metrics) == b""


class TestServer:
    """The HTTP server of metrics."""

    def test_serves_and_leaves_nothing(self) -> None:
        """It serves `/metrics`; after shutdown no thread is left, and the port is free for the next."""
        before = threading.active_count()
        metrics = Metrics()
        metrics.add(LINKED_SAMPLES, service="a")
        server = MetricsServer("127.0.0.1", 0, metrics)
        server.start()
        status, content_type, text = scrape(server.port)
        port = server.port
        server.shutdown()
        server.shutdown()

        assert (status, content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
        assert text == text_exposition(metrics).decode()
        assert threading.active_count() == before
        again = MetricsServer("127.0.0.1", port, metrics)
        again.start()
        again.shutdown()

    def test_classic_format_always(self) -> None:
        """A scraper that asks for OpenMetrics gets the classic text, in which counters need no suffix."""
        server = MetricsServer("localhost", 0, Metrics())
        server.start()
        _, content_type, _ = scrape(server.port, accept="application/openmetrics-text; version=1.0.0")
        server.shutdown()

        assert content_type == "text/plain; version=0.0.4; charset=utf-8"

    def test_other_paths(self) -> None:
        """Any other path is not found."""
        server = MetricsServer("127.0.0.1", 0, Metrics())
        server.start()
        status, _, _ = scrape(server.port, "/")
        server.shutdown()

        assert status == 404

    def test_shutdown_before_start(self) -> None:
        """Shutdown before start does nothing."""
        MetricsServer("127.0.0.1", 0, Metrics()).shutdown()

    def test_port_in_use(self) -> None:
        """An address that is taken is a problem of the configuration, named by its key."""
        first = MetricsServer("127.0.0.1", 0, Metrics())
        first.start()
        with pytest.raises(ConfigError, match=r"^service.telemetry.metrics.endpoint: cannot listen on 127"):
            MetricsServer("127.0.0.1", first.port, Metrics()).start()
        first.shutdown()


class TestTable:
    """The table of metrics."""

    def test_complete(self) -> None:
        """Every metric that is defined is in the table, once."""
        modules = [
            import_module(f"{telemetry.__name__}.{module.name}")
            for module in pkgutil.iter_modules(telemetry.__path__)
            if module.name.endswith("metrics")
        ]
        names = {name: value for module in modules for name, value in vars(module).items()}
        defined = [value for value in names.values() if isinstance(value, MetricSpec)]

        assert sorted(spec.name for spec in defined) == sorted(spec.name for spec in METRICS)
        assert len({spec.name for spec in METRICS}) == len(METRICS)

    def test_documented(self) -> None:
        """The table for users says the same as the table in the code, in the same order."""
        page = (ROOT / "docs/reference/metrics.md").read_text(encoding="utf-8")
        rows = re.findall(r"^\| `(\w+)` \| (\w+) \| `(\S+)` \| (.*) \| (.*) \|$", page, re.MULTILINE)

        assert [
            (
                spec.name,
                spec.kind,
                spec.unit,
                ", ".join(
                    f"`{label}`" for label in (*spec.labels, *(f"{one}?" for one in spec.optional_labels))
                ),
                spec.meaning,
            )
            for spec in METRICS
        ] == rows

    def test_used(self) -> None:
        """Every metric of the table is counted somewhere."""
        code = "\n".join(
            path.read_text(encoding="utf-8")
            for path in (ROOT / "otelprof").rglob("*.py")
            if not path.name.endswith("metrics.py")
        )
        constants = [name for name, value in vars(table).items() if isinstance(value, MetricSpec)]

        unused = [name for name in constants if not re.search(rf"\b{name}\b", code)]

        assert unused == []
