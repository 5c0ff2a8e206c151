"""The stacks and frames that samples refer to: read once in a process, since ids are content hashes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otelprof.store.schema import Table
from otelprof.store.selection import any_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from arro3.core import RecordBatch
    from arro3.core import Table as Rows

_FRAME_COLUMNS: Final = (
    "location_id, inline, function, system_name, file, start_line, line, column, mapping, build_id, address, "
    "frame_type"
)
_MAX_KEPT_ROWS: Final = 2_000_000
"""Of both tables; some 150 bytes a row."""


class MissingSymbolError(Exception):
    """A sample refers to what a snapshot of the symbol tables does not have: one of them is older."""


class Symbols:
    """Stacks and frames that were read, bounded in number.

    Args:
        query: runs SQL on the tables as they are now.
    """

    def __init__(self, query: Callable[[str], Rows]) -> None:
        self._query = query
        self.clear()

    def clear(self) -> None:
        """Forget all."""
        self._stack_ids: set[int] = set()
        self._location_ids: set[int] = set()
        self._stacks: list[RecordBatch] = []
        self._frames: list[RecordBatch] = []

    def of(self, stacks: Mapping[str, Iterable[int]]) -> tuple[Rows, Rows]:
        """Rows of `stacks` and `frames` that hold all these, and maybe others.

        Args:
            stacks: one id or more, by a date, as `2026-11-24`, on which a sample refers to them.

        Raises:
            MissingSymbolError: one is not there.
        """
        from arro3.core import Table as Rows  # noqa: PLC0415 - comes with deltalake

        if sum(batch.num_rows for batch in [*self._stacks, *self._frames]) > _MAX_KEPT_ROWS:
            self.clear()
        for date, ids in stacks.items():
            self._read(date, set(ids) - self._stack_ids)
        # Without batches any schema will do.
        schema = (self._frames or self._stacks)[0].schema
        return Rows.from_batches(self._stacks), Rows.from_batches(self._frames, schema=schema)

    def _read(self, date: str, ids: set[int]) -> None:
        if not ids:
            return
        stacks = self._rows(Table.STACKS, "stack_id, location_ids", date, ids)
        lists = stacks["location_ids"].to_pylist()
        locations = {one for ids_of_stack in lists for one in ids_of_stack} - self._location_ids
        # Only what is whole is kept; and where no stack has a location, there may be no table of them.
        if locations:
            self._frames += self._rows(Table.FRAMES, _FRAME_COLUMNS, date, locations).to_batches()
        self._location_ids |= locations
        self._stacks += stacks.to_batches()
        self._stack_ids |= ids

    def _rows(self, table: Table, columns: str, date: str, ids: set[int]) -> Rows:
        key = table.id_column
        sql = f"SELECT {columns} FROM {table} WHERE date = DATE '{date}' AND {key} IN {any_of(sorted(ids))}"
        found = self._query(sql)
        missing = ids - set(found[str(key)].to_pylist())
        if missing:
            message = f"{len(missing)} ids, {min(missing)} among them, are not in {table.value} of {date}"
            raise MissingSymbolError(message)
        return found
