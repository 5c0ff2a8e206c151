"""How a `datadog` exporter is made: by its mode."""

from typing import Final

from otelprof.component import ComponentSettings, Exporter, ExporterFactory
from otelprof.exporter.datadog.config import DatadogExporterConfig


def _create(config: DatadogExporterConfig, settings: ComponentSettings) -> Exporter:
    if config.mode == "otlp":
        from otelprof.exporter.datadog.otlp import DatadogOtlpExporter  # noqa: PLC0415 - what the mode needs

        return DatadogOtlpExporter(config, settings)
    from otelprof.exporter.datadog.exporter import DatadogExporter  # noqa: PLC0415 - what the mode needs

    return DatadogExporter(config, settings)


factory: Final = ExporterFactory(DatadogExporterConfig, _create)
