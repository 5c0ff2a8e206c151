"""Takes away symbols of old days that no sample refers to any more.

Who reads took a snapshot of the samples some time ago and reads symbols now; who writes wrote symbols and
will write the samples soon. Neither takes as long as the grace. So a symbol goes only from a file that was
there before the grace, and only on a day whose samples have not changed since: what nothing refers to then,
nobody needs. On young days that is not enough, because a writer remembers what it has written and does not
write it again; they are left alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from otelprof.errors import ConflictError
from otelprof.store.compact import unique_rows
from otelprof.store.files import Kind, StoredFile, files_of
from otelprof.store.ranges import stream
from otelprof.store.retention import RetentionConfig, Tier
from otelprof.store.rewrite import Rewrite, engine
from otelprof.store.schema import Table

if TYPE_CHECKING:
    from datetime import date

    from otelprof.store.rewrite import Written
    from otelprof.store.store import Store

_YOUNG_DAYS: Final = 4
"""One more than a writer remembers symbols of (`REMEMBERED_DAYS` in `src/tables/written.rs`)."""
_REFERRING: Final = {
    Table.LABELS: (Table.SAMPLES, "labels_id", "labels_id"),
    Table.STACKS: (Table.SAMPLES, "stack_id", "stack_id"),
    Table.FRAMES: (Table.STACKS, "location_id", "unnest(location_ids)"),
}
"""What refers to a symbol table: the table, the id here, the id there; in the order in which symbols go."""
SYMBOLS: Final = tuple(_REFERRING)


@dataclass(frozen=True)
class Garbage:
    """Files of symbols, of which some may have nothing that refers to them.

    Attributes:
        day: of their rows.
        files: at least one.
        samples: paths of the samples of the day.
    """

    day: date
    files: tuple[StoredFile, ...]
    samples: frozenset[str]


@dataclass(frozen=True)
class Files:
    """Files of a table, now and before the grace."""

    now: list[StoredFile]
    before: list[StoredFile]

    def of(self, day: date) -> list[StoredFile]:
        """Those of a day, now."""
        return [file for file in self.now if file.day == day]

    def were_there(self, day: date) -> list[StoredFile]:
        """Those of a day that are there now and were before."""
        before = {file.path for file in self.before}
        return [file for file in self.of(day) if file.path in before]

    def is_settled(self, day: date) -> bool:
        """Whether nothing has changed on a day."""
        return self.paths(day) == {file.path for file in self.before if file.day == day}

    def paths(self, day: date) -> frozenset[str]:
        """Those of a day, now, by their paths."""
        return frozenset(file.path for file in self.of(day))


def may_have_garbage(day: date, config: RetentionConfig, today: date) -> bool:
    """Whether a day is so old that symbols of it are no longer needed, or that samples of it are gone."""
    is_thinned = config.tier(day, today) not in {Tier.FINE, Tier.DOWNSAMPLED}
    return is_thinned and (today - day).days >= _YOUNG_DAYS


def garbage(symbols: Files, samples: Files, config: RetentionConfig, today: date) -> list[Garbage]:
    """The days of a symbol table that are worth a look."""
    found = []
    for day in sorted({file.day for file in symbols.now if may_have_garbage(file.day, config, today)}):
        if not samples.is_settled(day):
            continue
        files = symbols.were_there(day)
        if samples.of(day) and all(file.kind is Kind.REFERENCED for file in files):
            continue
        if files:
            found.append(Garbage(day, tuple(files), samples.paths(day)))
    return found


def collect(store: Store, table: Table, found: Garbage) -> Written:
    """Leave the symbols that something refers to, in one commit.

    Raises:
        ConflictError: somebody else took away one of the files meanwhile; nothing has changed.
        UnavailableError: the store cannot be reached.
    """
    referring, column, there = _REFERRING[table]
    with Rewrite(store, table, found.files) as rewrite:
        samples = files_of(store.snapshot(Table.SAMPLES))
        if found.samples != {file.path for file in samples if file.day == found.day}:
            message = f"table {table.value}: the samples of {found.day} have just changed"
            raise ConflictError(message)
        # In this order: what refers to the symbols in these files was written after them.
        queries = engine({"chosen": rewrite.fetch(), "referring": store.snapshot(referring)})
        condition = f"{column} IN (SELECT {there} FROM referring WHERE date = DATE '{found.day.isoformat()}')"
        row_count = sum(file.rows for file in found.files)
        statements = unique_rows(table, rewrite.columns, "chosen", row_count, condition=condition)
        return rewrite.commit([stream(queries, statements)], kind=Kind.REFERENCED, is_same=False)
