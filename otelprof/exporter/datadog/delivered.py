"""What of a request was delivered before the rest failed: a retry must not deliver it twice."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_DIGESTS: Final = 100_000
"""Beyond it the oldest are forgotten: of 32 bytes each, and Python's own, 15 MB."""


class Delivered:
    """Digests of uploads that were delivered, of requests that were not whole; safe from any thread.

    A request becomes several uploads, and Datadog adds up what it is sent twice.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._digests: OrderedDict[bytes, None] = OrderedDict()

    def __contains__(self, digest: bytes) -> bool:
        with self._lock:
            return digest in self._digests

    def __len__(self) -> int:
        with self._lock:
            return len(self._digests)

    def remember(self, digests: Iterable[bytes]) -> None:
        """The request of these uploads will come again."""
        with self._lock:
            for digest in digests:
                self._digests[digest] = None
                self._digests.move_to_end(digest)
            while len(self._digests) > MAX_DIGESTS:
                self._digests.popitem(last=False)

    def forget(self, digests: Iterable[bytes]) -> None:
        """The request of these uploads is done with."""
        with self._lock:
            for digest in digests:
                self._digests.pop(digest, None)
