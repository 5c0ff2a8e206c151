"""What a store costs: every byte belongs to a service, and the plan is arithmetic that can be checked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from otelprof._core import Profiles
from otelprof.cli.app import app
from otelprof.store.cost import Fleet, Prices, Ratios, costs, plan
from otelprof.store.schema import Table
from otelprof.store.store import Store
from otelprof.store.writer import StoreWriter
from otelprof.testing.clock import SimulatedClock
from otelprof.testing.contract import small_profiles

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """One with two services, one of them linked."""
    store = Store(str(tmp_path))
    writer = StoreWriter(store, SimulatedClock(start_secs=1_700_000_000))
    writer.write(small_profiles())
    writer.write(Profiles.from_folded(b"main;work 7\nmain 1\n", resource=[("service.name", "cart")]))
    return store


def test_every_byte_is_somebodys(store: Store) -> None:
    """What services take adds up to what the files take, and so does what they cost."""
    found = costs(store)
    prices = Prices()
    assert "cart" in found.services
    assert sum(found.table_bytes.values()) == pytest.approx(
        sum(cost.stored_bytes for cost in found.services.values())
    )
    assert found.month(prices) == pytest.approx(sum(found.month_of(name, prices) for name in found.services))
    on_disk = [path.stat().st_size for path in (store_path(store) / "samples").rglob("date=*/*.parquet")]
    assert sum(on_disk) == found.table_bytes[Table.SAMPLES]


def store_path(store: Store) -> Path:
    """The folder of a store."""
    from pathlib import Path  # noqa: PLC0415 - beside its annotation

    return Path(store.url)


def test_days(store: Store) -> None:
    """The days of a store are those of all services together."""
    day = SimulatedClock(start_secs=1_700_100_000)
    StoreWriter(store, day).write(Profiles.from_folded(b"main 1\n", resource=[("service.name", "late")]))
    # small_profiles has a window of 1970, and cart one of the day before.
    assert 3 == costs(store).days


def test_the_rule_of_thumb() -> None:
    """200 services with two 30-second profile types of 200 kB send 230 GB a day; one type is half of it."""
    two = plan(Fleet(), Prices(), Ratios())
    one = plan(Fleet(profiles_per_hour=120), Prices(), Ratios())
    assert 230.4e9 == two.raw_bytes_a_day
    assert 115.2e9 == one.raw_bytes_a_day


def test_a_plan_is_its_parts() -> None:
    """Storage is priced by GB and month, PUTs by the flush; what is not kept costs nothing."""
    prices = Prices(gb_month=1.0, puts_1000=0.0)
    ratios = Ratios(unlinked=100.0, linked=50.0, downsampled=0.5, summary=0.1)
    fleet = Fleet(linked_share=0.0, fine_days=1, downsampled_days=3, summary_days=13)
    found = plan(fleet, prices, ratios)
    assert {"fine": 2.304e9, "downsampled": 2.304e9, "summary": 2.304e9} == pytest.approx(found.stored_bytes)
    assert 3 * 2.304 == pytest.approx(found.month)
    free = plan(fleet, Prices(gb_month=0.0, puts_1000=1.0), ratios)
    assert free.puts_a_month / 1000 == pytest.approx(free.month)
    linked = plan(Fleet(linked_share=0.5, trace_probability=1.0), prices, ratios)
    assert 230.4e9 / 50 == pytest.approx(linked.fine_bytes_a_day)


def test_command(store: Store) -> None:
    """The command says what the library says."""
    told = CliRunner().invoke(app, ["cost", "--store", store.url, "--format", "json"])
    assert 0 == told.exit_code
    said = json.loads(told.stdout)
    assert costs(store).month(Prices()) == pytest.approx(said["dollars_a_month"])
    shown = CliRunner().invoke(app, ["cost", "--store", store.url])
    assert "cart" in shown.stdout
    planned = CliRunner().invoke(app, ["cost", "plan"])
    assert "= 230 GB a day" in planned.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cost"], "--store"),
        (["cost", "--store", "x", "--store-option", "nope"], "wants KEY=VALUE"),
        (["cost", "plan", "--profile-bytes", "many"], "is not a size"),
        (["cost", "plan", "--flush-interval", "0s"], "more than 0"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str) -> None:
    """What is wrong is said, with exit code 2."""
    told = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert 2 == told.exit_code
    assert message in told.stderr
