"""OTLP over gRPC: one call of `ProfilesService/Export` is one request.

The handler is given raw bytes, compressed or not, and the core inflates them: so a bomb is stopped at its
limit, and nothing is decoded in Python. What gRPC itself refuses before the handler (a message that is larger
than `max_recv_msg_size_mib`, an unknown `grpc-encoding`) is answered by gRPC.
"""

from __future__ import annotations

import os
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Condition
from typing import TYPE_CHECKING, Final

import grpc
from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status
from opentelemetry.proto.collector.profiles.v1development import profiles_service_pb2

from otelprof._core import Profiles
from otelprof.config.pem import read_pem
from otelprof.errors import (
    ConfigError,
    ConfigProblem,
    InvalidRequestError,
    OtelprofError,
    RetryableError,
    answer_for,
)
from otelprof.telemetry import metrics
from otelprof.telemetry.text import counted, printable
from otelprof.telemetry.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otelprof._core import Limits, Rejection
    from otelprof.component import ComponentSettings
    from otelprof.config.endpoint import Endpoint
    from otelprof.config.tls import ServerTLS
    from otelprof.consumer import Consumer
    from otelprof.telemetry.metric_spec import MetricSpec

SERVICE: Final = "opentelemetry.proto.collector.profiles.v1development.ProfilesService"
EXPORT: Final = f"/{SERVICE}/Export"
VERSION_HEADER: Final = "otlp-profiles-development-version"
VERSION: Final = "1"
# The collector's own words (otlpreceiver, v0.165).
WRONG_VERSION: Final = f"invalid or unsupported {VERSION_HEADER}: supported version is {VERSION}"

# At shutdown: how long requests that are being worked on are given, and then what else has a call open, as a
# watcher of the health service that has to hear of it.
GRACE_SECS: Final = 5.0
_FAREWELL_SECS: Final = 0.2
# A status travels in HTTP/2 headers, which clients take up to 8 KiB of.
_MAX_STATUS_CHARS: Final = 1000
# Bits of grpc_compression_algorithm: identity and gzip; the core does not inflate deflate.
_IDENTITY_AND_GZIP: Final = 0b101
# An ExportProfilesServiceResponse with an empty partial_success, as the collector answers.
_ALL_ACCEPTED: Final = b"\x0a\x00"
_HEALTH_NAMES: Final = ("", SERVICE)


@dataclass(frozen=True)
class GrpcSettings:
    """How to listen, and what to take."""

    endpoint: Endpoint
    max_message_bytes: int
    max_concurrent_requests: int
    tls: ServerTLS | None
    limits: Limits


class GrpcReceiver:
    """Listens, decodes, hands on, answers."""

    def __init__(self, settings: GrpcSettings, component: ComponentSettings, consumer: Consumer) -> None:
        self._settings = settings
        self._id = component.id
        self._logger = component.logger
        self._service = ExportService(settings.limits, component, consumer)
        self._threads: ThreadPoolExecutor | None = None
        self._server: grpc.Server | None = None
        self._health = health.HealthServicer()

    def start(self) -> None:
        """Listen; from here on the health service says SERVING.

        Raises:
            ConfigError: the endpoint is taken or not this machine's, or a TLS file cannot be used.
        """
        threads = ThreadPoolExecutor(self._settings.max_concurrent_requests, f"otelprof-{self._id}")
        server = grpc.server(
            threads,
            handlers=[self._service],
            options=[
                ("grpc.max_receive_message_length", self._settings.max_message_bytes),
                ("grpc.max_concurrent_streams", self._settings.max_concurrent_requests),
                ("grpc.per_message_decompression", 0),
                ("grpc.compression_enabled_algorithms_bitset", _IDENTITY_AND_GZIP),
                ("grpc.so_reuseport", 0),
            ],
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
        port = self._bind(server)
        server.start()
        self._threads, self._server = threads, server
        self._set_health(health_pb2.HealthCheckResponse.SERVING)
        host = self._settings.endpoint.host or "*"
        self._logger.info("receiver listens", endpoint=f"{host}:{port}", protocol="grpc")

    def shutdown(self) -> None:
        """Take no new request, and give those being worked on up to `GRACE_SECS`."""
        server, self._server = self._server, None
        if server is not None:
            self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
            stopped = server.stop(GRACE_SECS)
            self._service.wait_until_idle(GRACE_SECS)
            if not stopped.wait(_FAREWELL_SECS):
                server.stop(None).wait()
        if self._threads is not None:
            self._threads.shutdown()

    def _bind(self, server: grpc.Server) -> int:
        endpoint = self._settings.endpoint
        address = str(endpoint) if endpoint.host else f"[::]{endpoint}"
        try:
            if self._settings.tls is None:
                return server.add_insecure_port(address)
            return server.add_secure_port(address, self._credentials(self._settings.tls))
        except RuntimeError as error:
            path = f"receivers.{self._id}.protocols.grpc.endpoint"
            message = f"cannot listen on {endpoint}: {_why_not(endpoint)}"
            raise ConfigError([ConfigProblem(path, message)]) from error

    def _credentials(self, tls: ServerTLS) -> grpc.ServerCredentials:
        path = f"receivers.{self._id}.protocols.grpc.tls"
        key = read_pem(tls.key_file, f"{path}.key_file")
        certificate = read_pem(tls.cert_file, f"{path}.cert_file")
        client_ca = None
        if tls.client_ca_file is not None:
            client_ca = read_pem(tls.client_ca_file, f"{path}.client_ca_file")
        return grpc.ssl_server_credentials(
            [(key, certificate)], root_certificates=client_ca, require_client_auth=client_ca is not None
        )

    def _set_health(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        for name in _HEALTH_NAMES:
            self._health.set(name, status)


class ExportService(grpc.GenericRpcHandler):  # type: ignore[type-arg] # generic in its stubs only
    """`ProfilesService`, over raw bytes."""

    def __init__(self, limits: Limits, component: ComponentSettings, consumer: Consumer) -> None:
        self._limits = limits
        self._consumer = consumer
        self._memory_per_wire_byte = 1.0
        self._logger = component.logger
        self._throttle = Throttle(component.clock)
        self._counts = RequestCounts(component)
        self._method = grpc.unary_unary_rpc_method_handler(self.export)
        self._in_flight = 0
        self._idle = Condition()

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        """The handler of `Export`; none for another method."""
        return self._method if handler_call_details.method == EXPORT else None

    def wait_until_idle(self, timeout_secs: float) -> None:
        """Return when no request is being worked on, or when the time is over."""
        with self._idle:
            self._idle.wait_for(lambda: self._in_flight == 0, timeout_secs)

    def export(self, body: bytes, context: grpc.ServicerContext) -> bytes:
        """Answer one request: the bytes of an `ExportProfilesServiceResponse`, or an abort."""
        with self._idle:
            self._in_flight += 1
        try:
            return self._answer(body, context)
        finally:
            with self._idle:
                self._in_flight -= 1
                self._idle.notify_all()

    def _answer(self, body: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            return self._take(body, context)
        except OtelprofError as error:
            status = _status(error)
            held_back = self._throttle.passed(type(error).__name__)
            if held_back is not None:
                self._logger.warning(
                    "request refused", error=str(error), peer=context.peer(), suppressed=held_back
                )
        except Exception:
            self._counts.answered("bug")
            self._logger.exception("request failed because of a bug in otelprof", peer=context.peer())
            status = Status(code=grpc.StatusCode.INTERNAL.value[0], message="internal error")
        return context.abort_with_status(rpc_status.to_status(status))

    def _take(self, body: bytes, context: grpc.ServicerContext) -> bytes:
        self._counts.came(len(body))
        try:
            _check_version(context)
            # As the last request was; what cannot be taken is not worth reading.
            self._consumer.admit(int(len(body) * self._memory_per_wire_byte))
            profiles = Profiles.decode(body, self._limits)
        except OtelprofError as error:
            self._counts.answered("refused" if isinstance(error, RetryableError) else "failed")
            raise
        self._memory_per_wire_byte = profiles.memory_bytes / max(1, len(body))
        self._counts.decoded(profiles)
        try:
            policy = self._consumer.consume(profiles)
        except OtelprofError:
            self._counts.refused(profiles)
            raise
        rejections = [*profiles.rejections, *policy]
        self._counts.accepted(profiles, rejections)
        return _response(rejections) if rejections else _ALL_ACCEPTED


class RequestCounts:
    """What the receiver counts."""

    def __init__(self, component: ComponentSettings) -> None:
        self._metrics = component.metrics
        self._receiver = {"receiver": str(component.id)}
        self._transport = {"receiver": str(component.id), "transport": "grpc"}

    def came(self, wire_bytes: int) -> None:
        """A message came."""
        self._metrics.add(metrics.RECEIVER_WIRE_BYTES, wire_bytes, **self._receiver)

    def answered(self, outcome: str) -> None:
        """A request was answered: `accepted`, `partial`, `refused`, `failed` or `bug`."""
        self._metrics.add(metrics.RECEIVER_REQUESTS, 1, outcome=outcome, **self._receiver)

    def decoded(self, profiles: Profiles) -> None:
        """A request could be read."""
        self._metrics.add(metrics.RECEIVER_BODY_BYTES, profiles.body_bytes, **self._receiver)
        for repair, count in profiles.repairs.items():
            self._metrics.add(metrics.REPAIRS, count, repair=repair, **self._receiver)

    def refused(self, profiles: Profiles) -> None:
        """The pipeline did not take it."""
        self.answered("refused")
        self._by_sample_type(metrics.RECEIVER_REFUSED, profiles)

    def accepted(self, profiles: Profiles, rejections: Sequence[Rejection]) -> None:
        """The pipeline took it, without the Profiles that were refused one by one."""
        self.answered("partial" if rejections else "accepted")
        self._by_sample_type(metrics.RECEIVER_ACCEPTED, profiles)
        self._metrics.add(metrics.ACCEPTED_PROFILES, profiles.profile_count, **self._receiver)
        for rejection in profiles.rejections:
            self._metrics.add(metrics.RECEIVER_FAILED, rejection.sample_count, **self._transport)
        for rejection in rejections:
            labels = {"reason": rejection.reason, **self._receiver}
            self._metrics.add(metrics.REJECTED_PROFILES, rejection.profile_count, **labels)
            self._metrics.add(metrics.REJECTED_SAMPLES, rejection.sample_count, **labels)
        linked: Counter[str] = Counter()
        unlinked: Counter[str] = Counter()
        for row in profiles.summary:
            linked[row.service] += row.linked_sample_count
            unlinked[row.service] += row.sample_count - row.linked_sample_count
        for service, count in linked.items():
            self._metrics.add(metrics.LINKED_SAMPLES, count, service=service)
            self._metrics.add(metrics.UNLINKED_SAMPLES, unlinked[service], service=service)

    def _by_sample_type(self, spec: MetricSpec, profiles: Profiles) -> None:
        samples: Counter[str] = Counter()
        for row in profiles.summary:
            samples[f"{row.sample_type}:{row.unit}"] += row.sample_count
        for sample_type, count in samples.items():
            self._metrics.add(spec, count, sample_type=sample_type, **self._transport)


def _check_version(context: grpc.ServicerContext) -> None:
    """Refuse a client that speaks another development version; one that does not say speaks this."""
    for key, value in context.invocation_metadata():
        if key == VERSION_HEADER and value != VERSION:
            raise InvalidRequestError(WRONG_VERSION)


def _response(rejections: Sequence[Rejection]) -> bytes:
    """Say how many Profiles were refused, and for each reason how many and the first."""
    profiles: Counter[str] = Counter()
    first: dict[str, str] = {}
    for rejection in rejections:
        profiles[rejection.reason] += rejection.profile_count
        # A name in it, and so the message, may be as long as the request.
        first.setdefault(rejection.reason, printable(rejection.message))
    reasons = "; ".join(f"{reason} ({count}): {first[reason]}" for reason, count in profiles.items())
    rejected = profiles.total()
    response = profiles_service_pb2.ExportProfilesServiceResponse()
    response.partial_success.rejected_profiles = rejected
    response.partial_success.error_message = f"{counted(rejected, 'profile')} refused: {reasons}"
    return response.SerializeToString()


def _status(error: OtelprofError) -> Status:
    """The status of an error. RetryInfo is what makes a client try again (OTLP specification, "Failures")."""
    code, _ = answer_for(error).grpc_status.value
    status = Status(code=code, message=str(error)[:_MAX_STATUS_CHARS])
    if isinstance(error, RetryableError):
        info = RetryInfo()
        info.retry_delay.FromMilliseconds(round((error.retry_after_secs or 0.0) * 1000))
        detail = Any()
        detail.Pack(info)
        status.details.append(detail)
    return status


def _why_not(endpoint: Endpoint) -> str:
    """Why an endpoint cannot be listened on, in the system's words; gRPC only writes it to stderr."""
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    try:
        socket.create_server((endpoint.host, endpoint.port), family=family, reuse_port=False).close()
    except OSError as error:
        # Its own text repeats the address.
        return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
    return "the system does not say why"
