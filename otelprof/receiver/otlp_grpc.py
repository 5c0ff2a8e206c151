"""OTLP over gRPC: one call of `ProfilesService/Export` is one request; so is one of `TraceService/Export`.

The handler is given raw bytes, compressed or not, and the core inflates them: so a bomb is stopped at its
limit, and nothing is decoded in Python. What gRPC itself refuses before the handler (a message that is larger
than `max_recv_msg_size_mib`, an unknown `grpc-encoding`) is answered by gRPC.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from threading import Condition
from typing import TYPE_CHECKING, Final, NoReturn
from urllib.parse import unquote

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status

from otelprof.config.listen import listen
from otelprof.errors import OtelprofError
from otelprof.otlp_headers import SenderHeaders
from otelprof.receiver.admission import Readers
from otelprof.receiver.auth import AUTHORIZATION, Clients, charge
from otelprof.receiver.otlp_intake import GRACE_SECS, OtlpIntake
from otelprof.receiver.slow_calls import SlowCalls
from otelprof.receiver.traces_intake import TRACES_EXPORT, TRACES_SERVICE, TracesIntake

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from google.protobuf.message import Message

    from otelprof._core import Limits
    from otelprof.component import ComponentSettings, Principal
    from otelprof.config.auth import AuthConfig
    from otelprof.config.endpoint import Endpoint
    from otelprof.config.keepalive import KeepaliveConfig
    from otelprof.config.tls import ServerTLS
    from otelprof.consumer import Consumer, Reservation

    _Intake = OtlpIntake | TracesIntake
    _Handle = Callable[..., bytes]

SERVICE: Final = "opentelemetry.proto.collector.profiles.v1development.ProfilesService"
EXPORT: Final = f"/{SERVICE}/Export"

# At shutdown, after the grace: how long what else has a call open is given, as a watcher of the health
# service that has to hear of it.
_FAREWELL_SECS: Final = 0.2
# Bits of grpc_compression_algorithm: identity and gzip; the core does not inflate deflate.
_IDENTITY_AND_GZIP: Final = 0b101
# A response of either service with an empty partial_success, as the collector answers.
_ALL_ACCEPTED: Final = b"\x0a\x00"
_HEALTH_NAMES: Final = ("", SERVICE)


@dataclass(frozen=True)
class GrpcSettings:
    """How to listen, and what to take."""

    endpoint: Endpoint
    max_message_bytes: int
    max_concurrent_requests: int
    max_concurrent_streams: int
    max_connections: int
    max_header_bytes: int
    handshake_timeout_secs: float
    read_timeout_secs: float
    keepalive: KeepaliveConfig
    tls: ServerTLS | None
    auth: AuthConfig | None
    limits: Limits


class GrpcReceiver:
    """Listens, decodes, hands on, answers."""

    def __init__(self, settings: GrpcSettings, component: ComponentSettings, consumer: Consumer) -> None:
        self._settings = settings
        self._component = component
        self._id = component.id
        self._logger = component.logger
        self._slow_calls = SlowCalls(
            settings.read_timeout_secs,
            settings.max_message_bytes,
            component.clock,
            f"otelprof-{component.id}-slow-calls",
        )
        self._service = ExportService(settings, component, consumer, self._slow_calls)
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
                ("grpc.max_concurrent_streams", self._settings.max_concurrent_streams),
                ("grpc.max_allowed_incoming_connections", self._settings.max_connections),
                # Beyond the first, gRPC refuses some calls by chance.
                ("grpc.max_metadata_size", self._settings.max_header_bytes),
                ("grpc.absolute_max_metadata_size", self._settings.max_header_bytes),
                ("grpc.server_handshake_timeout_ms", round(self._settings.handshake_timeout_secs * 1000)),
                *self._settings.keepalive.channel_options(),
                ("grpc.per_message_decompression", 0),
                ("grpc.compression_enabled_algorithms_bitset", _IDENTITY_AND_GZIP),
                ("grpc.so_reuseport", 0),
            ],
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = (*self._service.names, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
        endpoint = self._settings.endpoint
        path = f"receivers.{self._id}.protocols.grpc"
        port = listen(server, endpoint, self._settings.tls, path, self._component)
        server.start()
        self._slow_calls.start()
        self._threads, self._server = threads, server
        self._set_health(health_pb2.HealthCheckResponse.SERVING)
        self._logger.info("receiver listens", endpoint=f"{endpoint.host or '*'}:{port}", protocol="grpc")

    def announce_shutdown(self) -> None:
        """Have the health service say NOT_SERVING, and go on taking requests."""
        self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)

    def shutdown(self) -> None:
        """Take no new request, and give those being worked on up to `GRACE_SECS`."""
        server, self._server = self._server, None
        if server is not None:
            self.announce_shutdown()
            stopped = server.stop(GRACE_SECS)
            self._service.wait_until_idle(GRACE_SECS)
            if not stopped.wait(_FAREWELL_SECS):
                server.stop(None).wait()
        self._slow_calls.close()
        if self._threads is not None:
            self._threads.shutdown()

    def _set_health(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        for name in _HEALTH_NAMES:
            self._health.set(name, status)


class ExportService(grpc.GenericRpcHandler):  # type: ignore[type-arg] # generic in its stubs only
    """`ProfilesService`, and `TraceService` where somebody asks for traces, over raw bytes."""

    def __init__(
        self,
        settings: GrpcSettings,
        component: ComponentSettings,
        consumer: Consumer,
        slow_calls: SlowCalls,
    ) -> None:
        limits = settings.limits
        self._slow_calls = slow_calls
        key = "protocols.grpc.max_concurrent_requests"
        self._readers = Readers(settings.max_concurrent_requests, key, component.metrics)
        self._clients = Clients(settings.auth, component)
        self._intake = OtlpIntake(limits, component, consumer, "grpc")
        self._reserve = consumer.reserve
        self.names = [SERVICE]
        self._methods: dict[str, tuple[_Intake, _Handle]] = {EXPORT: (self._intake, self.export)}
        if consumer.traces is not None:
            self._traces = TracesIntake(limits, component, consumer.traces)
            self.names.append(TRACES_SERVICE)
            self._methods[TRACES_EXPORT] = (self._traces, self.export_traces)
        self._in_flight = 0
        self._idle = Condition()

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        """The handler of `Export`; none for another method. Of who is not known no message is read."""
        found = self._methods.get(handler_call_details.method)
        if found is None:
            return None
        intake, handle = found
        if not self._clients.are_known:
            return grpc.stream_unary_rpc_method_handler(handle)
        metadata = handler_call_details.invocation_metadata or ()
        try:
            principal = self._clients.authenticate(
                [str(value) for key, value in metadata if key == AUTHORIZATION], ""
            )
        except OtelprofError as error:
            intake.counts.unread(error)
            return grpc.stream_unary_rpc_method_handler(partial(_refuse, intake, error))
        return grpc.stream_unary_rpc_method_handler(partial(handle, principal=principal))

    def wait_until_idle(self, timeout_secs: float) -> None:
        """Return when no request is being worked on, or when the time is over."""
        with self._idle:
            self._idle.wait_for(lambda: self._in_flight == 0, timeout_secs)

    def export(
        self, messages: Iterator[bytes], context: grpc.ServicerContext, principal: Principal | None = None
    ) -> bytes:
        """Answer one request: the bytes of an `ExportProfilesServiceResponse`, or an abort."""

        def take(body: bytes, memory: Reservation) -> Message | None:
            return self._intake.take(body, _said(context), context.peer(), memory)

        return self._answer(self._intake, messages, take, context, principal)

    def export_traces(
        self, messages: Iterator[bytes], context: grpc.ServicerContext, principal: Principal | None = None
    ) -> bytes:
        """Answer one request: the bytes of an `ExportTraceServiceResponse`, or an abort."""
        return self._answer(self._traces, messages, self._traces.take, context, principal)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._idle:
            self._in_flight += 1
        try:
            yield
        finally:
            with self._idle:
                self._in_flight -= 1
                if not self._in_flight:
                    self._idle.notify_all()

    def _answer(
        self,
        intake: _Intake,
        messages: Iterator[bytes],
        take: Callable[[bytes, Reservation], Message | None],
        context: grpc.ServicerContext,
        principal: Principal | None,
    ) -> bytes:
        if principal is None:
            principal = self._clients.authenticate((), host_of(context.peer()))
        with self._reserve(principal.client) as memory:
            body = self._message(intake, (principal.client, memory), messages, context)
            with self._counted():
                try:
                    charge(intake, principal, len(body))
                    response = take(body, memory)
                except Exception as error:  # noqa: BLE001 - explained, and logged
                    return _refuse(intake, error, None, context)
        return _ALL_ACCEPTED if response is None else response.SerializeToString()

    def _message(
        self,
        intake: _Intake,
        admitted: tuple[str, Reservation],
        messages: Iterator[bytes],
        context: grpc.ServicerContext,
    ) -> bytes:
        """The one message of a call. As of a stream, since of a unary call gRPC waits for it for ever."""
        try:
            client, memory = admitted
            with self._readers.reading(client), self._slow_calls.bounded(context, memory):
                body = next(messages)
            # What it was counted for while nobody knew its size.
            memory.settle(0)
        except StopIteration:
            intake.counts.answered("failed")
            # gRPC's own words, and status.
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "exactly one request message is required")
        except OtelprofError as error:
            intake.counts.unread(error)
            return _refuse(intake, error, None, context)
        except grpc.RpcError:
            # The client went away.
            intake.counts.answered("failed")
            raise
        return body


def _refuse(intake: _Intake, error: Exception, _messages: object, context: grpc.ServicerContext) -> NoReturn:
    """End a call with the status of an error."""
    context.abort_with_status(rpc_status.to_status(intake.explain(error, context.peer())))


def host_of(peer: str) -> str:
    """The address of a peer as gRPC says it, `ipv4:10.0.0.1:4711` or `ipv6:%5B::1%5D:4711`."""
    return unquote(peer.partition(":")[2].rpartition(":")[0]).strip("[]") or peer


def _said(context: grpc.ServicerContext) -> SenderHeaders:
    return SenderHeaders.of(context.invocation_metadata())
