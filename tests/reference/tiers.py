"""The slow twin of retention: what a store's rows say, and what each tier still says of the same."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from otelprof.store.schema import Table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otelprof.store.store import Store

OTHER: Final = ("(other)",)
LINKED: Final = {"kept", "error", "slow", "incident"}
FIVE_MINUTES: Final = 300
DAY: Final = 86_400
NANOS: Final = 1_000_000_000


class Labels(NamedTuple):
    """What a row of `labels` says."""

    scope: tuple[str, str]
    period: tuple[str, str, int]
    resource: tuple[tuple[str, str], ...]
    attributes: tuple[tuple[str, str], ...]


class Row(NamedTuple):
    """What a value belongs to; the window as seconds since 1970 and nanoseconds."""

    tier: str
    tenant: str
    service: str
    sample_type: tuple[str, str]
    window: tuple[float, int]
    stack: tuple[str, ...]
    stack_id: int
    trace: tuple[str | None, str | None]
    trace_state: str | None
    span_name: str | None
    labels: Labels


def rows(store: Store, table: Table) -> list[dict[str, Any]]:
    """All rows of a table as it is now."""
    return list(store.snapshot(table).scan().read_all().to_struct_array().to_pylist())


def values(store: Store) -> Counter[Row]:
    """The sums of values by what they belong to; no zeros.

    Raises:
        KeyError: a sample refers to a symbol that is not there on its day.
    """
    # The samples first: what they refer to is there then.
    samples = rows(store, Table.SAMPLES)
    labels = {(row["date"], row["labels_id"]): _labels(row) for row in rows(store, Table.LABELS)}
    stacks = {(row["date"], row["stack_id"]): row["location_ids"] for row in rows(store, Table.STACKS)}
    names: dict[tuple[Any, int], dict[int, str]] = {}
    for row in rows(store, Table.FRAMES):
        names.setdefault((row["date"], row["location_id"]), {})[row["inline"]] = row["function"]
    found: Counter[Row] = Counter()
    for row in samples:
        day = row["date"]
        locations = stacks[day, row["stack_id"]]
        stack = tuple(name for id_ in locations for _, name in sorted(names[day, id_].items()))
        key = Row(
            tier=row["tier"],
            tenant=row["tenant"],
            service=row["service"],
            sample_type=(row["sample_type"], row["unit"]),
            window=(row["window_start"].timestamp(), row["window_ns"]),
            stack=stack,
            stack_id=0 if stack == OTHER else row["stack_id"],
            trace=(row["trace_id"], row["span_id"]),
            trace_state=row["trace_state"],
            span_name=row["span_name"],
            labels=labels[day, row["labels_id"]],
        )
        found[key] += row["value"]
    return _without_zeros(found)


def _labels(row: dict[str, Any]) -> Labels:
    return Labels(
        (row["scope"], row["scope_version"]),
        (row["period_type"], row["period_unit"], row["period"]),
        tuple(sorted(row["resource"])),
        tuple(sorted(row["attributes"])),
    )


def _without_zeros(found: Counter[Row]) -> Counter[Row]:
    return Counter({row: value for row, value in found.items() if value})


def totals(found: Counter[Row]) -> Counter[tuple[str, str, tuple[str, str]]]:
    """What every tier says the same: sums by tenant, service and sample type."""
    sums: Counter[tuple[str, str, tuple[str, str]]] = Counter()
    for row, value in found.items():
        sums[row.tenant, row.service, row.sample_type] += value
    return Counter({key: value for key, value in sums.items() if value})


def downsampled(found: Counter[Row], held: Iterable[str] = ()) -> Counter[Row]:
    """What is left of fine rows, but of those in a state that is held."""
    kept: Counter[Row] = Counter()
    for row, value in found.items():
        if row.tier != "fine" or row.trace_state in set(held):
            kept[row] += value
            continue
        is_linked = row.trace_state in LINKED
        start, nanos = row.window
        kept[
            row._replace(
                tier="downsampled",
                window=(start // FIVE_MINUTES * FIVE_MINUTES, max(nanos, FIVE_MINUTES * NANOS)),
                trace=row.trace if is_linked else (None, None),
                trace_state=row.trace_state if is_linked else None,
                span_name=row.span_name if is_linked else None,
            )
        ] += value
    return _without_zeros(kept)


def summary(found: Counter[Row], top: int, held: Iterable[str] = ()) -> Counter[Row]:
    """What is left of finer rows, but of fine ones in a state that is held."""
    states = set(held)
    leaving = {row for row in found if not (row.tier == "fine" and row.trace_state in states)}
    by_stack: dict[tuple[str, str, tuple[str, str]], Counter[int]] = {}
    for row in leaving:
        by_stack.setdefault((row.tenant, row.service, row.sample_type), Counter())[row.stack_id] += found[row]
    best = {
        of: set(sorted(sums, key=lambda stack_id, sums=sums: (-sums[stack_id], stack_id))[:top])  # type: ignore[misc] # bound now
        for of, sums in by_stack.items()
    }
    kept: Counter[Row] = Counter()
    for row, value in found.items():
        if row not in leaving:
            kept[row] += value
            continue
        is_top = row.stack_id in best[row.tenant, row.service, row.sample_type]
        kept[
            row._replace(
                tier="summary",
                window=(row.window[0] // DAY * DAY, DAY * NANOS),
                stack=row.stack if is_top else OTHER,
                stack_id=row.stack_id if is_top else 0,
                trace=(None, None),
                trace_state=None,
                span_name=None,
                labels=Labels(("", ""), row.labels.period, (("service.name", row.service),), ()),
            )
        ] += value
    return _without_zeros(kept)
