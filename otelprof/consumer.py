"""The interface between what receives and what is behind it: all that a receiver knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otelprof._core import Profiles, Rejection


class Consumer(Protocol):
    """Takes a decoded request; when it returns, the request is acknowledged."""

    def admit(self, expected_bytes: int) -> None:
        """Say, before a request is read, whether it could be taken now: what is refused here costs nothing.

        Args:
            expected_bytes: of memory, as far as can be told.

        Raises:
            RetryableError: there is no room now; the client may send it again.
        """

    def consume(self, profiles: Profiles) -> Sequence[Rejection]:
        """Process a request and write it to the log.

        Returns:
            The Profiles that policy refused, by reason; those refused by validation are in
            `profiles.rejections`.

        Raises:
            RetryableError: nothing of the request was taken; the client may send it again.
            PermanentError: nothing of the request was taken, nor will be.
        """
