"""One exporter's place in the log.

Everything that decides is state in this file and the clock that is passed in: no thread, no timer. The lock
is the log's, because an append must be atomic over exporters.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from threading import Condition
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otelprof._core import Profiles
    from otelprof.clock import Clock
    from otelprof.config.exporter import SendingQueueConfig
    from otelprof.log.memory import MemoryLog
    from otelprof.model import ComponentId


class DropReason(StrEnum):
    """Why acknowledged samples were lost; the label `reason` of `otelprof_exporter_dropped_samples`."""

    QUEUE_OVERFLOW = "queue_overflow"
    RETRIES_EXHAUSTED = "retries_exhausted"
    PERMANENT_ERROR = "permanent_error"
    SHUTDOWN = "shutdown"
    EXPORTER_REMOVED = "exporter_removed"
    EXPIRED = "expired"
    CRASHED = "crashed"


@dataclass(eq=False, slots=True)
class Entry:
    """The memory of a request in the log, or of what came of a batch.

    Attributes:
        size_bytes: what it keeps alive.
        behind: how many items of cursors are not passed yet.
    """

    size_bytes: int
    behind: int


@dataclass(eq=False, slots=True)
class Claim:
    """What keeps requests on disk for one exporter, until it has passed all that came of them.

    Attributes:
        rows: the requests, by their numbers in the log.
        behind: how many items of the cursor stand for them.
        appended_at: when the newest of them came, seconds since the UNIX epoch.
        is_suspect: the process ended in the middle of an attempt; it is sent by itself, not in a batch.
    """

    rows: tuple[int, ...]
    behind: int = 1
    appended_at: float = 0.0
    is_suspect: bool = False


@dataclass(eq=False, slots=True)
class Item:
    """An entry as one cursor sees it.

    Attributes:
        profiles: the request.
        size_bytes: the memory that is free when it is passed.
        sequence: its number in the cursor.
        entry: what it is in the log.
        appended_at: when it came, on the monotonic clock; only where requests wait for a batch.
        attempts: how often it was tried and failed.
        first_attempt_at: when it was first tried, on the monotonic clock; None before.
        not_before: when it may be tried again, on the monotonic clock.
        in_flight: it is in the hands of a sender.
        siblings: the pieces of its batch that are not passed, by sequence; None for a request.
        claim: what it stands for on disk; None when it is only in memory.
    """

    profiles: Profiles
    size_bytes: int
    sequence: int
    entry: Entry
    appended_at: float = 0.0
    attempts: int = 0
    first_attempt_at: float | None = None
    not_before: float = 0.0
    in_flight: bool = False
    siblings: dict[int, Item] | None = None
    claim: Claim | None = None


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
        self._successor: Cursor | None = None
        self._due = Condition(log.lock)
        self._empty = Condition(log.lock)
        self._drops_oldest = config.on_overflow == "drop_oldest"
        self._next_sequence = 0
        self._size_bytes = 0
        self._reserved_bytes = 0
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
            self._pass(item)
        self._log.flush()

    def retry_at(self, item: Item, not_before: float) -> None:
        """The item failed, and is due again at a time of the monotonic clock."""
        with self._log.lock:
            if item.sequence in self._items and item.in_flight:
                self._in_flight_count -= 1
                item.in_flight = False
                item.attempts += 1
                self._schedule(item, not_before)
                self._due.notify()

    @contextmanager
    def attempt(self, *items: Item) -> Iterator[None]:
        """While it lasts, an end of the process without a shutdown counts against what is tried."""
        rows = tuple(row for item in items if item.claim is not None for row in item.claim.rows)
        if not rows:
            yield
            return
        attempt = self._log.begin_attempt(self.exporter, rows)
        try:
            yield
        finally:
            self._log.end_attempt(attempt)

    def refuse(self, item: Item, error: Exception) -> None:
        """The item was refused for good: dropped, counted, and a dead letter where its queue is on disk."""
        if item.sequence in self._items:
            self._log.keep_dead_letter(self.exporter, item, error)
        self.drop(item, DropReason.PERMANENT_ERROR)

    def expire(self, before: float) -> None:
        """Drop, counted, what stands on disk and came before a time, in seconds since the UNIX epoch.

        Not what is in flight, or came after something that is younger.
        """
        with self._log.lock:
            expired = []
            for item in self._items.values():
                if item.claim is not None and not item.in_flight:
                    if item.claim.appended_at >= before:
                        break
                    expired.append(item)
            for item in expired:
                self._give_up(item, DropReason.EXPIRED)
        self._log.flush()

    def drop(self, item: Item, reason: DropReason) -> None:
        """The item will never be delivered; its samples are counted.

        At a shutdown, what stands on disk is neither lost nor counted: it is delivered after the next start.
        """
        with self._log.lock:
            self._give_up(item, reason)
        self._log.flush()

    def drop_all(self, reason: DropReason) -> None:
        """Give up everything, in flight included, as `drop` does."""
        with self._log.lock:
            for item in list(self._items.values()):
                self._give_up(item, reason)
        self._log.flush()

    def expedite(self) -> None:
        """Make everything that waits for a retry due now."""
        with self._log.lock:
            retries, self._retries = self._retries, []
            for sequence in sorted(sequence for _, sequence in retries):
                if sequence in self._items:
                    self._schedule(self._items[sequence], 0.0)
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

    @property
    def latest(self) -> Cursor:
        """Who has what this cursor had: the last that took over, or itself."""
        cursor = self
        while cursor._successor is not None:
            cursor = cursor._successor
        return cursor

    def take_over(self, before: Cursor) -> None:
        """Have everything that a cursor of the same exporter has not passed; this one is empty, and new.

        What somebody still sends for the one before is due again: what comes of that attempt counts nothing.
        """
        before._successor = self
        self._next_sequence = before._next_sequence
        self._items, before._items = before._items, OrderedDict()
        self._size_bytes, before._size_bytes = before._size_bytes, 0
        self._reserved_bytes, before._reserved_bytes = before._reserved_bytes, 0
        self._retries, before._retries = before._retries, []
        for item in list(self._items.values()):
            if item.in_flight:
                self._start_over(item)
        before._in_flight_count = 0
        while before._fresh:
            self._queue(before._fresh.popleft())
        before._empty.notify_all()

    def accepts(self, needed_bytes: int) -> bool:
        """Whether `make_room` can be asked for this many bytes."""
        if self._drops_oldest:
            return True
        return self._size_bytes + self._reserved_bytes + needed_bytes <= self.capacity_bytes

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
            self._give_up(item, DropReason.QUEUE_OVERFLOW)

    def reserve(self, size_bytes: int) -> None:
        """Keep room for what is on its way to the disk; less than 0 gives it back."""
        self._reserved_bytes += size_bytes

    def hold(self, profiles: Profiles, entry: Entry, claim: Claim | None = None) -> Item:
        """Add a request that is not given out: it counts, and waits for `let_go`."""
        return self._insert(profiles, entry.size_bytes, entry, claim)

    def let_go(self, item: Item) -> bool:
        """Take a held item off, but not its claim; False when it was dropped meanwhile."""
        return self._forget(item)

    def push(self, profiles: Profiles, entry: Entry, claim: Claim | None = None) -> None:
        """Add a request at the end."""
        self._queue(self._insert(profiles, entry.size_bytes, entry, claim))
        self._due.notify()

    def _queue(self, item: Item) -> None:
        """Have an item wait behind those that wait already."""
        self._fresh.append(item)

    def _start_over(self, item: Item) -> None:
        """Put a copy in the place of an item whose sender may still touch it, due now."""
        copy = replace(item, in_flight=False)
        self._items[item.sequence] = copy
        if copy.siblings is not None:
            copy.siblings[item.sequence] = copy
        self._schedule(copy, 0.0)

    def _insert(self, profiles: Profiles, size_bytes: int, entry: Entry, claim: Claim | None) -> Item:
        item = Item(profiles, size_bytes, self._next_sequence, entry, claim=claim)
        self._next_sequence += 1
        self._items[item.sequence] = item
        self._size_bytes += item.size_bytes
        return item

    def _schedule(self, item: Item, not_before: float) -> None:
        item.not_before = not_before
        heapq.heappush(self._retries, (not_before, item.sequence))

    def _pass(self, item: Item) -> bool:
        """Take an item off the cursor, and what it stands for off the disk; False when it was not there."""
        if not self._forget(item):
            return False
        claim = item.claim
        if claim is not None:
            claim.behind -= 1
            if claim.behind == 0:
                self._log.passed(self.exporter, claim)
        return True

    def _give_up(self, item: Item, reason: DropReason) -> None:
        stays = reason is DropReason.SHUTDOWN and item.claim is not None
        dropped = self._forget(item) if stays else self._pass(item)
        if dropped and not stays:
            self._log.count_drop(self.exporter, item.profiles.sample_count, reason)

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
        retry = self._next_retry()
        if retry is None and self._fresh:
            return self._fresh.popleft()
        return retry

    def _next_retry(self) -> Item | None:
        """The retry that is due longest, off its list."""
        if self._secs_until_retry() != 0:
            return None
        _, sequence = heapq.heappop(self._retries)
        return self._items[sequence]

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
