"""The `datadog` exporter: to Datadog's Agent, its profile intake, or its OTLP intake."""
