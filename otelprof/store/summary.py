"""What the rows of a day's summary refer to: the labels that are left of a service, and the stack `(other)`.

The core makes the symbols and their ids, of a request that says the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from otelprof._core import Profiles, WrittenSymbols
from otelprof.store.ranges import literal
from otelprof.store.schema import PARTITION, Table, writer_properties

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from deltalake import QueryBuilder

    from otelprof._core import TableRows
    from otelprof.store.store import Store

OTHER: Final = "(other)"
"""The frame, and the stack, of all that a summary does not tell apart."""
_GROUPS_PER_REQUEST: Final = 1_000
_DAY_NANOS: Final = 86_400_000_000_000
_EPOCH: Final = 719_163  # date(1970, 1, 1).toordinal()
_COMMIT_RETRIES: Final = 30


class _Group(NamedTuple):
    """What a summary keeps of labels.

    Attributes:
        service: also a column of its own.
        period_type: of the Profile, as the next two.
        period_unit: of the period.
        period: between two of its samples.
    """

    service: str
    period_type: str
    period_unit: str
    period: int


_WITH_PERIODS: Final = """
    SELECT date, tenant, service, sample_type, unit, stack_id, value, count,
        coalesce(period_type, '') AS period_type, coalesce(period_unit, '') AS period_unit,
        coalesce(period, 0) AS period
    FROM leaving LEFT JOIN periods USING (labels_id)
"""


class Summaries:
    """Labels and stacks of the summaries of one day.

    Args:
        store: whose labels are read, and where the symbols go.
        queries: with the view `leaving`, rows of `samples` of the day; gets the tables `periods` and `named`.
        day: of the rows.
    """

    def __init__(self, store: Store, queries: QueryBuilder, day: date) -> None:
        self._store = store
        self._queries = queries
        self._day = day
        self.other_stack_id = 0

    def write(self) -> bool:
        """Write the symbols that the summary will refer to; False when there is nothing to sum up."""
        queries = self._queries
        queries.register("labels", self._store.snapshot(Table.LABELS))
        queries.execute(
            "CREATE TABLE periods AS SELECT labels_id, min(period_type) AS period_type, "
            "min(period_unit) AS period_unit, min(period) AS period FROM labels "
            f"WHERE date = DATE '{self._day.isoformat()}' GROUP BY labels_id"
        )
        queries.execute(f"CREATE VIEW periodic AS {_WITH_PERIODS}")
        queries.execute(
            "CREATE TABLE named (service VARCHAR, period_type VARCHAR, period_unit VARCHAR, period BIGINT, "
            "labels_id BIGINT)"
        )
        groups = list(self._groups())
        # Also those that were written before: a symbol of now is not taken away while this goes on.
        for start in range(0, len(groups), _GROUPS_PER_REQUEST):
            self._name(groups[start : start + _GROUPS_PER_REQUEST])
        return bool(groups)

    @property
    def statement(self) -> str:
        """A query of the rows as a summary has them, before stacks and sums; `write` comes first."""
        return f"""
            SELECT date, 'summary' AS tier, tenant, service, sample_type, unit,
                arrow_cast(date, 'Timestamp(Microsecond, Some("UTC"))') AS window_start,
                {_DAY_NANOS} AS window_ns, stack_id,
                CAST(NULL AS VARCHAR) AS trace_id, CAST(NULL AS VARCHAR) AS span_id,
                CAST(NULL AS VARCHAR) AS trace_state, CAST(NULL AS VARCHAR) AS span_name,
                named.labels_id AS labels_id, value, count
            FROM periodic JOIN named USING (service, period_type, period_unit, period)
        """

    def _groups(self) -> Iterator[_Group]:
        columns = ", ".join(_Group._fields)
        for batch in self._queries.execute(f"SELECT DISTINCT {columns} FROM periodic ORDER BY {columns}"):
            for row in batch.to_struct_array().to_pylist():
                yield _Group(**row)

    def _name(self, groups: Sequence[_Group]) -> None:
        # One symbol is remembered at most, so all are made.
        tables = Profiles.decode(_request(groups, self._day)).to_tables(
            WrittenSymbols(max_symbols=1), now_unix_nano=1
        )
        for table in (Table.FRAMES, Table.STACKS, Table.LABELS):
            self._append(table, getattr(tables, table.value))
        self.other_stack_id = _rows(tables.stacks)[0]["stack_id"]
        values = ", ".join(
            f"({literal(group.service)}, {literal(group.period_type)}, {literal(group.period_unit)}, "
            f"{group.period}, {labels_id})"
            for group, labels_id in map(_named, _rows(tables.labels))
        )
        for _ in self._queries.execute(f"INSERT INTO named VALUES {values}"):
            pass

    def _append(self, table: Table, rows: TableRows) -> None:
        from deltalake import CommitProperties, write_deltalake  # noqa: PLC0415 - heavy

        with self._store.errors(table):
            write_deltalake(
                self._store.snapshot(table),
                rows,
                mode="append",
                partition_by=PARTITION,
                writer_properties=writer_properties(table),
                commit_properties=CommitProperties(max_commit_retries=_COMMIT_RETRIES),
            )


def _request(groups: Sequence[_Group], day: date) -> bytes:
    """A request of that day, with the stack `(other)` under each of the labels."""
    from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (  # noqa: PLC0415 - heavy
        ExportProfilesServiceRequest,
    )

    request = ExportProfilesServiceRequest()
    dictionary = request.dictionary
    strings = {"": 0, OTHER: 1}

    def index(text: str) -> int:
        return strings.setdefault(text, len(strings))

    for table in ("mapping", "location", "function", "link", "attribute", "stack"):
        getattr(dictionary, f"{table}_table").add()
    dictionary.function_table.add(name_strindex=1)
    dictionary.location_table.add().lines.add(function_index=1)
    dictionary.stack_table.add(location_indices=[1])
    for group in groups:
        of_service = request.resource_profiles.add()
        of_service.resource.attributes.add(key="service.name").value.string_value = group.service
        # Not at midnight: no time at all is written 0, and that is midnight of the first day.
        start = (day.toordinal() - _EPOCH) * _DAY_NANOS + 1
        profile = of_service.scope_profiles.add().profiles.add(time_unix_nano=start, period=group.period)
        profile.sample_type.type_strindex = index("samples")
        profile.period_type.type_strindex = index(group.period_type)
        profile.period_type.unit_strindex = index(group.period_unit)
        profile.samples.add(stack_index=1, values=[1])
    dictionary.string_table.extend(strings)
    return request.SerializeToString()


def _rows(rows: TableRows) -> list[dict[str, Any]]:
    from arro3.core import RecordBatch  # noqa: PLC0415 - comes with deltalake

    return list(RecordBatch.from_arrow(rows).to_struct_array().to_pylist())


def _named(row: dict[str, Any]) -> tuple[_Group, int]:
    """The group of a row of `labels`, and its id."""
    service = dict(row["resource"])["service.name"]
    return _Group(service, row["period_type"], row["period_unit"], row["period"]), row["labels_id"]
