"""A connection of the HTTP server whose client has to hurry: what uvicorn leaves open."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


class Connection(H11Protocol):
    """Closes when the head of a request does not come in time.

    uvicorn bounds the time between requests, but lets a client take for ever over its first byte, and over
    the head of a request. The time for the body is the endpoint's (`http_endpoint.py`).
    """

    def __init__(self, *args: Any, read_header_timeout_secs: float, **kwargs: Any) -> None:  # noqa: ANN401 - uvicorn's
        super().__init__(*args, **kwargs)
        self._read_header_timeout_secs = read_header_timeout_secs
        self._head_is_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """Expect the head of the first request."""
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        """Expect the head of a request to its end, once it has begun."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE or not self.conn.trailing_data[0]:
            self._head_came()
        elif self._head_is_due is None:
            self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing more."""
        self._head_came()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        self._head_is_due = self.loop.call_later(self._read_header_timeout_secs, self.transport.abort)

    def _head_came(self) -> None:
        if self._head_is_due is not None:
            self._head_is_due.cancel()
            self._head_is_due = None


def connection_factory(read_header_timeout_secs: float) -> Callable[..., Connection]:
    """What makes the connections of a server."""
    return partial(Connection, read_header_timeout_secs=read_header_timeout_secs)
