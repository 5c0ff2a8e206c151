"""The table `policy`: what was in force when, so that "sampled out" can be told from "never seen"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otelprof.errors import EmptyStoreError
from otelprof.store.schema import PolicyTable, writer_properties
from otelprof.telemetry.journal import PolicyEvent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arro3.core import Table

    from otelprof.store.store import Store

_SECS_PER_DAY: Final = 86_400
_MICROS: Final = 1_000_000
_COMMIT_RETRIES: Final = 30


def append_policy(store: Store, tenant: str, events: Sequence[PolicyEvent]) -> None:
    """Add events to the table; makes it when it is not there.

    Raises:
        StoreError: the table there is not ours.
        UnavailableError: the store cannot be reached; the events may be there all the same, and twice after a
            retry, which says nothing else.
    """
    from deltalake import CommitProperties, write_deltalake  # noqa: PLC0415 - heavy

    rows = _rows(tenant, events)
    table = PolicyTable.POLICY
    try:
        target = store.table(table)
    except EmptyStoreError:
        target = store.create(table, rows)
    with store.errors(table):
        write_deltalake(
            target,
            rows,
            mode="append",
            writer_properties=writer_properties(table),
            commit_properties=CommitProperties(max_commit_retries=_COMMIT_RETRIES),
        )


def policy_events(store: Store, tenant: str | None = None) -> Sequence[PolicyEvent]:
    """All events, in their order; none when nothing was ever written.

    Raises:
        StoreError: the table there is not ours.
        UnavailableError: the store cannot be reached.
    """
    table = PolicyTable.POLICY
    try:
        store.refresh(table)
    except EmptyStoreError:
        return []
    with store.errors(table):
        rows = store.table(table).scan().read_all()
    columns = {name: rows.column(name).to_pylist() for name in rows.schema.names}
    found = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    events = [
        PolicyEvent(
            time_secs=one["time"].timestamp(),
            component=one["component"],
            kind=one["kind"],
            service=one["service"],
            what=one["what"],
            probability=one["probability"],
            until_secs=None if one["until"] is None else one["until"].timestamp(),
            who=one["who"],
            reason=one["reason"],
        )
        for one in found
        if tenant is None or one["tenant"] == tenant
    ]
    return sorted(set(events), key=lambda event: (event.time_secs, event.component, event.kind, event.what))


def _rows(tenant: str, events: Sequence[PolicyEvent]) -> Table:
    from arro3.core import Array, DataType, Field, Schema, Table  # noqa: PLC0415 - comes with deltalake

    moment = DataType.timestamp("us", tz="UTC")

    def moments(secs: Sequence[float | None]) -> Array:
        micros = [None if one is None else round(one * _MICROS) for one in secs]
        return Array(micros, DataType.int64()).cast(moment)

    def texts(values: Sequence[str]) -> Array:
        return Array(values, DataType.utf8())

    days = [int(event.time_secs // _SECS_PER_DAY) for event in events]
    columns: dict[str, tuple[Array, bool]] = {
        "date": (Array(days, DataType.int32()).cast(DataType.date32()), False),
        "time": (moments([event.time_secs for event in events]), False),
        "tenant": (texts([tenant] * len(events)), False),
        "component": (texts([event.component for event in events]), False),
        "kind": (texts([event.kind for event in events]), False),
        "service": (texts([event.service for event in events]), False),
        "what": (texts([event.what for event in events]), False),
        "probability": (Array([event.probability for event in events], DataType.float64()), True),
        "until": (moments([event.until_secs for event in events]), True),
        "who": (texts([event.who for event in events]), False),
        "reason": (texts([event.reason for event in events]), False),
    }
    fields = [Field(name, array.type, nullable=nullable) for name, (array, nullable) in columns.items()]
    return Table.from_arrays([array for array, _ in columns.values()], schema=Schema(fields))
