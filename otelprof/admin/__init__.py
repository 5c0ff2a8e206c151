"""The admin service of a running otelprof: the extension that serves it, and its client."""
