"""Merges requests that wait for one exporter, and splits what came of them (`sending_queue.batch`).

The requests of a batch share nearly all their symbols, so that one dictionary for all of them is most of what
can be saved on the wire. The merger is kept from batch to batch: it knows most symbols of the next one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from otelprof._core import Merger
from otelprof.telemetry.metrics import (
    BATCH_BYTES_IN,
    BATCH_BYTES_OUT,
    BATCH_DUPLICATES_REMOVED,
    BATCH_MERGE_FAILED,
    BATCH_ORPHANS_REMOVED,
    BATCH_OVERSIZED_PIECES,
    BATCH_REQUESTS,
    BATCHES,
)
from otelprof.telemetry.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otelprof._core import Profiles
    from otelprof.component import ComponentSettings
    from otelprof.log.batching import BatchingCursor
    from otelprof.log.cursor import Item


class Batcher:
    """Stands between a cursor and the sender: what is taken here is a piece of a batch.

    Args:
        cursor: where requests wait.
        component: the exporter's id, logger, metrics and clock.
    """

    def __init__(self, cursor: BatchingCursor, component: ComponentSettings) -> None:
        self._cursor = cursor
        self._max_bytes = int(cursor.batch.max_size) if cursor.batch.sizer == "bytes" else 0
        self._merger = Merger()
        self._id = str(component.id)
        self._metrics = component.metrics
        self._logger = component.logger
        self._throttle = Throttle(component.clock)

    def take(self) -> Item | None:
        """The next piece that is due, now in flight, if need be of a batch that is merged now."""
        piece = self._cursor.take()
        if piece is None:
            batch = self._cursor.take_batch()
            if batch:
                with self._cursor.attempt(*batch):
                    self._cursor.replace(batch, *self._pieces([item.profiles for item in batch]))
                piece = self._cursor.take()
        return piece

    def _pieces(self, requests: Sequence[Profiles]) -> tuple[Sequence[Profiles], int]:
        """The requests merged, none larger than `max_size`, or as they came when that fails; their memory."""
        try:
            merged = self._merger.merge(requests)
            pieces, sizes = self._split(merged)
        except Exception:
            self._metrics.add(BATCH_MERGE_FAILED, len(requests), exporter=self._id)
            held_back = self._throttle.passed("merge")
            if held_back is not None:
                self._logger.exception(
                    "requests cannot be merged, and are sent as they came", suppressed=held_back
                )
            return requests, sum(request.memory_bytes for request in requests)
        self._count(requests, merged, sizes)
        # Pieces share what they were cut from, and each keeps its wire form beside.
        return pieces, merged.memory_bytes + sum(sizes)

    def _split(self, merged: Profiles) -> tuple[Sequence[Profiles], Sequence[int]]:
        """Pieces under `max_size`, and what each takes on the wire."""
        size = merged.wire_bytes
        if not 0 < self._max_bytes < size:
            return [merged], [size]
        pieces = merged.split(self._max_bytes)
        return pieces, [piece.wire_bytes for piece in pieces]

    def _count(self, requests: Sequence[Profiles], merged: Profiles, sizes: Sequence[int]) -> None:
        add, id_ = self._metrics.add, self._id
        add(BATCHES, exporter=id_)
        add(BATCH_REQUESTS, len(requests), exporter=id_)
        add(BATCH_BYTES_IN, sum(request.body_bytes for request in requests), exporter=id_)
        add(BATCH_BYTES_OUT, sum(sizes), exporter=id_)
        for table, count in merged.duplicates_removed.items():
            add(BATCH_DUPLICATES_REMOVED, count, exporter=id_, table=table)
        for table, count in merged.orphans_removed.items():
            add(BATCH_ORPHANS_REMOVED, count, exporter=id_, table=table)
        if self._max_bytes:
            oversized = sum(1 for size in sizes if size > self._max_bytes)
            add(BATCH_OVERSIZED_PIECES, oversized, exporter=id_)
