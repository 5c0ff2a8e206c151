"""Divides a day's rows into ranges of the order of traces, so that no query sorts all of them at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arro3.core import RecordBatch
    from deltalake import QueryBuilder

ROWS_PER_QUERY: Final = 1_000_000
"""About what a query sorts in memory; of more rows with one key it sorts a part in files."""
TRACE_ORDER: Final = "trace_id NULLS FIRST, service, sample_type, labels_id, stack_id, window_start"
"""In which rows of `samples` take the fewest bytes, and one trace is in one place."""


def literal(text: str) -> str:
    """A text as SQL writes it; texts of profiles are hostile."""
    return "'" + text.replace("'", "''") + "'"


def trace_ranges(queries: QueryBuilder, rows: str) -> list[str]:
    """Conditions on the rows of `samples`, which together are true of each once, in the order of traces.

    Rows without a trace come first, by service; the others by the first two digits of the trace.

    Args:
        queries: that know the rows.
        rows: their name there.
    """
    counted = queries.execute(
        "SELECT CASE WHEN trace_id IS NULL THEN service END AS service, substr(trace_id, 1, 2) AS prefix, "
        f"count(*) AS n FROM {rows} GROUP BY 1, 2 ORDER BY 2 NULLS FIRST, 1"
    )
    found = [row for batch in counted for row in batch.to_struct_array().to_pylist()]
    unlinked = [(row["service"], row["n"]) for row in found if row["prefix"] is None]
    linked = [(row["prefix"], row["n"]) for row in found if row["prefix"] is not None]
    return [
        *(
            f"(trace_id IS NULL AND service BETWEEN {literal(first)} AND {literal(last)})"
            for first, last in _runs(unlinked)
        ),
        *(
            f"(trace_id >= {literal(first)} AND substr(trace_id, 1, 2) <= {literal(last)})"
            for first, last in _runs(linked)
        ),
    ]


def _runs(counted: list[tuple[str, int]]) -> Iterator[tuple[str, str]]:
    """Neighbours that are few enough together: the first and the last of each run."""
    first, total = None, 0
    last = ""
    for key, count in counted:
        if first is not None and total + count > ROWS_PER_QUERY:
            yield first, last
            first, total = None, 0
        first, last, total = key if first is None else first, key, total + count
    if first is not None:
        yield first, last


def id_ranges(column: str, row_count: int) -> list[str]:
    """Conditions on a column of content ids, which are spread evenly; each is true of a million rows."""
    parts = max(1, -(-row_count // ROWS_PER_QUERY))
    edges = [-(1 << 63) + (1 << 64) * part // parts for part in range(1, parts)]
    starts = [f"{column} >= {edge}" for edge in edges]
    ends = [f"{column} < {edge}" for edge in edges]
    return [" AND ".join(pair) for pair in zip(["true", *starts], [*ends, "true"], strict=True)]


def stream(queries: QueryBuilder, statements: list[str]) -> Iterator[RecordBatch]:
    """What the statements say, one after the other; each begins when the one before it has ended."""
    for statement in statements:
        yield from queries.execute(statement)
