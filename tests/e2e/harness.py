"""What end-to-end tests need: a running service, a client, and requests good and bad."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, Final, Self

import grpc
import yaml
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest,
    ExportProfilesServiceResponse,
)
from structlog.testing import capture_logs

from otelprof.clock import SystemClock
from otelprof.config.resolve import load_config
from otelprof.pipeline import Service
from otelprof.telemetry.metrics import Metrics

if TYPE_CHECKING:
    import signal
    from collections.abc import Iterator
    from types import TracebackType

EXPORT: Final = "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export"
STATUS_DETAILS: Final = "grpc-status-details-bin"
DATA: Final = Path(__file__).resolve().parent.parent / "data"
RECORDING: Final = DATA / "ebpf-linked" / "00000.otlp"
COMMAND: Final = str(Path(sysconfig.get_path("scripts")) / "otelprof")
STOP_SECS: Final = 10.0

Yaml = dict[str, Any]


def receiver(**grpc_keys: Any) -> Yaml:
    """An `otlp` receiver on a free loopback port."""
    return {"protocols": {"grpc": {"endpoint": "127.0.0.1:0", **grpc_keys}}}


def exporter(endpoint: str, **keys: Any) -> Yaml:
    """An `otlp` exporter that retries fast enough for a test."""
    retry = {"initial_interval": "50ms", "max_interval": "100ms", "max_elapsed_time": "3s"}
    config = {"endpoint": endpoint, "tls": {"insecure": True}, "retry_on_failure": retry}
    return {**config, "compression": "none", **keys}


def one_pipeline(*, exporters: Yaml, processors: Yaml | None = None, **grpc_keys: Any) -> Yaml:
    """A configuration with one receiver and one pipeline of everything that is given."""
    pipeline = {
        "receivers": ["otlp"],
        "processors": list(processors or {}),
        "exporters": list(exporters),
    }
    telemetry = {"metrics": {"endpoint": None}, "logs": {"encoding": "json"}}
    return {
        "receivers": {"otlp": receiver(**grpc_keys)},
        "processors": processors or {},
        "exporters": exporters,
        "service": {"pipelines": {"profiles": pipeline}, "telemetry": telemetry, "drain_timeout": "5s"},
    }


@dataclass(frozen=True)
class Answer:
    """What a client was told.

    Attributes:
        code: the status.
        message: its details, or the message of a partial success.
        rejected_profiles: of a partial success.
        retry_after_secs: of RetryInfo; None without.
    """

    code: grpc.StatusCode
    message: str = ""
    rejected_profiles: int = 0
    retry_after_secs: float | None = None


class Client:
    """Calls `Export` with raw bytes."""

    def __init__(self, endpoint: str, compression: grpc.Compression = grpc.Compression.NoCompression) -> None:
        options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
        self.channel = grpc.insecure_channel(endpoint, options, compression)
        self._export = self.channel.unary_unary(EXPORT, None, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.channel.close()

    def export(self, body: bytes, metadata: tuple[tuple[str, str], ...] = ()) -> Answer:
        """Send one request."""
        try:
            partial = ExportProfilesServiceResponse.FromString(
                self._export(body, timeout=10.0, metadata=metadata)
            ).partial_success
        except grpc.RpcError as error:
            return Answer(error.code(), error.details() or "", retry_after_secs=_retry_after_secs(error))
        return Answer(grpc.StatusCode.OK, partial.error_message, partial.rejected_profiles)


def _retry_after_secs(error: grpc.RpcError) -> float | None:
    for datum in error.trailing_metadata() or ():
        if datum.key == STATUS_DETAILS:
            return retry_info_secs(datum.value)
    return None


def retry_info_secs(details: bytes) -> float | None:
    """What RetryInfo asks for, in the details of a status; None without."""
    for detail in Status.FromString(details).details:
        info = RetryInfo.FromString(detail.value)
        return float(info.retry_delay.ToTimedelta().total_seconds())
    return None


@dataclass(frozen=True)
class Running:
    """A service in this process.

    Attributes:
        service: it.
        metrics: what it counts.
        endpoints: where its receivers listen with gRPC, by id.
        http_endpoints: and with HTTP.
    """

    service: Service
    metrics: Metrics
    endpoints: dict[str, str]
    http_endpoints: dict[str, str]

    @property
    def endpoint(self) -> str:
        """Where its only receiver listens."""
        (endpoint,) = self.endpoints.values()
        return endpoint

    @property
    def url(self) -> str:
        """The URL of its only HTTP receiver."""
        (endpoint,) = self.http_endpoints.values()
        return f"http://{endpoint}/v1development/profiles"

    def export(self, body: bytes, metadata: tuple[tuple[str, str], ...] = ()) -> Answer:
        """Send one request, on a connection of its own."""
        with Client(self.endpoint) as client:
            return client.export(body, metadata)


@contextmanager
def running(config: Yaml, folder: Path) -> Iterator[Running]:
    """Run a configuration in this process, and stop it at the end."""
    path = folder / "otelprof.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    metrics = Metrics()
    service = Service(load_config(path, {}), metrics, SystemClock())
    try:
        with capture_logs() as logs:
            service.start()
        listening = [line for line in logs if line["event"] == "receiver listens"]
        grpc_endpoints, http_endpoints = (
            {line["otelcol.component.id"]: line["endpoint"] for line in listening if line["protocol"] == one}
            for one in ("grpc", "http")
        )
        yield Running(service, metrics, grpc_endpoints, http_endpoints)
    finally:
        service.stop()


class Process:
    """`otelprof run` as a user starts it, from entering the context to leaving it."""

    def __init__(self, config: Yaml, folder: Path) -> None:
        path = folder / "otelprof.yaml"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        self._command = [COMMAND, "run", "--config", str(path)]
        self.lines: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        self.popen = subprocess.Popen(  # noqa: S603 - our own program
            self._command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        self._reader = Thread(target=self._read)
        assert self.popen.stderr is not None
        for line in self.popen.stderr:
            self._note(line)
            if self.lines[-1]["event"] == "otelprof is ready":
                break
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.popen.kill()
        self.popen.wait()
        self._reader.join()
        if self.popen.stderr is not None:
            self.popen.stderr.close()

    @property
    def endpoint(self) -> str:
        """Where its receiver listens."""
        return next(str(line["endpoint"]) for line in self.lines if line["event"] == "receiver listens")

    @property
    def events(self) -> list[str]:
        """What it logged."""
        return [str(line["event"]) for line in self.lines]

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.popen.send_signal(number)

    def wait_for(self, event: str) -> None:
        """Return when it has logged an event, or has ended."""
        while event not in self.events and self.popen.poll() is None:
            self._reader.join(0.02)

    def exit_code(self) -> int:
        """Wait for its end."""
        code = self.popen.wait(STOP_SECS)
        self._reader.join()
        return code

    def _read(self) -> None:
        assert self.popen.stderr is not None
        for line in self.popen.stderr:
            self._note(line)

    def _note(self, line: str) -> None:
        try:
            self.lines.append(json.loads(line))
        except ValueError:
            self.lines.append({"event": line.rstrip("\n")})


def request(*, samples: int = 1, service: str = "checkout") -> ExportProfilesServiceRequest:
    """A request with one Profile of one stack, to be broken or sent."""
    message = ExportProfilesServiceRequest()
    tables = message.dictionary
    tables.string_table.extend(["", "samples", "count", "main"])
    tables.mapping_table.add()
    tables.link_table.add()
    tables.attribute_table.add()
    tables.function_table.add()
    tables.function_table.add(name_strindex=3)
    tables.location_table.add()
    tables.location_table.add().lines.add(function_index=1)
    tables.stack_table.add()
    tables.stack_table.add(location_indices=[1])
    resource = message.resource_profiles.add()
    resource.resource.attributes.add(key="service.name").value.string_value = service
    add_profile(message, samples=samples)
    return message


def add_profile(message: ExportProfilesServiceRequest, *, samples: int = 1, stack_index: int = 1) -> None:
    """Add a Profile of so many samples to the request's first resource."""
    (resource,) = message.resource_profiles
    number = len(resource.scope_profiles)
    profile = resource.scope_profiles.add().profiles.add(
        profile_id=f"test-profile-{number:03}".encode(), time_unix_nano=1, duration_nano=1_000
    )
    profile.sample_type.type_strindex, profile.sample_type.unit_strindex = 1, 2
    for value in range(samples):
        profile.samples.add(stack_index=stack_index, values=[value + 1])
