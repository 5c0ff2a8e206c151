"""The `otlp` exporter: to the next hop that speaks OTLP/gRPC, a collector or another otelprof.

Keys and defaults are those of the collector's `otlp_grpc` exporter.
"""

import re
import ssl
from pathlib import Path
from typing import Annotated, Final, Literal, Self

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceResponse,
)
from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from otelprof._core import Profiles
from otelprof.component import ComponentSettings, ExporterFactory
from otelprof.config.endpoint import Endpoint
from otelprof.config.exporter import ExporterConfig
from otelprof.config.header import check_header
from otelprof.config.pem import read_pem
from otelprof.config.tls import ClientTLS
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
from otelprof.exporter.otlp_answer import VERSION_HEADER, NextHop
from otelprof.telemetry.text import printable

EXPORT: Final = "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export"

_SCHEME: Final = re.compile(r"(https?://|dns:///)?(.*?)/?")
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


def _check_endpoint(text: str) -> str:
    """Accept `host:port`, with `http://`, `https://` or `dns:///` before it.

    Raises:
        ValueError: it has another form.
    """
    if "@" in text:
        # Not shown: what stands before it is probably a password.
        message = "an endpoint holds no credentials: write host:port, and put them into headers"
        raise ValueError(message)
    match = _SCHEME.fullmatch(text)
    if match is None or not Endpoint.parse(match[2]).host:
        message = f"{text!r} is not an endpoint: write host:port, https://host:port or dns:///host:port"
        raise ValueError(message)
    return text


class OtlpExporterConfig(ExporterConfig):
    """Where to send, and how.

    Attributes:
        endpoint: `host:port`, with `https://`, `http://` or `dns:///` before it if you like.
        tls: on, unless `insecure: true`.
        headers: sent with each request; values are never logged.
        compression: `gzip`, or `none` where CPU is dearer than bytes.
    """

    endpoint: Annotated[str, AfterValidator(_check_endpoint)]
    tls: ClientTLS = ClientTLS()
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    compression: Literal["gzip", "none"] = "gzip"

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        return {check_header(name, value.get_secret_value()): value for name, value in headers.items()}

    @model_validator(mode="after")
    def _check_scheme(self) -> Self:
        if self.endpoint.startswith("http://") and not self.tls.insecure:
            message = f"{self.endpoint} is in the clear: write tls.insecure: true as well, or https://"
            raise ValueError(message)
        if self.endpoint.startswith("https://") and self.tls.insecure:
            message = f"{self.endpoint} and tls.insecure: true contradict each other: remove one"
            raise ValueError(message)
        return self

    @property
    def target(self) -> str:
        """The endpoint as gRPC wants it."""
        match = _SCHEME.fullmatch(self.endpoint)
        return self.endpoint if match is None or match[1] == "dns:///" else match[2]


class OtlpExporter:
    """Sends each request as one `ProfilesService/Export`."""

    def __init__(self, config: OtlpExporterConfig, settings: ComponentSettings) -> None:
        self._config = config
        self._id = str(settings.id)
        self._next_hop = NextHop(config.endpoint, settings)
        secrets = tuple((name, value.get_secret_value()) for name, value in config.headers.items())
        self._metadata = (VERSION_HEADER, *secrets)
        self._channel: grpc.Channel | None = None
        self._export: grpc.UnaryUnaryMultiCallable[bytes, bytes] | None = None

    def start(self) -> None:
        """Make the channel; it connects with the first request.

        Raises:
            ConfigError: a TLS file cannot be used.
        """
        compression = _COMPRESSION[self._config.compression]
        tls = self._config.tls
        options: list[tuple[str, str | int]] = list(_CHANNEL_OPTIONS)
        if tls.insecure:
            self._channel = grpc.insecure_channel(self._config.target, options, compression)
        else:
            if tls.server_name_override:
                options.append(("grpc.ssl_target_name_override", tls.server_name_override))
            credentials = self._credentials()
            self._channel = grpc.secure_channel(self._config.target, credentials, options, compression)
        self._export = self._channel.unary_unary(EXPORT, None, None)

    def export(self, profiles: Profiles) -> None:
        """Send a request.

        Raises:
            RetryableError: the far side is away, or asks to wait.
            PermanentError: it refuses the request, or us.
        """
        export = self._export
        if export is None:
            message = f"the exporter of {self._config.endpoint} does not run"
            raise UnavailableError(message)
        body = profiles.to_otlp()
        try:
            answer = export(body, timeout=self._config.timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            raise error_of(error, self._config.endpoint) from error
        except ValueError as error:
            # How grpcio says that the channel was closed in the meantime.
            raise UnavailableError(str(error)) from error
        self._next_hop.took(profiles, len(body), _parsed(answer))

    def shutdown(self) -> None:
        """Close the channel; a call that is under way fails."""
        channel, self._channel, self._export = self._channel, None, None
        if channel is not None:
            channel.close()

    def _credentials(self) -> grpc.ChannelCredentials:
        tls, path = self._config.tls, f"exporters.{self._id}.tls"
        roots = _system_roots() if tls.ca_file is None else read_pem(tls.ca_file, f"{path}.ca_file")
        if tls.key_file is None or tls.cert_file is None:
            return grpc.ssl_channel_credentials(roots)
        key = read_pem(tls.key_file, f"{path}.key_file")
        return grpc.ssl_channel_credentials(roots, key, read_pem(tls.cert_file, f"{path}.cert_file"))


def _parsed(answer: bytes) -> ExportProfilesServiceResponse | None:
    try:
        return ExportProfilesServiceResponse.FromString(answer)
    except DecodeError:
        return None


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


factory: Final = ExporterFactory(OtlpExporterConfig, OtlpExporter)
