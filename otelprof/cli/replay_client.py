"""Sends recorded requests over several connections, and keeps account of the answers."""

from __future__ import annotations

import time
from array import array
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import TYPE_CHECKING, Final

import grpc
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceResponse,
)

from otelprof.errors import PermanentError
from otelprof.exporter.grpc_client import EXPORT, retry_delay_secs
from otelprof.otlp_headers import VERSION, VERSION_HEADER
from otelprof.telemetry.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from otelprof.recording.reader import Record

UNREADABLE: Final = "unreadable"
"""The status of what could not be sent."""

# A server that asks to wait is obeyed for so long.
MAX_RETRY_SECS: Final = 60.0
# A server that asks for less than this between two attempts would be hammered.
_MIN_WAIT_SECS: Final = 0.05
_COMPRESSION: Final = {"gzip": grpc.Compression.Gzip, "none": grpc.Compression.NoCompression}


@dataclass(frozen=True)
class Target:
    """Where and how to send.

    Attributes:
        endpoint: `host:port`.
        headers: sent with each request; names in lower case.
        compression: `gzip` or `none`.
        timeout_secs: of one attempt.
        tls: with the system's certificates; in the clear otherwise.
    """

    endpoint: str
    headers: tuple[tuple[str, str], ...] = ()
    compression: str = "none"
    timeout_secs: float = 10.0
    tls: bool = False

    def connect(self) -> grpc.Channel:
        """A connection of its own, not shared with other channels."""
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)]
        compression = _COMPRESSION[self.compression]
        if self.tls:
            return grpc.secure_channel(self.endpoint, grpc.ssl_channel_credentials(), options, compression)
        return grpc.insecure_channel(self.endpoint, options, compression)


@dataclass
class Tally:
    """What became of requests.

    Attributes:
        accepted: requests that were answered OK.
        rejected_profiles: Profiles of those that were refused one by one, with the first reason given.
        failed: requests by status, each with the first message given.
        retries: how often a request was sent again.
        sent_bytes: bodies of the accepted requests, before compression.
        elapsed_secs: from the first request to the last answer.
        latencies_secs: of each accepted attempt.
        interrupted: not all was sent.
    """

    accepted: int = 0
    rejected_profiles: int = 0
    first_rejection: str = ""
    failed: Counter[str] = field(default_factory=Counter)
    first_messages: dict[str, str] = field(default_factory=dict)
    retries: int = 0
    sent_bytes: int = 0
    elapsed_secs: float = 0.0
    latencies_secs: array[float] = field(default_factory=lambda: array("d"))
    interrupted: bool = False

    def latency_secs(self, quantile: float) -> float:
        """A quantile of the latencies, 0 to 1; 0 when nothing was accepted."""
        ordered = sorted(self.latencies_secs)
        return ordered[min(len(ordered) - 1, int(quantile * len(ordered)))] if ordered else 0.0


class Replayer:
    """Sends records to a target.

    Args:
        target: where to send.
        concurrency: how many connections, with one call on each.
        body: the request that a record becomes, just before it is sent; from any thread. What it raises of
            `PermanentError` is a request that failed.
        progress: called after each record, from any thread.
        per_second: how many records are begun in a second at the most; None as many as there can be. The
            n-th is due n / per_second after the first: what comes late does not delay those behind it.
    """

    def __init__(
        self,
        target: Target,
        concurrency: int,
        body: Callable[[Record], bytes],
        progress: Callable[[Record], None],
        *,
        per_second: float | None = None,
    ) -> None:
        self._target = target
        self._concurrency = concurrency
        self._body = body
        self._progress = progress
        self._per_second = per_second
        self._lock = Lock()
        # Not the same: who reads may count a failure.
        self._reading = Lock()
        self._stop = Event()
        self._tally = Tally()

    def send(self, records: Iterable[Record]) -> Tally:
        """Send every record once, begun in order; Ctrl-C ends it early. Raises what `records` raises."""
        started = time.monotonic()
        left = enumerate(records)
        with ThreadPoolExecutor(self._concurrency) as threads:
            workers = [threads.submit(self._work, left, started) for _ in range(self._concurrency)]
            try:
                for worker in workers:
                    worker.result()
            except KeyboardInterrupt:
                self._tally.interrupted = True
            finally:
                self._stop.set()
        self._tally.elapsed_secs = time.monotonic() - started
        return self._tally

    def _work(self, left: Iterator[tuple[int, Record]], started: float) -> None:
        with self._target.connect() as channel:
            export = channel.unary_unary(EXPORT, None, None)
            while not self._stop.is_set():
                with self._reading:
                    number, record = next(left, (0, None))
                if record is None:
                    return
                if self._per_second and self._stop.wait(
                    started + number / self._per_second - time.monotonic()
                ):
                    return
                try:
                    self._send_one(export, self._body(record))
                except PermanentError as error:
                    self.failed(UNREADABLE, str(error))
                self._progress(record)

    def _send_one(self, export: grpc.UnaryUnaryMultiCallable[bytes, bytes], body: bytes) -> None:
        metadata = ((VERSION_HEADER, VERSION), *self._target.headers)
        give_up_at = time.monotonic() + MAX_RETRY_SECS
        while True:
            started = time.monotonic()
            try:
                answer = export(body, timeout=self._target.timeout_secs, metadata=metadata)
            except grpc.RpcError as error:
                wait_secs = retry_delay_secs(error)
                if wait_secs is None or time.monotonic() + wait_secs > give_up_at:
                    self.failed(error.code().name, error.details() or "")
                    return
                with self._lock:
                    self._tally.retries += 1
                if self._stop.wait(max(wait_secs, _MIN_WAIT_SECS)):
                    self.failed(error.code().name, error.details() or "")
                    return
            else:
                self._accepted(len(body), time.monotonic() - started, answer)
                return

    def _accepted(self, body_bytes: int, latency_secs: float, answer: bytes) -> None:
        rejected, message = _partial_success(answer)
        with self._lock:
            tally = self._tally
            tally.accepted += 1
            tally.sent_bytes += body_bytes
            tally.latencies_secs.append(latency_secs)
            tally.rejected_profiles += rejected
            tally.first_rejection = tally.first_rejection or message

    def failed(self, status: str, message: str) -> None:
        """Count a request that failed, from any thread."""
        with self._lock:
            self._tally.failed[status] += 1
            self._tally.first_messages.setdefault(status, printable(message))


def _partial_success(answer: bytes) -> tuple[int, str]:
    """How many Profiles were refused, and why."""
    try:
        partial = ExportProfilesServiceResponse.FromString(answer).partial_success
    except DecodeError:
        return 0, "an answer cannot be read"
    return partial.rejected_profiles, printable(partial.error_message)
