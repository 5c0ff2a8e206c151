"""Large stores for `lookup.py`: the stacks of the fleet, windows repeated, rows made by the engine itself.

Half of the stacks are linked, to traces that cross services as real ones do. A flush holds 60 seconds, as the
exporter's; what is compacted is in the order of traces.
"""

from __future__ import annotations

import shutil
import tempfile
from typing import TYPE_CHECKING, Final

import fleet
from deltalake import DeltaTable, QueryBuilder, write_deltalake

from otelprof._core import Merger, Profiles
from otelprof.clock import SystemClock
from otelprof.store.schema import Table, writer_properties
from otelprof.store.store import Store
from otelprof.store.writer import StoreWriter

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MIDNIGHT_MICROS: Final = fleet.START // 1000
"""Where the rows begin: on the day of their symbols."""
WINDOW_MICROS: Final = 10_000_000
_SEED_WINDOWS: Final = 8
_WINDOWS_OF_A_FLUSH: Final = 6
_WINDOWS_OF_A_DAY: Final = 8_640
_ORDER: Final = "trace_id NULLS FIRST, service, sample_type, labels_id, stack_id, window_start"
_HEX: Final = "0123456789abcdef"
_COLUMNS: Final = """
    b.date, b.tier, b.tenant, b.service, b.sample_type, b.unit,
    arrow_cast({midnight} + g.w * 10000000, 'Timestamp(Microsecond, Some("UTC"))') AS window_start,
    b.window_ns, b.stack_id,
    CASE WHEN b.linked THEN md5(concat(g.w, ':', b.trace)) END AS trace_id,
    CASE WHEN b.linked THEN substr(md5(concat(g.w, '/', b.stack_id)), 1, 16) END AS span_id,
    CASE WHEN NOT b.linked THEN NULL WHEN b.trace % 20 = 0 THEN 'error' WHEN b.trace % 20 = 1 THEN 'slow'
        ELSE 'kept' END AS trace_state,
    CASE WHEN b.linked THEN concat('GET /route/', b.trace % 50) END AS span_name,
    b.labels_id, b.value, b.count
"""


def build_fresh(folder: Path, samples: int, traces: int) -> None:
    """A store as the exporter leaves it: a file of `samples` each minute.

    Args:
        folder: where to.
        samples: rows, about.
        traces: about; 0 for samples without links.

    Raises:
        ValueError: they do not fit into one day.
    """
    with tempfile.TemporaryDirectory() as scratch:
        seed = Store(scratch)
        writer = StoreWriter(seed, SystemClock())
        bodies = [body for window in fleet.requests(_SEED_WINDOWS) for body in window]
        writer.write(Merger().merge([Profiles.decode(body) for body in bodies]))
        for table in (Table.FRAMES, Table.STACKS, Table.LABELS):
            shutil.copytree(seed.place(table), folder / table.value)
        rows = seed.table(Table.SAMPLES)
        windows = -(-samples * _SEED_WINDOWS // _count(rows))
        if windows > _WINDOWS_OF_A_DAY:
            message = f"{samples} samples take {windows} windows of 10 s, and a day has {_WINDOWS_OF_A_DAY}"
            raise ValueError(message)
        place = Store(str(folder)).create(Table.SAMPLES, rows.schema()).table_uri
        of_window = -(-traces // windows)
        for first in range(0, windows, _WINDOWS_OF_A_FLUSH):
            last = min(first + _WINDOWS_OF_A_FLUSH, windows) - 1
            sql = f"SELECT * FROM ({_windows(first, last, of_window)}) ORDER BY {_ORDER}"
            _append(place, rows, sql, traces=of_window * _WINDOWS_OF_A_FLUSH)


def _count(rows: DeltaTable) -> int:
    found = QueryBuilder().register("rows", rows).execute("SELECT count(*) AS n FROM rows").read_all()
    return int(found["n"].to_pylist()[0])


def _windows(first: int, last: int, traces: int) -> str:
    start = fleet.START // 1000
    base = (
        f"SELECT *, {traces} > 0 AND abs(stack_id) % 2 = 0 AS linked, "
        f"abs(stack_id) / 2 % {max(1, traces)} AS trace, "
        f"(CAST(window_start AS BIGINT) - {start}) / {WINDOW_MICROS} AS slot FROM rows"
    )
    columns = _COLUMNS.format(midnight=MIDNIGHT_MICROS)
    return (
        f"SELECT {columns} FROM ({base}) b JOIN (SELECT value AS w FROM generate_series({first}, {last})) g "
        f"ON b.slot = g.w % {_SEED_WINDOWS}"
    )


def _append(place: str, rows: DeltaTable, sql: str, *, traces: int) -> None:
    found = QueryBuilder({"datafusion.execution.target_partitions": "1"}).register("rows", rows).execute(sql)
    write_deltalake(
        place, found, mode="append", writer_properties=writer_properties(Table.SAMPLES, traces=traces)
    )


def build_sorted(fresh: Path, folder: Path) -> None:
    """The same rows in the order of traces, a file for each first digit of the trace id."""
    for table in (Table.FRAMES, Table.STACKS, Table.LABELS):
        shutil.copytree(fresh / table.value, folder / table.value)
    rows = DeltaTable(str(fresh / Table.SAMPLES.value))
    place = Store(str(folder)).create(Table.SAMPLES, rows.schema()).table_uri
    for piece in _pieces():
        _append(place, rows, f"SELECT * FROM rows WHERE {piece} ORDER BY {_ORDER}", traces=0)


def _pieces() -> Iterable[str]:
    yield "trace_id IS NULL"
    for digit in _HEX:
        # `g` is behind `f`, and no digit.
        after = chr(ord(digit) + 1) if digit not in "9f" else {"9": "a", "f": "g"}[digit]
        yield f"trace_id >= '{digit}' AND trace_id < '{after}'"
