"""otelprof: a processor for the OTLP profiles signal. Start reading in `otelprof/pipeline.py`."""
