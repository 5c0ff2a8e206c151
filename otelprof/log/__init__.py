"""What was acknowledged and not yet delivered: one log, one cursor an exporter."""
