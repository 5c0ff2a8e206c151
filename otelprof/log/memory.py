"""The acknowledgement point: what was taken from clients and is not delivered to every exporter yet.

One log for all exporters. An entry stands in it once; each exporter reads it through a cursor of its own, so
a slow one delays no other. When the last cursor has passed an entry, its memory is free.

Everything that decides is state in this file and the clock that is passed in: no thread, no timer. One lock
guards all of it, because an append must be atomic over exporters.
"""

from __future__ import annotations

import heapq
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass
from enum import StrEnum
from threading import Condition, Lock
from typing import TYPE_CHECKING, Final

from otelprof.errors import OverloadedError, RequestTooLargeError, UnavailableError
from otelprof.telemetry.metrics import EXPORTER_DROPPED, EXPORTER_ENQUEUE_FAILED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from otelprof._core import Profiles
    from otelprof.clock import Clock
    from otelprof.config.exporter import SendingQueueConfig
    from otelprof.model import ComponentId
    from otelprof.telemetry.metrics import Metrics

# Said to a client that finds no room: long enough for a queue to move, short enough that nobody notices.
FULL_RETRY_AFTER_SECS: Final = 1.0


class DropReason(StrEnum):
    """Why acknowledged samples were lost; the label `reason` of `otelprof_exporter_dropped_samples`."""

    QUEUE_OVERFLOW = "queue_overflow"
    RETRIES_EXHAUSTED = "retries_exhausted"
    PERMANENT_ERROR = "permanent_error"
    SHUTDOWN = "shutdown"


@dataclass(eq=False, slots=True)
class _Entry:
    """A request in the log."""

    profiles: Profiles
    size_bytes: int
    cursors_behind: int


@dataclass(eq=False, slots=True)
class Item:
    """An entry as one cursor sees it.

    Attributes:
        profiles: the request.
        size_bytes: the memory that it keeps alive.
        sequence: its place in the cursor's order, oldest first.
        attempts: how often it was tried and failed.
        first_attempt_at: when it was first tried, on the monotonic clock; None before.
        not_before: when it may be tried again, on the monotonic clock.
        in_flight: it is in the hands of a sender.
    """

    profiles: Profiles
    size_bytes: int
    sequence: int
    entry: _Entry
    attempts: int = 0
    first_attempt_at: float | None = None
    not_before: float = 0.0
    in_flight: bool = False


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
        self._metrics = metrics
        self._closed = False
        self._memory_bytes = 0
        self._cursors = {
            exporter: Cursor(self, exporter, config, clock) for exporter, config in queues.items()
        }

    def cursor(self, exporter: ComponentId) -> Cursor:
        """An exporter's own view of the log."""
        return self._cursors[exporter]

    @property
    def memory_bytes(self) -> int:
        """Memory of all entries that some cursor is still behind."""
        return self._memory_bytes

    def append(self, entries: Sequence[tuple[Profiles, Sequence[ComponentId]]]) -> None:
        """Take requests for their exporters: all of them, or none.

        Raises:
            RequestTooLargeError: it would not fit into the empty queue of one of its exporters.
            OverloadedError: one of its exporters that refuses on overflow has no room now.
            UnavailableError: the log is closed.
        """
        demand: Counter[ComponentId] = Counter()
        samples: Counter[ComponentId] = Counter()
        sizes = [profiles.memory_bytes for profiles, _ in entries]
        for (profiles, exporters), size_bytes in zip(entries, sizes, strict=True):
            for exporter in exporters:
                demand[exporter] += size_bytes
                samples[exporter] += profiles.sample_count
        with self._lock:
            self._check_room(demand, samples)
            for exporter, needed_bytes in demand.items():
                self._cursors[exporter].make_room(needed_bytes)
            for (profiles, exporters), size_bytes in zip(entries, sizes, strict=True):
                self._append_one(profiles, size_bytes, exporters)

    def close(self) -> None:
        """Take nothing more; what is there can still be delivered. Safe more than once."""
        with self._lock:
            self._closed = True

    @property
    def lock(self) -> Lock:
        """Guards the log and all its cursors."""
        return self._lock

    def release(self, entry: _Entry) -> None:
        """One more cursor has passed an entry. The lock is held."""
        entry.cursors_behind -= 1
        if entry.cursors_behind == 0:
            self._memory_bytes -= entry.size_bytes

    def count_drop(self, exporter: ComponentId, samples: int, reason: DropReason) -> None:
        """Count acknowledged samples that an exporter will never deliver."""
        self._metrics.add(EXPORTER_DROPPED, samples, exporter=str(exporter), reason=reason.value)

    def _check_room(self, demand: Mapping[ComponentId, int], samples: Mapping[ComponentId, int]) -> None:
        """Raise when one exporter cannot take its part; nothing was changed then."""
        if self._closed:
            message = "otelprof is shutting down; send the request again"
            raise UnavailableError(message, retry_after_secs=FULL_RETRY_AFTER_SECS)
        for exporter, needed_bytes in demand.items():
            cursor = self._cursors[exporter]
            key = f"exporters.{exporter}.sending_queue.queue_size"
            if needed_bytes > cursor.capacity_bytes:
                self._metrics.add(EXPORTER_ENQUEUE_FAILED, samples[exporter], exporter=str(exporter))
                message = (
                    f"the request takes {needed_bytes} bytes of memory, and {key} is {cursor.capacity_bytes}"
                )
                raise RequestTooLargeError(message)
            if not cursor.accepts(needed_bytes):
                self._metrics.add(EXPORTER_ENQUEUE_FAILED, samples[exporter], exporter=str(exporter))
                message = f"sending queue is full: {key} is {cursor.capacity_bytes} bytes"
                raise OverloadedError(message, retry_after_secs=FULL_RETRY_AFTER_SECS)

    def _append_one(self, profiles: Profiles, size_bytes: int, exporters: Iterable[ComponentId]) -> None:
        takers = [self._cursors[exporter] for exporter in exporters]
        if takers:
            entry = _Entry(profiles, size_bytes, len(takers))
            self._memory_bytes += size_bytes
            for cursor in takers:
                cursor.push(entry)


class Cursor:
    """One exporter's place in the log: what it has to deliver, what it delivers now, what waits for a retry.

    An item is taken by one thread, which then calls exactly one of `ack`, `retry_at` and `drop`. A call for
    an item that is no longer the cursor's does nothing.
    """

    def __init__(
        self, log: MemoryLog, exporter: ComponentId, config: SendingQueueConfig, clock: Clock
    ) -> None:
        self.exporter = exporter
        self.capacity_bytes = int(config.queue_size)
        self._log = log
        self._clock = clock
        self._closed = False
        self._due = Condition(log.lock)
        self._empty = Condition(log.lock)
        self._drops_oldest = config.on_overflow == "drop_oldest"
        self._next_sequence = 0
        self._size_bytes = 0
        self._in_flight_count = 0
        # All that this cursor has not passed, oldest first. (The oldest key of a plain dict is slow to find.)
        self._items: OrderedDict[int, Item] = OrderedDict()
        self._fresh: deque[Item] = deque()
        # (not_before, sequence); skipped when met, if the item is gone, in flight or due at another time.
        self._retries: list[tuple[float, int]] = []

    @property
    def size_bytes(self) -> int:
        """Memory of everything that this exporter has not passed, in flight included."""
        return self._size_bytes

    @property
    def in_flight_count(self) -> int:
        """How many items senders hold now."""
        return self._in_flight_count

    @property
    def item_count(self) -> int:
        """How many items this exporter has not passed, in flight included."""
        return len(self._items)

    def take(self) -> Item | None:
        """The next item that is due, now in flight; None when there is none."""
        with self._log.lock:
            item = None if self._closed else self._next_due()
            if item is not None:
                item.in_flight = True
                self._in_flight_count += 1
            return item

    def ack(self, item: Item) -> None:
        """The item was delivered."""
        with self._log.lock:
            self._forget(item)

    def retry_at(self, item: Item, not_before: float) -> None:
        """The item failed, and is due again at a time of the monotonic clock."""
        with self._log.lock:
            if item.sequence in self._items and item.in_flight:
                self._in_flight_count -= 1
                item.in_flight = False
                item.attempts += 1
                item.not_before = not_before
                heapq.heappush(self._retries, (not_before, item.sequence))
                self._due.notify()

    def drop(self, item: Item, reason: DropReason) -> None:
        """The item will never be delivered; its samples are counted."""
        with self._log.lock:
            dropped = self._forget(item)
        if dropped:
            self._log.count_drop(self.exporter, item.profiles.sample_count, reason)

    def drop_all(self, reason: DropReason) -> None:
        """Give up everything, in flight included; its samples are counted."""
        with self._log.lock:
            items = list(self._items.values())
            for item in items:
                self._forget(item)
        for item in items:
            self._log.count_drop(self.exporter, item.profiles.sample_count, reason)

    def expedite(self) -> None:
        """Make everything that waits for a retry due now."""
        with self._log.lock:
            waiting = [item for item in self._items.values() if item.attempts and not item.in_flight]
            for item in waiting:
                item.not_before = 0.0
            self._retries = [(0.0, item.sequence) for item in waiting]
            self._due.notify_all()

    def close(self) -> None:
        """Give out no more items, and wake everybody who waits. Safe more than once."""
        with self._log.lock:
            self._closed = True
            self._due.notify_all()
            self._empty.notify_all()

    @property
    def closed(self) -> bool:
        """No more items are given out."""
        return self._closed

    def secs_until_due(self) -> float | None:
        """How long until `take` may return something; None when that depends on an append."""
        with self._log.lock:
            return self._secs_until_due()

    def wait(self) -> None:
        """Return when an item may be due, or when the cursor is closed; or earlier."""
        with self._log.lock:
            due_secs = self._secs_until_due()
            if not self._closed and due_secs != 0:
                self._clock.wait(self._due, due_secs)

    def wait_until_empty(self, deadline: float) -> None:
        """Return when nothing is left, when the cursor is closed, or at a time of the monotonic clock."""
        with self._log.lock:
            while self._items and not self._closed:
                left_secs = deadline - self._clock.monotonic()
                if left_secs <= 0:
                    return
                self._clock.wait(self._empty, left_secs)

    # What follows is called by the log and by the methods above; the lock is held.

    def accepts(self, needed_bytes: int) -> bool:
        """Whether `make_room` can be asked for this many bytes."""
        return self._drops_oldest or self._size_bytes + needed_bytes <= self.capacity_bytes

    def make_room(self, needed_bytes: int) -> None:
        """Drop the oldest waiting items until there is room.

        What is in flight cannot be dropped, so a queue may stand above its capacity by what its senders hold.
        """
        excess_bytes = self._size_bytes + needed_bytes - self.capacity_bytes
        if excess_bytes <= 0:
            return
        oldest = []
        for item in self._items.values():
            if excess_bytes <= 0:
                break
            if not item.in_flight:
                oldest.append(item)
                excess_bytes -= item.size_bytes
        for item in oldest:
            self._forget(item)
            self._log.count_drop(self.exporter, item.profiles.sample_count, DropReason.QUEUE_OVERFLOW)

    def push(self, entry: _Entry) -> None:
        """Add an entry at the end."""
        item = Item(entry.profiles, entry.size_bytes, self._next_sequence, entry)
        self._next_sequence += 1
        self._items[item.sequence] = item
        self._fresh.append(item)
        self._size_bytes += item.size_bytes
        self._due.notify()

    def _forget(self, item: Item) -> bool:
        """Take an item off the cursor; False when it was not there."""
        if self._items.pop(item.sequence, None) is None:
            return False
        if item.in_flight:
            self._in_flight_count -= 1
            item.in_flight = False
        elif self._fresh and self._fresh[0] is item:
            self._fresh.popleft()
        self._size_bytes -= item.size_bytes
        self._log.release(item.entry)
        if not self._items:
            self._empty.notify_all()
        return True

    def _next_due(self) -> Item | None:
        """The retry that is due longest, else the oldest fresh item, off its list."""
        if self._secs_until_retry() == 0:
            _, sequence = heapq.heappop(self._retries)
            return self._items[sequence]
        return self._fresh.popleft() if self._fresh else None

    def _secs_until_due(self) -> float | None:
        return 0.0 if self._fresh else self._secs_until_retry()

    def _secs_until_retry(self) -> float | None:
        while self._retries:
            not_before, sequence = self._retries[0]
            item = self._items.get(sequence)
            if item is not None and not item.in_flight and item.not_before == not_before:
                return max(0.0, not_before - self._clock.monotonic())
            heapq.heappop(self._retries)
        return None
