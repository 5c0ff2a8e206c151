"""What pprofs are handed out as: a part of the stub of `otelprof._core`, where all of it is at run time."""

from typing import final

@final
class Pprof:
    """One pprof that was made of a request, and what its sender must know without reading it."""

    @property
    def resource(self) -> dict[str, str]:
        """The attributes of the Resource, as text."""
    @property
    def scope(self) -> str:
        """The name of the instrumentation scope; may be empty."""
    @property
    def sample_types(self) -> tuple[tuple[str, str], ...]:
        """Name and unit of each, in the order of the samples' values."""
    @property
    def period_type(self) -> tuple[str, str]:
        """Name and unit; both empty when there is none."""
    @property
    def period(self) -> int: ...
    @property
    def time_unix_nano(self) -> int:
        """The start of the window; 0 when unknown."""
    @property
    def duration_nano(self) -> int: ...
    @property
    def sample_count(self) -> int:
        """Samples in `body`."""
    @property
    def body(self) -> bytes:
        """The pprof, not compressed."""
