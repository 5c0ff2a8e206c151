"""The `datadog` exporter over real sockets, into the strict intake."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from structlog.testing import capture_logs

from otelprof._core import Profiles
from otelprof.telemetry import datadog_metrics, metrics
from tests.e2e.datadog_intake import API_KEY, INTAKE_PATH, DatadogIntake
from tests.e2e.harness import DATA, RECORDING, Running, Yaml, add_profile, one_pipeline, request, running
from tests.e2e.http_sink import HttpAnswer, HttpSink
from tests.reference.compare import on_the_wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
        ExportProfilesServiceRequest,
    )

    from tests.e2e.datadog_intake import Received

RETRY: Yaml = {"initial_interval": "20ms", "max_interval": "50ms", "max_elapsed_time": "1500ms"}
DIRECT: Yaml = {"enabled": False}
CLEAR: Yaml = {"tls": {"insecure": True}}
SERVICES = 3


def config(endpoint: str, **keys: Any) -> Yaml:
    """A configuration that sends everything there, and tries again fast enough for a test."""
    return one_pipeline(exporters={"datadog": {"endpoint": endpoint, "retry_on_failure": RETRY, **keys}})


@pytest.fixture
def intake() -> Iterator[DatadogIntake]:
    """An Agent."""
    with DatadogIntake() as intake:
        yield intake


def of_services(count: int = SERVICES) -> ExportProfilesServiceRequest:
    """A request of several services, each with a Profile of so many samples as its number says."""
    message = request(service="service-1")
    for number in range(2, count + 1):
        resource = message.resource_profiles.add()
        resource.CopyFrom(message.resource_profiles[0])
        resource.resource.attributes[0].value.string_value = f"service-{number}"
        profile = resource.scope_profiles[0].profiles[0]
        profile.profile_id = f"test-service-{number:03}".encode()
    return message


def values(received: Received) -> int:
    """What the samples of an upload add up to, in its first column."""
    return sum(sample.value[0] for pprof in received.pprofs.values() for sample in pprof.pprof.sample)


def services(intake: DatadogIntake) -> list[str | None]:
    """The services of the uploads that were taken, in order."""
    return [received.tag("service") for received in intake.received]


def settled(running: Running, count: int = 1) -> None:
    """Return when so many requests are delivered or given up."""
    deadline = time.monotonic() + 5
    while delivered(running) + lost(running, "permanent_error") + lost(running, "retries_exhausted") < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def delivered(running: Running) -> float:
    """Requests that were delivered."""
    return running.metrics.value(metrics.EXPORTER_SENT_REQUESTS, exporter="datadog")


def lost(running: Running, reason: str) -> float:
    """Samples that were given up by the sender."""
    return running.metrics.value(metrics.EXPORTER_DROPPED, exporter="datadog", reason=reason)


def unsent(running: Running, reason: str, sample_type: str = "cpu-samples:count") -> float:
    """Samples of delivered requests that are not there."""
    spec = datadog_metrics.DATADOG_LOST_SAMPLES
    return running.metrics.value(spec, exporter="datadog", reason=reason, sample_type=sample_type)


def test_an_agent_takes_a_recording(intake: DatadogIntake, tmp_path: Path) -> None:
    """Each program of an eBPF recording is an upload of its own, which obeys every rule."""
    with running(config(intake.url, sending_queue=DIRECT, tags={"team": "a"}), tmp_path) as service:
        service.export(RECORDING.read_bytes())
        uploads = service.metrics.value(datadog_metrics.DATADOG_UPLOADS, exporter="datadog")
    assert uploads == len(intake.received) == len({tuple(one.tags[1:]) for one in intake.received})
    assert Profiles.decode(RECORDING.read_bytes()).sample_count <= sum(map(values, intake.received))
    for received in intake.received:
        assert ("otelprof", "ebpf", "a") == (
            received.headers["dd-evp-origin"],
            received.event["family"],
            received.tag("team"),
        )
        assert "dd-api-key" not in received.headers


def test_a_batch_is_one_upload_a_service(intake: DatadogIntake, tmp_path: Path) -> None:
    """Requests that are merged before they are sent share uploads: one for each origin and minute."""
    queue = {"batch": {"flush_timeout": "300ms"}}
    bodies = [path.read_bytes() for path in sorted((DATA / "ebpf-linked").glob("*.otlp"))[:3]]
    alone = 0
    for body in bodies:
        with DatadogIntake() as other, running(config(other.url, sending_queue=DIRECT), tmp_path) as service:
            service.export(body)
            alone += len(other.received)
    with running(config(intake.url, sending_queue=queue), tmp_path) as service:
        for body in bodies:
            service.export(body)
        settled(service)
    assert len(intake.received) <= alone // 2
    assert len(intake.received) == len({received.tag("service") for received in intake.received})


def test_a_unix_socket(tmp_path: Path) -> None:
    """An Agent may listen on a socket."""
    path = tmp_path / "apm.socket"
    with DatadogIntake(path) as intake:
        with running(config(f"unix://{path}", sending_queue=DIRECT), tmp_path) as service:
            assert grpc.StatusCode.OK is service.export(of_services().SerializeToString()).code
        assert ["service-1", "service-2", "service-3"] == services(intake)


# httpcore leaves a unix socket that it cannot connect to the interpreter, which closes it at once.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_socket_that_is_not_there(tmp_path: Path) -> None:
    """An Agent that does not listen yet is waited for."""
    path = tmp_path / "apm.socket"
    with running(config(f"unix://{path}"), tmp_path) as service:
        service.export(request().SerializeToString())
        time.sleep(0.1)
        with DatadogIntake(path) as intake:
            settled(service)
            service.service.stop()  # or the intake waits for its connection
        assert ["checkout"] == services(intake)


def test_agentless(intake: DatadogIntake, tmp_path: Path) -> None:
    """Without an Agent the key goes along, and is in no line of the log."""
    keys = {"mode": "agentless", "api_key": API_KEY, "sending_queue": DIRECT, **CLEAR}
    with capture_logs() as logs, running(config(intake.url, **keys), tmp_path) as service:
        service.export(request().SerializeToString())
        service.export(request().SerializeToString())
    assert (INTAKE_PATH, API_KEY) == (intake.requests[0].path, intake.requests[0].headers["dd-api-key"])
    assert ["checkout"] * 2 == services(intake)
    assert API_KEY not in str(logs)


def test_otlp(tmp_path: Path) -> None:
    """In mode `otlp` a request goes as it is, with the key and our own name."""
    keys = {"mode": "otlp", "api_key": API_KEY, "sending_queue": DIRECT, **CLEAR}
    with HttpSink() as sink, running(config(sink.url, **keys), tmp_path) as service:
        service.export(RECORDING.read_bytes())
        (arrived,) = sink.requests
    assert ("/v1development/profiles", API_KEY, "otelprof", "zstd") == (
        arrived.path,
        *(arrived.headers[name] for name in ("dd-api-key", "dd-evp-origin", "content-encoding")),
    )
    sent = Profiles.decode(RECORDING.read_bytes())
    assert on_the_wire(sent) == on_the_wire(Profiles.decode(arrived.body))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 301])
def test_refusals_are_not_sent_again(intake: DatadogIntake, tmp_path: Path, status: int) -> None:
    """What is refused, and whoever is, is not sent again; all of it counts as dropped."""
    intake.answer(*[HttpAnswer(status, b"no")] * SERVICES)
    with running(config(intake.url), tmp_path) as service:
        service.export(of_services().SerializeToString())
        settled(service)
        assert SERVICES == lost(service, "permanent_error")
        assert 0 == unsent(service, "refused")
    # Wrong credentials are wrong for every upload: one is enough to know.
    assert (1 if status in {401, 403} else SERVICES) == len(intake.requests)


def test_one_refusal_of_several(intake: DatadogIntake, tmp_path: Path) -> None:
    """An upload that is refused alone is counted and logged; the others are delivered."""
    intake.answer(HttpAnswer(200), HttpAnswer(400, b"bad upload"))
    with capture_logs() as logs, running(config(intake.url), tmp_path) as service:
        service.export(of_services().SerializeToString())
        settled(service)
        assert (1, 0) == (unsent(service, "refused"), lost(service, "permanent_error"))
    (line,) = [line for line in logs if line["event"] == "an upload was refused"]
    assert line["error"].endswith("answered 400: bad upload")
    assert ["service-3"] == services(intake)


@pytest.mark.parametrize(
    "failure",
    [
        HttpAnswer(500),
        HttpAnswer(502),
        HttpAnswer(503),
        HttpAnswer(408),
        HttpAnswer(429),
        HttpAnswer(resets=True),
    ],
    ids=["500", "502", "503", "408", "429", "reset in the body"],
)
def test_what_passes_is_sent_again(intake: DatadogIntake, tmp_path: Path, failure: HttpAnswer) -> None:
    """Until it is taken, and no upload twice: what was delivered before the failure is not sent again."""
    with running(config(intake.url), tmp_path) as service:
        intake.answer(HttpAnswer(), failure, failure)
        service.export(of_services().SerializeToString())
        settled(service)
        assert (1, 0) == (delivered(service), lost(service, "permanent_error"))
        assert 2 == service.metrics.value(
            metrics.EXPORTER_RETRIES,
            exporter="datadog",
            error_type="OverloadedError" if failure.status == 429 else "UnavailableError",
        )
    told = [one.answer.status for one in intake.requests]
    assert [200, failure.status, failure.status, 200, 200] == told
    assert ["service-2", "service-3"] == services(intake)


def test_retry_after(intake: DatadogIntake, tmp_path: Path) -> None:
    """429 with Retry-After is waited for; without, the usual interval is."""
    intake.answer(HttpAnswer(429, headers={"retry-after": "1"}))
    with running(config(intake.url), tmp_path) as service:
        start = time.monotonic()
        service.export(request().SerializeToString())
        settled(service)
    assert time.monotonic() - start >= 1
    assert ["checkout"] == services(intake)


def test_slow(intake: DatadogIntake, tmp_path: Path) -> None:
    """An answer that does not come in time is as good as none: the upload is sent again."""
    intake.answer(HttpAnswer(200, b"x" * 50, {}, delay_secs=0.1))
    with running(config(intake.url, timeout="300ms"), tmp_path) as service:
        service.export(request().SerializeToString())
        settled(service)
        assert 1 == delivered(service)
    assert 2 == len(intake.requests)


def test_down(tmp_path: Path) -> None:
    """What nobody takes for `max_elapsed_time` is given up, counted."""
    with DatadogIntake() as intake:
        url = intake.url
    retry = {**RETRY, "max_elapsed_time": "200ms"}
    with running(config(url, retry_on_failure=retry), tmp_path) as service:
        service.export(of_services().SerializeToString())
        settled(service)
        assert SERVICES == lost(service, "retries_exhausted")


def test_too_large_is_cut(tmp_path: Path) -> None:
    """What an intake finds too large is sent in halves, down to single samples, and all of it arrives."""
    message = request(samples=1)
    profile = message.resource_profiles[0].scope_profiles[0].profiles[0]
    for number in range(2, 10):
        message.dictionary.string_table.append(f"f{number}")
        message.dictionary.function_table.add(name_strindex=len(message.dictionary.string_table) - 1)
        message.dictionary.location_table.add().lines.add(function_index=number)
        message.dictionary.stack_table.add(location_indices=[number])
        profile.samples.add(stack_index=number, values=[number])
    with (
        DatadogIntake(takes=lambda received: len(received.pprofs["cpu.pprof"].pprof.sample) <= 2) as intake,
        running(config(intake.url), tmp_path) as service,
    ):
        service.export(message.SerializeToString())
        settled(service)
        assert (1, 0) == (delivered(service), unsent(service, "too_large"))
        assert 0 < service.metrics.value(datadog_metrics.DATADOG_SPLIT_UPLOADS, exporter="datadog")
    assert sum(range(1, 10)) == sum(map(values, intake.received))
    assert [str(number) for number in range(len(intake.requests))] == sorted(
        (one.tag("profile_seq") or "" for one in intake.seen), key=int
    )


def test_a_sample_that_is_too_large(tmp_path: Path) -> None:
    """A single sample that is too large is lost and counted; when nothing else is there, the request is."""
    with (
        DatadogIntake(takes=lambda received: received.tag("service") != "service-2") as intake,
        running(config(intake.url), tmp_path) as service,
    ):
        service.export(of_services().SerializeToString())
        settled(service)
        assert (1, 1) == (delivered(service), unsent(service, "too_large"))
        assert ["service-1", "service-3"] == services(intake)
        service.export(request(service="service-2").SerializeToString())
        settled(service, 2)
        assert 1 == lost(service, "permanent_error")


def test_types_without_a_slot(intake: DatadogIntake, tmp_path: Path) -> None:
    """What Datadog has no slot for is counted by its type, once, and needs no upload."""
    message = request(samples=3)
    message.dictionary.string_table.append("events")
    profile = message.resource_profiles[0].scope_profiles[0].profiles[0]
    profile.sample_type.type_strindex = 4
    intake.answer(HttpAnswer(503))
    with running(config(intake.url), tmp_path) as service:
        service.export(message.SerializeToString())
        settled(service)
        assert 3 == unsent(service, "no_slot", "events:count")
        add_profile(message)
        service.export(message.SerializeToString())
        settled(service, 2)
        assert 6 == unsent(service, "no_slot", "events:count")
    assert ["checkout"] == services(intake)


def test_another_exporter_does_not_notice(intake: DatadogIntake, tmp_path: Path) -> None:
    """One that is down loses its oldest, counted, while all of the other's arrives."""
    with DatadogIntake() as gone:
        url = gone.url
    down = {
        "endpoint": url,
        "retry_on_failure": {**RETRY, "max_elapsed_time": "0s"},
        "sending_queue": {"on_overflow": "drop_oldest", "queue_size": 20_000},
    }
    exporters = {"datadog": {"endpoint": intake.url}, "datadog/down": down}
    told = one_pipeline(exporters=exporters)
    told["service"]["drain_timeout"] = "100ms"
    with running(told, tmp_path) as service:
        for _ in range(30):
            assert grpc.StatusCode.OK is service.export(of_services().SerializeToString()).code
        settled(service, 30)
        dropped = service.metrics.value(
            metrics.EXPORTER_DROPPED, exporter="datadog/down", reason="queue_overflow"
        )
        assert dropped > 0
    assert 30 * SERVICES == len(intake.received)
