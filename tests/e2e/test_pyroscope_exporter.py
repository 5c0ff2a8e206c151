"""The `pyroscope` exporter over real sockets, before a server that refuses and loses what a real one does."""

from __future__ import annotations

import ssl
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import grpc
import pytest

from otelprof._core import Profiles
from otelprof.errors import OverloadedError, PermanentError, UnauthenticatedError, UnavailableError
from otelprof.exporter.pyroscope.config import PyroscopeExporterConfig
from otelprof.exporter.pyroscope.exporter import PyroscopeExporter
from otelprof.telemetry import metrics
from otelprof.telemetry.pyroscope_metrics import PYROSCOPE_CHANGES, PYROSCOPE_LOST_SAMPLES, PYROSCOPE_PUSHES
from otelprof.testing.contract import component_settings
from otelprof.testing.sink import Sink
from tests.e2e.harness import Answer, Client, exporter, one_pipeline, running
from tests.e2e.http_sink import HttpAnswer
from tests.e2e.pyroscope_server import JUDGED, PyroscopeServer, connect_error
from tests.e2e.test_tls import folder as folder  # noqa: PLC0414 - a fixture
from tests.e2e.test_tls import pytestmark as needs_openssl
from tests.reference.build import START, Build

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OK: Final = Answer(grpc.StatusCode.OK)
NOW: Final = START / 1e9 + 60
TRACE, SPAN = bytes(range(16)), bytes(range(8))
AWAY: Final = connect_error(503, "unavailable", "away")
HANG_UP: Final = HttpAnswer(0)


def request(*services: str, values: tuple[int, ...] = (3, 4), seconds: float = 0) -> Build:
    """A request with a CPU profile of now for each service, moved by so many seconds."""
    build = Build()
    for service in services or ("cart",):
        profile = build.profile(build.scope({"service.name": service, "k8s.pod.name": "p"}), sample_type="x")
        profile.sample_type.type_strindex = build.string("cpu")
        profile.sample_type.unit_strindex = build.string("nanoseconds")
        profile.time_unix_nano = int((time.time() + seconds) * 1e9)
        for number, value in enumerate(values):
            build.sample(profile, value, stack=f"f{number}", link=(TRACE, SPAN) if number else None)
    return build


def profiles(*services: str, **keys: Any) -> Profiles:
    """The same, decoded."""
    return Profiles.decode(request(*services, **keys).body)


@pytest.fixture
def server() -> Iterator[PyroscopeServer]:
    """A server."""
    with PyroscopeServer() as server:
        yield server


@contextmanager
def exporting(
    server: PyroscopeServer | Sink, **keys: Any
) -> Iterator[tuple[PyroscopeExporter, metrics.Metrics]]:
    """A started exporter, and what it counts."""
    settings = component_settings()
    config = PyroscopeExporterConfig.model_validate({"endpoint": getattr(server, "url", ""), **keys})
    exporter = PyroscopeExporter(config, settings)
    exporter.start()
    try:
        yield exporter, settings.metrics
    finally:
        exporter.shutdown()


def lost(counted: metrics.Metrics, reason: str) -> float:
    """Samples that were counted as lost."""
    return counted.value(PYROSCOPE_LOST_SAMPLES, exporter="contract", reason=reason)


def requests_by(counted: metrics.Metrics, outcome: str) -> float:
    """Pushes that were counted."""
    return counted.value(PYROSCOPE_PUSHES, exporter="contract", outcome=outcome)


def values(server: PyroscopeServer) -> dict[str, int]:
    """What the server has of each service."""
    found: dict[str, int] = {}
    for kept in server.kept:
        service = dict(kept.labels)["service_name"]
        found[service] = found.get(service, 0) + kept.value
    return found


def test_a_push(server: PyroscopeServer) -> None:
    """Each series is one push, with its labels, its values, and the ids of its spans."""
    with exporting(server) as (exporter, counted):
        exporter.export(profiles("cart", "shop"))

    assert {"cart": 7, "shop": 7} == values(server)
    assert {"process_cpu:cpu:nanoseconds:cpu:nanoseconds"} == {kept.profile_type for kept in server.kept}
    linked = [kept for kept in server.kept if kept.stack == ("f1",)]
    assert {(SPAN.hex(), TRACE.hex())} == {(kept.span_id, kept.trace_id) for kept in linked}
    assert {"p"} == {dict(kept.labels)["k8s_pod_name"] for kept in server.kept}
    assert (2, 2) == (len(server.requests), requests_by(counted, "delivered"))
    assert counted.value(metrics.EXPORTER_SENT_BYTES, exporter="contract") > 0


def test_no_other_label_of_a_sample(server: PyroscopeServer) -> None:
    """Labels of samples become labels of series, so that only those of the list are sent."""
    build = request()
    profile = build.request.resource_profiles[0].scope_profiles[0].profiles[0]
    build.sample(profile, 5, attributes={"thread.name": "t1", "endpoint": "/buy"})
    for keys, names in (({}, set()), ({"sample_labels": ["endpoint"]}, {"endpoint"})):
        with exporting(server, **keys) as (exporter, _):
            exporter.export(Profiles.decode(build.body))
        fixed = {"__name__", "service_name", "k8s_pod_name"}
        assert names == {name for kept in server.kept for name, _ in kept.labels} - fixed
        server.kept.clear()


@pytest.mark.parametrize(
    ("keys", "authorization"),
    [
        ({"basic_auth_username": "7", "basic_auth_password": "s3cret"}, "Basic NzpzM2NyZXQ="),
        ({"bearer_token": "s3cret"}, "Bearer s3cret"),
        ({"headers": {"Authorization": "x s3cret"}}, "x s3cret"),
    ],
)
def test_who_sends(keys: dict[str, Any], authorization: str) -> None:
    """Tenant and credentials are sent as the server, or a proxy before it, wants them."""
    with PyroscopeServer(authorization=authorization, tenants=True) as server:
        with exporting(server, tenant_id="t1", **keys) as (exporter, _):
            exporter.export(profiles())
        assert {"cart": 7} == values(server)
        for wrong in ({"tenant_id": "t1"}, {"bearer_token": "wrong", "tenant_id": "t1"}, keys):
            with exporting(server, **wrong) as (exporter, counted):
                with pytest.raises(UnauthenticatedError) as raised:
                    exporter.export(profiles())
                assert "s3cret" not in str(raised.value)
                assert (2, 1) == (lost(counted, "refused"), requests_by(counted, "refused"))


@needs_openssl
def test_tls(folder: Path) -> None:
    """Over https the server is proved by the authority that was told, and by no other."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    with PyroscopeServer(context) as server:
        with exporting(server, tls={"ca_file": str(folder / "ca.pem")}) as (exporter, _):
            exporter.export(profiles())
        assert {"cart": 7} == values(server)
        with (
            exporting(server, tls={"ca_file": str(folder / "other.pem")}) as (exporter, _),
            pytest.raises(UnavailableError, match="CERTIFICATE_VERIFY_FAILED"),
        ):
            exporter.export(profiles())


def test_the_proxy_of_the_configuration(server: PyroscopeServer) -> None:
    """A proxy is asked for what is not itself."""
    config = {"endpoint": "http://pyroscope.invalid:4040", "proxy": server.url}
    with exporting(server, **config) as (exporter, _), pytest.raises(PermanentError, match="404"):
        exporter.export(profiles())
    assert ["http://pyroscope.invalid:4040/push.v1.PusherService/Push"] == [
        one.path for one in server.requests
    ]


def test_old_and_future_profiles(server: PyroscopeServer) -> None:
    """What is too old is not sent, and counted; what is ahead of time is of now."""
    with exporting(server) as (exporter, counted):
        with pytest.raises(PermanentError, match="older than 3300 s"):
            exporter.export(profiles(seconds=-3400))
        exporter.export(profiles(seconds=-3200))
        exporter.export(profiles(seconds=3600))
        clamped = counted.value(PYROSCOPE_CHANGES, exporter="contract", change="time_clamped")
        assert (2, 1) == (lost(counted, "too_old"), clamped)
    assert {"cart": 14} == values(server)


def test_what_the_server_would_lose(server: PyroscopeServer) -> None:
    """A negative value is counted as lost; a stack too deep keeps its leaf and its root, and is counted."""
    folded = ";".join(f"f{number}" for number in range(1200))
    deep = Profiles.from_folded(f"{folded} 5\na 2\nb -3".encode())
    with exporting(server) as (exporter, counted):
        exporter.export(deep)
        assert 1 == lost(counted, "negative_value")
        assert 1 == counted.value(PYROSCOPE_CHANGES, exporter="contract", change="stack_cut")
    kept = {one.stack: one.value for one in server.kept}
    (longest,) = (stack for stack in kept if len(stack) > 1)
    assert ("f1199", "f0", 1000, {5, 2}) == (longest[0], longest[-1], len(longest), set(kept.values()))
    assert [{"negative": 1}] == [verdict.lost for verdict in server.verdicts]


def test_a_large_profile_is_split(server: PyroscopeServer) -> None:
    """A profile over the size or the number of samples is several pushes, all under both, none lost."""
    lines = [f"main;f{number};{'x' * 300}{number % 5000} {number + 1}" for number in range(17_000)]
    large = Profiles.from_folded("\n".join(lines).encode())
    with exporting(server) as (exporter, counted):
        exporter.export(large)
        assert (0, 200) == (requests_by(counted, "refused"), server.verdicts[0].status)
    assert len(server.requests) > 2
    assert sum(range(1, 17_001)) == sum(kept.value for kept in server.kept)


def test_a_sample_that_is_too_large(server: PyroscopeServer) -> None:
    """A single sample over the size is lost, counted; its neighbours are there."""
    lines = [f"{'x' * 100_000} 3", "main 4"]
    with exporting(server, max_profile_size="64KiB") as (exporter, counted):
        exporter.export(Profiles.from_folded("\n".join(lines).encode()))
        assert (1, 1) == (lost(counted, "too_large"), requests_by(counted, "delivered"))
    assert [4] == [kept.value for kept in server.kept]


def test_a_hostile_request(server: PyroscopeServer) -> None:
    """A request whose pprofs would take gigabytes is sent in pieces that do not."""
    build = Build()
    profile = build.profile(build.scope())
    tables = build.request.dictionary
    deep = tables.stack_table.add()
    deep.location_indices.extend([1] * 4000)
    build.stack("main")
    for _ in range(250):
        profile.samples.add(stack_index=1, values=[1])
        build.link(bytes([1] * 16), len(tables.link_table).to_bytes(8, "big"))
        profile.samples[-1].link_index = len(tables.link_table) - 1
    profile.time_unix_nano = 0
    with exporting(server, max_stack_depth=4096) as (exporter, _):
        exporter.export(Profiles.decode(build.body))
    assert (250, 2) == (sum(kept.value for kept in server.kept), len(server.requests))


def test_only_what_was_not_taken_is_left(server: PyroscopeServer) -> None:
    """After a failure in the middle, what is given back for the next try is all but what the server has."""
    everything = [f"s{number}" for number in range(8)]
    server.answer(HttpAnswer(200, b"", {}), connect_error(429, "resource_exhausted", "slowly"))
    with exporting(server, max_concurrent_pushes=1) as (exporter, counted):
        with pytest.raises(OverloadedError) as raised:
            exporter.export(profiles(*everything))
        left = raised.value.undelivered
        assert left is not None
        assert (14, 1, 1) == (
            left.sample_count,
            requests_by(counted, "delivered"),
            requests_by(counted, "retryable"),
        )
        exporter.export(left)
    assert dict.fromkeys(everything[1:], 7) == values(server)


def test_nothing_was_taken(server: PyroscopeServer) -> None:
    """When the server takes nothing, the request is tried again as it is."""
    server.answer_always(connect_error(429, "resource_exhausted", "slowly", {"retry-after": "7"}))
    with exporting(server) as (exporter, _):
        with pytest.raises(OverloadedError, match="resource_exhausted: slowly") as raised:
            exporter.export(profiles("a", "b"))
        assert (None, 7.0) == (raised.value.undelivered, raised.value.retry_after_secs)


def test_one_series_is_refused(server: PyroscopeServer) -> None:
    """One that the server refuses is lost, counted, and does not keep the others from it."""
    server.answer(connect_error(400, "invalid_argument", "no"))
    with exporting(server) as (exporter, counted):
        exporter.export(profiles("a", "b", "c"))
        assert (2, 2, 1) == (
            lost(counted, "refused"),
            requests_by(counted, "delivered"),
            requests_by(counted, "refused"),
        )
    assert 2 == len(values(server))


def heap(seconds: float, allocated: int, in_use: int) -> Profiles:
    """What a process allocated from its start on, and has in use, so many seconds from now."""
    build = Build()
    scope = build.scope({"service.name": "cart"})
    for kind, value in (("alloc_space", allocated), ("inuse_space", in_use)):
        profile = build.profile(scope, sample_type=kind)
        profile.sample_type.unit_strindex = build.string("bytes")
        profile.time_unix_nano, profile.duration_nano = int((time.time() + seconds) * 1e9), 0
        build.sample(profile, value)
    return Profiles.decode(build.body)


def test_cumulative_profiles(server: PyroscopeServer) -> None:
    """What counts from the start of a process is sent as differences, once, whatever fails in between."""
    with exporting(server) as (exporter, counted):
        exporter.export(heap(-30, 100, 7))
        assert 1 == lost(counted, "baseline")
        server.answer(AWAY, AWAY)
        with pytest.raises(UnavailableError) as raised:
            exporter.export(heap(-20, 150, 8))
        assert raised.value.undelivered is not None
        exporter.export(raised.value.undelivered)
        exporter.export(heap(-25, 120, 9))
        assert 1 == lost(counted, "late")
        exporter.export(heap(-10, 160, 5))
    found: dict[str, list[int]] = {}
    for kept in server.kept:
        found.setdefault(kept.profile_type, []).append(kept.value)
    assert {
        "memory:alloc_space:bytes:space:bytes": [50, 10],
        "memory:inuse_space:bytes:space:bytes": [7, 8, 9, 5],
    } == found


def test_pushes_are_under_way_at_once(server: PyroscopeServer) -> None:
    """A server that answers slowly, as one that flushes a segment, is asked for several series at once."""
    names = [f"s{number}" for number in range(20)]
    server.answer(*[HttpAnswer(200, b"", {}, wait_secs=0.5)] * 20)
    with exporting(server) as (exporter, _):
        start = time.monotonic()
        exporter.export(profiles(*names))
    assert time.monotonic() - start < 20 * 0.5 / 2
    assert 20 == len(server.requests)


RETRY: Final = {"initial_interval": "20ms", "max_interval": "40ms", "max_elapsed_time": "400ms"}


def service_config(url: str, **keys: Any) -> dict[str, Any]:
    """A service that sends to a server, and tries again soon."""
    return one_pipeline(exporters={"pyroscope": {"endpoint": url, "retry_on_failure": RETRY, **keys}})


def wait_until_idle(counted: metrics.Metrics, name: str = "pyroscope") -> None:
    """Return when nothing waits for the exporter."""
    labels = {"exporter": name, "data_type": "profiles"}
    deadline = time.monotonic() + 10
    while counted.value(metrics.EXPORTER_QUEUE_SIZE, **labels) and time.monotonic() < deadline:
        time.sleep(0.01)


class Outcome(NamedTuple):
    """What becomes of a request: why it was lost on the way, and why it was dropped."""

    lost: str = ""
    dropped: str = ""


DELIVERED: Final = Outcome()
REFUSED: Final = Outcome("refused", "permanent_error")
UNANSWERED: Final = Outcome("unanswered", "permanent_error")


@pytest.mark.parametrize(
    ("keys", "answers", "outcome"),
    [
        # flapping, 429 with and without Retry-After, 500, 502: tried again, there once
        ({}, [AWAY, AWAY, AWAY], DELIVERED),
        ({}, [connect_error(429, "resource_exhausted", "slowly")], DELIVERED),
        ({}, [connect_error(429, "resource_exhausted", "x", {"retry-after": "0"})], DELIVERED),
        ({}, [connect_error(500, "unknown", "oops")], DELIVERED),
        ({}, [HttpAnswer(502, b"<html>", {})], DELIVERED),
        # down for good: given up
        ({}, [AWAY] * 100, Outcome(dropped="retries_exhausted")),
        ({}, [connect_error(500, "unknown", "oops")] * 100, Outcome(dropped="retries_exhausted")),
        # refused: not tried again
        ({}, [HttpAnswer(413, b"large", {})], REFUSED),
        ({}, [connect_error(401, "unauthenticated", "who?")], REFUSED),
        ({}, [connect_error(400, "invalid_argument", "no")], REFUSED),
        # no answer: not tried again, unless that is accepted
        ({}, [HANG_UP], UNANSWERED),
        ({}, [HttpAnswer(504, b"", {})], UNANSWERED),
        ({"timeout": "100ms"}, [HttpAnswer(200, b"", {}, wait_secs=0.5)], UNANSWERED),
        ({"resend_unanswered": True}, [HANG_UP, HANG_UP], DELIVERED),
        ({"resend_unanswered": True}, [HttpAnswer(504, b"", {})], DELIVERED),
    ],
)
def test_failures(
    server: PyroscopeServer,
    tmp_path: Path,
    keys: dict[str, Any],
    answers: list[HttpAnswer],
    outcome: Outcome,
) -> None:
    """What becomes of a request when pushes fail: there once, or dropped and counted by why."""
    server.answer(*answers)
    with running(service_config(server.url, **keys), tmp_path) as service:
        assert OK == service.export(request().body)
        wait_until_idle(service.metrics)
        value = service.metrics.value
        for reason in ("refused", "unanswered"):
            counted = value(PYROSCOPE_LOST_SAMPLES, exporter="pyroscope", reason=reason)
            assert 2 * (reason == outcome.lost) == counted
        for reason in ("permanent_error", "retries_exhausted"):
            counted = value(metrics.EXPORTER_DROPPED, exporter="pyroscope", reason=reason)
            assert 2 * (reason == outcome.dropped) == counted
        assert 2 * (outcome == DELIVERED) == value(metrics.EXPORTER_SENT, exporter="pyroscope")
    assert ({"cart": 7} if outcome == DELIVERED else {}) == values(server)


def test_a_server_that_comes_back(tmp_path: Path) -> None:
    """What came while the server was down is there once when it is back."""
    with PyroscopeServer() as away:
        url = away.url
    retry = {**RETRY, "max_elapsed_time": "10s"}
    with ExitStack() as back, running(service_config(url, retry_on_failure=retry), tmp_path) as service:
        for _ in range(3):
            assert OK == service.export(request("a", "b").body)
        time.sleep(0.1)
        server = back.enter_context(PyroscopeServer(port=int(url.rpartition(":")[2])))
        wait_until_idle(service.metrics)
        assert {"a": 21, "b": 21} == values(server)
        assert 12 == service.metrics.value(metrics.EXPORTER_SENT, exporter="pyroscope")


def test_a_flapping_server_counts_nothing_twice(server: PyroscopeServer, tmp_path: Path) -> None:
    """With every second push failing, each series of each request is there exactly once."""
    names = [f"s{number}" for number in range(6)]
    server.answer(*[AWAY, JUDGED] * 8)
    retry = {**RETRY, "max_elapsed_time": "10s"}
    with running(service_config(server.url, retry_on_failure=retry), tmp_path) as service:
        for _ in range(4):
            assert OK == service.export(request(*names).body)
        wait_until_idle(service.metrics)
        assert dict.fromkeys(names, 28) == values(server)
        assert 48 == service.metrics.value(metrics.EXPORTER_SENT, exporter="pyroscope")


def test_a_server_that_is_down_does_not_slow_the_others(tmp_path: Path) -> None:
    """Another exporter has everything at once, and the one that is down loses its oldest, counted."""
    with PyroscopeServer() as away:
        url = away.url
    queue = {"queue_size": "30KiB", "on_overflow": "drop_oldest"}
    retry = {**RETRY, "max_elapsed_time": "60s"}
    with Sink() as sink:
        exporters = {
            "pyroscope": {"endpoint": url, "retry_on_failure": retry, "sending_queue": queue},
            "otlp": exporter(sink.endpoint),
        }
        config = one_pipeline(exporters=exporters)
        config["service"]["drain_timeout"] = "0s"
        with running(config, tmp_path) as service:
            start = time.monotonic()
            with Client(service.endpoint) as client:
                for _ in range(50):
                    assert OK == client.export(request().body)
            sink.wait_for(50)
            assert time.monotonic() - start < 5.0
            dropped = service.metrics.value(
                metrics.EXPORTER_DROPPED, exporter="pyroscope", reason="queue_overflow"
            )
            assert dropped > 0
