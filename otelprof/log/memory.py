"""The acknowledgement point: what was taken from clients and is not delivered to every exporter yet.

One log for all exporters. An entry stands in it once; each exporter reads it through a cursor of its own, so
a slow one delays no other. When the last cursor has passed an entry, its memory is free.

One lock guards all of it, because an append must be atomic over exporters.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Final

from otelprof.errors import OverloadedError, RequestTooLargeError, UnavailableError
from otelprof.log.batching import BatchingCursor
from otelprof.log.cursor import Cursor, DropReason, Entry
from otelprof.telemetry.metrics import EXPORTER_DROPPED, EXPORTER_ENQUEUE_FAILED

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from otelprof._core import Profiles
    from otelprof.clock import Clock
    from otelprof.config.exporter import SendingQueueConfig
    from otelprof.log.cursor import Item
    from otelprof.model import ComponentId
    from otelprof.telemetry.metrics import Metrics

# Said to a client that finds no room: long enough for a queue to move, short enough that nobody notices.
FULL_RETRY_AFTER_SECS: Final = 1.0


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
            exporter: (Cursor if config.batch is None else BatchingCursor)(self, exporter, config, clock)
            for exporter, config in queues.items()
        }

    def cursor(self, exporter: ComponentId) -> Cursor:
        """An exporter's own view of the log."""
        return self._cursors[exporter]

    @property
    def memory_bytes(self) -> int:
        """Memory of all entries that some cursor is still behind."""
        return self._memory_bytes

    def append(
        self, entries: Sequence[tuple[Profiles, Sequence[ComponentId]]], held: Collection[int] = ()
    ) -> Sequence[Held]:
        """Take requests for their exporters: all of them, or none.

        Args:
            entries: the requests, each with its exporters.
            held: the numbers of those that are to be settled before they are given out.

        Returns:
            Those that are held, in their order.

        Raises:
            RequestTooLargeError: it would not fit into the empty queue of one of its exporters.
            OverloadedError: one of its exporters that refuses on overflow has no room now.
            UnavailableError: the log is closed.
        """
        demand: dict[ComponentId, int] = {}
        samples: dict[ComponentId, int] = {}
        sizes = [profiles.memory_bytes for profiles, _ in entries]
        for (profiles, exporters), size_bytes in zip(entries, sizes, strict=True):
            for exporter in exporters:
                demand[exporter] = demand.get(exporter, 0) + size_bytes
                samples[exporter] = samples.get(exporter, 0) + profiles.sample_count
        with self._lock:
            self._check_room(demand, samples)
            for exporter, needed_bytes in demand.items():
                self._cursors[exporter].make_room(needed_bytes)
            waiting = []
            for number, ((profiles, exporters), size_bytes) in enumerate(zip(entries, sizes, strict=True)):
                takers = [self._cursors[exporter] for exporter in exporters]
                if number in held:
                    waiting.append(self._hold_back(profiles, size_bytes, takers))
                else:
                    self._give(profiles, size_bytes, takers)
            return waiting

    def settle(self, held: Held, profiles: Profiles) -> None:
        """Give out what came of a held request, to every exporter that did not drop it meanwhile.

        Args:
            held: from `append`; once.
            profiles: what came of it; when it holds no Profile, nothing is given out.
        """
        size_bytes = profiles.memory_bytes
        with self._lock:
            takers = [cursor for cursor, item in held.items if cursor.let_go(item)]
            if profiles.profile_count:
                self._give(profiles, size_bytes, takers)

    def admit(self, exporters: Sequence[ComponentId], expected_bytes: int) -> None:
        """Say whether a request could be taken now, before work is put into it.

        Not for an exporter whose queue is empty: an expectation that is too high must not keep a request out
        for good.

        Raises:
            OverloadedError: one of the exporters refuses on overflow, and has no room for it now.
        """
        with self._lock:
            for exporter in exporters:
                cursor = self._cursors[exporter]
                if cursor.item_count and not cursor.accepts(expected_bytes):
                    raise self._no_room(exporter)

    def close(self) -> None:
        """Take nothing more; what is there can still be delivered. Safe more than once."""
        with self._lock:
            self._closed = True

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
                raise self._no_room(exporter)

    def _no_room(self, exporter: ComponentId) -> OverloadedError:
        key = f"exporters.{exporter}.sending_queue.queue_size"
        message = f"sending queue is full: {key} is {self._cursors[exporter].capacity_bytes} bytes"
        return OverloadedError(message, retry_after_secs=FULL_RETRY_AFTER_SECS)

    def _hold_back(self, profiles: Profiles, size_bytes: int, takers: Sequence[Cursor]) -> Held:
        entry = self.hold(size_bytes, len(takers))
        return Held(profiles, size_bytes, [(cursor, cursor.hold(profiles, entry)) for cursor in takers])

    def _give(self, profiles: Profiles, size_bytes: int, takers: Sequence[Cursor]) -> None:
        if takers:
            entry = self.hold(size_bytes, len(takers))
            for cursor in takers:
                cursor.push(profiles, entry)
