"""Merging requests: a part of the stub of `otelprof._core`, where all of it is at run time."""

from collections.abc import Sequence
from typing import final

from otelprof._core import Profiles

@final
class Merger:
    """Merges requests, and remembers their symbols: the n-th request of a service names nearly the same ones.

    Safe from several threads, one merge at a time. What it remembers is bounded; it never changes what a
    merge means, nor its bytes.
    """

    def __new__(cls) -> Merger: ...
    def merge(self, requests: Sequence[Profiles]) -> Profiles:
        """One request that means what all of them mean together.

        One dictionary by value, without orphans and duplicates, most used entries first; Resources and scopes
        of equal value joined; within each Profile, Samples of one identity {stack, set of attributes, link}
        combined. Profiles stay apart, in the order of the requests. The result has no rejections and no
        repairs: those are with the requests.
        """

    @property
    def symbol_count(self) -> int:
        """How many symbols are remembered."""
