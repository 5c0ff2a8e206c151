"""The `otlp` exporter: to the next hop that speaks OTLP/gRPC, a collector or another otelprof.

Keys and defaults are those of the collector's `otlp_grpc` exporter.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal, Self

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceResponse,
)
from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from otelprof._core import Profiles
from otelprof.component import ComponentSettings, ExporterFactory
from otelprof.config.auth import AuthConfig, authenticator_of
from otelprof.config.endpoint import Endpoint
from otelprof.config.exporter import ExporterConfig
from otelprof.config.header import check_header
from otelprof.config.tls import ClientTLS
from otelprof.errors import UnavailableError
from otelprof.exporter.grpc_client import GrpcClient, GrpcSettings
from otelprof.exporter.otlp_answer import HEADERS, NextHop
from otelprof.model import ComponentId

_SCHEME: Final = re.compile(r"(https?://|dns:///)?(.*?)/?")


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
        auth: an extension whose token is sent with each request, as it is then.
        compression: `gzip`, or `none` where CPU is dearer than bytes.
    """

    endpoint: Annotated[str, AfterValidator(_check_endpoint)]
    tls: ClientTLS = ClientTLS()
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    auth: AuthConfig | None = None
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
        if self.auth is not None and "authorization" in self.headers:
            message = "headers has authorization, and auth.authenticator sends one: remove one of them"
            raise ValueError(message)
        return self

    @property
    def authenticators(self) -> Mapping[str, ComponentId]:
        """Whose token is sent."""
        return authenticator_of(self.auth)

    @property
    def exposed(self) -> Mapping[str, str]:
        """A token that is sent in the clear."""
        match = _SCHEME.fullmatch(self.endpoint)
        is_near = match is not None and Endpoint.parse(match[2]).is_loopback
        if self.auth is None or not self.tls.insecure or is_near:
            return {}
        return {
            "tls.insecure": f"the token of {self.auth.authenticator} goes to {self.endpoint} in the clear"
        }

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
        self._authenticators = settings.authenticators
        self._client: GrpcClient | None = None

    def start(self) -> None:
        """Make the channel; it connects with the first request.

        Raises:
            ConfigError: a TLS file cannot be used.
        """
        config = self._config
        secrets = ((name, value.get_secret_value()) for name, value in config.headers.items())
        self._client = GrpcClient(
            GrpcSettings(
                target=config.target,
                endpoint=config.endpoint,
                tls=config.tls,
                tls_path=f"exporters.{self._id}.tls",
                metadata=(*HEADERS, *secrets),
                timeout_secs=config.timeout,
                compression=config.compression,
                authorization=None
                if config.auth is None
                else self._authenticators[config.auth.authenticator].authorization,
            )
        )

    def export(self, profiles: Profiles) -> None:
        """Send a request.

        Raises:
            RetryableError: the far side is away, or asks to wait.
            PermanentError: it refuses the request, or us.
        """
        client = self._client
        if client is None:
            message = f"the exporter of {self._config.endpoint} does not run"
            raise UnavailableError(message)
        body = profiles.to_otlp()
        self._next_hop.took(profiles, len(body), _parsed(client.export(body)))

    def shutdown(self) -> None:
        """Close the channel; a call that is under way fails."""
        client, self._client = self._client, None
        if client is not None:
            client.close()


def _parsed(answer: bytes) -> ExportProfilesServiceResponse | None:
    try:
        return ExportProfilesServiceResponse.FromString(answer)
    except DecodeError:
        return None


factory: Final = ExporterFactory(OtlpExporterConfig, OtlpExporter)
