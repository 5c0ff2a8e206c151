"""The public test kit: for otelprof's own tests and for plugin authors."""
