"""The `otelprof` command."""
