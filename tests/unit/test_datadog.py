"""The `datadog` exporter in its parts: what may be configured, and what becomes of what a Profile says."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from otelprof._core import Merger, Profiles
from otelprof.errors import (
    OverloadedError,
    PermanentError,
    RequestTooLargeError,
    RetryableError,
    UnauthenticatedError,
    UnavailableError,
)
from otelprof.exporter.datadog.config import DatadogExporterConfig
from otelprof.exporter.datadog.delivered import MAX_DIGESTS, Delivered
from otelprof.exporter.datadog.dialects import BY_FAMILY, EBPF, dialect_of
from otelprof.exporter.datadog.event import announced, event, timestamp
from otelprof.exporter.datadog.intake import error_of
from otelprof.exporter.datadog.origin import origin_of, process_labels
from otelprof.exporter.datadog.planning import Lost, Planner
from otelprof.exporter.datadog.slots import Slot, slots_of
from otelprof.exporter.datadog.tags import clean, tag
from otelprof.exporter.datadog.uploads import Sequences
from otelprof.exporter.http_client import HttpAnswer
from otelprof.testing.clock import SimulatedClock
from tests.e2e.datadog_intake import API_KEY
from tests.e2e.harness import request

CONFIG = DatadogExporterConfig()
SECOND = 10**9


@pytest.mark.parametrize(
    ("keys", "url"),
    [
        ({}, "http://127.0.0.1:8126/profiling/v1/input"),
        ({"endpoint": "https://agent:8126/"}, "https://agent:8126/profiling/v1/input"),
        ({"endpoint": "unix:///run/a.socket"}, "http://localhost/profiling/v1/input"),
        ({"api_key": API_KEY}, "http://127.0.0.1:8126/profiling/v1/input"),
        ({"mode": "agentless", "api_key": API_KEY}, "https://intake.profile.datadoghq.com/api/v2/profile"),
        (
            {"mode": "otlp", "api_key": API_KEY, "site": "datadoghq.eu"},
            "https://otlp.datadoghq.eu/v1development/profiles",
        ),
        (
            {
                "mode": "otlp",
                "api_key": API_KEY,
                "endpoint": "http://relay:1",
                "tls": {"insecure": True},
            },
            "http://relay:1/v1development/profiles",
        ),
    ],
)
def test_urls(keys: dict[str, Any], url: str) -> None:
    """Where requests go is said by the mode, the site and the endpoint."""
    assert url == DatadogExporterConfig.model_validate(keys).url


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"mode": "agentless"}, "needs api_key"),
        ({"mode": "otlp"}, "needs api_key"),
        ({"api_key": "s3cret"}, "not an API key"),
        ({"api_key": API_KEY.upper()}, "not an API key"),
        ({"endpoint": "agent:8126"}, "write http://host:port or https://host:port"),
        ({"endpoint": "http://me:s3cret@agent:8126"}, "a URL holds no credentials"),
        ({"endpoint": "unix://run/a.socket"}, "write unix:///var/run/datadog/apm.socket"),
        ({"endpoint": "unix:///a", "mode": "agentless", "api_key": API_KEY}, "an Agent's socket"),
        ({"endpoint": "http://relay", "mode": "otlp", "api_key": API_KEY}, "is in the clear"),
        ({"endpoint": "https://agent", "tls": {"insecure": True}}, "contradict each other"),
        ({"site": "datadoghq.com/"}, "is not a site"),
        ({"site": "https://datadoghq.com"}, "is not a site"),
        ({"tags": {"team": "a,b:c"}}, "is not a tag"),
        ({"tags": {"1": "a"}}, "is not a tag"),
        ({"custom_attributes": ["a"] * 11}, "up to 10"),
        ({"mode": "agentless ", "api_key": API_KEY}, "'agent', 'agentless' or 'otlp'"),
    ],
)
def test_wrong_configurations_are_explained(keys: dict[str, Any], message: str) -> None:
    """What cannot work is refused when the file is read; a secret is not shown."""
    with pytest.raises(ValidationError, match=message) as caught:
        DatadogExporterConfig.model_validate(keys)
    assert "s3cret" not in caught.value.errors()[0]["msg"]


def test_secrets_are_not_shown() -> None:
    """The key is in no text of the configuration."""
    config = DatadogExporterConfig.model_validate({"mode": "agentless", "api_key": API_KEY})
    assert (
        API_KEY not in f"{config!r} {config} {config.model_dump()} {config.model_dump_json()} {config.place}"
    )


def test_in_words() -> None:
    """What it does is said before it is done: where to, that a key is not sent, that nothing is batched."""
    sent, key, batch = DatadogExporterConfig.model_validate({"api_key": API_KEY}).in_words()
    assert ("sends to http://127.0.0.1:8126/profiling/v1/input", True) == (sent, "not sent" in key)
    assert "flush_timeout: 60s" in batch
    queue = {"batch": {"flush_timeout": "60s"}}
    assert 1 == len(DatadogExporterConfig.model_validate({"sending_queue": queue}).in_words())


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("env", "prod", "env:prod"),
        ("service", "a,b c+d", "service:a_b_c_d"),
        ("service", ":a:", "service:a"),
        ("path", "/usr/bin/x-1.2_3", "path:/usr/bin/x-1.2_3"),
        ("service", "gr\u00fcn", "service:gr\u00fcn"),
        ("service", "a\r\nb\0", "service:a__b_"),
        ("service", "x" * 300, "service:" + "x" * 192),
        ("service", "x" * 191 + ":y", "service:" + "x" * 191),
        ("service", "", None),
        ("service", "::", None),
        ("1st", "a", None),
        ("", "a", None),
    ],
)
def test_tags(key: str, value: str, expected: str | None) -> None:
    """A tag holds what Datadog's may; a comma would end it."""
    made = tag(key, value)
    assert expected == made
    assert made is None or (len(made) <= 200 and made == clean(made))


CPU = ("cpu", "nanoseconds")


NONE = ("", "")


@pytest.mark.parametrize(
    ("kind", "period", "slots"),
    [
        (("samples", "count"), CPU, ["cpu-samples", "cpu-time*"]),
        (("samples", "count"), NONE, ["cpu-samples"]),
        (("samples", "count"), ("cpu", ""), ["cpu-samples"]),
        (("samples", "count"), ("space", "bytes"), []),
        (("sample", "count"), ("wall", "nanoseconds"), ["wall-samples", "wall-time*"]),
        (("cpu", "count"), CPU, ["cpu-samples", "cpu-time*"]),
        (("perf_events", "count"), ("perf_events", "ns"), ["cpu-samples", "cpu-time*"]),
        (("ctimer", "ns"), ("ctimer", "ns"), ["cpu-time"]),
        (("wall", "count"), ("wall", "ns"), ["wall-samples", "wall-time*"]),
        (("wall", "count"), NONE, []),
        (CPU, CPU, ["cpu-time"]),
        (("wall", "nanoseconds"), NONE, ["wall-time"]),
        (("alloc_space", "bytes"), NONE, ["alloc-space"]),
        (("inuse_objects", "count"), NONE, ["heap-live-samples"]),
        (("contentions", "count"), NONE, ["contentions"]),
        (("lock-acquire-wait", "nanoseconds"), NONE, ["lock-acquire-wait"]),
        (("events", "count"), NONE, []),
        (("alloc_space", "count"), NONE, []),
        (("off_cpu", "nanoseconds"), NONE, []),
        (NONE, NONE, []),
        (("samples" * 100, "count" * 100), NONE, []),
    ],
)
def test_slots(kind: tuple[str, str], period: tuple[str, str], slots: list[str]) -> None:
    """Every sample type has its slots, or none; a star counts each value `period` times."""
    found = slots_of(kind, period)
    assert slots == [f"{slot.name}*" if slot.is_scaled else slot.name for slot in found]


def test_slots_by_choice() -> None:
    """Off-CPU time may be wall time; Go's block profile has slots of its own."""
    assert (Slot("wall-time"),) == slots_of(("off_cpu", "nanoseconds"), takes_off_cpu=True)
    assert (Slot("block-delay"),) == slots_of(("delay", "nanoseconds"), is_block=True)


@pytest.mark.parametrize(
    ("resource", "scope", "family"),
    [
        ({}, "", "ebpf"),
        ({"telemetry.sdk.language": "python"}, "", "python"),
        ({"telemetry.sdk.language": "python"}, "go.opentelemetry.io/ebpf-profiler", "ebpf"),
        ({"telemetry.sdk.language": "nodejs"}, "", "node"),
        ({"telemetry.sdk.language": "go"}, "", "go"),
        ({"telemetry.sdk.language": "java"}, "", "ebpf"),
        ({"telemetry.sdk.language": "rust", "process.runtime.name": "CPython"}, "", "python"),
        ({"process.runtime.name": ".NET"}, "", "dotnet"),
        ({"telemetry.sdk.language": "ruby"}, "", "ruby"),
    ],
)
def test_dialects(resource: dict[str, str], scope: str, family: str) -> None:
    """The language says the dialect, an eBPF profiler has its own, and all others take that."""
    assert BY_FAMILY[family] is dialect_of(resource, scope)


RESOURCE = {
    "service.name": "shop",
    "service.version": "1.2",
    "service.instance.id": "i-1",
    "deployment.environment.name": "prod",
    "host.name": "h",
    "host.arch": "amd64",
    "process.pid": "7",
    "process.runtime.name": "CPython",
    "telemetry.sdk.language": "python",
    "container.id": "c0ffee",
    "k8s.pod.name": "p",
}


def test_tags_of_a_resource() -> None:
    """The resource's attributes have Datadog's names; without an Agent, Kubernetes' are tags, too."""
    python = origin_of(RESOURCE, BY_FAMILY["python"], {"team": "a"}, has_agent=True)
    direct = origin_of(RESOURCE, EBPF, {}, has_agent=False)
    unified = {"env:prod", "version:1.2", "host:h", "runtime-id:i-1", "service:shop"}
    assert unified | {"language:python", "runtime:CPython", "process_id:7", "team:a"} <= set(python.tags)
    assert "pod_name:p" not in python.tags
    assert unified | {"runtime:ebpf", "remote_symbols:yes", "cpu_arch:amd64", "pod_name:p"} <= set(
        direct.tags
    )
    assert not any(one.startswith("process_id") for one in direct.tags)
    headers = {"datadog-container-id": "c0ffee", "datadog-entity-id": "ci-c0ffee"}
    assert headers == dict(python.headers) == dict(direct.headers)


def test_configured_tags_go_before_others() -> None:
    """A tag of the configuration takes the place of the resource's."""
    tags = origin_of(RESOURCE, EBPF, {"service": "other", "env": "dev"}, has_agent=True).tags
    assert {"service:other", "env:dev"} == {one for one in tags if one.startswith(("service:", "env:"))}


@pytest.mark.parametrize(
    ("resource", "service"),
    [
        ({"service.name": "a", "process.executable.name": "b"}, "service:a service_inferred:no"),
        ({"process.environment_variable.OTEL_SERVICE_NAME": "a"}, "service:a service_inferred:no"),
        (
            {
                "process.environment_variable.OTEL_SERVICE_NAME": "a",
                "process.environment_variable.DD_SERVICE": "d",
            },
            "service:d service_inferred:no",
        ),
        ({"service.name": "unknown_service:java"}, "service:unknown-service service_inferred:yes"),
        ({"process.executable.path": "/bin/sh"}, "service:sh service_inferred:yes"),
        ({}, "service:unknown-service service_inferred:yes"),
    ],
)
def test_services(resource: dict[str, str], service: str) -> None:
    """A service without a name is called by its program, and it is said that this is a guess."""
    assert service.split() == list(origin_of(resource, EBPF, {}, has_agent=True).tags[:2])


def test_a_container_id_ends_no_header() -> None:
    """What is no container's id is not sent as one."""
    assert () == origin_of({"container.id": "a\r\nx: y"}, EBPF, {}, has_agent=True).headers
    assert (("process name", "sh"),) == process_labels({"process.executable.path": "/bin/sh"})


def test_timestamps() -> None:
    """A time has nine digits of a second and a Z, whatever it is."""
    assert "2026-11-23T13:24:39.000000001Z" == timestamp(1795440279 * SECOND + 1)
    assert ["1970-01-01T00:00:00.000000000Z", "2554-07-21T23:34:33.709551615Z"] == [
        timestamp(nanos) for nanos in (0, 2**64 - 1)
    ]


def test_events() -> None:
    """An event lists what is in the upload; each dialect announces labels in its own way, ten at most."""
    keys = ["thread id", "trace endpoint", "span id", "b", "with space", *map(str, range(12))]
    told = {
        family: json.loads(event(dialect, window_nanos=(1, 2), tags=["service:a"], files={"f": keys}))
        for family, dialect in BY_FAMILY.items()
    }
    custom = sorted(set(map(str, range(12))) | {"b"})[:10]
    assert custom == told["go"]["custom_attributes"] == announced(EBPF, keys)
    assert (
        ",".join([*(f"ddprof.custom_ctx:{key}" for key in custom), "service:a"])
        == told["ebpf"]["tags_profiler"]
    )
    assert "custom_attributes" not in told["python"]
    assert {family: ["f"] for family in BY_FAMILY} == {one: told[one]["attachments"] for one in told}


def test_what_was_delivered_is_forgotten_at_last() -> None:
    """Digests are remembered until their request is done with, or there are too many."""
    delivered = Delivered()
    delivered.remember([b"a", b"b"])
    delivered.forget([b"a", b"c"])
    assert (False, True) == (b"a" in delivered, b"b" in delivered)
    delivered.remember(number.to_bytes(4) for number in range(MAX_DIGESTS))
    assert (False, MAX_DIGESTS) == (b"b" in delivered, len(delivered))


def test_sequences() -> None:
    """Every origin counts its own uploads."""
    a, b = (origin_of({"service.name": name}, EBPF, {}, has_agent=True) for name in "ab")
    sequences = Sequences()
    assert [0, 1, 0, 2] == [sequences.take(one) for one in (a, a, b, a)]


@pytest.mark.parametrize("status", range(300, 600))
def test_every_status_is_permanent_or_retryable(status: int) -> None:
    """408, 429 and what is the server's fault is tried again; Retry-After is waited."""
    answer = HttpAnswer(httpx.Response(status, headers={"retry-after": "7"}), b"why\x1b")
    error = error_of(answer, "far", SimulatedClock())
    named = {
        401: UnauthenticatedError,
        403: UnauthenticatedError,
        408: UnavailableError,
        413: RequestTooLargeError,
        429: OverloadedError,
    }
    assert named.get(status, UnavailableError if status >= 500 else PermanentError) is type(error)
    assert str(error).startswith(rf"far answered {status}: why\x1b")
    assert not isinstance(error, RetryableError) or error.retry_after_secs == 7.0


def at(second: int, *, service: str = "shop", kind: str = "samples", period: bool = True) -> Profiles:
    """A request with one Profile that begins at a second."""
    message = request(service=service)
    profile = message.resource_profiles[0].scope_profiles[0].profiles[0]
    message.dictionary.string_table.extend(["cpu", "nanoseconds", kind])
    profile.sample_type.type_strindex = 6
    profile.time_unix_nano, profile.duration_nano = second * SECOND, 5 * SECOND
    profile.profile_id = f"{service}-{second:09}"[-16:].rjust(16).encode()
    if period:
        profile.period, profile.period_type.type_strindex, profile.period_type.unit_strindex = 10, 4, 5
    return Profiles.decode(message.SerializeToString())


def merged(*requests: Profiles) -> Profiles:
    """What a batch makes of requests."""
    return Merger().merge(list(requests))


def test_a_minute_is_one_upload() -> None:
    """Profiles of a service that began within a minute of the first are one upload, whatever they came in."""
    plan = Planner(CONFIG).plan(merged(*(at(second) for second in (100, 105, 159, 160, 219))))
    assert [(100, 164), (160, 224)] == [
        (upload.start_nanos // SECOND, upload.end_nanos // SECOND) for upload in plan.uploads
    ]
    assert [3, 2] == [len(upload.attachments["cpu.pprof"].members) for upload in plan.uploads]
    assert {10} == {upload.attachments["cpu.pprof"].period for upload in plan.uploads}


def test_profiles_without_a_time_are_apart() -> None:
    """What has no time is not drawn into another's minute."""
    assert [0, 30 * SECOND] == [
        upload.start_nanos for upload in Planner(CONFIG).plan(merged(at(0), at(30))).uploads
    ]


def test_services_are_apart() -> None:
    """Every origin has uploads of its own."""
    plan = Planner(CONFIG).plan(merged(at(100, service="a"), at(100, service="b"), at(101, service="a")))
    assert [2, 1] == [len(upload.attachments["cpu.pprof"].members) for upload in plan.uploads]


def test_snapshots_are_not_added_up() -> None:
    """Two snapshots of one process in a minute are two uploads; clocks of that minute stand in the first."""
    heaps = [at(second, kind="inuse_objects", period=False) for second in (100, 110)]
    plan = Planner(CONFIG).plan(merged(*heaps, at(100), at(110)))
    assert [3, 1] == [len(upload.attachments["cpu.pprof"].members) for upload in plan.uploads]


def test_profiles_without_samples_are_nothing() -> None:
    """A Profile that holds nothing needs no upload, and loses none."""
    message = request(samples=0)
    plan = Planner(CONFIG).plan(Profiles.decode(message.SerializeToString()))
    assert ([], Counter()) == (plan.uploads, plan.lost)


def test_what_has_no_slot_is_counted() -> None:
    """A type that Datadog has no slot for is lost, by its name; off-CPU time for a reason of its own."""
    plan = Planner(CONFIG).plan(merged(at(1, kind="events"), at(2, kind="off_cpu"), at(3)))
    assert Counter({Lost("no_slot", "events:count"): 1, Lost("off_cpu", "off_cpu:count"): 1}) == plan.lost
    assert 1 == len(plan.uploads)
