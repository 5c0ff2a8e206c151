"""The acknowledgement point: what was taken from clients and is not delivered to every exporter yet.

One log for all exporters. An entry stands in it once; each exporter reads it through a cursor of its own, so
a slow one delays no other. When the last cursor has passed an entry, its memory is free.

One lock guards all of it, because an append must be atomic over exporters.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from otelprof.errors import OverloadedError, RequestTooLargeError, UnavailableError
from otelprof.log.batching import BatchingCursor
from otelprof.log.cursor import Cursor, DropReason, Entry
from otelprof.log.marks import Attempt
from otelprof.telemetry.metrics import EXPORTER_DROPPED, EXPORTER_ENQUEUE_FAILED

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from otelprof._core import Profiles
    from otelprof.clock import Clock
    from otelprof.config.exporter import SendingQueueConfig
    from otelprof.log.cursor import Claim, Item
    from otelprof.model import ComponentId
    from otelprof.telemetry.metrics import Metrics

    Appended = tuple[Profiles, Sequence[ComponentId]]
    _Taker = tuple[Cursor, Claim | None]

# Said to a client that finds no room: long enough for a queue to move, short enough that nobody notices.
FULL_RETRY_AFTER_SECS: Final = 1.0

NONE_HELD: Final[Mapping[int, ComponentId]] = MappingProxyType({})
NO_CLAIMS: Final[Mapping[tuple[int, ComponentId], Claim]] = MappingProxyType({})


@dataclass(eq=False, frozen=True, slots=True)
class Held:
    """A request that was acknowledged, and is given out to no exporter before it is settled.

    Attributes:
        profiles: the request.
        size_bytes: its memory, which counts in the queue of each exporter.
        items: its place with each exporter.
    """

    profiles: Profiles
    size_bytes: int
    items: Sequence[tuple[Cursor, Item]]


@dataclass(frozen=True, slots=True)
class Demand:
    """What requests ask of the log.

    Attributes:
        sizes: of each, the memory.
        needed_bytes: of each exporter, the memory.
        samples: of each exporter.
    """

    sizes: Sequence[int]
    needed_bytes: Mapping[ComponentId, int]
    samples: Mapping[ComponentId, int]

    @classmethod
    def of(cls, entries: Sequence[Appended], more_bytes: Callable[[Appended], int] | None = None) -> Demand:
        """Add it up; `more_bytes` says what a request takes beside its own memory."""
        needed_bytes: dict[ComponentId, int] = {}
        samples: dict[ComponentId, int] = {}
        sizes = [one[0].memory_bytes + (more_bytes(one) if more_bytes else 0) for one in entries]
        for (profiles, exporters), size_bytes in zip(entries, sizes, strict=True):
            for exporter in exporters:
                needed_bytes[exporter] = needed_bytes.get(exporter, 0) + size_bytes
                samples[exporter] = samples.get(exporter, 0) + profiles.sample_count
        return cls(sizes, needed_bytes, samples)


class MemoryLog:
    """What was acknowledged, in memory, bounded in bytes for each exporter.

    Args:
        queues: the exporters that read it, with their bounds.
        clock: time for retries.
        metrics: where lost and refused samples are counted.
    """

    def __init__(
        self, queues: Mapping[ComponentId, SendingQueueConfig], clock: Clock, metrics: Metrics
    ) -> None:
        self._lock = Lock()
        self._clock = clock
        self._metrics = metrics
        self._closed = False
        self._memory_bytes = 0
        self.left_held: list[tuple[ComponentId, Held]] = []
        """What an earlier run left waiting at gates, with their pipelines, from `start` on."""
        self._cursors = {exporter: self._made(exporter, config) for exporter, config in queues.items()}

    def cursor(self, exporter: ComponentId) -> Cursor:
        """An exporter's own view of the log."""
        return self._cursors[exporter]

    def renew(self, exporter: ComponentId, config: SendingQueueConfig) -> Cursor:
        """A view of the log for an exporter that is new here, or whose senders have been exchanged.

        It takes over what the exporter's cursor before has not passed; with a smaller queue than before, it
        may stand above its capacity for a while.
        """
        cursor = self._made(exporter, config)
        with self._lock:
            before = self._cursors.get(exporter)
            if before is not None:
                cursor.take_over(before)
            self._cursors[exporter] = cursor
        return cursor

    def keep_only(self, exporters: Collection[ComponentId]) -> None:
        """Append nothing more for others; what they have stays theirs."""
        with self._lock:
            self._cursors = {one: cursor for one, cursor in self._cursors.items() if one in exporters}

    @property
    def memory_bytes(self) -> int:
        """Memory of all entries that some cursor is still behind."""
        return self._memory_bytes

    def start(self) -> None:
        """Take over what was left of an earlier run: here, nothing."""

    def append(
        self, entries: Sequence[Appended], held: Mapping[int, ComponentId] = NONE_HELD
    ) -> Sequence[Held]:
        """Take requests for their exporters: all of them, or none.

        Args:
            entries: the requests, each with its exporters.
            held: the numbers of those that are to be settled before they are given out, with the pipelines
                that do it.

        Returns:
            Those that are held, in their order.

        Raises:
            RequestTooLargeError: it would not fit into the empty queue of one of its exporters.
            OverloadedError: one of its exporters that refuses on overflow has no room now.
            UnavailableError: the log is closed, or an exporter was removed while the request was on its way.
        """
        demand = Demand.of(entries)
        with self._lock:
            self._check_room(demand)
            return self._take_in(entries, demand, held)

    def settle(self, held: Held, profiles: Profiles) -> None:
        """Give out what came of a held request, to every exporter that did not drop it meanwhile.

        Args:
            held: from `append`; once.
            profiles: what came of it; when it holds no Profile, nothing is given out.
        """
        size_bytes = profiles.memory_bytes
        with self._lock:
            waiting = [(cursor.latest, item) for cursor, item in held.items]
            takers = [(cursor, item.claim) for cursor, item in waiting if cursor.let_go(item)]
            if profiles.profile_count:
                self._give(profiles, size_bytes, takers)
            else:
                for cursor, claim in takers:
                    if claim is not None:
                        self.passed(cursor.exporter, claim)
        self.flush()

    def admit(self, exporters: Sequence[ComponentId], expected_bytes: int) -> None:
        """Say whether a request could be taken now, before work is put into it.

        Not for an exporter whose queue is empty: an expectation that is too high must not keep a request out
        for good.

        Raises:
            OverloadedError: one of the exporters refuses on overflow, and has no room for it now.
        """
        with self._lock:
            for exporter in exporters:
                cursor = self._cursors.get(exporter)
                if cursor is not None and cursor.item_count and not cursor.accepts(expected_bytes):
                    raise self._no_room(exporter)

    def close(self) -> None:
        """Take nothing more; what is there can still be delivered. Safe more than once."""
        with self._lock:
            self._closed = True

    def flush(self) -> None:
        """Write down what exporters have passed: here, nowhere."""

    def shutdown(self) -> None:
        """Release what the log holds outside of memory: here, nothing. Safe more than once."""

    @property
    def lock(self) -> Lock:
        """Guards the log and all its cursors."""
        return self._lock

    def hold(self, size_bytes: int, items: int) -> Entry:
        """Memory that is free when so many items are passed. The lock is held."""
        self._memory_bytes += size_bytes
        return Entry(size_bytes, items)

    def release(self, entry: Entry) -> None:
        """One more item of an entry is passed. The lock is held."""
        entry.behind -= 1
        if entry.behind == 0:
            self._memory_bytes -= entry.size_bytes

    def begin_attempt(self, exporter: ComponentId, rows: tuple[int, ...]) -> Attempt:
        """An exporter begins to work on requests that stand on disk."""
        return Attempt(str(exporter), self._clock.now(), rows)

    def end_attempt(self, attempt: Attempt) -> None:
        """It has ended, whatever came of it."""

    def keep_dead_letter(self, exporter: ComponentId, item: Item, error: Exception) -> None:
        """Keep what an exporter can never deliver: here, nothing."""

    def passed(self, exporter: ComponentId, claim: Claim) -> None:
        """An exporter has passed all that stood for a claim. The lock is held."""

    def count_drop(self, exporter: ComponentId, samples: int, reason: DropReason) -> None:
        """Count acknowledged samples that an exporter will never deliver."""
        self._metrics.add(EXPORTER_DROPPED, samples, exporter=str(exporter), reason=reason.value)

    def _take_in(
        self,
        entries: Sequence[Appended],
        demand: Demand,
        held: Mapping[int, ComponentId],
        claims: Mapping[tuple[int, ComponentId], Claim] = NO_CLAIMS,
    ) -> Sequence[Held]:
        """Put requests into the cursors, which have been asked for room. The lock is held."""
        for exporter, needed_bytes in demand.needed_bytes.items():
            self._cursors[exporter].make_room(needed_bytes)
        waiting = []
        for number, (profiles, exporters) in enumerate(entries):
            takers = [(self._cursors[one], claims.get((number, one))) for one in exporters]
            if number in held:
                waiting.append(self._hold_back(profiles, demand.sizes[number], takers))
            else:
                self._give(profiles, demand.sizes[number], takers)
        return waiting

    def _check_room(self, demand: Demand) -> None:
        """Raise when one exporter cannot take its part; nothing was changed then."""
        if self._closed:
            message = "otelprof is shutting down; send the request again"
            raise UnavailableError(message, retry_after_secs=FULL_RETRY_AFTER_SECS)
        for exporter, needed_bytes in demand.needed_bytes.items():
            cursor = self._cursors.get(exporter)
            if cursor is None:
                message = f"exporter {exporter} has been removed meanwhile; send the request again"
                raise UnavailableError(message, retry_after_secs=FULL_RETRY_AFTER_SECS)
            key = f"exporters.{exporter}.sending_queue.queue_size"
            if needed_bytes > cursor.capacity_bytes:
                self._metrics.add(EXPORTER_ENQUEUE_FAILED, demand.samples[exporter], exporter=str(exporter))
                message = (
                    f"the request takes {needed_bytes} bytes of memory, and {key} is {cursor.capacity_bytes}"
                )
                raise RequestTooLargeError(message)
            if not cursor.accepts(needed_bytes):
                self._metrics.add(EXPORTER_ENQUEUE_FAILED, demand.samples[exporter], exporter=str(exporter))
                raise self._no_room(exporter)

    def _no_room(self, exporter: ComponentId) -> OverloadedError:
        key = f"exporters.{exporter}.sending_queue.queue_size"
        message = f"sending queue is full: {key} is {self._cursors[exporter].capacity_bytes} bytes"
        return OverloadedError(message, retry_after_secs=FULL_RETRY_AFTER_SECS)

    def _made(self, exporter: ComponentId, config: SendingQueueConfig) -> Cursor:
        return (Cursor if config.batch is None else BatchingCursor)(self, exporter, config, self._clock)

    def _hold_back(self, profiles: Profiles, size_bytes: int, takers: Sequence[_Taker]) -> Held:
        entry = self.hold(size_bytes, len(takers))
        items = [(cursor, cursor.hold(profiles, entry, claim)) for cursor, claim in takers]
        return Held(profiles, size_bytes, items)

    def _give(self, profiles: Profiles, size_bytes: int, takers: Sequence[_Taker]) -> None:
        if takers:
            entry = self.hold(size_bytes, len(takers))
            for cursor, claim in takers:
                cursor.push(profiles, entry, claim)
