"""The traces that took most: which of them to look at first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from otelprof.query.weight import Weight, leading_of, part, total
from otelprof.store.reader import as_dicts
from otelprof.store.selection import literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from otelprof.query.weight import TypeKey
    from otelprof.store.reader import Period, StoreReader
    from otelprof.store.selection import Selection

# Of the states that its samples have, the one that a person looks for first is shown.
_STATES: Final = ("error", "incident", "slow", "kept")


@dataclass(frozen=True)
class TraceRow:
    """What a store holds of a trace.

    Attributes:
        trace_id: 32 hexadecimal digits.
        services: whose samples it has, those of most value first.
        state: `error`, `slow`, `incident`, `kept`, or empty when nobody said.
        span_name: of the span with most value; empty when nobody said.
        weight: of its samples.
        first: unix microseconds, the first start of a window.
        last: the last one.
    """

    trace_id: str
    services: tuple[str, ...]
    state: str
    span_name: str
    weight: Weight
    first: int
    last: int


@dataclass(frozen=True)
class HottestTraces:
    """Traces by value, largest first, and of what.

    Attributes:
        sample_type: its name.
        unit: of the values.
        traces: the traces.
    """

    sample_type: str
    unit: str
    traces: tuple[TraceRow, ...]


def hottest_traces(reader: StoreReader, selection: Selection, count: int) -> HottestTraces | None:
    """The traces of a selection with the largest values.

    Args:
        reader: of the store.
        selection: what is asked for; of its leading sample type when it names none.
        count: how many.

    Returns:
        None when no sample of the selection is linked.

    Raises:
        StoreError: the store is not to be used.
        UnavailableError: it cannot be reached.
    """
    return reader.steadily(lambda: _hottest(reader, replace(selection, linked=True), count))


def _hottest(reader: StoreReader, selection: Selection, count: int) -> HottestTraces | None:
    key = leading_of(reader, selection)
    if key is None:
        return None
    where = f"{selection.where()} AND sample_type = {literal(key[0])} AND unit = {literal(key[1])}"
    # In doubles: it orders, and does not overflow.
    hottest = reader.query(
        f"SELECT trace_id, sum(CAST(value AS DOUBLE)) AS value FROM samples WHERE {where} "
        f"GROUP BY trace_id ORDER BY value DESC, trace_id LIMIT {count}"
    )
    trace_ids: list[str] = list(hottest["trace_id"].to_pylist())
    if not trace_ids:
        return None
    rows = as_dicts(
        reader.query(
            "SELECT trace_id, service, trace_state, span_name, labels_id, date, "
            "CAST(sum(CAST(value AS DECIMAL(38, 0))) AS VARCHAR) AS value, sum(count) AS count, "
            "CAST(min(window_start) AS BIGINT) AS first, CAST(max(window_start) AS BIGINT) AS last "
            f"FROM samples WHERE {where} AND trace_id IN ({', '.join(map(literal, trace_ids))}) "
            "GROUP BY trace_id, service, trace_state, span_name, labels_id, date"
        )
    )
    periods = reader.periods_of({row["labels_id"] for row in rows}, {str(row["date"]) for row in rows})
    by_trace: dict[str, list[dict[str, Any]]] = {trace_id: [] for trace_id in trace_ids}
    for row in rows:
        by_trace[row["trace_id"]].append(row | {"value": int(row["value"])})
    traces = tuple(_trace(key, trace_id, of_trace, periods) for trace_id, of_trace in by_trace.items())
    return HottestTraces(*key, traces)


def _trace(
    key: TypeKey, trace_id: str, rows: list[dict[str, Any]], periods: Mapping[int, Period]
) -> TraceRow:
    states = {row["trace_state"] for row in rows}
    names = _by_value(rows, "span_name")
    return TraceRow(
        trace_id=trace_id,
        services=tuple(_by_value(rows, "service")),
        state=next((state for state in _STATES if state in states), ""),
        span_name=next(iter(names), ""),
        weight=total(part(key, periods.get(row["labels_id"]), row["value"], row["count"]) for row in rows),
        first=min(row["first"] for row in rows),
        last=max(row["last"] for row in rows),
    )


def _by_value(rows: Iterable[dict[str, Any]], column: str) -> list[str]:
    sums: dict[str, int] = {}
    for row in rows:
        if row[column]:
            sums[row[column]] = sums.get(row[column], 0) + row["value"]
    return sorted(sums, key=lambda text: (-sums[text], text))
