"""Which files are opened for a trace: those that hold it, found by what the ends of all of them say."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import pytest
from deltalake import DeltaTable, write_deltalake

from otelprof.errors import UnavailableError
from otelprof.query.flamegraph import flame_graph, group_of
from otelprof.store import trace_files
from otelprof.store.maintenance import Maintenance
from otelprof.store.reader import StoreReader
from otelprof.store.retention import RetentionConfig
from otelprof.store.schema import Table
from otelprof.store.selection import Selection
from otelprof.store.store import Store
from otelprof.store.writer import StoreWriter
from otelprof.testing.clock import SimulatedClock
from tests.reference.stored_requests import MIDNIGHT_SECS, Observed, request_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from otelprof._core import Profiles

FLUSHES: Final = 8
LINKED: Final = 5
EVERYWHERE: Final = "ff" * 16
BETWEEN: Final = f"{0x0380:04x}" + "00" * 14
"""An id that no flush has, though the bounds of most of them enclose it."""


def trace_of(flush: int) -> str:
    """The trace that only this flush has."""
    return bytes([flush + 1] * 16).hex()


def flush(number: int) -> Profiles:
    """A minute: samples of a trace of its own, of one with the least id and of one that all flushes have."""
    one = Observed(
        "cart",
        ("cpu", "nanoseconds"),
        period=10,
        minute=number,
        duration_secs=10,
        stack=(f"leaf {number}", "main"),
        trace=number + 1,
        state="",
        thread="1",
        value=number + 1,
    )
    return request_of([one, one._replace(trace=1, value=0), one._replace(trace=255, value=100)])


def write(folder: Path, numbers: range) -> None:
    """Flush after flush."""
    writer = StoreWriter(Store(str(folder)), SimulatedClock(start_secs=MIDNIGHT_SECS))
    for number in numbers:
        writer.write(flush(number))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store of some flushes, in a file each."""
    write(tmp_path, range(FLUSHES))
    return tmp_path


def files(folder: Path) -> list[Path]:
    """Those of `samples`, in the order of the flushes."""
    table = DeltaTable(str(folder / "samples"))
    found = table.get_add_actions(flatten=True).to_struct_array().to_pylist()
    ordered = sorted(found, key=lambda action: action["min.window_start"])
    return [folder / "samples" / action["path"] for action in ordered]


def value(reader: StoreReader, trace_id: str) -> int:
    """Of all samples of a trace."""
    graph = flame_graph(reader, Selection(trace_id=trace_id))
    return 0 if graph is None else graph.weight.value


def spoil(path: Path) -> None:
    """Make it a file of which nothing can be read, of the same length."""
    path.write_bytes(bytes(path.stat().st_size))


def test_only_the_files_of_a_trace_are_opened(folder: Path) -> None:
    """Where all other files cannot be read any more, a trace is still found, once their ends have been."""
    reader = StoreReader(Store(str(folder)))
    assert value(reader, trace_of(LINKED)) == LINKED + 1
    for number, path in enumerate(files(folder)):
        if number != LINKED:
            spoil(path)
    assert value(reader, trace_of(LINKED)) == LINKED + 1


def test_every_trace_is_found_where_it_is(folder: Path) -> None:
    """A trace of one flush has the value of that flush, and one of all flushes that of all."""
    reader = StoreReader(Store(str(folder)))
    expected = {trace_of(number): number + 1 for number in range(1, FLUSHES)} | {EVERYWHERE: 100 * FLUSHES}
    assert {trace_id: value(reader, trace_id) for trace_id in expected} == expected


def test_an_id_that_is_nowhere_opens_no_file(folder: Path) -> None:
    """The condition of an absent id is true of nothing, though it is between the bounds of files."""
    reader = StoreReader(Store(str(folder)))
    assert reader.where(Selection(trace_id=BETWEEN)).endswith(" AND FALSE")
    assert flame_graph(reader, Selection(trace_id=BETWEEN)) is None


def test_few_files_are_left_to_the_engine(tmp_path: Path) -> None:
    """Of two files nothing is read ahead: the engine reads them anyway."""
    write(tmp_path, range(2))
    assert StoreReader(Store(str(tmp_path))).where(Selection(trace_id=BETWEEN)).endswith(" AND TRUE")


def test_what_was_written_since_is_found_after_a_refresh(folder: Path) -> None:
    """A reader that has read filters reads those of new files when it refreshes, and not before."""
    reader = StoreReader(Store(str(folder)))
    new = trace_of(FLUSHES)
    assert value(reader, new) == 0
    write(folder, range(FLUSHES, FLUSHES + 1))
    assert value(reader, new) == 0
    reader.refresh()
    assert value(reader, new) == FLUSHES + 1


def test_compacted_files_and_fresh_ones(folder: Path) -> None:
    """Files without a filter are opened by their bounds, beside fresh ones that are skipped by theirs."""
    clock = SimulatedClock(start_secs=MIDNIGHT_SECS + 86_400 / 2)
    steps = Maintenance(Store(str(folder)), RetentionConfig(), clock, eager=True).run(vacuum=False)
    assert not [step.error for step in steps if step.error]
    write(folder, range(FLUSHES, FLUSHES + 4))
    reader = StoreReader(Store(str(folder)))
    numbers = range(1, FLUSHES + 4)
    assert [value(reader, trace_of(number)) for number in numbers] == [number + 1 for number in numbers]
    assert value(reader, EVERYWHERE) == 100 * (FLUSHES + 4)


def test_a_file_of_another_tool_without_filter_or_statistics(folder: Path) -> None:
    """Rows that somebody else wrote, without a filter and without bounds in the log, are found as well."""
    reader = StoreReader(Store(str(folder)))
    where = reader.where(Selection(trace_id=trace_of(LINKED)))
    rows = reader.query(f"SELECT * FROM samples WHERE {where}")  # noqa: S608 - the reader's own condition
    place = str(folder / "samples")
    write_deltalake(place, rows, mode="append")
    DeltaTable(place).alter.set_table_properties({"delta.dataSkippingNumIndexedCols": "0"})
    write_deltalake(place, rows, mode="append")
    reader.refresh()
    assert value(reader, trace_of(LINKED)) == 3 * (LINKED + 1)


@pytest.mark.parametrize("tail_bytes", [1, 8, 100, 1_000])
def test_a_filter_that_begins_further_ahead(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tail_bytes: int
) -> None:
    """When the first read is too short, as for a very large flush, a second one brings what is wanted."""
    monkeypatch.setattr(trace_files, "_TAIL_BYTES", tail_bytes)
    reader = StoreReader(Store(str(folder)))
    assert value(reader, trace_of(LINKED)) == LINKED + 1
    assert reader.where(Selection(trace_id=BETWEEN)).endswith(" AND FALSE")


def test_a_filter_that_is_too_large_to_read_ahead(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a file is left to the engine."""
    monkeypatch.setattr(trace_files, "_TAIL_BYTES", 8)
    monkeypatch.setattr(trace_files, "_MAX_TAIL_BYTES", 8)
    reader = StoreReader(Store(str(folder)))
    assert value(reader, trace_of(LINKED)) == LINKED + 1


def test_filters_in_memory_are_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound they are read again, and say the same."""
    monkeypatch.setattr(trace_files, "_MAX_KEPT_BYTES", 0)
    reader = StoreReader(Store(str(folder)))
    assert [value(reader, trace_of(number)) for number in (1, 2, 1)] == [2, 3, 2]


def test_a_trace_of_more_times_than_are_told_apart(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the engine is told the first and the last."""
    monkeypatch.setattr(trace_files, "_MAX_SPANS", 2)
    assert value(StoreReader(Store(str(folder))), EVERYWHERE) == 100 * FLUSHES


@pytest.mark.parametrize("harm", [spoil, os.unlink], ids=["spoilt", "gone"])
def test_a_file_that_cannot_be_read_is_no_absent_trace(folder: Path, harm: Callable[[Path], None]) -> None:
    """What a spoilt or missing file held is not known: that is an error, not an empty answer."""
    harm(files(folder)[LINKED])
    with pytest.raises(UnavailableError):
        value(StoreReader(Store(str(folder))), trace_of(LINKED))


def test_the_group_of_a_trace(folder: Path) -> None:
    """The service of the trace, and its day."""
    group = group_of(StoreReader(Store(str(folder))), Selection(trace_id=trace_of(LINKED)))
    assert (group.service, group.since) == ("cart", MIDNIGHT_SECS * 10**6)


def test_samples_without_links(tmp_path: Path) -> None:
    """Files without a trace id are not opened for one."""
    writer = StoreWriter(Store(str(tmp_path)), SimulatedClock(start_secs=MIDNIGHT_SECS))
    one = Observed("cart", ("cpu", "nanoseconds"), 10, 0, 10, ("main",), 0, "", "1", 1)
    for minute in range(4):
        writer.write(request_of([one._replace(minute=minute)]))
    reader = StoreReader(Store(str(tmp_path)))
    assert value(reader, BETWEEN) == 0
    assert DeltaTable(str(tmp_path / Table.SAMPLES)).version() == 4


def test_a_table_has_a_checkpoint_every_twenty_commits(tmp_path: Path) -> None:
    """Who opens it reads at most so many commits."""
    write(tmp_path, range(1))
    table = DeltaTable(str(tmp_path / Table.SAMPLES))
    for number in range(table.version() + 1, 20):
        table.alter.set_table_properties({"delta.dataSkippingNumIndexedCols": str(number)})
    assert (tmp_path / Table.SAMPLES / "_delta_log" / f"{19:020}.checkpoint.parquet").exists()
