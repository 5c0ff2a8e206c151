"""What a request says of itself: a part of the stub of `otelprof._core`, where all of it is at run time."""

from typing import final

@final
class Rejection:
    """Profiles of one request that were refused for one reason."""

    @property
    def reason(self) -> str:
        """A word of the closed list in `REJECTION_REASONS`; a metric label."""
    @property
    def message(self) -> str:
        """The first such Profile, what is wrong with it, its value, and what is allowed."""
    @property
    def profile_count(self) -> int: ...
    @property
    def sample_count(self) -> int: ...

@final
class SummaryRow:
    """What a request holds for one service and one sample type.

    `value` is the sum of the samples' values in `unit`; a sample with timestamps only counts 1 for each
    timestamp. A sample is linked when its Link has a non-zero trace id and a non-zero span id.
    """

    @property
    def service(self) -> str:
        """The resource's `service.name`, or `unknown_service` when it has none."""
    @property
    def sample_type(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def profile_count(self) -> int: ...
    @property
    def sample_count(self) -> int: ...
    @property
    def linked_sample_count(self) -> int: ...
    @property
    def value(self) -> int: ...
    @property
    def linked_value(self) -> int: ...
