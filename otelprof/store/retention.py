"""How long profiles stay, and how fine: days of rows folded from one tier into the next, totals unchanged.

`fine` is as it came. `downsampled` has windows of five minutes, and links only of traces that say why they
matter. `summary` has one window a day, the stacks with the largest values of each service and type, and one
row for all others. A row is in the tier of its day, unless its trace's state keeps it fine for longer.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Literal, Self

from pydantic import Field, model_validator

from otelprof.config.section import Section
from otelprof.config.units import Duration  # noqa: TC001 - pydantic reads it at run time
from otelprof.store.files import Kind, StoredFile
from otelprof.store.ranges import TRACE_ORDER, literal, stream, trace_ranges
from otelprof.store.rewrite import Rewrite, engine
from otelprof.store.schema import Table
from otelprof.store.summary import Summaries

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date

    from arro3.core import RecordBatch
    from deltalake import QueryBuilder

    from otelprof.store.rewrite import Written
    from otelprof.store.store import Store

DAY_SECS: Final = 86_400
_DOWNSAMPLED_NANOS: Final = 300_000_000_000
_LINKED_STATES: Final = "('kept', 'error', 'slow', 'incident')"
_PART: Final = "CAST('4611686018427387904' AS DECIMAL(38, 0))"
"""2⁶²: a sum that no int64 holds becomes several rows of this, and one of the rest."""

_KEYS: Final = (
    *("date", "tier", "tenant", "service", "sample_type", "unit", "window_start", "window_ns", "stack_id"),
    *("trace_id", "span_id", "trace_state", "span_name", "labels_id"),
)
"""Rows with equal ones are one row."""
_DOWNSAMPLED: Final = f"""
    SELECT date, 'downsampled' AS tier, tenant, service, sample_type, unit,
        date_bin(INTERVAL '5 minutes', window_start) AS window_start,
        greatest(window_ns, {_DOWNSAMPLED_NANOS}) AS window_ns, stack_id,
        CASE WHEN trace_state IN {_LINKED_STATES} THEN trace_id END AS trace_id,
        CASE WHEN trace_state IN {_LINKED_STATES} THEN span_id END AS span_id,
        CASE WHEN trace_state IN {_LINKED_STATES} THEN trace_state END AS trace_state,
        CASE WHEN trace_state IN {_LINKED_STATES} THEN span_name END AS span_name,
        labels_id, value, count
    FROM leaving
"""
_TOP_STACKS: Final = """
    SELECT * FROM (
        SELECT tenant, service, sample_type, unit, stack_id, row_number() OVER (
            PARTITION BY tenant, service, sample_type, unit
            ORDER BY sum(CAST(value AS DECIMAL(38, 0))) DESC, stack_id
        ) AS place
        FROM detailed GROUP BY tenant, service, sample_type, unit, stack_id
    )
"""

State = Literal["error", "slow", "incident"]


class Tier(StrEnum):
    """How fine rows are, the finest first."""

    FINE = "fine"
    DOWNSAMPLED = "downsampled"
    SUMMARY = "summary"


class RetentionConfig(Section):
    """How long rows stay, in days of UTC; a row's age is that of its day.

    Attributes:
        fine: seconds, whole days, for which rows stay as they came.
        downsampled: for which they are there in five-minute windows at least; not less than `fine`.
        summary: for which they are there at all; not less than `downsampled`.
        top_stacks: of each service and sample type that a day's summary tells apart, 1 to 100,000.
        keep: by the state of the trace, for how long its rows stay fine when that is longer than `fine`.
    """

    fine: Duration = Field(default=7 * DAY_SECS, ge=DAY_SECS, multiple_of=DAY_SECS)
    downsampled: Duration = Field(default=30 * DAY_SECS, ge=DAY_SECS, multiple_of=DAY_SECS)
    summary: Duration = Field(default=90 * DAY_SECS, ge=DAY_SECS, multiple_of=DAY_SECS)
    top_stacks: int = Field(default=1_000, ge=1, le=100_000)
    keep: dict[State, Duration] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.fine <= self.downsampled <= self.summary:
            message = (
                f"fine ({_days(self.fine)}d), downsampled ({_days(self.downsampled)}d) and summary "
                f"({_days(self.summary)}d) must not fall: each says until when rows are at least that fine"
            )
            raise ValueError(message)
        for state, secs in self.keep.items():
            if secs % DAY_SECS:
                message = f"keep.{state} ({secs:g} s) must be whole days: write 30d"
                raise ValueError(message)
        return self

    def tier(self, day: date, today: date) -> Tier | None:
        """Where the rows of a day belong that no state keeps; None when they are to go."""
        age = (today - day).days
        limits = ((self.fine, Tier.FINE), (self.downsampled, Tier.DOWNSAMPLED), (self.summary, Tier.SUMMARY))
        return next((tier for secs, tier in limits if age <= _days(secs)), None)

    def held(self, day: date, today: date) -> tuple[str, ...]:
        """The states that keep rows of a day fine."""
        age = (today - day).days
        return tuple(sorted(state for state, secs in self.keep.items() if age <= _days(secs)))


def _days(secs: float) -> int:
    return int(secs // DAY_SECS)


@dataclass(frozen=True)
class Fold:
    """Files of a day with rows that belong into a coarser tier.

    Attributes:
        day: of their rows.
        tier: where the rows belong; None when they are to go.
        held: states whose rows stay fine.
        files: at least one.
    """

    day: date
    tier: Tier | None
    held: tuple[str, ...]
    files: tuple[StoredFile, ...]


def folds(files: Iterable[StoredFile], config: RetentionConfig, today: date) -> list[Fold]:
    """What is due among all files of `samples`."""
    by_day: dict[date, list[StoredFile]] = {}
    for file in files:
        by_day.setdefault(file.day, []).append(file)
    found = []
    for day, of_day in sorted(by_day.items()):
        tier, held = config.tier(day, today), config.held(day, today)
        due = tuple(file for file in of_day if _is_due(file, tier, held))
        if due:
            found.append(Fold(day, tier, held, due))
    return found


def _is_due(file: StoredFile, tier: Tier | None, held: tuple[str, ...]) -> bool:
    """Whether a file may have a row that belongs elsewhere."""
    if tier is Tier.FINE:
        return False
    if file.tier == Tier.FINE:
        return file.trace_state not in held
    return file.tier is None or file.tier in _finer(tier)


def _finer(tier: Tier | None) -> list[Tier]:
    """The tiers whose rows leave for this one."""
    tiers = list(Tier)
    return tiers if tier is None else tiers[: tiers.index(tier)]


def fold(store: Store, due: Fold, config: RetentionConfig) -> Written:
    """Put the rows into the tier where they belong, in one commit; symbols of a summary are written before.

    Raises:
        ConflictError: somebody else took away one of the files meanwhile; nothing has changed.
        UnavailableError: the store cannot be reached.
    """
    with Rewrite(store, Table.SAMPLES, due.files) as rewrite:
        if due.tier is None and not due.held:
            return rewrite.commit([], kind=Kind.FOLDED, is_same=False)
        queries = engine({"rows_of_day": rewrite.fetch()})
        results: list[Iterator[RecordBatch]] = []
        leaving = _leaving(due)
        queries.execute(f"CREATE VIEW leaving AS SELECT * FROM rows_of_day WHERE {leaving}")
        if due.tier is not None:
            results.append(_folded(store, queries, due, config))
        held = [
            f"tier = '{Tier.FINE}' AND coalesce(trace_state, '') = {literal(state)}" for state in due.held
        ]
        results += [_unchanged(queries, condition) for condition in held]
        rest = " OR ".join(f"({condition})" for condition in [leaving, *held])
        results.append(_unchanged(queries, f"NOT ({rest})"))
        return rewrite.commit(results, kind=Kind.FOLDED, is_same=False)


def _leaving(due: Fold) -> str:
    """A condition: true of rows that leave their tier."""
    tiers = ", ".join(f"'{tier}'" for tier in _finer(due.tier))
    if not due.held:
        return f"tier IN ({tiers})"
    states = ", ".join(map(literal, due.held))
    return f"tier IN ({tiers}) AND NOT (tier = '{Tier.FINE}' AND coalesce(trace_state, '') IN ({states}))"


def _unchanged(queries: QueryBuilder, condition: str) -> Iterator[RecordBatch]:
    """Rows as they are, in the order of traces."""
    queries.execute(f"CREATE OR REPLACE VIEW unchanged AS SELECT * FROM rows_of_day WHERE {condition}")
    statements = [
        f"SELECT * FROM rows_of_day WHERE ({condition}) AND {part} ORDER BY {TRACE_ORDER}"
        for part in trace_ranges(queries, "unchanged")
    ]
    yield from stream(queries, statements)


def _folded(store: Store, queries: QueryBuilder, due: Fold, config: RetentionConfig) -> Iterator[RecordBatch]:
    """What becomes of the rows that leave their tier."""
    if due.tier is Tier.DOWNSAMPLED:
        queries.execute(f"CREATE VIEW folding AS {_DOWNSAMPLED}")
    else:
        summaries = Summaries(store, queries, due.day)
        if not summaries.write():
            return
        queries.execute(f"CREATE VIEW detailed AS {summaries.statement}")
        queries.execute(f"CREATE TABLE top AS {_TOP_STACKS} WHERE place <= {config.top_stacks}")
        queries.execute(f"CREATE VIEW folding AS {_with_other(summaries.other_stack_id)}")
    statements = [
        f"{_exact_sums('folding', part)} ORDER BY {TRACE_ORDER}" for part in trace_ranges(queries, "folding")
    ]
    yield from stream(queries, statements)


def _with_other(stack_id: int) -> str:
    """A query of the rows of a summary, with one stack for those that are not among the top."""
    columns = ", ".join(f"detailed.{key}" for key in _KEYS if key != "stack_id")
    return f"""
        SELECT CASE WHEN top.place IS NULL THEN {stack_id} ELSE detailed.stack_id END AS stack_id,
            {columns}, value, count
        FROM detailed LEFT JOIN top USING (tenant, service, sample_type, unit, stack_id)
    """


def _exact_sums(rows: str, condition: str) -> str:
    """A query of rows that are alike as one, several when no int64 holds their sum, none when it is 0."""
    keys = ", ".join(_KEYS)
    columns = ", ".join(f'"{key}"' for key in _KEYS)
    one = f"CASE WHEN total < 0 THEN -{_PART} ELSE {_PART} END"
    return f"""
        SELECT {columns},
            CAST(CASE WHEN part = 0 THEN total - parts * {one} ELSE {one} END AS BIGINT) AS value,
            CASE WHEN part = 0 THEN count ELSE 0 END AS count
        FROM (SELECT *, unnest(generate_series(0, parts)) AS part FROM (
            SELECT *, CASE WHEN total BETWEEN {-(1 << 63)} AND {(1 << 63) - 1} THEN 0
                ELSE CAST(floor(abs(CAST(total AS DOUBLE)) / {float(1 << 62)}) AS BIGINT) END AS parts FROM (
                SELECT {keys}, sum(CAST(value AS DECIMAL(38, 0))) AS total, sum(count) AS count
                FROM {rows} WHERE {condition} GROUP BY {keys}
            ) WHERE total <> 0
        ))
    """
