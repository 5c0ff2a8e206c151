"""SIGHUP: the file is followed while clients send, and a file that is wrong changes nothing."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Self

import grpc
import httpx
import pytest
import yaml

from otelprof.config.resolve import load_config
from otelprof.testing.sink import Sink, SinkAnswer
from tests.e2e.harness import Answer, Client, Process, Yaml, exporter, one_pipeline, request, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

OK = Answer(grpc.StatusCode.OK)
UNAVAILABLE, CANCELLED = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED
DONE = {"the configuration is reloaded", "the configuration is unchanged"}
REFUSED = "the configuration is refused, and the one before runs on"


@pytest.fixture
def sink() -> Iterator[Sink]:
    """The next hop."""
    with Sink() as sink:
        yield sink


@pytest.fixture
def port() -> int:
    """A port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


class Reloading(Process):
    """`otelprof run`, whose file changes while it runs."""

    def __init__(self, config: Yaml, folder: Path) -> None:
        super().__init__(config, folder)
        self._path = folder / "otelprof.yaml"

    def reload(self, config: Yaml) -> str:
        """Have another file read; what was logged at the end of it."""
        return self.reload_text(yaml.safe_dump(config))

    def reload_text(self, text: str) -> str:
        """The same with any text."""
        self._path.write_text(text, encoding="utf-8")
        seen = len(self.lines)
        self.signal(signal.SIGHUP)
        deadline = time.monotonic() + 20.0
        while time.monotonic() < deadline:
            ends = [str(one["event"]) for one in self.lines[seen:] if one["event"] in {*DONE, REFUSED}]
            if ends:
                return ends[0]
            time.sleep(0.01)
        message = f"no reload ended: {self.events[seen:]}"
        raise TimeoutError(message)

    def export(self, service: str) -> Answer:
        """Send one request of one service."""
        with Client(self.endpoint) as client:
            return client.export(request(service=service).SerializeToString())

    def stop(self) -> int:
        """Stop it as an orchestrator does."""
        self.signal(signal.SIGTERM)
        return self.exit_code()


class Sending:
    """A client that sends numbered requests until it is told to stop, and again what is to be tried again.

    Attributes:
        acknowledged: the services of its requests.
        refused: answers that say never to send it again.
        unanswered: services of requests that were cut off with their connection: who sends again what may
            have been taken, may double it.
    """

    def __init__(self, endpoint: str) -> None:
        self.acknowledged: list[str] = []
        self.refused: list[Answer] = []
        self.unanswered: set[str] = set()
        self._endpoint = endpoint
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _send(self) -> None:
        with Client(self._endpoint) as client:
            while not self._stop.is_set():
                service = f"service-{len(self.acknowledged)}"
                body = request(service=service).SerializeToString()
                while (answer := client.export(body)).code in {UNAVAILABLE, CANCELLED}:
                    if answer.code is CANCELLED:
                        self.unanswered.add(service)
                    time.sleep(0.02)
                if answer != OK:
                    self.refused.append(answer)
                self.acknowledged.append(service)


def services(sink: Sink) -> Counter[str]:
    """How often what came of each service was taken."""
    return Counter(
        resource.resource.attributes[0].value.string_value
        for taken in sink.taken
        for resource in taken.parsed().resource_profiles
    )


def test_nothing_is_lost_or_doubled(sink: Sink, tmp_path: Path, port: int) -> None:
    """A client sends through changes of every part: each request arrives once, none is refused for good."""
    endpoint = f"127.0.0.1:{port}"

    def config(**keys: Any) -> Yaml:
        return one_pipeline(exporters={"otlp": exporter(sink.endpoint, **keys)}, endpoint=endpoint)

    limited = one_pipeline(
        exporters={"otlp": exporter(sink.endpoint)},
        processors={"memory_limiter": {"limit_mib": 4000}, "linkage": {}},
        endpoint=endpoint,
    )
    spoken = config()
    spoken["receivers"]["otlp"]["protocols"]["grpc"]["max_concurrent_requests"] = 16
    waiting = {**config(), "processors": {"sampling": {"rules": [{"action": "keep"}]}}}
    waiting["service"]["pipelines"]["profiles"]["processors"] = ["sampling"]
    steps = [
        config(timeout="4s"),
        limited,
        config(sending_queue={"batch": {"flush_timeout": "20ms"}}),
        spoken,
        config(sending_queue={"enabled": False}),
        waiting,
        config(),
    ]
    with Reloading(config(), tmp_path) as process:
        with Sending(endpoint) as client:
            for step in steps:
                before = len(client.acknowledged)
                assert "the configuration is reloaded" == process.reload(step)
                while len(client.acknowledged) < before + 5:
                    time.sleep(0.01)
        assert 0 == process.stop()
    assert [] == client.refused
    taken = services(sink)
    assert set(client.acknowledged) == set(taken)
    assert set() == {service for service, count in taken.items() if count > 1} - client.unanswered


def test_a_bad_file_changes_nothing(sink: Sink, tmp_path: Path) -> None:
    """Every problem is logged and counted, and what ran before runs on; a good file mends it."""
    config = one_pipeline(exporters={"otlp": exporter(sink.endpoint)})
    bad = one_pipeline(exporters={"otlp": exporter(sink.endpoint, compresion="none", timeout="soon")})
    with socket.create_server(("127.0.0.1", 0)) as free:
        metrics = f"127.0.0.1:{free.getsockname()[1]}"
    for one in (config, bad):
        one["service"]["telemetry"]["metrics"]["endpoint"] = metrics
    with Reloading(config, tmp_path) as process:
        assert REFUSED == process.reload(bad)
        problems = [line["problem"] for line in process.lines if "problem" in line]
        assert ["exporters.otlp.compresion", "exporters.otlp.timeout"] == [
            problem.partition(":")[0] for problem in problems
        ]
        assert REFUSED == process.reload_text("service: {")
        assert OK == process.export("checkout")
        text = httpx.get(f"http://{metrics}/metrics").text
        assert 'otelprof_config_reloads{outcome="refused"} 2.0' in text
        assert "otelprof_config_problems 1.0" in text
        assert "the configuration is unchanged" == process.reload(config)
        text = httpx.get(f"http://{metrics}/metrics").text
        assert "otelprof_config_problems 0.0" in text
        assert 0 == process.stop()
    assert Counter({"checkout": 1}) == services(sink)


def test_an_unchanged_file_is_left_alone(sink: Sink, tmp_path: Path) -> None:
    """Nothing starts or stops: connections stay, and comments are no change."""
    config = one_pipeline(exporters={"otlp": exporter(sink.endpoint)})
    with Reloading(config, tmp_path) as process:
        with Client(process.endpoint) as client:
            first = client.export(request(service="before").SerializeToString())
            text = yaml.safe_dump(config)
            told = [process.reload_text(text), process.reload_text(f"# a comment\n{text}")]
            second = client.export(request(service="after").SerializeToString())
        assert 0 == process.stop()
    assert ["the configuration is unchanged"] * 2 == told
    assert [OK, OK] == [first, second]
    assert 1 == process.events.count("receiver listens")


def test_a_changed_rule_holds_for_the_next_request(sink: Sink, tmp_path: Path) -> None:
    """Sampling that is changed decides about the next request; the receiver's socket stays as it is."""

    def sampled(action: str) -> Yaml:
        rules = {"sampling": {"rules": [{"action": action}]}}
        return one_pipeline(exporters={"otlp": exporter(sink.endpoint)}, processors=rules)

    with Reloading(sampled("keep"), tmp_path) as process:
        with Client(process.endpoint) as client:
            for service, action in (("kept", "drop"), ("dropped", "keep"), ("kept-again", "keep")):
                assert OK == client.export(request(service=service).SerializeToString())
                process.reload(sampled(action))
        assert 0 == process.stop()
    assert Counter({"kept": 1, "kept-again": 1}) == services(sink)
    assert 1 == process.events.count("receiver listens")


def test_exporters_come_and_go(sink: Sink, tmp_path: Path) -> None:
    """One that is added gets what comes from then on; one that is removed delivers what it has."""
    with Sink() as other:
        first = {"otlp": exporter(sink.endpoint)}
        second = {"otlp/other": exporter(other.endpoint)}
        sink.answer(SinkAnswer(UNAVAILABLE, "wait"), SinkAnswer(UNAVAILABLE, "wait"))
        with Reloading(one_pipeline(exporters=first), tmp_path) as process:
            process.export("one")
            process.reload(one_pipeline(exporters={**first, **second}))
            process.export("two")
            process.reload(one_pipeline(exporters=second))
            process.export("three")
            sink.wait_for(4)
            assert 0 == process.stop()
        assert Counter({"one": 1, "two": 1}) == services(sink)
        assert Counter({"two": 1, "three": 1}) == services(other)


@pytest.mark.parametrize("storage", [None, "file_storage"])
def test_what_waits_for_a_retry_is_carried_over(sink: Sink, tmp_path: Path, storage: str | None) -> None:
    """A backend that is away, and an exporter that is pointed to another: what waits goes there, once."""

    def config(endpoint: str) -> Yaml:
        made = one_pipeline(exporters={"otlp": exporter(endpoint, sending_queue={"storage": storage})})
        made["extensions"] = {"file_storage": {"directory": str(tmp_path)}}
        made["service"]["extensions"] = ["file_storage"]
        return made

    with socket.socket() as away:
        away.bind(("127.0.0.1", 0))
        nowhere = f"127.0.0.1:{away.getsockname()[1]}"
        with Reloading(config(nowhere), tmp_path) as process:
            answers = [process.export(f"service-{number}") for number in range(5)]
            process.reload(config(sink.endpoint))
            sink.wait_for(5)
            assert 0 == process.stop()
    with Reloading(config(sink.endpoint), tmp_path) as process:
        assert 0 == process.stop()
    assert [OK] * 5 == answers
    assert {f"service-{number}": 1 for number in range(5)} == services(sink)


@pytest.mark.parametrize("changed", ["exporters", "sampling"])
def test_what_waits_for_traces_is_not_lost(sink: Sink, tmp_path: Path, changed: str) -> None:
    """An exporter is exchanged under what waits at a gate; new rules let go what waits by the old ones."""
    config = one_pipeline(
        exporters={"otlp": exporter(sink.endpoint)},
        processors={
            "sampling": {"rules": [{"match": {"trace": "unknown"}, "action": "keep"}], "decision_wait": "60s"}
        },
    )
    after = yaml.safe_load(yaml.safe_dump(config))
    if changed == "exporters":
        after["exporters"]["otlp"]["timeout"] = "4s"
    else:
        after["processors"]["sampling"]["decision_wait"] = "50s"
    linked = request(service="waits")
    linked.dictionary.link_table.add(trace_id=b"t" * 16, span_id=b"s" * 8)
    linked.resource_profiles[0].scope_profiles[0].profiles[0].samples[0].link_index = 1
    with Reloading(config, tmp_path) as process:
        with Client(process.endpoint) as client:
            answer = client.export(linked.SerializeToString())
        assert "the configuration is reloaded" == process.reload(after)
        waited = len(sink.requests)
        assert 0 == process.stop()
    assert (OK, Counter({"waits": 1})) == (answer, services(sink))
    if changed == "exporters":
        assert 0 == waited


def test_tokens_change(sink: Sink, tmp_path: Path) -> None:
    """A receiver and an exporter go by the tokens of the file as it is now; the old one is refused."""

    def config(token: str) -> Yaml:
        auth = {"authenticator": "bearertokenauth"}
        made = one_pipeline(exporters={"otlp": exporter(sink.endpoint, auth=auth)}, auth=auth)
        made["extensions"] = {"bearertokenauth": {"token": token}}
        made["service"]["extensions"] = ["bearertokenauth"]
        return made

    tokens = [f"token-{number}-of-the-test" for number in range(2)]
    codes = []
    with Reloading(config(tokens[0]), tmp_path) as process:
        for current in tokens:
            assert process.reload(config(current)) in DONE
            listens = [line["endpoint"] for line in process.lines if line["event"] == "receiver listens"]
            with Client(listens[-1]) as client:
                codes += [
                    client.export(
                        request(service=current).SerializeToString(), (("authorization", f"Bearer {token}"),)
                    ).code
                    for token in tokens
                ]
        assert 0 == process.stop()
    ok, refused = grpc.StatusCode.OK, grpc.StatusCode.UNAUTHENTICATED
    assert [ok, refused, refused, ok] == codes
    assert {f"Bearer {token}" for token in tokens} == {one.metadata["authorization"] for one in sink.taken}


def test_a_receiver_moves(sink: Sink, tmp_path: Path, port: int) -> None:
    """A receiver with another port listens there, and where it was nobody does."""
    exporters = {"otlp": exporter(sink.endpoint)}
    with Reloading(one_pipeline(exporters=exporters), tmp_path) as process:
        process.export("before")
        with Client(process.endpoint) as old, Client(f"127.0.0.1:{port}") as new:
            process.reload(one_pipeline(exporters=exporters, endpoint=f"127.0.0.1:{port}"))
            answers = [client.export(request(service="after").SerializeToString()) for client in (old, new)]
        assert 0 == process.stop()
    assert [UNAVAILABLE, grpc.StatusCode.OK] == [answer.code for answer in answers]
    assert Counter({"before": 1, "after": 1}) == services(sink)


def test_a_port_that_is_taken_is_refused(sink: Sink, tmp_path: Path) -> None:
    """What cannot be started is changed back: nothing of the file is in force, and clients go on."""
    rules = {"sampling": {"rules": [{"action": "drop"}]}}
    exporters = {"otlp": exporter(sink.endpoint)}
    with socket.create_server(("127.0.0.1", 0)) as taken, Sink() as other:
        busy = f"127.0.0.1:{taken.getsockname()[1]}"
        moved = {"otlp": exporter(other.endpoint)}
        bad = one_pipeline(exporters=moved, processors=rules, endpoint=busy)
        free = f"127.0.0.1:{other.port + 1}"
        with Reloading(one_pipeline(exporters=exporters, endpoint=free), tmp_path) as process:
            assert REFUSED == process.reload(bad)
            (problem,) = (line["problem"] for line in process.lines if "problem" in line)
            answer = process.export("checkout")
            assert 0 == process.stop()
    assert "cannot listen on" in problem
    assert OK == answer
    assert (Counter({"checkout": 1}), Counter()) == (services(sink), services(other))


def test_exporters_are_changed_back(sink: Sink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a change that failed half-way each exporter delivers as before, what waited included."""
    exporters = {name: exporter(sink.endpoint) for name in ("otlp/removed", "otlp/direct", "otlp/other")}
    config = one_pipeline(exporters=exporters)
    after = one_pipeline(
        exporters={
            "otlp/direct": exporter(sink.endpoint, sending_queue={"enabled": False}),
            "otlp/other": exporter(sink.endpoint, timeout="4s"),
        },
        processors={"memory_limiter": {"limit_mib": 4000}},
    )
    monkeypatch.setattr("otelprof.processor.memory_limiter.MemoryLimiter.start", lambda _: 1 / 0)
    sink.answer_always(SinkAnswer(UNAVAILABLE, "wait", retry_after_secs=0.2))
    with running(config, tmp_path) as service:
        path = tmp_path / "after.yaml"
        path.write_text(yaml.safe_dump(after), encoding="utf-8")
        before = service.service.config
        assert OK == service.export(request(service="waits").SerializeToString())
        with pytest.raises(ZeroDivisionError):
            service.service.change_to(load_config(path, {}))
        service.service.change_to(before)
        assert OK == service.export(request(service="after").SerializeToString())
        sink.answer_always(SinkAnswer())
    assert Counter({"waits": 3, "after": 3}) == services(sink)


def test_what_needs_a_restart_is_said(sink: Sink, tmp_path: Path) -> None:
    """Telemetry's endpoint stays with a warning; where queues are kept cannot change, and is refused."""
    config = one_pipeline(exporters={"otlp": exporter(sink.endpoint)})
    moved = yaml.safe_load(yaml.safe_dump(config))
    moved["service"]["telemetry"]["metrics"]["endpoint"] = "127.0.0.1:1"
    kept = yaml.safe_load(yaml.safe_dump(config))
    kept["extensions"] = {"file_storage": {"directory": str(tmp_path)}}
    kept["service"]["extensions"] = ["file_storage"]
    kept["exporters"]["otlp"]["sending_queue"] = {"storage": "file_storage"}
    with Reloading(config, tmp_path) as process:
        told = [process.reload(moved), process.reload(kept)]
        assert 0 == process.stop()
    assert ["the configuration is reloaded", REFUSED] == told
    warned = [line["section"] for line in process.lines if line["event"] == "only a restart changes this"]
    assert ["service.telemetry.metrics"] == warned
    problems = [line["problem"].partition(":")[0] for line in process.lines if "problem" in line]
    assert ["extensions.file_storage", "exporters.otlp.sending_queue.storage"] == problems
