"""Writing to a store: nothing twice, nothing half, and errors that say what to do."""

from __future__ import annotations

import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import deltalake
import pytest
from deltalake import DeltaTable

from otelprof._core import Profiles
from otelprof.errors import EmptyStoreError, StoreError, UnavailableError
from otelprof.store.schema import Table
from otelprof.store.store import Store
from otelprof.store.writer import StoreWriter
from otelprof.testing.clock import SimulatedClock

if TYPE_CHECKING:
    from pathlib import Path


def writer(folder: Path) -> StoreWriter:
    """A writer to a folder."""
    return StoreWriter(Store(str(folder)), SimulatedClock(start_secs=1_700_000_000))


def stored(folder: Path) -> list[tuple[str, int]]:
    """What a reader finds, folded."""
    store = Store(str(folder))
    rows = {table: store.table(table).scan() for table in Table}
    return Profiles.from_tables(
        rows[Table.SAMPLES], rows[Table.STACKS], rows[Table.FRAMES], rows[Table.LABELS]
    ).fold()


def fail_once(monkeypatch: pytest.MonkeyPatch, table: Table, *, committed: bool) -> None:
    """Make the next commit to a table fail, before it was made or after."""
    real = deltalake.write_deltalake
    failures = [table]

    def write(target: DeltaTable, *args: Any, **keys: Any) -> None:
        is_due = bool(failures) and target.table_uri.rstrip("/").endswith(table.value)
        if is_due and not committed:
            failures.pop()
            raise OSError("connection reset")  # noqa: TRY003, EM101 - as an object store says it
        real(target, *args, **keys)
        if is_due:
            failures.pop()
            raise OSError("the answer never came")  # noqa: TRY003, EM101 - as an object store says it

    monkeypatch.setattr(deltalake, "write_deltalake", write)


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("table", list(Table))
def test_a_retry_adds_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: Table, *, committed: bool
) -> None:
    """A flush that failed anywhere, even after its commit, is whole and there once when it is tried again."""
    one = writer(tmp_path)
    first, second = Profiles.from_folded(b"main;work 7\n"), Profiles.from_folded(b"main;rest 2\n")
    fail_once(monkeypatch, table, committed=committed)
    with pytest.raises(UnavailableError):
        one.write(first)
    # Another one comes in between, as it does when several are in flight.
    one.write(second)
    one.write(first)
    assert [("main;work", 7), ("main;rest", 2)] == stored(tmp_path)
    one.write(Profiles.from_folded(b"main;work 1\n"))
    assert [("main;work", 8), ("main;rest", 2)] == stored(tmp_path)


def test_a_retry_on_the_next_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What says no time keeps that of its first try, since its symbols stand on that day."""
    clock = SimulatedClock(start_secs=1_700_000_000)
    one = StoreWriter(Store(str(tmp_path)), clock)
    request = Profiles.from_folded(b"main;work 7\n")
    fail_once(monkeypatch, Table.SAMPLES, committed=False)
    with pytest.raises(UnavailableError):
        one.write(request)
    clock.advance(86_400)
    one.write(request)
    store = Store(str(tmp_path))
    dates = {table: store.table(table).scan().read_all().column("date").to_pylist() for table in Table}
    assert 1 == len({date for of_table in dates.values() for date in of_table})


def test_what_is_given_up_takes_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer does not keep a request that nobody will try again."""
    one = writer(tmp_path)
    request = Profiles.from_folded(b"main;work 7\n")
    gone = weakref.ref(request)
    fail_once(monkeypatch, Table.SAMPLES, committed=False)
    with suppress(UnavailableError):
        one.write(request)
    del request
    assert gone() is None
    one.write(Profiles.from_folded(b"main;work 1\n"))
    assert [("main;work", 1)] == stored(tmp_path)


def test_equal_requests_are_two(tmp_path: Path) -> None:
    """Two requests that look alike are both counted: only a retry of one is the same."""
    one = writer(tmp_path)
    for _ in range(2):
        one.write(Profiles.from_folded(b"main;work 7\n"))
    assert [("main;work", 14)] == stored(tmp_path)


def test_two_writers(tmp_path: Path) -> None:
    """Writers that do not know each other write the same symbols twice, and every sample once."""
    for one in (writer(tmp_path), writer(tmp_path)):
        one.write(Profiles.from_folded(b"main;work 7\n"))
    assert [("main;work", 14)] == stored(tmp_path)
    assert 2 == DeltaTable(tmp_path / "stacks").count()


def test_nothing_is_there(tmp_path: Path) -> None:
    """A store that nobody wrote to says so."""
    with pytest.raises(EmptyStoreError, match=r"nothing is stored at .* yet"):
        Store(str(tmp_path)).table(Table.SAMPLES)


def test_tables_of_others_are_left_alone(tmp_path: Path) -> None:
    """A table that is not ours, or of a later version, is neither written nor read."""
    rows = Profiles.from_folded(b"main;work 7\n")
    writer(tmp_path / "ours").write(rows)
    for description, message in (("sales", "not otelprof's"), ("otelprof frames, schema 2", "upgrade")):
        table = DeltaTable(tmp_path / "ours" / "frames")
        table.alter.set_table_description(description)
        with pytest.raises(StoreError, match=message):
            writer(tmp_path / "ours").write(rows)


@pytest.mark.parametrize("url", ["s3://key:secret@bucket/x", "s3://bucket/x?sig=secret", ""])
def test_urls(url: str) -> None:
    """A store's URL has no credentials, which would end up in logs."""
    with pytest.raises(ValueError, match="URL"):
        Store(url)
