"""What the tracing side decided: a part of the stub of `otelprof._core`, where all of it is at run time."""

from collections.abc import Mapping
from typing import final

from otelprof._core import Limits

@final
class Observed:
    """What one request of the tracing side told."""

    @property
    def trace_count(self) -> int:
        """Traces that were not known before."""
    @property
    def error_count(self) -> int:
        """Traces that were not known to have an error before."""
    @property
    def span_count(self) -> int:
        """Spans that were taken."""
    @property
    def spans_by_service(self) -> Mapping[str, int]:
        """The same by `service.name`; `unknown_service` where it is missing."""
    @property
    def rejected(self) -> Mapping[str, int]:
        """Spans that were not taken, by reason; a metric label."""

@final
class TraceState:
    """What is known of a trace that was kept."""

    @property
    def is_error(self) -> bool:
        """One of its spans has the status `ERROR`."""
    @property
    def duration_nanos(self) -> int:
        """From the earliest start of a span to the latest end, as in the tail sampler's `latency` policy."""

@final
class TraceDecisions:
    """The traces that were kept, for a while, in bounded memory; safe to use from any thread.

    A tail sampler exports what it keeps: a trace that is here was kept. When memory is short, what was not
    heard of for the longest time goes first, an eighth of the memory at a time.

    Args:
        max_bytes: of memory, 64 KiB or more.
        window_secs: how long a trace is known after something was heard of it, more than 0; an eighth more
            at the most.

    Raises:
        ValueError: a number that is not allowed.
    """

    def __new__(cls, *, max_bytes: int, window_secs: float) -> TraceDecisions: ...
    def observe(self, body: bytes, now_secs: float, limits: Limits | None = None) -> Observed:
        """Take over an `ExportTraceServiceRequest`, all of it or nothing, plain or with gzip or zstd.

        Args:
            body: as it was received.
            now_secs: on the monotonic clock.
            limits: `max_body_bytes`, and `max_table_entries` for the number of spans.

        Raises:
            InvalidRequestError: it is no such request, or is damaged.
            RequestTooLargeError: it is over a limit.
            UnsupportedEncodingError: it is compressed with something else.
        """
    def expire(self, now_secs: float) -> None:
        """Forget what nothing was heard of for the window."""
    def state(self, trace_id: bytes) -> TraceState | None:
        """What is known of a trace; None when it is not known to be kept."""
    def span_name(self, trace_id: bytes, span_id: bytes) -> str | None:
        """The name of a span, up to 256 bytes of it; None when it is not known."""
    @property
    def max_bytes(self) -> int: ...
    @property
    def window_secs(self) -> float: ...
    @property
    def trace_count(self) -> int:
        """How many traces are known."""
    @property
    def span_count(self) -> int:
        """How many spans have a name that is known; one that came again later may count again."""
    @property
    def memory_bytes(self) -> int:
        """What all of it takes; not more than `max_bytes`."""
    @property
    def names_dropped(self) -> int:
        """Spans whose name was not taken over: one slice of time holds 65,536 different ones."""
    @property
    def evicted(self) -> Mapping[str, int]:
        """Traces that are no longer known, by reason: `window` or `max_bytes`."""

@final
class PendingTraces:
    """The traces of one request that are undecided."""

    def are_decided(self, decisions: TraceDecisions) -> bool:
        """Whether none is undecided any more. Each trace has to be known once; not all at the same time."""
    @property
    def memory_bytes(self) -> int:
        """16 for each trace."""
