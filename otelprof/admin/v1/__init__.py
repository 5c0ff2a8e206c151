"""The first version of its protocol buffers, generated from `proto/otelprof/v1`."""
