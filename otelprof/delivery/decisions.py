"""Requests that wait, behind the log, for what the tracing side decides about their traces.

A tail sampler decides seconds after a trace has ended; profiles of it come before and after. So a request of
a pipeline whose sampling has rules with `trace` is acknowledged first, and then waits: until every trace that
the rules ask for is decided, or until `decision_wait` is over. Then the whole list of rules is carried out,
once, and what is left goes to the exporters. While it waits it stands in their queues, and counts there.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from threading import Condition, Thread
from typing import TYPE_CHECKING, Final

from otelprof.errors import UnavailableError
from otelprof.telemetry.decision_metrics import (
    DECISION_FAILED_REQUESTS,
    DECISION_RELEASED_REQUESTS,
    DECISION_WAITING_BYTES,
    DECISION_WAITING_REQUESTS,
    TRACE_DECISION_BYTES,
    TRACE_DECISION_SPANS,
    TRACE_DECISIONS,
    TRACE_DECISIONS_EVICTED,
    TRACE_SPAN_NAMES_DROPPED,
)
from otelprof.telemetry.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otelprof._core import Limits, Observed, PendingTraces, Profiles
    from otelprof.component import ComponentSettings, TraceProcessor
    from otelprof.log.memory import Held, MemoryLog
    from otelprof.model import ComponentId

LOOK_INTERVAL_SECS: Final = 0.1
"""How often it is looked whether what came of traces was the last that a request waits for."""


class Release(StrEnum):
    """Why a request goes on; the label `reason` of `otelprof_decision_released_requests`."""

    DECIDED = "decided"
    WAITED = "waited"
    DECISION_MAX_BYTES = "decision_max_bytes"
    QUEUE_SIZE = "queue_size"
    SHUTDOWN = "shutdown"


@dataclass(eq=False, slots=True)
class _Waiting:
    """A request that waits.

    Attributes:
        held: its place in the log.
        pending: the traces that it waits for.
        size_bytes: of memory, with both.
        due_at: when it waits no longer, on the monotonic clock.
    """

    held: Held
    pending: PendingTraces
    size_bytes: int
    due_at: float


class DecisionGate:
    """The requests of one pipeline that wait for decisions, and the traces that were kept.

    Requests and traces come from the threads of receivers; everything else is done by one thread, step by
    step, on the clock that is passed in.

    Args:
        log: where the requests stand.
        processor: carries the rules out.
        exporters: of the pipeline; all of them read the log.
        component: the pipeline's id, logger, metrics and clock.
    """

    def __init__(
        self,
        log: MemoryLog,
        processor: TraceProcessor,
        exporters: Sequence[ComponentId],
        component: ComponentSettings,
    ) -> None:
        self._log = log
        self.processor = processor
        self._wait = processor.wait
        self._clock = component.clock
        self._metrics = component.metrics
        self._logger = component.logger
        self._throttle = Throttle(component.clock)
        self.pipeline = component.id
        self._pipeline = {"pipeline": str(component.id)}
        self.lead_to(exporters)
        # What threads leave for this one.
        self._changed = Condition()
        self._arrived: deque[tuple[Held, float]] = deque()
        self._has_news = False
        self._closed = False
        # What only this one touches: oldest first. (The oldest key of a plain dict is slow to find.)
        self._waiting: OrderedDict[Held, _Waiting] = OrderedDict()
        self._waiting_bytes = 0
        self._looked_at = -LOOK_INTERVAL_SECS
        self._thread: Thread | None = None

    def lead_to(self, exporters: Sequence[ComponentId]) -> None:
        """Wait in the queues of these exporters from now on."""
        # Half of a queue: waiting must not be what makes it overflow.
        max_bytes, over = self._wait.max_bytes, Release.DECISION_MAX_BYTES
        room_bytes = min(self._log.cursor(exporter).capacity_bytes for exporter in exporters) // 2
        if room_bytes < max_bytes:
            max_bytes, over = room_bytes, Release.QUEUE_SIZE
        self._max_bytes, self._over = max_bytes, over

    def start(self) -> None:
        """Start the processor and the thread, and show what is known and what waits."""
        self.processor.start()
        decisions, observe, of = self._wait.decisions, self._metrics.observe, self._pipeline
        observe(TRACE_DECISIONS, lambda: decisions.trace_count, **of)
        observe(TRACE_DECISION_SPANS, lambda: decisions.span_count, **of)
        observe(TRACE_DECISION_BYTES, lambda: decisions.memory_bytes, **of)
        for reason in decisions.evicted:
            evicted = partial(self._evicted, reason)
            observe(TRACE_DECISIONS_EVICTED, evicted, reason=reason, **of)
        observe(TRACE_SPAN_NAMES_DROPPED, lambda: decisions.names_dropped, **of)
        observe(DECISION_WAITING_REQUESTS, lambda: len(self._waiting) + len(self._arrived), **of)
        observe(DECISION_WAITING_BYTES, lambda: self.waiting_bytes, **of)
        self._thread = Thread(target=self._work, name=f"otelprof-{of['pipeline']}-decisions", daemon=True)
        self._thread.start()

    def hold(self, held: Held) -> None:
        """A request was acknowledged: it waits from now on."""
        with self._changed:
            is_late = self._closed
            if not is_late:
                self._arrived.append((held, self._clock.monotonic()))
                self._changed.notify()
        if is_late:
            # Its client's call outlived the drain.
            self._settle(held, Release.SHUTDOWN)

    def observe(self, body: bytes, limits: Limits) -> Observed:
        """Take over what the tracing side says of traces that it kept; see `TraceDecisions.observe`.

        Raises:
            OtelprofError: it cannot be read, or is over a limit.
        """
        observed = self._wait.decisions.observe(body, self._clock.monotonic(), limits)
        with self._changed:
            self._has_news = True
            self._changed.notify()
        return observed

    @property
    def waiting_bytes(self) -> int:
        """Memory of the requests that wait, with what they wait for."""
        return self._waiting_bytes

    def step(self) -> float | None:
        """Let everything go that is due.

        Returns:
            How long until something may be due again; None when that depends on others.
        """
        now = self._clock.monotonic()
        with self._changed:
            arrived, self._arrived = self._arrived, deque()
            looks = self._has_news and now >= self._looked_at + LOOK_INTERVAL_SECS
            if looks:
                self._has_news, self._looked_at = False, now
        self._wait.decisions.expire(now)
        for held, came_at in arrived:
            self._admit(held, came_at)
        if looks:
            for waiting in list(self._waiting.values()):
                if waiting.pending.are_decided(self._wait.decisions):
                    self._release(waiting, Release.DECIDED)
        while (oldest := self._oldest()) is not None and oldest.due_at <= now:
            self._release(oldest, Release.WAITED)
        with self._changed:
            return self._secs_until_due()

    def drain(self) -> None:
        """Let everything go that waits, at shutdown: nothing more is held. Safe more than once."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.step()
        while (oldest := self._oldest()) is not None:
            self._release(oldest, Release.SHUTDOWN)

    def shutdown(self) -> None:
        """Stop the thread and the processor; what waits goes on. Safe before `start`, and more than once."""
        self.drain()
        self.processor.shutdown()

    def _work(self) -> None:
        while not self._closed:
            self.step()
            with self._changed:
                due_secs = self._secs_until_due()
                if due_secs != 0 and not self._closed:
                    self._clock.wait(self._changed, due_secs)

    def _secs_until_due(self) -> float | None:
        if self._arrived:
            return 0.0
        due = [oldest.due_at] if (oldest := self._oldest()) is not None else []
        if self._has_news:
            due.append(self._looked_at + LOOK_INTERVAL_SECS)
        return max(0.0, min(due) - self._clock.monotonic()) if due else None

    def _evicted(self, reason: str) -> int:
        return self._wait.decisions.evicted[reason]

    def _oldest(self) -> _Waiting | None:
        return next(iter(self._waiting.values()), None)

    def _admit(self, held: Held, came_at: float) -> None:
        """Have a request wait, or let it go at once; or let others go to make room."""
        try:
            pending = held.profiles.pending_traces(self._wait.policy)
        except Exception as error:  # noqa: BLE001 - a bug in the core, which must not end the thread
            self._failed(error)
            self._log.settle(held, held.profiles)
            return
        size_bytes = held.size_bytes + pending.memory_bytes
        waiting = _Waiting(held, pending, size_bytes, came_at + self._wait.wait_secs)
        self._waiting[held] = waiting
        self._waiting_bytes += size_bytes
        if pending.are_decided(self._wait.decisions):
            self._release(waiting, Release.DECIDED)
        while self._waiting_bytes > self._max_bytes and (oldest := self._oldest()) is not None:
            self._release(oldest, self._over)

    def _release(self, waiting: _Waiting, reason: Release) -> None:
        del self._waiting[waiting.held]
        self._waiting_bytes -= waiting.size_bytes
        self._settle(waiting.held, reason)

    def _settle(self, held: Held, reason: Release) -> None:
        self._metrics.add(DECISION_RELEASED_REQUESTS, 1, reason=reason.value, **self._pipeline)
        self._log.settle(held, self._decided(held.profiles))

    def _decided(self, profiles: Profiles) -> Profiles:
        """What the rules leave of a request."""
        try:
            return self.processor.process(profiles)
        except Exception as error:  # noqa: BLE001 - likewise
            self._failed(error)
            return profiles

    def _failed(self, error: Exception) -> None:
        self._metrics.add(DECISION_FAILED_REQUESTS, 1, **self._pipeline)
        held_back = self._throttle.passed("decide")
        if held_back is not None:
            self._logger.error(
                "rules cannot be carried out, and the request goes on as it came",
                suppressed=held_back,
                exc_info=error,
            )


class TraceIntake:
    """The `TraceConsumer` behind receivers: every pipeline that waits for traces."""

    def __init__(self, gates: Sequence[DecisionGate]) -> None:
        self._gates = tuple(gates)

    def lead_to(self, gates: Sequence[DecisionGate]) -> None:
        """Change the gates behind it."""
        self._gates = tuple(gates)

    def observe(self, body: bytes, limits: Limits) -> Observed:
        """Take over what the tracing side says of traces that it kept, for every pipeline or for none.

        Raises:
            OtelprofError: it cannot be read, or is over a limit; or no pipeline asks for traces any more.
        """
        if not self._gates:
            message = "no pipeline asks for traces any more"
            raise UnavailableError(message, retry_after_secs=LOOK_INTERVAL_SECS)
        first, *_ = [gate.observe(body, limits) for gate in self._gates]
        return first
