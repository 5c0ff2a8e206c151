"""What otelprof says about itself: metrics and logs."""
