"""The `otlp_http` exporter: to the next hop that speaks OTLP/HTTP, a collector or another otelprof.

Keys are those of the collector's `otlp_http` exporter. HTTP/1.1, with a pool of connections that are kept.
"""

import gzip
from typing import Final, Literal, Self

import zstandard
from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceResponse,
)
from pydantic import Field, SecretStr, field_validator, model_validator

from otelprof._core import Profiles
from otelprof.component import ComponentSettings, ExporterFactory
from otelprof.config.exporter import ExporterConfig
from otelprof.config.header import check_header
from otelprof.config.tls import ClientTLS
from otelprof.errors import UnavailableError
from otelprof.exporter.http_client import HttpClient, HttpSettings, HttpUrl
from otelprof.exporter.otlp_answer import VERSION_HEADER, NextHop
from otelprof.exporter.otlp_http_answer import error_of, parse

PATH: Final = "/v1development/profiles"

_MEDIA_TYPES: Final = {"proto": "application/x-protobuf", "json": "application/json"}
# Fast, and smaller than gzip at any level; zstandard's own default is 3.
_ZSTD_LEVEL: Final = 1
# HTTP's own, and what this exporter says for itself.
_OWN_HEADERS: Final = frozenset(
    ("content-type", "content-encoding", "content-length", "transfer-encoding", "connection", "host")
)


class OtlpHttpExporterConfig(ExporterConfig):
    """Where to send, and how.

    Attributes:
        endpoint: the base of the URL, to which `/v1development/profiles` is added.
        profiles_endpoint: the whole URL, instead of it.
        encoding: of requests, `proto` or `json`.
        compression: of requests, `zstd`, `gzip` or `none`.
        headers: sent with each request; values are never logged.
        tls: how a server of an https URL is proved.
    """

    endpoint: HttpUrl | None = None
    profiles_endpoint: HttpUrl | None = None
    encoding: Literal["proto", "json"] = "proto"
    compression: Literal["zstd", "gzip", "none"] = "zstd"
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    tls: ClientTLS = ClientTLS()

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        checked = {check_header(name, value.get_secret_value()): value for name, value in headers.items()}
        for name in checked.keys() & _OWN_HEADERS:
            message = f"{name!r} is set by the exporter: remove it"
            raise ValueError(message)
        return checked

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.endpoint is None and self.profiles_endpoint is None:
            message = "endpoint or profiles_endpoint is required"
            raise ValueError(message)
        if self.url.startswith("https://") and self.tls.insecure:
            message = f"{self.url} and tls.insecure: true contradict each other: remove one"
            raise ValueError(message)
        return self

    @property
    def url(self) -> str:
        """Where requests go."""
        return self.profiles_endpoint or f"{self.endpoint}".rstrip("/") + PATH


class OtlpHttpExporter:
    """Sends each request as one POST."""

    def __init__(self, config: OtlpHttpExporterConfig, settings: ComponentSettings) -> None:
        self._config = config
        self._id = str(settings.id)
        self._clock = settings.clock
        self._next_hop = NextHop(config.url, settings)
        self._client: HttpClient | None = None

    def start(self) -> None:
        """Make the pool; it connects with the first request.

        Raises:
            ConfigError: a TLS file cannot be used.
        """
        config = self._config
        encoding = {} if config.compression == "none" else {"content-encoding": config.compression}
        settings = HttpSettings(
            timeout_secs=config.timeout,
            connections=config.sending_queue.num_consumers,
            headers={
                "content-type": _MEDIA_TYPES[config.encoding],
                **encoding,
                **dict([VERSION_HEADER]),
                **{name: value.get_secret_value() for name, value in config.headers.items()},
            },
            tls=config.tls if config.url.startswith("https://") else None,
            tls_path=f"exporters.{self._id}.tls",
        )
        self._client = HttpClient(settings, self._clock)

    def export(self, profiles: Profiles) -> None:
        """Send a request.

        Raises:
            RetryableError: the far side is away, or asks to wait.
            PermanentError: it refuses the request, or us.
        """
        client = self._client
        if client is None:
            message = f"the exporter of {self._config.url} does not run"
            raise UnavailableError(message)
        body = profiles.to_json() if self._config.encoding == "json" else profiles.to_otlp()
        sent = client.post(self._config.url, self._compressed(body))
        if not sent.response.is_success:
            raise error_of(sent, self._config.url, self._clock)
        answer = ExportProfilesServiceResponse()
        is_read = parse(answer, sent)
        self._next_hop.took(profiles, len(body), answer if is_read else None)

    def shutdown(self) -> None:
        """Close the connections; a request that is under way fails."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _compressed(self, body: bytes) -> bytes:
        if self._config.compression == "zstd":
            return zstandard.ZstdCompressor(_ZSTD_LEVEL).compress(body)
        return gzip.compress(body, mtime=0) if self._config.compression == "gzip" else body


factory: Final = ExporterFactory(OtlpHttpExporterConfig, OtlpHttpExporter)
