"""From the log to an exporter: retries, timeouts, drain."""
