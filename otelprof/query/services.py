"""Whose profiles a store holds: services, sample types, how much of each is linked, since when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from otelprof.query.weight import Weight, part, total
from otelprof.store.reader import as_dicts

if TYPE_CHECKING:
    from otelprof.store.reader import StoreReader
    from otelprof.store.selection import Selection


@dataclass(frozen=True)
class ServiceRow:
    """What a store holds of a service and sample type.

    Attributes:
        service: its name.
        sample_type: its name.
        unit: of the values.
        weight: of all its samples.
        stored: stored samples.
        linked: how many of them have a trace id.
        first: unix microseconds, the first start of a window.
        last: the last one.
        days: on how many dates there is something.
    """

    service: str
    sample_type: str
    unit: str
    weight: Weight
    stored: int
    linked: int
    first: int
    last: int
    days: int


def services(reader: StoreReader, selection: Selection) -> list[ServiceRow]:
    """Services and sample types of a selection, by name.

    Raises:
        StoreError: the store is not to be used.
        UnavailableError: it cannot be reached.
        RequestTooLargeError: it is too much for one answer.
    """
    sql = (
        "SELECT service, sample_type, unit, labels_id, date, "
        # Sums in int64 would wrap around where values are at its ends.
        "CAST(sum(CAST(value AS DECIMAL(38, 0))) AS VARCHAR) AS value, sum(count) AS count, "
        "coalesce(sum(count) FILTER (WHERE trace_id IS NOT NULL), 0) AS linked, "
        "CAST(min(window_start) AS BIGINT) AS first, CAST(max(window_start) AS BIGINT) AS last "
        f"FROM samples WHERE {selection.where()} GROUP BY service, sample_type, unit, labels_id, date "
        "ORDER BY service, sample_type, unit"
    )
    rows = reader.steadily(lambda: as_dicts(reader.bounded(sql)))
    periods = reader.periods_of({row["labels_id"] for row in rows}, {str(row["date"]) for row in rows})
    by_key: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        by_key.setdefault((row["service"], row["sample_type"], row["unit"]), []).append(row)
    return [
        ServiceRow(
            *key,
            weight=total(
                part(key[1:], periods.get(row["labels_id"]), int(row["value"]), row["count"])
                for row in of_key
            ),
            stored=sum(row["count"] for row in of_key),
            linked=sum(row["linked"] for row in of_key),
            first=min(row["first"] for row in of_key),
            last=max(row["last"] for row in of_key),
            days=len({row["date"] for row in of_key}),
        )
        for key, of_key in by_key.items()
    ]
