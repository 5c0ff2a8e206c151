"""Other engines read the same tables, and draw the same flame graph."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import pytest

from otelprof._core import Profiles
from otelprof.store.schema import Table
from otelprof.store.store import Store
from otelprof.store.writer import StoreWriter
from otelprof.testing.clock import SimulatedClock
from tests.recordings import OWN, recordings

if TYPE_CHECKING:
    from collections.abc import Iterable

RECORDED = [path for path in recordings() if OWN in path.parents][:6]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """One with recordings, written by two writers, so that symbols are there twice."""
    store = Store(str(tmp_path_factory.mktemp("store")))
    for _ in range(2):
        writer = StoreWriter(store, SimulatedClock(start_secs=1_700_000_000))
        for path in RECORDED:
            writer.write(Profiles.decode(path.read_bytes()))
    return store


def expected(sample_type: str) -> Counter[tuple[str, ...]]:
    """The flame graph of the recordings, twice, as this project draws it."""
    found: Counter[tuple[str, ...]] = Counter()
    for path in RECORDED:
        for stack, value in Profiles.decode(path.read_bytes()).fold(sample_type=sample_type):
            found[tuple(stack.split(";"))] += 2 * value
    return +found


def drawn(rows: Iterable[tuple[list[list[dict[str, Any]]], int]]) -> Counter[tuple[str, ...]]:
    """Stacks of frames with their values, as a flame graph."""
    found: Counter[tuple[str, ...]] = Counter()
    for stack, value in rows:
        names = [name(frame) for frames in stack for frame in frames]
        found[tuple(reversed(names)) or ("(no stack)",)] += value
    return +found


def name(frame: dict[str, Any]) -> str:
    """A frame's name, as a flame graph shows it."""
    base = str(frame["mapping"]).rpartition("/")[2]
    address = f"{frame['address'] % 2**64:#x}"
    known = frame["function"] or frame["system_name"] or (f"{base}+{address}" if base else address)
    return str(known).replace(";", ":")


SQL = """
    WITH frame AS (
        SELECT location_id, list({'function': function, 'system_name': system_name, 'mapping': mapping,
                                  'address': address} ORDER BY inline) AS frames
        FROM (SELECT DISTINCT * EXCLUDE (date) FROM frames) GROUP BY location_id
    ), stack AS (SELECT DISTINCT stack_id, location_ids FROM stacks),
    total AS (SELECT stack_id, sum(value)::BIGINT AS value FROM samples
              WHERE sample_type = ? GROUP BY stack_id),
    part AS (SELECT stack_id, unnest(location_ids) AS location_id,
                    generate_subscripts(location_ids, 1) AS place FROM stack)
    SELECT list(frame.frames ORDER BY part.place) FILTER (frame.frames IS NOT NULL), any_value(total.value)
    FROM total LEFT JOIN part USING (stack_id) LEFT JOIN frame USING (location_id) GROUP BY total.stack_id
"""


@pytest.mark.parametrize("sample_type", ["samples", "cpu", "events"])
def test_duckdb(store: Store, sample_type: str) -> None:
    """DuckDB, over the files of the last version of each table."""
    with duckdb.connect() as connection:
        for table in Table:
            files = store.table(table).file_uris()
            connection.read_parquet(files, hive_partitioning=True).create_view(table.value)
        rows = connection.execute(SQL, [sample_type]).fetchall()
    assert expected(sample_type) == drawn((stack or [], value) for stack, value in rows)


@pytest.mark.parametrize("sample_type", ["samples", "cpu", "events"])
def test_polars(store: Store, sample_type: str) -> None:
    """Polars, which reads Delta itself."""
    frames = pl.scan_delta(store.place(Table.FRAMES)).drop("date").unique()
    locations = (
        frames.sort("inline")
        .group_by("location_id", maintain_order=True)
        .agg(pl.struct("function", "system_name", "mapping", "address").alias("frames"))
    )
    totals = (
        pl.scan_delta(store.place(Table.SAMPLES))
        .filter(pl.col("sample_type") == sample_type)
        .group_by("stack_id")
        .agg(pl.col("value").sum())
        .collect()
    )
    by_location = {one["location_id"]: one["frames"] for one in locations.collect().to_dicts()}
    stacks = pl.scan_delta(store.place(Table.STACKS)).select("stack_id", "location_ids").collect()
    by_stack = dict(stacks.iter_rows())
    rows = [([by_location[one] for one in by_stack[stack]], value) for stack, value in totals.iter_rows()]
    assert expected(sample_type) == drawn(rows)
