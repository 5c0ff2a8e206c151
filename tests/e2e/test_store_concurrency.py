"""Several who write, maintain and read one store at once: nothing is lost, nothing is there twice."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Final

import pytest

from otelprof.errors import ConflictError, UnavailableError
from otelprof.store.compact import choices, compact
from otelprof.store.files import Kind, files_of
from otelprof.store.maintenance import Maintenance
from otelprof.store.retention import RetentionConfig
from otelprof.store.schema import Table
from otelprof.store.store import Store
from otelprof.store.writer import StoreWriter
from otelprof.testing.clock import SimulatedClock
from tests.e2e.s3_api import s3_api
from tests.e2e.store_crash import DAY, flush_of
from tests.reference.stored_requests import MIDNIGHT_SECS
from tests.reference.tiers import values

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ATTEMPTS: Final = 20


def now() -> SimulatedClock:
    """Noon of the day of the flushes."""
    return SimulatedClock(start_secs=MIDNIGHT_SECS + DAY / 2)


def write(store: Store, numbers: range, day: int = 0) -> None:
    """Write flushes as the exporter does: what fails for now is tried again."""
    writer = StoreWriter(store, now())
    for number in numbers:
        flush = flush_of(number, day)
        for _ in range(ATTEMPTS):
            try:
                writer.write(flush)
            except UnavailableError:
                continue
            break
        else:
            pytest.fail(f"flush {number} found no place among the others")


def maintain(store: Store, age_days: int = 0) -> None:
    """Do what is due; that others were first is no failure."""
    clock = SimulatedClock(start_secs=MIDNIGHT_SECS + (age_days + 0.5) * DAY)
    maintenance = Maintenance(store, RetentionConfig(top_stacks=2), clock, eager=True)
    failed = [step.error for step in maintenance.run(vacuum=False) if step.error]
    assert not [error for error in failed if not isinstance(error, UnavailableError)]


def test_an_append_in_between_stays(tmp_path: Path) -> None:
    """What is added after the files of a compaction were chosen is there afterwards, beside the run."""
    store = Store(str(tmp_path))
    write(store, range(3))
    for table in reversed(Table):
        (choice,) = choices(table, files_of(store.snapshot(table)), flush_day(), eager=True)
        write(store, range(3 + list(Table).index(table), 4 + list(Table).index(table)))
        compact(store, table, choice)
        kinds = [file.kind for file in files_of(store.snapshot(table))]
        assert kinds.count(Kind.SORTED) == 1
        assert kinds.count(Kind.FRESH) >= 1
    assert 2**7 - 1 == values(store).total()


def test_two_compact_the_same(tmp_path: Path) -> None:
    """Of two compactions of the same files one is made, and the other changes nothing."""
    store = Store(str(tmp_path))
    write(store, range(3))
    for table in Table:
        (choice,) = choices(table, files_of(store.snapshot(table)), flush_day(), eager=True)
        compact(store, table, choice)
        version = store.snapshot(table).version()
        with pytest.raises(ConflictError, match="took away 3 files" if table is Table.SAMPLES else "took"):
            compact(store, table, choice)
        assert version == store.snapshot(table).version()
    assert 2**3 - 1 == values(store).total()


def test_a_folder_of_many(tmp_path: Path) -> None:
    """Writers of two days, two who maintain, and a reader, in one folder."""
    url = str(tmp_path)
    with at_work(url, {}, writers=3, flushes=6) as writing:
        with ThreadPoolExecutor() as pool:
            # One of them says that the first day is old enough for a fold.
            maintaining = [pool.submit(maintain_on, Store(url), age, writing) for age in (0, 8)]
            while not all(future.done() for future in writing):
                # No sample without its symbols, and none twice, whenever one looks.
                assert values(Store(url)).total() < 2**19
        for future in maintaining:
            future.result()
    assert 2**19 - 1 == values(Store(url)).total()
    maintain(Store(url), 33)
    assert 2**19 - 1 == values(Store(url)).total()
    assert {row.tier for row in values(Store(url))} == {"summary"}


@pytest.mark.timeout(180)  # the server is in Python, and slow
def test_an_object_store_of_many() -> None:
    """Four writers and one who maintains, through the API of S3, whose only lock is the conditional PUT."""
    url = "s3://profiles/otelprof"
    with s3_api() as s3:
        with at_work(url, s3, writers=4, flushes=2) as writing:
            maintain_on(Store(url, s3), 0, writing)
        assert 2**9 - 1 == values(Store(url, s3)).total()
        maintain(Store(url, s3), 8)
        assert 2**9 - 1 == values(Store(url, s3)).total()
        assert {row.tier for row in values(Store(url, s3))} == {"downsampled", "fine"}


@contextmanager
def at_work(url: str, options: dict[str, str], *, writers: int, flushes: int) -> Iterator[list[Future[None]]]:
    """Let writers work at once, half of them on another day; at the end all have written all."""
    write(Store(url, options), range(1))
    numbers = [range(1 + n * flushes, 1 + (n + 1) * flushes) for n in range(writers)]
    with ThreadPoolExecutor() as pool:
        stores = [Store(url, options) for _ in numbers]
        days = [n % 2 for n in range(writers)]
        writing = [pool.submit(write, *work) for work in zip(stores, numbers, days, strict=True)]
        yield writing
        for future in writing:
            future.result()


def maintain_on(store: Store, age_days: int, writing: list[Future[None]]) -> None:
    """Maintain a store while others write."""
    while not all(future.done() for future in writing):
        maintain(store, age_days)


def flush_day() -> date:
    """The day of the flushes."""
    return datetime.fromtimestamp(MIDNIGHT_SECS, UTC).date()
