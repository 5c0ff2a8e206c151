"""The `datadog` exporter's mode `otlp`: requests as they are, to Datadog's OTLP intake."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import zstandard
from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceResponse,
)

from otelprof.errors import UnavailableError
from otelprof.exporter.datadog.intake import http_settings
from otelprof.exporter.http_client import HttpClient
from otelprof.exporter.otlp_answer import VERSION_HEADER, NextHop
from otelprof.exporter.otlp_http_answer import error_of, parse

if TYPE_CHECKING:
    from otelprof._core import Profiles
    from otelprof.component import ComponentSettings
    from otelprof.exporter.datadog.config import DatadogExporterConfig

_ZSTD_LEVEL: Final = 1
_HEADERS: Final = {
    "content-type": "application/x-protobuf",
    "content-encoding": "zstd",
    **dict([VERSION_HEADER]),
}


class DatadogOtlpExporter:
    """Sends each request as one POST."""

    def __init__(self, config: DatadogExporterConfig, settings: ComponentSettings) -> None:
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
        self._client = HttpClient(http_settings(self._config, self._id), self._clock)

    def export(self, profiles: Profiles) -> None:
        """Send a request.

        Raises:
            RetryableError: the far side is away, or asks to wait.
            PermanentError: it refuses the request, or us.
        """
        client, url = self._client, self._config.url
        if client is None:
            message = f"the exporter of {url} does not run"
            raise UnavailableError(message)
        body = profiles.to_otlp()
        sent = client.post(url, zstandard.ZstdCompressor(_ZSTD_LEVEL).compress(body), _HEADERS)
        if not sent.response.is_success:
            raise error_of(sent, url, self._clock)
        answer = ExportProfilesServiceResponse()
        is_read = parse(answer, sent)
        self._next_hop.took(profiles, len(body), answer if is_read else None)

    def shutdown(self) -> None:
        """Close the connections; a request that is under way fails."""
        client, self._client = self._client, None
        if client is not None:
            client.close()
