"""A cursor that gives requests out many at a time, to be merged (`sending_queue.batch`).

    push ─► requests wait ─► take_batch ─► replace ─► pieces, due at once ─► take ─► ack | retry_at | drop

What came of a batch stands in the place of its requests, in the queue and in its bound: a piece is delivered,
tried again and given up by itself, as a request is without batching.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otelprof.config.exporter import BatchConfig
from otelprof.log.cursor import Claim, Cursor, Item

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otelprof._core import Profiles
    from otelprof.clock import Clock
    from otelprof.config.exporter import SendingQueueConfig
    from otelprof.log.cursor import Entry
    from otelprof.log.memory import MemoryLog
    from otelprof.model import ComponentId

# What one batch may hold, in memory as the queue counts it: 64 MiB and more of bodies.
MAX_BATCH_MEMORY_BYTES: Final = 256 << 20


class BatchingCursor(Cursor):
    """A cursor whose requests wait for their batch.

    One batch is merged at a time: what comes meanwhile makes the next one larger, which is cheaper than two
    small ones. A batch is due when `min_size` is reached, when `flush_timeout` has passed since the oldest of
    its requests came, when it is as large as a batch may be, or when the queue drains.
    """

    def __init__(
        self, log: MemoryLog, exporter: ComponentId, config: SendingQueueConfig, clock: Clock
    ) -> None:
        super().__init__(log, exporter, config, clock)
        self.batch = config.batch or BatchConfig()
        # Half of the queue: waiting for more must not be what makes it overflow.
        self._max_bytes = min(self.capacity_bytes // 2, MAX_BATCH_MEMORY_BYTES)
        # What waits: by the sizer, and in memory.
        self._waiting_size = 0
        self._waiting_bytes = 0
        self._merging = False
        self._draining = False

    def take_batch(self) -> Sequence[Item]:
        """The requests of the batch that is due, now in flight, oldest first; none when none is due.

        Who takes some calls `replace` with them.
        """
        with self._log.lock:
            if self._closed or self._secs_until_batch() != 0:
                return ()
            batch = [self._leave()]
            size, size_bytes = self._size_of(batch[0]), batch[0].size_bytes
            while self._fresh:
                size += self._size_of(self._fresh[0])
                size_bytes += self._fresh[0].size_bytes
                if 0 < self.batch.max_size < size or size_bytes > self._max_bytes:
                    break
                batch.append(self._leave())
            for item in batch:
                item.in_flight = True
            self._in_flight_count += len(batch)
            self._merging = True
            return batch

    def replace(self, batch: Sequence[Item], pieces: Sequence[Profiles], size_bytes: int) -> None:
        """Put what came of a batch in the place of its requests, due now.

        The requests are not passed before the last piece is. A batch that was dropped meanwhile stays so.

        Args:
            batch: from `take_batch`.
            pieces: what is to be sent instead, at least one.
            size_bytes: the memory of all pieces; they share it, and it is free when the last one is passed.
        """
        with self._log.lock:
            self._merging = False
            if all(item.sequence in self._items for item in batch):
                entry = self._log.hold(size_bytes, len(pieces))
                claims = [item.claim for item in batch if item.claim is not None]
                rows = tuple(row for claim in claims for row in claim.rows)
                appended_at = max((claim.appended_at for claim in claims), default=0.0)
                claim = Claim(rows, len(pieces), appended_at) if rows else None
                siblings: dict[int, Item] = {}
                for number, profiles in enumerate(pieces, 1):
                    # All of the memory stands on the last piece: see `_forget`.
                    held_bytes = size_bytes if number == len(pieces) else 0
                    piece = self._insert(profiles, held_bytes, entry, claim)
                    piece.siblings = siblings
                    siblings[piece.sequence] = piece
                    self._schedule(piece, 0.0)
                # A piece is as old as its requests, and older than all that wait.
                for item in self._fresh:
                    self._items.move_to_end(item.sequence)
                for item in batch:
                    self._forget(item)
            self._due.notify_all()

    def expedite(self) -> None:
        """Make everything that waits for a batch or for a retry due now, and what is still to come."""
        self._draining = True
        super().expedite()

    # What follows is called with the lock held.

    def push(self, profiles: Profiles, entry: Entry, claim: Claim | None = None) -> None:
        """Add a request at the end; one that may have brought the process down comes into no batch."""
        item = self._insert(profiles, entry.size_bytes, entry, claim)
        if claim is not None and claim.is_suspect:
            self._schedule(item, 0.0)
            self._due.notify()
            return
        item.appended_at = self._clock.monotonic()
        self._queue(item)
        # Somebody waits for the batch already, unless this is its first request.
        if len(self._fresh) == 1 or self._secs_until_batch() == 0:
            self._due.notify()

    def _queue(self, item: Item) -> None:
        super()._queue(item)
        self._waiting_size += self._size_of(item)
        self._waiting_bytes += item.size_bytes

    def _leave(self) -> Item:
        """The oldest request that waits, off their list."""
        item = self._fresh.popleft()
        self._waiting_size -= self._size_of(item)
        self._waiting_bytes -= item.size_bytes
        return item

    def _forget(self, item: Item) -> bool:
        if self._fresh and self._fresh[0] is item:
            self._leave()
        if item.siblings and item.siblings.pop(item.sequence, None) and item.siblings:
            # Pieces share their memory: it is free with the last of them, and stands on one that is left.
            heir = next(reversed(item.siblings.values()))
            heir.size_bytes += item.size_bytes
            item.size_bytes = 0
        return super()._forget(item)

    def _next_due(self) -> Item | None:
        return self._next_retry()

    def _secs_until_due(self) -> float | None:
        due = [secs for secs in (self._secs_until_retry(), self._secs_until_batch()) if secs is not None]
        return min(due, default=None)

    def _secs_until_batch(self) -> float | None:
        if self._merging or not self._fresh:
            return None
        full = self._waiting_size >= self.batch.min_size or self._waiting_bytes >= self._max_bytes
        if full or self._draining:
            return 0.0
        flush_at = self._fresh[0].appended_at + self.batch.flush_timeout
        return max(0.0, flush_at - self._clock.monotonic())

    def _size_of(self, item: Item) -> int:
        profiles = item.profiles
        return profiles.body_bytes if self.batch.sizer == "bytes" else profiles.sample_count
