"""Puts requests into a store: symbols first, then the samples that refer to them, each once."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from otelprof._core import WrittenSymbols
from otelprof.store.schema import PARTITION, Table, writer_properties
from otelprof.store.store import EmptyStoreError

if TYPE_CHECKING:
    from otelprof._core import Profiles, TableRows
    from otelprof.clock import Clock
    from otelprof.store.store import Store

_COMMIT_RETRIES: Final = 30
"""Of one commit: as many others may get ahead of it."""


@dataclass(frozen=True)
class Flushed:
    """What one request added.

    Attributes:
        rows: by table.
    """

    rows: dict[Table, int]


class StoreWriter:
    """Appends requests to the tables of a store; safe across threads, one request at a time.

    Args:
        store: where to.
        clock: for Profiles that say no time.
        tenant: of all rows.
        max_symbols: symbols of which it remembers that they are written, about 40 bytes each.
    """

    def __init__(self, store: Store, clock: Clock, *, tenant: str = "", max_symbols: int = 2_000_000) -> None:
        self._store = store
        self._clock = clock
        self._tenant = tenant
        self._written = WrittenSymbols(max_symbols=max_symbols)
        # Of this run: a commit says which of its requests it holds, so that one is never added twice.
        self._app_id = f"otelprof-{uuid.uuid4()}"
        self._sequence = 0
        self._pending: Profiles | None = None

    def write(self, profiles: Profiles) -> Flushed:
        """Add a request; when this returns, readers see it.

        The same one again, after a failure, adds nothing twice.

        Raises:
            StoreError: the tables cannot be used.
            UnavailableError: the store cannot be reached, or too many others wrote at once.
        """
        if profiles is not self._pending:
            self._sequence += 1
            self._pending = profiles
        now = round(self._clock.now() * 1e9)
        tables = profiles.to_tables(self._written, now_unix_nano=now, tenant=self._tenant)
        rows = {}
        for table in Table:
            of_table: TableRows = getattr(tables, table.value)
            rows[table] = len(of_table)
            if len(of_table):
                self._append(table, of_table, traces=tables.trace_count)
        self._written.remember(tables)
        self._pending = None
        return Flushed(rows)

    def _append(self, table: Table, rows: TableRows, *, traces: int) -> None:
        from deltalake import CommitProperties, Transaction, write_deltalake  # noqa: PLC0415 - heavy

        try:
            target = self._store.table(table)
        except EmptyStoreError:
            self._create(table, rows)
            target = self._store.table(table)
        with self._store.errors(table):
            # Whether it is there, after an answer that never came.
            target.update_incremental()
            if target.transaction_version(self._app_id) == self._sequence:
                return
            write_deltalake(
                target,
                rows,
                mode="append",
                writer_properties=writer_properties(table, traces=traces),
                commit_properties=CommitProperties(
                    max_commit_retries=_COMMIT_RETRIES,
                    app_transactions=[Transaction(self._app_id, self._sequence)],
                ),
            )

    def _create(self, table: Table, rows: TableRows) -> None:
        from deltalake import DeltaTable  # noqa: PLC0415 - heavy

        with self._store.errors(table):
            # Another writer may be quicker: then its table is the one.
            DeltaTable.create(
                self._store.place(table),
                rows,
                mode="ignore",
                partition_by=PARTITION,
                name=table.value,
                description=table.description,
                storage_options=self._store.options,
            )
