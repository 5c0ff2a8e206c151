"""What a store costs, by service; and what one would cost that is not there yet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from otelprof.store.schema import Table

if TYPE_CHECKING:
    from otelprof.store.store import Store

GB: Final = 1e9
HOURS_PER_MONTH: Final = 730.0
DAYS_PER_MONTH: Final = HOURS_PER_MONTH / 24
# Rows with random ids take so many times the bytes of those without (benchmarks/store_bytes.py).
_LINKED_WEIGHT: Final = 20.0
_MILLIS_PER_DAY: Final = 86_400_000
_MAX_COMMITS: Final = 3_000
"""Of a table, that are looked at: each is a GET. Two days of a writer that flushes each minute."""


@dataclass(frozen=True)
class Prices:
    """What an object store charges, in $; the defaults are those of S3 Standard in us-east-1.

    Attributes:
        gb_month: for a GB (10^9 bytes) that is kept a month.
        puts_1000: for 1,000 PUTs.
    """

    gb_month: float = 0.023
    puts_1000: float = 0.005


@dataclass
class ServiceCost:
    """What one service takes.

    Attributes:
        rows: of `samples`.
        linked_rows: of these, with a trace id.
        by_tier: bytes of `samples`, by tier: those of the files, shared out by rows; one with ids counts as
            many.
        symbol_bytes: of the other tables, shared out by distinct stacks.
    """

    rows: int = 0
    linked_rows: int = 0
    by_tier: dict[str, float] = field(default_factory=dict)
    symbol_bytes: float = 0.0

    @property
    def stored_bytes(self) -> float:
        """All of it."""
        return sum(self.by_tier.values()) + self.symbol_bytes


@dataclass(frozen=True)
class Costs:
    """What a store takes.

    Attributes:
        services: by name.
        table_bytes: of the files that the last version of each table refers to.
        days: on which windows start.
        puts_a_day: as the last commits of each table say, over the days that they span.
    """

    services: dict[str, ServiceCost]
    table_bytes: dict[Table, int]
    days: int
    puts_a_day: float

    def month(self, prices: Prices) -> float:
        """$ for a month in which it stays as it is."""
        stored = sum(self.table_bytes.values()) / GB * prices.gb_month
        return stored + self.puts_a_day * DAYS_PER_MONTH / 1000 * prices.puts_1000

    def month_of(self, service: str, prices: Prices) -> float:
        """The share of one service: of bytes by what it takes, of PUTs by its bytes."""
        whole = sum(self.table_bytes.values())
        return self.month(prices) * self.services[service].stored_bytes / whole if whole else 0.0


def costs(store: Store) -> Costs:
    """Look at a store.

    Raises:
        StoreError: there is none.
        UnavailableError: it cannot be reached.
    """
    table_bytes = {table: _file_bytes(store, table) for table in Table}
    services = _services(store, table_bytes)
    days = len(set(_of_files(store, Table.SAMPLES, "partition.date")))
    puts_a_day = sum(_puts_a_day(store, table) for table in Table)
    return Costs(services, table_bytes, days, puts_a_day)


def _file_bytes(store: Store, table: Table) -> int:
    return int(sum(_of_files(store, table, "size_bytes")))


def _of_files(store: Store, table: Table, column: str) -> list[Any]:
    """What the log says of each file that the last version refers to."""
    with store.errors(table):
        return list(store.table(table).get_add_actions(flatten=True).column(column).to_pylist())


def _services(store: Store, table_bytes: dict[Table, int]) -> dict[str, ServiceCost]:
    from deltalake import QueryBuilder  # noqa: PLC0415 - heavy

    with store.errors(Table.SAMPLES):
        rows = (
            QueryBuilder()
            .register("samples", store.table(Table.SAMPLES))
            .execute(
                "SELECT service, tier, count(*) AS all_rows, count(trace_id) AS linked,"
                " count(DISTINCT stack_id) AS stacks"
                " FROM samples GROUP BY service, tier ORDER BY service, tier"
            )
            .read_all()
        )
    found: dict[str, ServiceCost] = {}
    weights: dict[tuple[str, str], float] = {}
    stacks: dict[str, int] = {}
    columns = ("service", "tier", "all_rows", "linked", "stacks")
    for service, tier, count, linked, distinct in zip(
        *(rows.column(name).to_pylist() for name in columns), strict=True
    ):
        cost = found.setdefault(service, ServiceCost())
        cost.rows += count
        cost.linked_rows += linked
        weights[service, tier] = count - linked + _LINKED_WEIGHT * linked
        stacks[service] = stacks.get(service, 0) + distinct
    all_weights, all_stacks = sum(weights.values()), sum(stacks.values())
    for (service, tier), weight in weights.items():
        found[service].by_tier[tier] = table_bytes[Table.SAMPLES] * weight / all_weights
    symbols = sum(size for table, size in table_bytes.items() if table is not Table.SAMPLES)
    for service, count in stacks.items():
        found[service].symbol_bytes = symbols * count / all_stacks
    return found


def _puts_a_day(store: Store, table: Table) -> float:
    """A commit is a PUT, and so is each file that it adds."""
    with store.errors(table):
        commits = store.table(table).history(_MAX_COMMITS)
    metrics = [commit.get("operationMetrics") or {} for commit in commits]
    puts = sum(1 + int(one.get("num_added_files") or 1) for one in metrics)
    times: list[float] = [commit["timestamp"] for commit in commits]
    return puts / max((max(times) - min(times)) / _MILLIS_PER_DAY, 1 / 24)


@dataclass(frozen=True)
class Fleet:
    """A fleet that is not stored yet.

    Attributes:
        services: how many.
        profile_bytes: of a profile as it is sent, without compression.
        profiles_per_hour: of each service, over all of its sample types: two types of 30 s each make 240.
        linked_share: of the samples that carry a trace id, as they come.
        trace_probability: of traces, that their samples keep it; the rest is demoted.
        writers: processes with an `object_storage` exporter.
        flush_secs: between two flushes of one.
        fine_days, downsampled_days, summary_days: until which age a tier is kept.
    """

    services: int = 200
    profile_bytes: float = 200e3
    profiles_per_hour: float = 240.0
    linked_share: float = 0.5
    trace_probability: float = 0.1
    writers: int = 2
    flush_secs: float = 60.0
    fine_days: float = 7.0
    downsampled_days: float = 30.0
    summary_days: float = 90.0


@dataclass(frozen=True)
class Ratios:
    """How much smaller the tables are than profiles as they are sent; measured by benchmarks/store_bytes.py.

    Attributes:
        unlinked: of samples without ids, compacted, with their symbols.
        linked: of samples with ids on half of the stacks, all of them kept.
        downsampled: a day of that tier to a fine day without ids.
        summary: a day of that tier to a fine day without ids.
    """

    unlinked: float = 120.0
    linked: float = 40.0
    downsampled: float = 0.3
    summary: float = 0.05


@dataclass(frozen=True)
class Plan:
    """What a fleet will cost, when it has been there for as long as its profiles are kept.

    Attributes:
        raw_bytes_a_day: that its profilers send.
        fine_bytes_a_day: that a day takes in the first tier.
        stored_bytes: in all tiers.
        puts_a_month: of all writers.
        month: in $.
    """

    raw_bytes_a_day: float
    fine_bytes_a_day: float
    stored_bytes: dict[str, float]
    puts_a_month: float
    month: float


def plan(fleet: Fleet, prices: Prices, ratios: Ratios) -> Plan:
    """The bill of a fleet."""
    raw = fleet.services * fleet.profile_bytes * fleet.profiles_per_hour * 24
    plain = raw / ratios.unlinked
    # What ids cost on top, at the share and the probability at which they come and stay.
    ids = raw * (1 / ratios.linked - 1 / ratios.unlinked) * 2 * fleet.linked_share * fleet.trace_probability
    fine = plain + max(ids, 0.0)
    stored = {
        "fine": fine * fleet.fine_days,
        "downsampled": plain * ratios.downsampled * max(fleet.downsampled_days - fleet.fine_days, 0),
        "summary": plain * ratios.summary * max(fleet.summary_days - fleet.downsampled_days, 0),
    }
    flushes = fleet.writers * HOURS_PER_MONTH * 3600 / fleet.flush_secs
    puts = flushes * _PUTS_PER_FLUSH
    month = sum(stored.values()) / GB * prices.gb_month + puts / 1000 * prices.puts_1000
    return Plan(raw, fine, stored, puts, month)


_PUTS_PER_FLUSH: Final = 9.0
"""A file and a commit of each of the four tables, and now and then a checkpoint."""
