"""Who is let in: one budget of memory for the requests of all receivers, shared fairly between clients.

A request takes its memory before it is read or inflated, and gives it back when it was handed on. A client
may take as much as it would leave to the others: one alone has up to half of the budget, each of two a
third, and there is always something left for who comes next. So when memory is short, who holds most is
refused first (Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches").
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address
from threading import Lock
from typing import TYPE_CHECKING, Final, Protocol, Self, TypeVar

from otelprof._core import Limits
from otelprof.errors import OverloadedError, RequestTooLargeError
from otelprof.telemetry.admission_metrics import ADMISSION_BYTES, ADMISSION_LIMIT_BYTES, ADMISSION_REFUSED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from otelprof.consumer import Reservation
    from otelprof.telemetry.metrics import Metrics

_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
# What deflate can do at most, and the bytes of the body at the end of gzip, modulo 2^32 (RFC 1952).
_MAX_GZIP_RATIO: Final = 1032
_ISIZE_BYTES: Final = 4
_RETRY_AFTER_SECS: Final = 1.0

# Who has one address of such a network usually has all of them (RFC 6177).
_IPV6_PREFIX: Final = 64

T_co = TypeVar("T_co", covariant=True)


class FairShare:
    """So much of something, for many. Safe to use from any thread.

    Args:
        limit: how much there is, more than 0.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.total = 0
        self._lock = Lock()
        self._by_client: dict[str, int] = {}

    def take(self, client: str, size: int, held: int = 0) -> str | None:
        """Take some, when there is some for this client.

        Args:
            client: who.
            size: how much.
            held: what the client has of it for the same purpose, which is not held against it.

        Returns:
            Why not: there is not so much left (`total`), or less than the client would have (`share`); None
            when it was taken.
        """
        with self._lock:
            left = self.limit - self.total - size
            if left < 0:
                return "total"
            others = self._by_client.get(client, 0) - held
            if others and others + held + size > left:
                return "share"
            self._add(client, size)
        return None

    def change(self, client: str, by: int) -> None:
        """Have more or less than before, whether there is so much or not."""
        with self._lock:
            self._add(client, by)

    def _add(self, client: str, size: int) -> None:
        self.total += size
        held = self._by_client.get(client, 0) + size
        if held:
            self._by_client[client] = held
        else:
            self._by_client.pop(client, None)


class Admission:
    """The budget of memory. Safe to use from any thread.

    Args:
        limit_bytes: what all requests may have together, more than 0.
        metrics: where it is counted.
    """

    def __init__(self, limit_bytes: int, metrics: Metrics) -> None:
        self._metrics = metrics
        self._bytes = FairShare(limit_bytes)
        self.resize(limit_bytes)
        metrics.observe(ADMISSION_BYTES, lambda: self._bytes.total)

    @property
    def limit_bytes(self) -> int:
        """What all requests may have together."""
        return self._bytes.limit

    def resize(self, limit_bytes: int) -> None:
        """Give out so much from now on; what is more than that already is not taken back."""
        self._bytes.limit = limit_bytes
        self._metrics.set(ADMISSION_LIMIT_BYTES, limit_bytes)

    def reserve(self, client: str) -> RequestMemory:
        """The memory of one request, which has none yet.

        Args:
            client: whom the request is of.
        """
        return RequestMemory(self, client)

    def take(self, client: str, held_bytes: int, size_bytes: int) -> None:
        """Give a request more memory.

        Args:
            client: whom it is of.
            held_bytes: what it has.
            size_bytes: what it wants beside that.

        Raises:
            OverloadedError: there is none, or the client's other requests have more than would be left.
        """
        why_not = self._bytes.take(client, size_bytes, held_bytes)
        if why_not is None:
            return
        is_share = why_not == "share"
        self._metrics.add(ADMISSION_REFUSED, reason="share" if is_share else "memory")
        whose = "this client's requests in flight have" if is_share else "requests in flight have"
        message = (
            f"no memory for {size_bytes} bytes now: {whose} their part of {self.limit_bytes} bytes "
            "(service.admission.request_limit_mib)"
        )
        raise OverloadedError(message, retry_after_secs=_RETRY_AFTER_SECS)

    def change(self, client: str, by_bytes: int) -> None:
        """Count what a request has, more or less than before, whether there is room for it or not."""
        self._bytes.change(client, by_bytes)


class RequestMemory:
    """What one request has of the budget; nothing any more when its context is left."""

    def __init__(self, admission: Admission, client: str) -> None:
        self._admission = admission
        self._client = client
        self._held_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.settle(0)

    def take(self, total_bytes: int) -> None:
        """Have so much, before it is needed. A request that is larger than the budget takes all of it.

        Raises:
            OverloadedError: there is no room for what is missing of it now.
        """
        missing_bytes = min(total_bytes, self._admission.limit_bytes) - self._held_bytes
        if missing_bytes > 0:
            self._admission.take(self._client, self._held_bytes, missing_bytes)
            self._held_bytes += missing_bytes

    def settle(self, total_bytes: int) -> None:
        """Have what the request turned out to need: less than was taken, or more."""
        self._admission.change(self._client, total_bytes - self._held_bytes)
        self._held_bytes = total_bytes


class Readers:
    """The requests of one listener that are being read, each of which keeps a thread or a place busy.

    Who sends slowly has no more of them than it leaves to others.

    Args:
        limit: how many can be read at once.
        key: of the configuration that sets it, for errors.
        metrics: where refusals are counted.
    """

    def __init__(self, limit: int, key: str, metrics: Metrics) -> None:
        self._places = FairShare(limit)
        self._key = key
        self._metrics = metrics

    @contextmanager
    def reading(self, client: str) -> Iterator[None]:
        """Read a request.

        Raises:
            OverloadedError: the client has too many that are being read.
        """
        if self._places.take(client, 1) is not None:
            self._metrics.add(ADMISSION_REFUSED, reason="slow")
            message = (
                f"this client's requests that are being read have their part of {self._places.limit} "
                f"({self._key}): send fewer at once, or faster"
            )
            raise OverloadedError(message, retry_after_secs=_RETRY_AFTER_SECS)
        try:
            yield
        finally:
            self._places.change(client, -1)


@lru_cache(maxsize=1024)
def client_at(host: str) -> str:
    """Who sends from an address: it, or the network of an IPv6 address."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return host
    mapped = address.ipv4_mapped
    if mapped is not None:
        return str(mapped)
    return str(IPv6Network((int(address), _IPV6_PREFIX), strict=False))


class _Decode(Protocol[T_co]):
    def __call__(self, body: bytes, limits: Limits, /) -> T_co: ...


def decoded(body: bytes, limits: Limits, memory: Reservation, decode: _Decode[T_co]) -> T_co:
    """Decode a body within memory that is taken before.

    What the body says that it becomes is taken, and inflating stops there. When it was more after all, as
    much as a body may become is taken, and inflating begins again.

    Raises:
        OtelprofError: of `decode`, or there is no room now.
    """
    expected_bytes = inflated_bytes(body, limits.max_body_bytes)
    if not expected_bytes:
        return decode(body, limits)
    memory.take(len(body) + expected_bytes)
    if expected_bytes < limits.max_body_bytes:
        try:
            return decode(body, _bounded(limits, expected_bytes))
        except RequestTooLargeError:
            memory.take(len(body) + limits.max_body_bytes)
    return decode(body, limits)


def inflated_bytes(body: bytes, limit_bytes: int) -> int:
    """What a body says that it becomes, up to a limit: the limit when it does not say, 0 when it is plain."""
    if body.startswith(_GZIP):
        said_bytes = int.from_bytes(body[-_ISIZE_BYTES:], "little")
        return max(1, min(said_bytes, len(body) * _MAX_GZIP_RATIO, limit_bytes))
    if body.startswith(_ZSTD):
        import zstandard  # noqa: PLC0415 - where a client sends it

        try:
            said_bytes = zstandard.frame_content_size(body)
        except zstandard.ZstdError:
            said_bytes = 0
        return limit_bytes if said_bytes < 0 else max(1, min(said_bytes, limit_bytes))
    return 0


def _bounded(limits: Limits, max_body_bytes: int) -> Limits:
    return Limits(
        max_body_bytes=max_body_bytes,
        max_profiles=limits.max_profiles,
        max_table_entries=limits.max_table_entries,
        max_stack_depth=limits.max_stack_depth,
        max_attributes=limits.max_attributes,
        max_attribute_depth=limits.max_attribute_depth,
    )
