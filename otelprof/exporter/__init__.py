"""Where profiles go. Every exporter enters by the entry-point group `otelprof.exporters`."""
