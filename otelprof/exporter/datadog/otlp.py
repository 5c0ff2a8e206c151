"""The `datadog` exporter's mode `otlp`: requests as they are, to Datadog's OTLP intake."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import zstandard

from otelprof.exporter.datadog.intake import http_settings
from otelprof.exporter.otlp_post import OtlpPost
from otelprof.otlp_headers import VERSION, VERSION_HEADER

if TYPE_CHECKING:
    from otelprof._core import Profiles
    from otelprof.component import ComponentSettings
    from otelprof.exporter.datadog.config import DatadogExporterConfig
    from otelprof.exporter.http_client import HttpSettings

_ZSTD_LEVEL: Final = 1
_HEADERS: Final = {
    "content-type": "application/x-protobuf",
    "content-encoding": "zstd",
    VERSION_HEADER: VERSION,
}


class DatadogOtlpExporter(OtlpPost):
    """Sends each request as one POST."""

    def __init__(self, config: DatadogExporterConfig, settings: ComponentSettings) -> None:
        super().__init__(config.url, settings)
        self._config = config

    def _http_settings(self) -> HttpSettings:
        settings = http_settings(self._config, self._id)
        return replace(settings, headers={**settings.headers, **_HEADERS})

    def _written(self, profiles: Profiles) -> bytes:
        return profiles.to_otlp()

    def _compressed(self, body: bytes) -> bytes:
        return zstandard.ZstdCompressor(_ZSTD_LEVEL).compress(body)
