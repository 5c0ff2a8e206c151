"""The `datadog` exporter against programs of Datadog's: its uploader for Python, and its test agent."""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest

from otelprof._core import Profiles
from otelprof.exporter.datadog.config import DatadogExporterConfig
from otelprof.exporter.datadog.factory import factory
from otelprof.testing.contract import component_settings
from tests.counterparts import DATADOG
from tests.e2e.datadog_intake import DatadogIntake, receive
from tests.e2e.harness import RECORDING
from tests.e2e.test_datadog_intake import parted
from tests.reference.pprof import Profile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.datadog_intake import Received
    from tests.e2e.test_datadog_intake import Sent

UPLOADER: Final = Path(__file__).with_name("ddup_upload.py")
QUIET: Final = {
    "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
    "DD_REMOTE_CONFIGURATION_ENABLED": "false",
    "DD_CRASHTRACKING_ENABLED": "false",
}
WAIT_SECS: Final = 30.0

needs_datadog = pytest.mark.skipif(not DATADOG.exists(), reason="make counterparts was not run")


def python_profiles() -> Profiles:
    """The sample that `ddup_upload.py` makes, as a Python profiler would send it with OTLP."""
    strings = ["", "cpu-time", "nanoseconds", "cpu-samples", "count", "wall-time", "wall-samples"]
    strings += ["thread.id", "thread.name", "demo", "burn", "main", "/app/app.py"]
    pprof = Profile(string_table=[text.encode() for text in strings], time_nanos=10**18, duration_nanos=10**9)
    for kind, unit in ((1, 2), (3, 4), (5, 2), (6, 4)):
        pprof.sample_type.add(type=kind, unit=unit)
    for index, line in ((1, 12), (2, 99)):
        pprof.function.add(id=index, name=9 + index, filename=12)
        pprof.location.add(id=index).line.add(function_id=index, line=line)
    sample = pprof.sample.add(location_id=[1, 2], value=[50_000_000, 1, 60_000_000, 1])
    sample.label.add(key=7, num=4243)
    sample.label.add(key=8, str=9)
    resource = {
        "service.name": "demo",
        "service.version": "1.2.3",
        "service.instance.id": "1-2",
        "deployment.environment.name": "test",
        "telemetry.sdk.language": "python",
        "process.runtime.name": "CPython",
        "process.runtime.version": "3.11.7",
        "process.pid": "7",
    }
    return Profiles.from_pprof(pprof.SerializeToString(), resource=list(resource.items()))


def exported(profiles: Profiles, endpoint: str) -> None:
    """Export a request."""
    config = DatadogExporterConfig.model_validate({"endpoint": endpoint})
    exporter = factory.create(config, component_settings())
    exporter.start()
    try:
        exporter.export(profiles)
    finally:
        exporter.shutdown()


def sent(intake: DatadogIntake) -> tuple[Sent, Received]:
    """The only upload that an intake took, in its parts, and read."""
    (came,), (received,) = intake.requests, intake.received
    return parted(came.path, came.headers, came.sent), received


def framing(upload: Sent) -> list[tuple[str, str, str | None]]:
    """The parts of an upload without what is in them."""
    return [(part.name, part.filename, part.content_type) for part in upload.parts]


@needs_datadog
def test_datadogs_own_uploader_for_python() -> None:
    """The same sample is the same upload: its parts, the kinds of its event's keys, types, labels, frames."""
    with DatadogIntake() as theirs, DatadogIntake() as ours:
        environment = {**os.environ, **QUIET, "DD_TRACE_AGENT_URL": theirs.url}
        subprocess.run([str(DATADOG), str(UPLOADER)], env=environment, check=True, timeout=WAIT_SECS)  # noqa: S603 - ours
        exported(python_profiles(), ours.url)
        (their_parts, their_upload), (our_parts, our_upload) = sent(theirs), sent(ours)

    assert framing(their_parts) == framing(our_parts)
    kinds = [{key: type(value) for key, value in one.event.items()} for one in (their_upload, our_upload)]
    assert kinds[0] == kinds[1]
    # What the profiler of another process cannot know is missing: its platform.
    keys = [{key for key, _ in one.tags} for one in (their_upload, our_upload)]
    assert {"runtime_platform"} == keys[0] - keys[1]
    assert {"profile_seq"} == keys[1] - keys[0]
    readers = [one.pprofs["profile.pprof"] for one in (their_upload, our_upload)]
    columns = [dict(zip(one.types, one.pprof.sample[0].value, strict=True)) for one in readers]
    assert {kind: value for kind, value in columns[0].items() if value} == columns[1]
    assert list(columns[1]) == [kind for kind in columns[0] if kind in columns[1]]
    labels = [
        {label.key: label.value for label in reader.labels(reader.pprof.sample[0])} for reader in readers
    ]
    assert {key: labels[0][key] for key in labels[1]} == labels[1]
    assert {"thread native id"} == labels[0].keys() - labels[1].keys()
    frames = [[location[2] for location in row.stack] for reader in readers for row, _ in reader.rows()]
    assert frames[0] == frames[1]
    assert [("cpu-time", "nanoseconds")] * 2 == [one.value_type(one.pprof.period_type) for one in readers]


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]


@contextmanager
def agent_for_tests(folder: Path) -> Iterator[str]:
    """Datadog's agent for tests, on loopback; its URL."""
    port, http_port, grpc_port = free_ports(3)
    command = [str(DATADOG.with_name("ddapm-test-agent")), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--otlp-http-port", str(http_port), "--otlp-grpc-port", str(grpc_port)]
    command += ["--disable-llmobs-data-forwarding"]
    log = folder / "agent.log"
    with (
        log.open("w") as output,
        subprocess.Popen(command, cwd=folder, stdout=output, stderr=output) as process,  # noqa: S603 - a counterpart
    ):
        url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + WAIT_SECS
        try:
            while not is_there(url):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield url
        finally:
            process.kill()


def is_there(url: str) -> bool:
    """Whether an agent answers."""
    with suppress(httpx.HTTPError):
        return httpx.get(f"{url}/info").is_success
    return False


@needs_datadog
def test_datadogs_agent_for_tests(tmp_path: Path) -> None:
    """It takes every upload of a recording, and what it took obeys every rule."""
    with agent_for_tests(tmp_path) as url:
        exported(Profiles.decode(RECORDING.read_bytes()), url)
        requests = httpx.get(f"{url}/test/session/requests").json()
    uploads = []
    for one in requests:
        headers = {name.lower(): value for name, value in one["headers"].items()}
        path = "/" + one["url"].split("/", 3)[3]
        if one["method"] == "POST":
            uploads.append(receive(path, headers, base64.b64decode(one["body"])))
    with DatadogIntake() as intake:
        exported(Profiles.decode(RECORDING.read_bytes()), intake.url)
        assert [told(one) for one in intake.received] == [told(one) for one in uploads]


def told(upload: Received) -> tuple[Any, ...]:
    """What an upload says, but for its number."""
    event = {key: value for key, value in upload.event.items() if key != "tags_profiler"}
    tags = [one for one in upload.tags if one[0] != "profile_seq"]
    return event, tags, {name: reader.pprof for name, reader in upload.pprofs.items()}
