"""OTLP/gRPC as exporters speak it: one channel, and what a failed call means."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from otelprof.config.pem import read_pem
from otelprof.errors import (
    OtelprofError,
    OverloadedError,
    PermanentError,
    RequestTooLargeError,
    RetryableError,
    UnauthenticatedError,
    UnavailableError,
    UnsupportedEncodingError,
)
from otelprof.telemetry.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otelprof.config.tls import ClientTLS

EXPORT: Final = "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export"

_COMPRESSION: Final = {"gzip": grpc.Compression.Gzip, "none": grpc.Compression.NoCompression}
_CHANNEL_OPTIONS: Final = (
    ("grpc.max_send_message_length", -1),
    # The default maximum of two minutes would outlast most outages.
    ("grpc.initial_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 10_000),
    # Go servers end a connection that is pinged more often than every 5 minutes.
    ("grpc.keepalive_time_ms", 310_000),
    ("grpc.keepalive_timeout_ms", 20_000),
)

# OTLP specification, "OTLP/gRPC Response", "Failures": what is not here is not retried.
# RESOURCE_EXHAUSTED is retried only with RetryInfo, see `error_of`.
ERRORS: Final[dict[grpc.StatusCode, type[OtelprofError]]] = {
    grpc.StatusCode.CANCELLED: RetryableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: UnavailableError,
    grpc.StatusCode.ABORTED: RetryableError,
    grpc.StatusCode.OUT_OF_RANGE: RetryableError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DATA_LOSS: RetryableError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: RequestTooLargeError,
    grpc.StatusCode.UNAUTHENTICATED: UnauthenticatedError,
    grpc.StatusCode.PERMISSION_DENIED: UnauthenticatedError,
    grpc.StatusCode.UNIMPLEMENTED: UnsupportedEncodingError,
}


@dataclass(frozen=True)
class GrpcSettings:
    """How a client is made.

    Attributes:
        target: as gRPC wants it.
        endpoint: what it is called in errors.
        tls: how the server is proved; not at all with `insecure`.
        tls_path: where that stands in the configuration.
        metadata: sent with each call.
        timeout_secs: what one call may take.
        compression: of requests.
        authorization: makes further metadata of each call; raises RetryableError when it cannot.
    """

    target: str
    endpoint: str
    tls: ClientTLS
    tls_path: str
    metadata: Sequence[tuple[str, str]]
    timeout_secs: float
    compression: Literal["gzip", "none"]
    authorization: Callable[[], tuple[str, str]] | None = None


class GrpcClient:
    """Calls `ProfilesService/Export`; safe to use from any thread. It connects with the first call.

    Raises:
        ConfigError: a TLS file cannot be used.
    """

    def __init__(self, settings: GrpcSettings) -> None:
        self._settings = settings
        tls, target = settings.tls, settings.target
        compression = _COMPRESSION[settings.compression]
        options: list[tuple[str, str | int]] = list(_CHANNEL_OPTIONS)
        if tls.insecure:
            self._channel = grpc.insecure_channel(target, options, compression)
        else:
            if tls.server_name_override:
                options.append(("grpc.ssl_target_name_override", tls.server_name_override))
            credentials = _credentials(tls, settings.tls_path)
            self._channel = grpc.secure_channel(target, credentials, options, compression)
        self._export: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(
            EXPORT, None, None
        )

    def export(self, body: bytes) -> bytes:
        """Send a request; the answer.

        Raises:
            RetryableError: the far side is away, or asks to wait.
            PermanentError: it refuses the request, or us.
        """
        settings = self._settings
        own = () if settings.authorization is None else (settings.authorization(),)
        metadata = (*settings.metadata, *own)
        try:
            return self._export(body, timeout=settings.timeout_secs, metadata=metadata)
        except grpc.RpcError as error:
            raise error_of(error, settings.endpoint) from error
        except ValueError as error:
            # How grpcio says that the channel was closed in the meantime.
            raise UnavailableError(str(error)) from error

    def close(self) -> None:
        """Close the channel; a call that is under way fails."""
        self._channel.close()


def _credentials(tls: ClientTLS, path: str) -> grpc.ChannelCredentials:
    roots = _system_roots() if tls.ca_file is None else read_pem(tls.ca_file, f"{path}.ca_file")
    if tls.key_file is None or tls.cert_file is None:
        return grpc.ssl_channel_credentials(roots)
    key = read_pem(tls.key_file, f"{path}.key_file")
    return grpc.ssl_channel_credentials(roots, key, read_pem(tls.cert_file, f"{path}.cert_file"))


def error_of(error: grpc.RpcError, endpoint: str) -> OtelprofError:
    """What a failed call means: permanent or retryable, and when to try again."""
    code = error.code()
    message = f"{endpoint} answered {code.name}: {printable(error.details() or 'no details')}"
    retry_after_secs = retry_delay_secs(error)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and retry_after_secs is not None:
        return OverloadedError(message, retry_after_secs=retry_after_secs)
    kind = ERRORS.get(code, PermanentError)
    if issubclass(kind, RetryableError):
        return kind(message, retry_after_secs=retry_after_secs)
    return kind(message)


def retry_delay_secs(error: grpc.RpcError) -> float | None:
    """What `google.rpc.RetryInfo` in the status details asks for; None without it."""
    for datum in error.trailing_metadata() or ():
        if datum.key != "grpc-status-details-bin":
            continue
        try:
            details = Status.FromString(datum.value).details
            infos = [RetryInfo.FromString(one.value) for one in details if one.Is(RetryInfo.DESCRIPTOR)]
        except DecodeError:
            # Details that cannot be read say nothing.
            continue
        if infos:
            return max(0.0, float(infos[0].retry_delay.ToTimedelta().total_seconds()))
    return None


def _system_roots() -> bytes | None:
    """The system's certificates; None leaves it to gRPC, which carries some."""
    path = ssl.get_default_verify_paths().cafile
    return Path(path).read_bytes() if path else None
