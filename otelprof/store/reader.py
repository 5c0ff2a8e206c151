"""Reads a store: a selection becomes SQL for the engine embedded in `deltalake`, its rows become `Profiles`.

Samples are read first, then only the symbols that they refer to. There is no transaction over tables, so a
sample may be read whose symbols a snapshot does not have: then everything is read again from fresh ones.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from otelprof._core import Limits, Profiles
from otelprof.errors import EmptyStoreError, RequestTooLargeError, StoreError, UnavailableError
from otelprof.store.schema import Table
from otelprof.store.selection import any_of
from otelprof.store.symbols import MissingSymbolError, Symbols
from otelprof.store.trace_files import TraceFiles
from otelprof.telemetry.quantity import human

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from arro3.core import Table as Rows
    from deltalake import QueryBuilder

    from otelprof.store.selection import Selection
    from otelprof.store.store import Store

T = TypeVar("T")

_ATTEMPTS: Final = 3
_MAX_ROWS: Final = 1_000_000
"""Of one answer: distinct stacks, times labels and, where asked for, links."""
_MEMORY_BYTES: Final = 2 << 30
"""Of one query, which goes to disk first where it can: a million rows take some 1.4 GiB."""
_OUT_OF_MEMORY: Final = "Resources exhausted"
_LIMITS: Final = Limits(max_table_entries=10_000_000, max_profiles=1_000_000)
SURE_SUM: Final = float(2**62)
"""Below this, a sum in doubles is near enough to say that none in int64 has overflowed."""
_MAX_KEPT_PERIODS: Final = 200_000
_OF_SAMPLES: Final = ("service", "sample_type", "unit", "stack_id", "value")
_OF_LINKS: Final = ("trace_id", "span_id", "trace_state", "span_name")


class Period(NamedTuple):
    """Of a Profile: what it was sampled by, and how often; both texts are empty where it does not say."""

    type: str
    unit: str
    period: int


@dataclass(frozen=True)
class TypeRows:
    """Rows of one sample type, those of one stack and set of labels added up.

    Attributes:
        sample_type: its name.
        unit: of the values.
        rows: `service`, `labels_id`, `stack_id`, `value`, `count`; `date`, the last on which the stack was
            seen; `first` and `last`, unix microseconds of windows; links where they were asked for.
    """

    sample_type: str
    unit: str
    rows: Rows

    @property
    def key(self) -> tuple[str, str]:
        """Name and unit."""
        return self.sample_type, self.unit

    @property
    def labels_ids(self) -> set[int]:
        """Of its rows."""
        return set(self.rows["labels_id"].to_pylist())

    @property
    def dates(self) -> set[str]:
        """Of its rows, as `2026-11-24`."""
        return {str(date) for date in set(self.rows["date"].to_pylist())}


class StoreReader:
    """Answers from a store; for one thread at a time.

    Args:
        store: what is read.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._session: QueryBuilder | None = None
        self._symbols = Symbols(self.query)
        self._trace_files = TraceFiles(store)
        self._periods: dict[int, Period] = {}

    def query(self, sql: str) -> Rows:
        """Run SQL on `samples`, `labels`, `stacks` and `frames` as they were when last refreshed.

        Raises:
            StoreError: see `Store.table`.
            UnavailableError: the store cannot be reached, or a file has been removed since.
            RequestTooLargeError: it takes too much memory.
        """
        session = self._opened()
        with self.store.errors(Table.SAMPLES):
            stream = session.execute(sql)
        try:
            return stream.read_all()
        except Exception as error:  # what a stream meets has no class of its own
            if _OUT_OF_MEMORY in str(error):
                limit = human(_MEMORY_BYTES, "B")
                message = (
                    f"the answer takes more than {limit} of memory: ask for one service, or for less time"
                )
                raise RequestTooLargeError(message) from error
            message = f"the tables at {self.store.url} could not be read: {error}"
            raise UnavailableError(message) from error

    def where(self, selection: Selection) -> str:
        """The condition on a row of `samples`, with what spares the engine files without the trace.

        Raises:
            StoreError: see `query`.
            UnavailableError: see `query`.
        """
        condition = selection.where()
        if selection.trace_id is None:
            return condition
        self._opened()
        with self.store.errors(Table.SAMPLES):
            return f"{condition} AND {self._trace_files.condition(selection.trace_id)}"

    def _opened(self) -> QueryBuilder:
        if self._session is None:
            self._session = self._open()
        return self._session

    def _open(self) -> QueryBuilder:
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - only where a store is used

        from deltalake import QueryBuilder  # noqa: PLC0415 - heavy

        session = QueryBuilder()
        session.execute(f"SET datafusion.runtime.memory_limit = '{_MEMORY_BYTES >> 20}M'")
        # At once, since each takes a few round trips; snapshots that do not fit are read again (`steadily`).
        with ThreadPoolExecutor(len(Table)) as pool:
            opened = {table: pool.submit(self.store.table, table) for table in reversed(Table)}
        for table, snapshot in opened.items():
            with self._may_be_missing(table):
                session.register(table.value, snapshot.result())
        self._trace_files.see(opened[Table.SAMPLES].result())
        return session

    @contextmanager
    def _may_be_missing(self, table: Table) -> Iterator[None]:
        """Samples that have all no stack need no frames."""
        try:
            yield
        except EmptyStoreError:
            if table is not Table.FRAMES:
                raise

    def refresh(self) -> None:
        """See what was written since.

        Raises:
            StoreError: see `Store.table`.
            UnavailableError: the store cannot be reached.
        """
        for table in reversed(Table):
            with self._may_be_missing(table):
                before = self.store.table(table).version()
                self.store.refresh(table)
                if before != self.store.table(table).version():
                    self._session = None

    def steadily(self, work: Callable[[], T]) -> T:
        """Do something that reads several tables; again, from fresh snapshots, when they did not fit.

        Raises:
            StoreError: they still do not.
            UnavailableError: the store still cannot be reached.
        """
        for _ in range(_ATTEMPTS - 1):
            try:
                return work()
            except (MissingSymbolError, UnavailableError):
                if self._session is None:
                    raise  # it could not even be opened
                self._reopen()
        try:
            return work()
        except MissingSymbolError as error:
            message = f"the store at {self.store.url} is not whole: {error}"
            raise StoreError(message) from error

    def _reopen(self) -> None:
        for table in Table:
            self.store.forget(table)
        self._session = None

    def stacks(self, selection: Selection, *, links: bool = False) -> list[TypeRows]:
        """The rows of a selection by sample type, those of one service, stack and labels added up.

        Args:
            selection: what is asked for.
            links: keep apart what belongs to other traces, spans, states of traces and names of spans.

        Raises:
            RequestTooLargeError: there are too many to be one answer.
            StoreError: the store is not to be used.
            UnavailableError: it cannot be reached.
        """
        keys = ["service", "sample_type", "unit", "labels_id", "stack_id", *(_OF_LINKS if links else ())]
        columns = ", ".join(keys)
        where = self.where(selection)
        sql = (
            f"SELECT {columns}, max(date) AS date, sum(value) AS value, sum(count) AS count, "
            "sum(abs(CAST(value AS DOUBLE)) + abs(CAST(count AS DOUBLE))) AS size, "
            "CAST(min(window_start) AS BIGINT) AS first, CAST(max(window_start) AS BIGINT) AS last "
            f"FROM samples WHERE {where} GROUP BY {columns} ORDER BY sample_type, unit"
        )
        rows = self.bounded(sql)
        if any(size >= SURE_SUM for size in rows["size"].to_pylist()):
            # Values at the ends of int64: the core adds them up, with room.
            sql = (
                f"SELECT {columns}, date, value, count, CAST(window_start AS BIGINT) AS first, "
                f"CAST(window_start AS BIGINT) AS last FROM samples WHERE {where} "
                "ORDER BY sample_type, unit"
            )
            rows = self.bounded(sql)
        return list(_by_type(rows))

    def bounded(self, sql: str) -> Rows:
        """Run SQL whose answer is held in memory.

        Raises:
            RequestTooLargeError: it has too many rows.
            StoreError: see `query`.
            UnavailableError: see `query`.
        """
        rows = self.query(f"{sql} LIMIT {_MAX_ROWS + 1}")
        if rows.num_rows > _MAX_ROWS:
            message = f"the answer has more than {_MAX_ROWS:,} rows: ask for one service, or for less time"
            raise RequestTooLargeError(message)
        return rows

    def profiles(self, of_type: TypeRows, *, labels: bool = False) -> Profiles:
        """Rows as a request, with their symbols: a Profile for each service.

        Args:
            of_type: the rows.
            labels: with the attributes of Samples, their period, and their links where the rows have them.

        Raises:
            MissingSymbolError: a symbol is not in the snapshot: see `steadily`.
        """
        rows = of_type.rows
        by_date = _by_date(rows)
        stacks, frames = self._symbols.of(by_date)
        columns = list(_OF_SAMPLES)
        if not labels:
            return Profiles.from_tables(rows.select(columns), stacks, frames, limits=_LIMITS)
        columns += ["labels_id", *(name for name in _OF_LINKS if name in rows.column_names)]
        # What is told of a host, a pod or a profiler would make a Profile, and a pprof, for each of them.
        own = "labels_id, '' AS scope, '' AS scope_version, period_type, period_unit, period, attributes"
        sql = f"SELECT {own}, CASE WHEN FALSE THEN resource END AS resource FROM labels WHERE "
        found = self.query(sql + _with_ids(rows["labels_id"].to_pylist(), by_date))
        return Profiles.from_tables(rows.select(columns), stacks, frames, found, limits=_LIMITS)

    def with_periods(self, rows: Rows) -> Profiles:
        """Rows of any sample types as a request, with their symbols: a Profile for each service and period.

        Args:
            rows: `service`, `sample_type`, `unit`, `stack_id`, `value`; `labels_id`, any with the period that
                is meant; `date`, on which the stack and the labels were seen.

        Raises:
            MissingSymbolError: a symbol is not in the snapshot: see `steadily`.
        """
        by_date = _by_date(rows)
        stacks, frames = self._symbols.of(by_date)
        nothing = ", ".join(
            f"CASE WHEN FALSE THEN {name} END AS {name}" for name in ("resource", "attributes")
        )
        own = f"labels_id, '' AS scope, '' AS scope_version, period_type, period_unit, period, {nothing}"
        ids = _with_ids(rows["labels_id"].to_pylist(), by_date)
        found = self.query(f"SELECT {own} FROM labels WHERE {ids}")
        columns = [*_OF_SAMPLES, "labels_id"]
        return Profiles.from_tables(rows.select(columns), stacks, frames, found, limits=_LIMITS)

    def periods_of(self, labels_ids: Iterable[int], dates: Iterable[str]) -> Mapping[int, Period]:
        """What Profiles with these labels were sampled by, by id; those that are not there are left out.

        Args:
            labels_ids: the ids.
            dates: as `2026-11-24`, on which samples refer to them.
        """
        if len(self._periods) > _MAX_KEPT_PERIODS:
            self._periods = {}
        missing = set(labels_ids) - self._periods.keys()
        if missing:
            wanted = "labels_id, period_type, period_unit, period"
            found = self.query(f"SELECT {wanted} FROM labels WHERE {_with_ids(missing, dates)}")
            columns = [found[name].to_pylist() for name in found.column_names]
            self._periods |= {row[0]: Period(*row[1:]) for row in zip(*columns, strict=True)}
        return self._periods


def as_dicts(rows: Rows) -> list[dict[str, Any]]:
    """Rows as Python values by the names of their columns."""
    columns = [rows[name].to_pylist() for name in rows.column_names]
    return [dict(zip(rows.column_names, row, strict=True)) for row in zip(*columns, strict=True)]


def _by_date(rows: Rows) -> dict[str, set[int]]:
    """Ids of stacks by a date on which they were seen."""
    by_date: dict[str, set[int]] = {}
    for date, stack_id in zip(rows["date"].to_pylist(), rows["stack_id"].to_pylist(), strict=True):
        by_date.setdefault(str(date), set()).add(stack_id)
    return by_date


def _with_ids(ids: Iterable[int], dates: Iterable[str]) -> str:
    days = ", ".join(f"DATE '{date}'" for date in sorted(dates))
    return f"date IN ({days}) AND labels_id IN {any_of(sorted(set(ids)))}" if days else "FALSE"


def _by_type(rows: Rows) -> Iterable[TypeRows]:
    start = 0
    pairs = zip(rows["sample_type"].to_pylist(), rows["unit"].to_pylist(), strict=True)
    for (sample_type, unit), group in groupby(pairs):
        length = sum(1 for _ in group)
        yield TypeRows(sample_type, unit, rows.slice(start, length))
        start += length
