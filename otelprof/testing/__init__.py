"""The public test kit, for otelprof's own tests and for plugin authors: docs/writing_an_exporter.md.

    contract    what every exporter has to do, as tests; needs pytest (`pip install 'otelprof[testing]'`)
    sink        an OTLP/gRPC server that records what comes, and answers as it is told
    clock       time and chance that a test holds in its hand

What is public stands in each module's `__all__`. They are imported one by one: the clock needs neither pytest
nor gRPC.
"""
