"""The `pyroscope` exporter: how profiles are named and labelled there, and how they are sent."""
