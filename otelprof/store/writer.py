"""Puts requests into a store: symbols first, then the samples that refer to them, each once."""

from __future__ import annotations

import uuid
import weakref
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from otelprof._core import WrittenSymbols
from otelprof.errors import EmptyStoreError
from otelprof.store.schema import Table, writer_properties

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otelprof._core import Profiles, TableRows
    from otelprof.clock import Clock
    from otelprof.store.store import Store

_COMMIT_RETRIES: Final = 30
"""Of one commit: as many others may get ahead of it."""
_MAX_ATTEMPTS: Final = 64
"""More requests than this do not wait for a retry at once."""
_NANOS: Final = 1_000_000_000


@dataclass(frozen=True)
class Flushed:
    """What one request added.

    Attributes:
        rows: by table.
    """

    rows: dict[Table, int]


@dataclass
class _Attempt:
    """What a commit says of itself, so that the same request is never added twice.

    A name that is used for one request after the other, and the number of the request (Delta's application
    transactions).

    Attributes:
        request: that is written, as long as somebody may try again; it is not kept alive.
        now_unix_nano: when it was tried first. A retry on the next day must write the rows of the first try:
            symbols that are there already are not written again.
    """

    app_id: str
    sequence: int = 0
    request: weakref.ref[Profiles] | None = None
    now_unix_nano: int = 0

    def is_of(self, request: Profiles | None) -> bool:
        """Whether this writes the request; with None, whether it is free."""
        return (None if self.request is None else self.request()) is request


class _Attempts:
    """Gives each request a name that no other one in flight has; who failed keeps its own for the retry."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._run = uuid.uuid4()
        self._all: list[_Attempt] = []

    @contextmanager
    def of(self, request: Profiles) -> Iterator[_Attempt]:
        """The attempt to write a request; free again when it did not fail."""
        attempt = self._found(request)
        if attempt is None:
            attempt = self._found(None) or self._another()
            attempt.sequence += 1
            attempt.request = weakref.ref(request)
            attempt.now_unix_nano = round(self._clock.now() * _NANOS)
        # The one that was used last stands last.
        self._all.remove(attempt)
        self._all.append(attempt)
        yield attempt
        attempt.request = None

    def _found(self, request: Profiles | None) -> _Attempt | None:
        return next((known for known in self._all if known.is_of(request)), None)

    def _another(self) -> _Attempt:
        if len(self._all) >= _MAX_ATTEMPTS:
            # Its request failed long ago, and was given up.
            return self._all[0]
        attempt = _Attempt(f"otelprof-{self._run}-{len(self._all)}")
        self._all.append(attempt)
        return attempt


class StoreWriter:
    """Appends requests to the tables of a store; for one thread at a time.

    Args:
        store: where to.
        clock: for Profiles that say no time.
        tenant: of all rows.
        max_symbols: symbols of which it remembers that they are written, about 40 bytes each.
    """

    def __init__(self, store: Store, clock: Clock, *, tenant: str = "", max_symbols: int = 2_000_000) -> None:
        self._store = store
        self._tenant = tenant
        self._written = WrittenSymbols(max_symbols=max_symbols)
        self._attempts = _Attempts(clock)

    def write(self, profiles: Profiles) -> Flushed:
        """Add a request; when this returns, readers see it.

        The same one again, after a failure, adds nothing twice.

        Raises:
            StoreError: the tables cannot be used.
            UnavailableError: the store cannot be reached, or too many others wrote at once.
        """
        with self._attempts.of(profiles) as attempt:
            tables = profiles.to_tables(
                self._written, now_unix_nano=attempt.now_unix_nano, tenant=self._tenant
            )
            rows = {}
            for table in Table:
                of_table: TableRows = getattr(tables, table.value)
                rows[table] = len(of_table)
                if len(of_table):
                    self._append(table, of_table, attempt, traces=tables.trace_count)
            self._written.remember(tables)
        return Flushed(rows)

    def _append(self, table: Table, rows: TableRows, attempt: _Attempt, *, traces: int) -> None:
        from deltalake import CommitProperties, Transaction, write_deltalake  # noqa: PLC0415 - heavy

        try:
            target = self._store.table(table)
        except EmptyStoreError:
            target = self._store.create(table, rows)
        with self._store.errors(table):
            # Whether it is there, after an answer that never came.
            target.update_incremental()
            if target.transaction_version(attempt.app_id) == attempt.sequence:
                return
            write_deltalake(
                target,
                rows,
                mode="append",
                writer_properties=writer_properties(table, traces=traces),
                commit_properties=CommitProperties(
                    max_commit_retries=_COMMIT_RETRIES,
                    app_transactions=[Transaction(attempt.app_id, attempt.sequence)],
                ),
            )
