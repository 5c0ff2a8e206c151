"""A store that is maintained says what the slow twin says, in every tier, and its totals never change."""

from __future__ import annotations

from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from otelprof.store import ranges
from otelprof.store.maintenance import Action, Maintenance
from otelprof.store.ranges import ROWS_PER_QUERY
from otelprof.store.retention import RetentionConfig
from otelprof.store.schema import Table
from otelprof.store.store import Store
from otelprof.store.writer import StoreWriter
from otelprof.testing.clock import SimulatedClock
from tests.reference.stored_requests import MIDNIGHT_SECS, OBSERVED, Observed, request_of
from tests.reference.tiers import Row, downsampled, rows, summary, totals, values

if TYPE_CHECKING:
    from collections import Counter

DAY: Final = 86_400
HELD: Final = ("error", "slow")
RETENTION: Final = RetentionConfig.model_validate({"top_stacks": 1, "keep": {"error": "40d", "slow": "40d"}})
REQUESTS: Final = st.lists(st.lists(OBSERVED, min_size=1, max_size=12), min_size=1, max_size=4)
few = settings(max_examples=4)  # each is a store that is written and maintained for a quarter of a year
BIG: Final = Observed(
    "cart", ("cpu", "nanoseconds"), 10, 3, 10, ("a", "main"), trace=1, state="", thread="1", value=2**63 - 1
)


def maintained(store: Store, age_days: int, *, eager: bool = False) -> list[Action]:
    """Do what is due when the day is so old; what it was."""
    clock = SimulatedClock(start_secs=MIDNIGHT_SECS + (age_days + 0.5) * DAY)
    maintenance = Maintenance(store, RETENTION, clock, eager=eager)
    steps = list(maintenance.run(vacuum=False))
    assert not [step for step in steps if step.error]
    # Whatever was due is done at once: a second round finds nothing.
    assert not maintenance.plan()
    return [step.action for step in steps]


def unique_symbols(store: Store) -> bool:
    """Whether each symbol is there once on its day."""
    keys = [
        [(row["date"], row[table.id_column], row.get("inline")) for row in rows(store, table)]
        for table in Table
        if table.id_column is not None
    ]
    return all(len(of_table) == len(set(of_table)) for of_table in keys)


@few
@example([[BIG._replace(thread=str(n)) for n in range(5)], [BIG._replace(minute=n) for n in range(5)]], 2)
@given(REQUESTS, st.sampled_from([2, ROWS_PER_QUERY]))
def test_every_tier(requests: list[list[Observed]], rows_per_query: int) -> None:
    """Compaction changes nothing, and each fold what the twin says; symbols that nothing refers to go."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        # As if a query could sort but few: many ranges then, and files all the same.
        patch.setattr(ranges, "ROWS_PER_QUERY", rows_per_query)
        store = Store(folder)
        clock = SimulatedClock(start_secs=MIDNIGHT_SECS)
        for number, request in enumerate(requests):
            # Writers who do not know of each other write the same symbols.
            StoreWriter(store, clock, tenant=f"tenant {number % 2}").write(request_of(request))
        if not rows(store, Table.SAMPLES):
            return
        fine = values(store)
        maintained(store, 0, eager=True)
        assert fine == values(store)
        assert unique_symbols(store)

        maintained(store, 8)
        assert_same(downsampled(fine, HELD), values(store), fine)

        maintained(store, 31)
        coarse = summary(downsampled(fine, HELD), 1, HELD)
        assert_same(coarse, values(store), fine)
        assert unique_symbols(store)
        used = {row["labels_id"] for row in rows(store, Table.SAMPLES)}
        assert used == {row["labels_id"] for row in rows(store, Table.LABELS)}

        # What a state kept fine until now goes where its day is.
        held = [row for row in coarse if row.tier == "fine"]
        maintained(store, 41)
        assert totals(fine) == totals(values(store))
        assert {row.tier for row in values(store)} <= {"summary"}
        assert bool(held) == (coarse != values(store))

        maintained(store, 91)
        assert [] == [row for table in Table for row in rows(store, table)]


def assert_same(expected: Counter[Row], actual: Counter[Row], fine: Counter[Row]) -> None:
    """The twin says the same, and the totals are those of the first day."""
    assert expected == actual
    assert totals(fine) == totals(actual)


@few
@given(REQUESTS, REQUESTS)
def test_late_samples(early: list[list[Observed]], late: list[list[Observed]]) -> None:
    """What comes for a day that was folded is folded, and nothing of the day is counted twice or lost."""
    with TemporaryDirectory() as folder:
        store = Store(folder)
        clock = SimulatedClock(start_secs=MIDNIGHT_SECS)
        one = StoreWriter(store, clock)
        for request in early:
            one.write(request_of(request))
        maintained(store, 31)
        clock.advance(32 * DAY)
        # It has written these symbols before, and some may be gone by now.
        for request in late:
            one.write(request_of(request))
        values(store)
        maintained(store, 32)
        found = {(service, kind): value for (_, service, kind), value in totals(values(store)).items()}
        assert request_totals([*early, *late]) == found


def request_totals(requests: list[list[Observed]]) -> dict[tuple[str, tuple[str, str]], int]:
    """The sums by service and sample type."""
    sums: dict[tuple[str, tuple[str, str]], int] = {}
    for one in (one for request in requests for one in request):
        key = (one.service, one.sample_type)
        sums[key] = sums.get(key, 0) + one.value
    return {key: value for key, value in sums.items() if value}
