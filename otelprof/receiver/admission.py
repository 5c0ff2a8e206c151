"""Who is let in: one budget of memory for the requests of all receivers, shared fairly between clients.

A request takes its memory before it is read or inflated, and gives it back when it was handed on. A client
may take as much as it would leave to the others: one alone has up to half of the budget, each of two a
third, and there is always something left for who comes next. So when memory is short, who holds most is
refused first (Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches").
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address
from threading import Lock
from typing import TYPE_CHECKING, Final, Protocol, Self, TypeVar

from otelprof._core import Limits
from otelprof.errors import OverloadedError, RequestTooLargeError
from otelprof.telemetry.admission_metrics import ADMISSION_BYTES, ADMISSION_LIMIT_BYTES, ADMISSION_REFUSED

if TYPE_CHECKING:
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


class Admission:
    """The budget. Safe to use from any thread.

    Args:
        limit_bytes: what all requests may have together, more than 0.
        metrics: where it is counted.
    """

    def __init__(self, limit_bytes: int, metrics: Metrics) -> None:
        self._metrics = metrics
        self._lock = Lock()
        self._total_bytes = 0
        self._by_client: dict[str, int] = {}
        self.resize(limit_bytes)
        metrics.observe(ADMISSION_BYTES, lambda: self._total_bytes)

    def resize(self, limit_bytes: int) -> None:
        """Give out so much from now on; what is more than that already is not taken back."""
        self.limit_bytes = limit_bytes
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
        with self._lock:
            free_bytes = self.limit_bytes - self._total_bytes
            left_bytes = free_bytes - size_bytes
            others_bytes = self._by_client.get(client, 0) - held_bytes
            if left_bytes >= 0 and (not others_bytes or others_bytes + held_bytes + size_bytes <= left_bytes):
                self._add(client, size_bytes)
                return
        reason = "memory" if left_bytes < 0 else "share"
        self._metrics.add(ADMISSION_REFUSED, reason=reason)
        raise OverloadedError(self._refusal(reason, size_bytes), retry_after_secs=_RETRY_AFTER_SECS)

    def change(self, client: str, by_bytes: int) -> None:
        """Count what a request has, more or less than before, whether there is room for it or not."""
        with self._lock:
            self._add(client, by_bytes)

    def _add(self, client: str, size_bytes: int) -> None:
        self._total_bytes += size_bytes
        held_bytes = self._by_client.get(client, 0) + size_bytes
        if held_bytes:
            self._by_client[client] = held_bytes
        else:
            self._by_client.pop(client, None)

    def _refusal(self, reason: str, size_bytes: int) -> str:
        whose = "requests in flight have" if reason == "memory" else "this client's requests in flight have"
        return (
            f"no memory for {size_bytes} bytes now: {whose} their part of {self.limit_bytes} bytes "
            "(service.admission.request_limit_mib)"
        )


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
