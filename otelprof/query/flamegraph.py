"""The flame graph of a selection: a trace, a service, a group of traces; and the group of a trace."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from otelprof.query.weight import leading, weight
from otelprof.store.reader import as_dicts
from otelprof.store.selection import MICROS

if TYPE_CHECKING:
    from otelprof._core import Profiles
    from otelprof.query.weight import TypeKey, Weight
    from otelprof.store.reader import StoreReader, TypeRows
    from otelprof.store.selection import Selection

_DAY_MICROS: Final = 86_400 * MICROS


@dataclass(frozen=True)
class FlameGraph:
    """Stacks of one sample type, and what they stand for.

    Attributes:
        profiles: the stacks.
        sample_type: its name.
        unit: of the values.
        weight: of all stacks.
        services: whose they are, in order.
        window: unix microseconds, the first and the last start of a window.
        other_types: name and unit of what else the selection holds.
    """

    profiles: Profiles
    sample_type: str
    unit: str
    weight: Weight
    services: tuple[str, ...]
    window: tuple[int, int]
    other_types: tuple[TypeKey, ...] = ()

    @property
    def key(self) -> TypeKey:
        """Name and unit of the sample type."""
        return self.sample_type, self.unit

    @property
    def in_words(self) -> str:
        """How many samples, and what they stand for."""
        return self.weight.in_words(self.sample_type, self.unit)


def flame_graph(reader: StoreReader, selection: Selection, *, labels: bool = False) -> FlameGraph | None:
    """The stacks of a selection; of its leading sample type when it names none.

    Args:
        reader: of the store.
        selection: what is asked for.
        labels: with links and attributes of Samples, for formats that have a place for them.

    Returns:
        None when nothing is there.

    Raises:
        StoreError: the store is not to be used, or not whole.
        UnavailableError: it cannot be reached.
        RequestTooLargeError: it is too much for one answer.
    """

    def read() -> FlameGraph | None:
        of_types = {one.key: one for one in reader.stacks(selection, links=labels)}
        if not of_types:
            return None
        labels_of = {key: one.labels_ids for key, one in of_types.items()}
        dates = set[str]().union(*(one.dates for one in of_types.values()))
        periods = reader.periods_of(set[int]().union(*labels_of.values()), dates)
        rows = {key: one.rows.num_rows for key, one in of_types.items()}
        chosen = of_types.pop(leading(rows, labels_of, periods))
        return FlameGraph(
            profiles=reader.profiles(chosen, labels=labels),
            sample_type=chosen.sample_type,
            unit=chosen.unit,
            weight=weight(chosen, periods),
            services=tuple(sorted(set(chosen.rows["service"].to_pylist()))),
            window=_window(chosen),
            other_types=tuple(of_types),
        )

    return reader.steadily(read)


def _window(of_type: TypeRows) -> tuple[int, int]:
    first, last = (of_type.rows[name].to_pylist() for name in ("first", "last"))
    return min(first), max(last)


def group_of(reader: StoreReader, selection: Selection) -> Selection:
    """What the trace of a selection is to be seen against: the other traces of a group.

    A group that the selection names (`span_name`, `trace_states`) is that one. Otherwise it is the service
    and the span name of which the trace has the largest value. Without times, it is looked for on the days of
    the trace.

    Args:
        reader: of the store.
        selection: with a trace id and a sample type.

    Raises:
        StoreError: the store is not to be used.
        UnavailableError: it cannot be reached.
    """
    of_trace = replace(selection, span_name=None, trace_states=())

    def read() -> list[dict[str, Any]]:
        sql = (
            "SELECT service, span_name, sum(CAST(value AS DOUBLE)) AS value, "
            "CAST(min(date) AS VARCHAR) AS first, CAST(max(date) AS VARCHAR) AS last "
            f"FROM samples WHERE {reader.where(of_trace)} GROUP BY service, span_name "
            "ORDER BY value DESC, service, span_name"
        )
        return as_dicts(reader.query(sql))

    rows = reader.steadily(read)
    group = replace(selection, trace_id=None, span_id=None, linked=True, other_than_trace=selection.trace_id)
    if not rows:
        return group
    if selection.since is None and selection.until is None:
        days = [row["first"] for row in rows] + [row["last"] for row in rows]
        group = replace(group, since=_midnight(min(days)), until=_midnight(max(days)) + _DAY_MICROS)
    if selection.span_name is None and not selection.trace_states:
        most = rows[0]
        group = replace(group, service=selection.service or most["service"], span_name=most["span_name"])
    return group


def _midnight(day: str) -> int:
    return int(datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp()) * MICROS
