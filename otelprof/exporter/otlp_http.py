"""The `otlp_http` exporter: to the next hop that speaks OTLP/HTTP, a collector or another otelprof.

Keys are those of the collector's `otlp_http` exporter. HTTP/1.1, with connections that are kept.
"""

from collections.abc import Mapping
from typing import Final, Literal, Self
from urllib.parse import urlsplit

import zstandard
from pydantic import Field, SecretStr, field_validator, model_validator

from otelprof._core import Profiles, gzip
from otelprof.component import ComponentSettings, ExporterFactory
from otelprof.config.auth import AuthConfig, authenticator_of
from otelprof.config.endpoint import Endpoint
from otelprof.config.exporter import ExporterConfig
from otelprof.config.header import check_headers
from otelprof.config.tls import ClientTLS
from otelprof.exporter.http_client import HttpSettings, HttpUrl
from otelprof.exporter.otlp_answer import HEADERS
from otelprof.exporter.otlp_post import OtlpPost
from otelprof.model import ComponentId

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
        auth: an extension whose token is sent with each request, as it is then.
        tls: how a server of an https URL is proved.
    """

    endpoint: HttpUrl | None = None
    profiles_endpoint: HttpUrl | None = None
    encoding: Literal["proto", "json"] = "proto"
    compression: Literal["zstd", "gzip", "none"] = "zstd"
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    auth: AuthConfig | None = None
    tls: ClientTLS = ClientTLS()

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        return check_headers(headers, _OWN_HEADERS)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.endpoint is None and self.profiles_endpoint is None:
            message = "endpoint or profiles_endpoint is required"
            raise ValueError(message)
        if self.url.startswith("https://") and self.tls.insecure:
            message = f"{self.url} and tls.insecure: true contradict each other: remove one"
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
        url = urlsplit(self.url)
        is_near = Endpoint(url.hostname or "", 0).is_loopback
        if self.auth is None or url.scheme == "https" or is_near:
            return {}
        return {"auth": f"the token of {self.auth.authenticator} goes to {self.url} in the clear"}

    @property
    def url(self) -> str:
        """Where requests go."""
        return self.profiles_endpoint or f"{self.endpoint}".rstrip("/") + PATH


class OtlpHttpExporter(OtlpPost):
    """Sends each request as one POST."""

    def __init__(self, config: OtlpHttpExporterConfig, settings: ComponentSettings) -> None:
        super().__init__(config.url, settings)
        self._config = config
        self._authenticators = settings.authenticators

    def _http_settings(self) -> HttpSettings:
        config = self._config
        encoding = {} if config.compression == "none" else {"content-encoding": config.compression}
        return HttpSettings(
            timeout_secs=config.timeout,
            headers={
                "content-type": _MEDIA_TYPES[config.encoding],
                **encoding,
                **dict(HEADERS),
                **{name: value.get_secret_value() for name, value in config.headers.items()},
            },
            tls=config.tls if config.url.startswith("https://") else None,
            tls_path=f"exporters.{self._id}.tls",
        )

    def _authorization(self) -> Mapping[str, str]:
        auth = self._config.auth
        return {} if auth is None else dict([self._authenticators[auth.authenticator].authorization()])

    def _written(self, profiles: Profiles) -> bytes:
        return profiles.to_json() if self._config.encoding == "json" else profiles.to_otlp()

    def _compressed(self, body: bytes) -> bytes:
        if self._config.compression == "zstd":
            return zstandard.ZstdCompressor(_ZSTD_LEVEL).compress(body)
        return gzip(body) if self._config.compression == "gzip" else body


factory: Final = ExporterFactory(OtlpHttpExporterConfig, OtlpHttpExporter)
