"""Differences of cumulative Profiles: a part of the stub of `otelprof._core`."""

from collections.abc import Sequence
from typing import final

from otelprof._core import Profiles

@final
class Deltas:
    """The last values of every cumulative series. Safe from several threads, one request at a time.

    A series is a Resource, a scope, a sample type and a period type, by value.

    Args:
        max_values: that are remembered; then the series that were not seen for longest are forgotten.
    """

    def __new__(cls, max_values: int) -> Deltas: ...
    def differences(self, profiles: Profiles, sample_types: Sequence[str]) -> Differences:
        """Make of Profiles that count from the start of a process what happened since the last ones.

        Those are Profiles with a time and without a duration whose sample type has one of these names; others
        stay as they are. What comes of one has the time between the two as its window, so that it is not
        taken for a cumulative one again. A count that fell, or a sample that is gone, means that the process
        began anew: then everything that is there happened since.

        Args:
            profiles: a request.
            sample_types: names.
        """

    @property
    def value_count(self) -> int:
        """How many values are remembered."""
    @property
    def evicted_series_count(self) -> int:
        """How many series were forgotten because others needed the room."""

@final
class Differences:
    """What differences were made of a request."""

    @property
    def profiles(self) -> Profiles:
        """The request with differences; the same handle when nothing in it is cumulative."""
    @property
    def baseline_sample_count(self) -> int:
        """Samples of Profiles that nothing went before, and that are not in it."""
    @property
    def late_sample_count(self) -> int:
        """Samples of Profiles no newer than what went before, and not in it: what they say is in that."""
