"""From a receiver into the log: what one pipeline does to a request, and all pipelines behind a receiver."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition
from typing import TYPE_CHECKING, Final

from otelprof.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from otelprof._core import Profiles, Rejection
    from otelprof.component import Processor
    from otelprof.consumer import Reservation, TraceConsumer
    from otelprof.delivery.decisions import DecisionGate
    from otelprof.delivery.sender import DirectSender
    from otelprof.log.memory import MemoryLog
    from otelprof.model import ComponentId
    from otelprof.receiver.admission import Admission

# Said to a client whose receiver is being removed: its own endpoint is gone in a moment.
_MOVED_RETRY_AFTER_SECS: Final = 1.0


@dataclass(frozen=True)
class Pipeline:
    """What one pipeline does to a request, and where it goes.

    Attributes:
        processors: in their order.
        queued: exporters that read the log.
        direct: exporters without a queue, inside the client's call.
        gate: where requests wait, behind the log, for decisions about their traces; None when they do not.
    """

    processors: tuple[Processor, ...]
    queued: tuple[ComponentId, ...]
    direct: tuple[DirectSender, ...]
    gate: DecisionGate | None = None

    def process(self, profiles: Profiles) -> tuple[Profiles, Sequence[Rejection]]:
        """Run the processors.

        Returns:
            What is left, and the Profiles that they refused one by one.

        Raises:
            OtelprofError: one of them refused the request.
        """
        refused: list[Rejection] = []
        for processor in self.processors:
            result = processor.process(profiles)
            # What did not change keeps the rejections that it had; those of another request are its own.
            if list(map(_facts, result.rejections)) != list(map(_facts, profiles.rejections)):
                refused.extend(result.rejections)
            profiles = result
        return profiles, refused


class Passage:
    """The way from all receivers into the pipelines: closed for a moment while pipelines change.

    A request that comes then waits, inside its client's call; it is not refused.
    """

    def __init__(self) -> None:
        self._changed = Condition()
        self._inside = 0
        self._is_closed = False

    @contextmanager
    def request(self) -> Iterator[None]:
        """Go through with a request."""
        with self._changed:
            while self._is_closed:
                self._changed.wait()
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                if not self._inside:
                    self._changed.notify_all()

    @contextmanager
    def closed(self, timeout_secs: float) -> Iterator[None]:
        """Let nobody through, and begin when nobody is inside any more, or when the time is over."""
        with self._changed:
            self._is_closed = True
            self._changed.wait_for(lambda: not self._inside, timeout_secs)
        try:
            yield
        finally:
            with self._changed:
                self._is_closed = False
                self._changed.notify_all()


class Intake:
    """The `Consumer` behind a receiver: all pipelines that the receiver is in.

    Args:
        pipelines: which those are at first.
        log: where requests go.
        admission: the memory of all receivers.
        traces: who takes traces; None when no pipeline asks for them.
        passage: the way of all receivers.
    """

    def __init__(
        self,
        pipelines: Iterable[Pipeline],
        log: MemoryLog,
        admission: Admission,
        traces: TraceConsumer | None = None,
        *,
        passage: Passage | None = None,
    ) -> None:
        self._pipelines = tuple(pipelines)
        self._log = log
        self._admission = admission
        self._traces = traces
        self._passage = passage or Passage()

    @property
    def traces(self) -> TraceConsumer | None:
        """Who takes traces; None when no pipeline asks for them."""
        return self._traces

    def reserve(self, client: str) -> Reservation:
        """The memory of one request: of the budget that all receivers share."""
        return self._admission.reserve(client)

    def lead_to(self, pipelines: Iterable[Pipeline]) -> None:
        """Change the pipelines behind it; the passage is closed."""
        self._pipelines = tuple(pipelines)

    def admit(self, expected_bytes: int) -> None:
        """Refuse, before it is read, what some queue has no room for.

        Raises:
            RetryableError: there is no room now; the client may send it again.
        """
        for pipeline in self._pipelines:
            self._log.admit(pipeline.queued, expected_bytes)

    def consume(self, profiles: Profiles) -> Sequence[Rejection]:
        """Process a request and acknowledge it: for every pipeline, or for none.

        A request without Profiles is a success, and goes no further, as in the collector. An exporter without
        a queue has delivered when this returns; when something behind it fails, the client sends the request
        again, and that exporter delivers it twice.

        Raises:
            RetryableError: nothing was acknowledged; the client may send it again.
            PermanentError: nothing was acknowledged, nor will be.
        """
        with self._passage.request():
            if not self._pipelines:
                message = "the receiver leads nowhere any more; send the request again"
                raise UnavailableError(message, retry_after_secs=_MOVED_RETRY_AFTER_SECS)
            processed = [(pipeline, *pipeline.process(profiles)) for pipeline in self._pipelines]
            left = [(pipeline, result) for pipeline, result, _ in processed if result.profile_count]
            for pipeline, result in left:
                for sender in pipeline.direct:
                    sender.deliver(result)
            gates = {number: one.gate for number, (one, _) in enumerate(left) if one.gate is not None}
            waits = {number: gate.pipeline for number, gate in gates.items()}
            held = self._log.append([(result, pipeline.queued) for pipeline, result in left], waits)
            for gate, one in zip(gates.values(), held, strict=True):
                gate.hold(one)
        return _told_once([refused for _, _, refused in processed])


_Facts = tuple[str, str, int, int]


def _facts(rejection: Rejection) -> _Facts:
    """What a rejection says: two that say the same are equal."""
    return rejection.reason, rejection.message, rejection.profile_count, rejection.sample_count


def _told_once(refused: Iterable[Sequence[Rejection]]) -> Sequence[Rejection]:
    """What several pipelines refused of one request; a Profile that all refuse alike is one Profile."""
    counts: Counter[_Facts] = Counter()
    by_facts: dict[_Facts, Rejection] = {}
    for rejections in refused:
        found = {_facts(rejection): rejection for rejection in rejections}
        by_facts |= found
        counts |= Counter(map(_facts, rejections))
    return [by_facts[facts] for facts in counts.elements()]
