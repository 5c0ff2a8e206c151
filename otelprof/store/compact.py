"""Small files of a day to large ones: samples in the order of traces, symbols each once.

What is chosen grows as in a log-structured merge tree: fresh files, and the runs that are not much larger
than what was chosen before them. So a row is written anew about as often as its day doubles.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from otelprof.store.files import Kind, StoredFile, total_bytes
from otelprof.store.ranges import TRACE_ORDER, id_ranges, stream, trace_ranges
from otelprof.store.rewrite import Rewrite, engine
from otelprof.store.schema import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import date

    from arro3.core import RecordBatch

    from otelprof.store.rewrite import Written
    from otelprof.store.store import Store

_OPEN_DAYS: Final = 1
"""So many days before today a day may still grow much."""
_FRESH_FILES: Final = 8
"""Of a day that may still grow, before it is worth while."""
_OPEN_RATIO: Final = 2
_CLOSED_RATIO: Final = 10
_UNIQUE: Final = {
    Table.FRAMES: ("location_id", "inline"),
    Table.STACKS: ("stack_id",),
    Table.LABELS: ("labels_id",),
}


@dataclass(frozen=True)
class Choice:
    """Files that become one run.

    Attributes:
        day: of their rows.
        kind: of the files that they become.
        files: at least two.
    """

    day: date
    kind: Kind
    files: tuple[StoredFile, ...]


def choices(table: Table, files: Iterable[StoredFile], today: date, *, eager: bool = False) -> list[Choice]:
    """What is worth being compacted.

    Args:
        table: whose files.
        files: all of them.
        today: in UTC.
        eager: also what is little, of a day that still grows.
    """
    groups: defaultdict[tuple[date, Kind, str | None, str | None], list[StoredFile]] = defaultdict(list)
    for file in files:
        # What a fold kept finer than the rest of its day waits for a day of its own, by its state.
        is_folded = file.kind is Kind.FOLDED
        state = file.trace_state if is_folded else None
        groups[file.day, Kind.FOLDED if is_folded else Kind.SORTED, file.tier, state].append(file)
    chosen = []
    for (day, kind, *_), group in sorted(groups.items(), key=lambda item: item[0][0]):
        is_open = day >= today - timedelta(days=_OPEN_DAYS)
        # Symbols are little, and a symbol is there once only when all files of a day are one run.
        ratio = math.inf if table is not Table.SAMPLES else _OPEN_RATIO if is_open else _CLOSED_RATIO
        picked = _pick(group, ratio, fewest=_FRESH_FILES if is_open and not eager else 2)
        if picked:
            chosen.append(Choice(day, kind, tuple(picked)))
    return chosen


def _pick(files: Sequence[StoredFile], ratio: float, *, fewest: int) -> list[StoredFile]:
    """The fresh files and the runs that go with them; none when it is not worth while."""
    runs: defaultdict[str, list[StoredFile]] = defaultdict(list)
    for file in files:
        runs[file.run].append(file)
    fresh = [file for file in files if file.kind is Kind.FRESH]
    old = [run for run in runs.values() if run[0].kind is not Kind.FRESH]
    picked, count = fresh, len(fresh)
    for run in sorted(old, key=total_bytes):
        if picked and total_bytes(run) > ratio * total_bytes(picked):
            break
        picked, count = picked + run, count + 1
    return picked if count >= fewest else []


def compact(store: Store, table: Table, choice: Choice) -> Written:
    """Make one run of the files, in one commit.

    Raises:
        ConflictError: somebody else took away one of the files meanwhile; nothing has changed.
    """
    with Rewrite(store, table, choice.files) as rewrite:
        queries = engine({"chosen": rewrite.fetch()})
        if table is Table.SAMPLES:
            statements = [
                f"SELECT * FROM chosen WHERE {part} ORDER BY {TRACE_ORDER}"
                for part in trace_ranges(queries, "chosen")
            ]
        else:
            row_count = sum(file.rows for file in choice.files)
            statements = unique_rows(table, rewrite.columns, "chosen", row_count)
        results: list[Iterator[RecordBatch]] = [stream(queries, statements)]
        return rewrite.commit(results, kind=choice.kind, is_same=True)


def unique_rows(
    table: Table, columns: str, rows: str, row_count: int, *, condition: str = "true"
) -> list[str]:
    """Queries of the rows of a symbol table, each symbol once, in the order of ids.

    Args:
        table: which.
        columns: all of them.
        rows: the name of the rows in the queries.
        row_count: about how many they are.
        condition: which of them.
    """
    unique = ", ".join(_UNIQUE[table])
    # Rows with one id say the same, since it is a hash of all that they say.
    return [
        f"SELECT {columns} FROM (SELECT *, row_number() OVER (PARTITION BY {unique} ORDER BY {unique}) "
        f"AS nth FROM {rows} WHERE ({part}) AND ({condition})) WHERE nth = 1 ORDER BY {unique}"
        for part in id_ranges(_UNIQUE[table][0], row_count)
    ]
