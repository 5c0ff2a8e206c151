"""What an exporter is given: the public name of the core's handle, for plugins."""

from otelprof._core import Profiles, Rejection, SummaryRow

__all__ = ("Profiles", "Rejection", "SummaryRow")
