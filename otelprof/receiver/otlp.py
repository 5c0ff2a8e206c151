"""The `otlp` receiver: its configuration and its factory."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Final, Self

from pydantic import BeforeValidator, ByteSize, Field, model_validator

from otelprof._core import Limits
from otelprof.component import ComponentConfig, ComponentSettings, ReceiverFactory
from otelprof.config.auth import AuthConfig
from otelprof.config.endpoint import Endpoint
from otelprof.config.keepalive import KeepaliveConfig
from otelprof.config.section import Section
from otelprof.config.tls import ServerTLS
from otelprof.config.units import Duration, Size
from otelprof.consumer import Consumer
from otelprof.model import ComponentId

if TYPE_CHECKING:
    from otelprof.receiver.otlp_grpc import GrpcReceiver
    from otelprof.receiver.otlp_http import HttpReceiver

_GIB: Final = 1 << 30
_MIB: Final = 1 << 20
_KIB: Final = 1 << 10
_MAX_HANDSHAKE_SECS: Final = 3600
_INT32: Final = (1 << 31) - 1


class _ListenerConfig(Section):
    """What both protocols have.

    Attributes:
        endpoint: where to listen.
        max_concurrent_requests: how many are worked on at once, 1 to 1000; further ones wait.
        max_connections: how many are open at once, 1 to 100000; further ones are refused.
        tls: None listens in the clear.
        auth: who authenticates clients; None lets anybody send.
        allow_unauthenticated: let anybody who can reach a non-loopback endpoint send.
    """

    endpoint: Endpoint
    max_concurrent_requests: int = Field(default=64, ge=1, le=1000)
    max_connections: int = Field(default=1000, ge=1, le=100_000)
    tls: ServerTLS | None = None
    auth: AuthConfig | None = None
    allow_unauthenticated: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        mutual_tls = self.tls is not None and self.tls.client_ca_file is not None
        is_closed = self.endpoint.is_loopback or mutual_tls or self.auth is not None
        if not (is_closed or self.allow_unauthenticated):
            message = (
                f"{self.endpoint} can be reached from other machines: give tls.cert_file, tls.key_file and "
                "tls.client_ca_file so that clients prove themselves, or auth.authenticator so that they "
                "need a token, or write allow_unauthenticated: true to let anybody send"
            )
            raise ValueError(message)
        return self

    @property
    def sends_tokens_in_the_clear(self) -> bool:
        """Whether who listens on the way learns a token."""
        return self.auth is not None and self.tls is None and not self.endpoint.is_loopback


class GrpcConfig(_ListenerConfig):
    """OTLP over gRPC.

    Attributes:
        max_recv_msg_size_mib: of one message as it comes, in MiB, 1 to 2047.
        max_concurrent_streams: calls that one connection may have open, 1 to 1000; None is
            `max_concurrent_requests`.
        max_header_size: of the headers of one call, 1 KiB to 1 MiB.
        handshake_timeout: seconds that a connection may take until it can be used, more than 0.
        read_timeout: seconds that a client may take over a message, more than 0; up to a quarter more.
        keepalive: how long connections live.
    """

    endpoint: Endpoint = Endpoint("127.0.0.1", 4317)
    max_recv_msg_size_mib: int = Field(default=16, ge=1, le=2047)
    max_concurrent_streams: int | None = Field(default=None, ge=1, le=1000)
    max_header_size: Annotated[Size, Field(ge=_KIB, le=_MIB)] = ByteSize(16 * _KIB)
    handshake_timeout: Duration = Field(default=10.0, gt=0, le=_MAX_HANDSHAKE_SECS)
    read_timeout: Duration = Field(default=30.0, gt=0)
    keepalive: KeepaliveConfig = KeepaliveConfig()


class HttpConfig(_ListenerConfig):
    """OTLP over HTTP/1.1.

    Attributes:
        max_request_body_size: of one body as it comes, 1 to 2 GiB.
        max_header_size: of the head of one request, 1 KiB to 1 MiB.
        read_header_timeout: seconds that a client may take over the head of a request, more than 0.
        read_timeout: seconds that it may take over the body, more than 0; what waits for others included.
        idle_timeout: seconds that a connection is kept between requests, more than 0; rounded up.
    """

    endpoint: Endpoint = Endpoint("127.0.0.1", 4318)
    max_request_body_size: Annotated[Size, Field(ge=1, le=2 * _GIB)] = ByteSize(16 * _MIB)
    max_header_size: Annotated[Size, Field(ge=_KIB, le=_MIB)] = ByteSize(64 * _KIB)
    read_header_timeout: Duration = Field(default=10.0, gt=0)
    read_timeout: Duration = Field(default=30.0, gt=0)
    idle_timeout: Duration = Field(default=60.0, gt=0)


class LimitsConfig(Section):
    """What one request may hold. Over the last three, only the Profiles concerned are refused.

    Attributes:
        max_body_bytes: of the inflated body, up to 2 GiB; None takes the limit of a message as it comes.
        max_profiles: of one request.
        max_table_entries: of one dictionary table, of all Samples, of all Lines, of all nested attribute
            values: of each.
        max_stack_depth: Locations of one Stack.
        max_attributes: of one owner (Sample, Location, Mapping, Profile, Resource or scope).
        max_attribute_depth: nesting of one attribute's value.
    """

    max_body_bytes: Annotated[Size, Field(ge=1, le=2 * _GIB)] | None = None
    max_profiles: int = Field(default=10_000, ge=1, le=_INT32)
    max_table_entries: int = Field(default=1_000_000, ge=1, le=_INT32)
    max_stack_depth: int = Field(default=4096, ge=1, le=_INT32)
    max_attributes: int = Field(default=256, ge=1, le=_INT32)
    max_attribute_depth: int = Field(default=16, ge=1, le=64)


# `grpc:` with nothing after it means the defaults, as in the collector. Absent, it is not spoken.
_Protocol: Final = BeforeValidator(lambda value: {} if value is None else value)


class ProtocolsConfig(Section):
    """Which protocols are spoken: one or both."""

    grpc: Annotated[GrpcConfig | None, _Protocol] = None
    http: Annotated[HttpConfig | None, _Protocol] = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.grpc is None and self.http is None:
            message = "name grpc, http or both"
            raise ValueError(message)
        return self


class OtlpReceiverConfig(ComponentConfig):
    """The `otlp` receiver."""

    protocols: ProtocolsConfig
    limits: LimitsConfig = LimitsConfig()

    @property
    def authenticators(self) -> Mapping[str, ComponentId]:
        """Those of each protocol."""
        return {
            f"{path}.auth.authenticator": one.auth.authenticator
            for path, one in self._listeners()
            if one.auth is not None
        }

    @property
    def exposed(self) -> Mapping[str, str]:
        """Tokens that clients send in the clear."""
        return {
            f"{path}.tls": f"tokens come to {one.endpoint} in the clear: give tls.cert_file and "
            "tls.key_file, unless something in front of it has TLS"
            for path, one in self._listeners()
            if one.sends_tokens_in_the_clear
        }

    def _listeners(self) -> Iterator[tuple[str, "GrpcConfig | HttpConfig"]]:
        """The protocols that are spoken, with their keys."""
        if self.protocols.grpc is not None:
            yield "protocols.grpc", self.protocols.grpc
        if self.protocols.http is not None:
            yield "protocols.http", self.protocols.http

    def core_limits(self, max_message_bytes: int) -> Limits:
        """What a request may hold, of a protocol whose messages may take so many bytes as they come."""
        limits = self.limits.model_dump()
        if limits["max_body_bytes"] is None:
            limits["max_body_bytes"] = max_message_bytes
        return Limits(**limits)


class OtlpReceiver:
    """Listens for one protocol, or for both."""

    def __init__(self, config: OtlpReceiverConfig, settings: ComponentSettings, consumer: Consumer) -> None:
        protocols = config.protocols
        # What is not spoken is not imported: a sidecar that speaks gRPC carries no HTTP server.
        self._grpc = None if protocols.grpc is None else _grpc(protocols.grpc, config, settings, consumer)
        self._http = None if protocols.http is None else _http(protocols.http, config, settings, consumer)

    def start(self) -> None:
        """Listen.

        Raises:
            ConfigError: an endpoint is taken or not this machine's, or a TLS file cannot be used.
        """
        for protocol in (self._grpc, self._http):
            if protocol is not None:
                protocol.start()

    def announce_shutdown(self) -> None:
        """Have the gRPC health service say NOT_SERVING, and go on taking requests."""
        if self._grpc is not None:
            self._grpc.announce_shutdown()

    def shutdown(self) -> None:
        """Take no new request, and give those being worked on their grace: over both protocols at once."""
        if self._http is not None:
            self._http.begin_shutdown()
        for protocol in (self._grpc, self._http):
            if protocol is not None:
                protocol.shutdown()


def _grpc(
    grpc: GrpcConfig, config: OtlpReceiverConfig, settings: ComponentSettings, consumer: Consumer
) -> "GrpcReceiver":
    from otelprof.receiver.otlp_grpc import GrpcReceiver, GrpcSettings  # noqa: PLC0415 - where it is used

    max_message_bytes = grpc.max_recv_msg_size_mib * _MIB
    grpc_settings = GrpcSettings(
        endpoint=grpc.endpoint,
        max_message_bytes=max_message_bytes,
        max_concurrent_requests=grpc.max_concurrent_requests,
        max_concurrent_streams=grpc.max_concurrent_streams or grpc.max_concurrent_requests,
        max_connections=grpc.max_connections,
        max_header_bytes=grpc.max_header_size,
        handshake_timeout_secs=grpc.handshake_timeout,
        read_timeout_secs=grpc.read_timeout,
        keepalive=grpc.keepalive,
        tls=grpc.tls,
        auth=grpc.auth,
        limits=config.core_limits(max_message_bytes),
    )
    return GrpcReceiver(grpc_settings, settings, consumer)


def _http(
    http: HttpConfig, config: OtlpReceiverConfig, settings: ComponentSettings, consumer: Consumer
) -> "HttpReceiver":
    from otelprof.receiver.otlp_http import HttpReceiver, HttpSettings  # noqa: PLC0415 - where it is used

    http_settings = HttpSettings(
        endpoint=http.endpoint,
        max_body_bytes=http.max_request_body_size,
        max_concurrent_requests=http.max_concurrent_requests,
        max_connections=http.max_connections,
        max_header_bytes=http.max_header_size,
        read_header_timeout_secs=http.read_header_timeout,
        read_timeout_secs=http.read_timeout,
        idle_timeout_secs=http.idle_timeout,
        tls=http.tls,
        auth=http.auth,
        limits=config.core_limits(http.max_request_body_size),
    )
    return HttpReceiver(http_settings, settings, consumer)


factory: Final = ReceiverFactory(OtlpReceiverConfig, OtlpReceiver)
