"""The interface between what receives and what is behind it: all that a receiver knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otelprof._core import Profiles, Rejection


class Consumer(Protocol):
    """Takes a decoded request; when it returns, the request is acknowledged."""

    def consume(self, profiles: Profiles) -> Sequence[Rejection]:
        """Process a request and write it to the log.

        Returns:
            The Profiles that policy refused, by reason; those refused by validation are in
            `profiles.rejections`.

        Raises:
            RetryableError: nothing of the request was taken; the client may send it again.
            PermanentError: nothing of the request was taken, nor will be.
        """
