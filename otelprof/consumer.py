"""The interface between what receives and what is behind it: all that a receiver knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from otelprof._core import Limits, Observed, Profiles, Rejection


class TraceConsumer(Protocol):
    """Takes traces that the tracing side kept."""

    def observe(self, body: bytes, limits: Limits) -> Observed:
        """Remember what a policy may ask for of an `ExportTraceServiceRequest`: all of it, or nothing.

        Args:
            body: as it came, compressed or not.
            limits: what it may hold.

        Raises:
            PermanentError: it cannot be read, or is over a limit.
        """


class Reservation(Protocol):
    """What one request has of the memory for all requests; nothing any more when its context is left."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    def take(self, total_bytes: int) -> None:
        """Have so much, before it is needed; nothing changes when it has as much already.

        Raises:
            RetryableError: there is no room now; the client may send the request again.
        """

    def settle(self, total_bytes: int) -> None:
        """Have what the request turned out to need: less than was taken, or more."""


class Consumer(Protocol):
    """Takes a decoded request; when it returns, the request is acknowledged."""

    def reserve(self, client: str) -> Reservation:
        """The memory of one request, which is taken before the request is read or inflated.

        Args:
            client: whom it is of. Who has most is refused first.
        """

    @property
    def traces(self) -> TraceConsumer | None:
        """Who takes traces; None when nothing asks for them, and they are not to be offered."""

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
