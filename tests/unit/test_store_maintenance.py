"""What maintenance finds due, what it leaves alone, and what the command and the exporter make of it."""

from __future__ import annotations

import os
import threading
import time
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from otelprof._core import Profiles
from otelprof.cli.app import app
from otelprof.clock import SystemClock
from otelprof.errors import EmptyStoreError
from otelprof.exporter.object_storage import ObjectStorageConfig, ObjectStorageExporter
from otelprof.exporter.store_maintenance import is_folder
from otelprof.store.compact import choices
from otelprof.store.files import Kind, StoredFile, files_of
from otelprof.store.maintenance import Action, Maintenance
from otelprof.store.ranges import id_ranges, literal
from otelprof.store.retention import RetentionConfig, Tier, folds
from otelprof.store.schema import Table
from otelprof.store.store import Store
from otelprof.store.writer import StoreWriter
from otelprof.testing.clock import SimulatedClock
from otelprof.testing.contract import component_settings
from tests.reference.stored_requests import MIDNIGHT_SECS, Observed, request_of
from tests.reference.tiers import rows, values

if TYPE_CHECKING:
    from pathlib import Path
    from threading import Condition

TODAY = date(2026, 1, 20)
DAY = 86_400


def stored_file(name: str, **other: Any) -> StoredFile:
    """A file of two days ago, with 100 bytes and one run of its own."""
    base: dict[str, Any] = {
        "path": name,
        "day": TODAY - timedelta(days=2),
        "size_bytes": 100,
        "rows": 10,
        "kind": Kind.FRESH,
        "run": name,
        "tier": "fine",
        "trace_state": None,
    }
    return StoredFile(**{**base, **other})


def chosen(files: list[StoredFile], **other: bool) -> list[list[str]]:
    """The names of the files of each choice."""
    return [[file.path for file in one.files] for one in choices(Table.SAMPLES, files, TODAY, **other)]


def test_a_day_that_grows() -> None:
    """Today and yesterday wait for eight fresh files; older days, and the eager, do not."""
    for day, fewest in ((TODAY, 8), (TODAY - timedelta(days=1), 8), (TODAY - timedelta(days=2), 2)):
        files = [stored_file(f"{n}", day=day) for n in range(8)]
        assert [] == chosen(files[: fewest - 1])
        assert [[file.path for file in files[:fewest]]] == chosen(files[:fewest])
        assert [] == chosen(files[:1], eager=True)
        assert [["0", "1"]] == chosen(files[:2], eager=True)


def test_a_run_much_larger_stays() -> None:
    """A run is written anew with what is at least half of it; of an old day, with a tenth of it."""
    fresh = [stored_file(f"{n}", day=TODAY) for n in range(8)]
    run = stored_file("run", day=TODAY, kind=Kind.SORTED)
    for size, expected in ((1600, 9), (1601, 8)):
        files = [*fresh, StoredFile(**{**vars(run), "size_bytes": size})]
        assert [expected] == [len(names) for names in chosen(files)]
    old = [stored_file("fresh"), stored_file("run", kind=Kind.SORTED, size_bytes=1000)]
    assert [["fresh", "run"]] == chosen(old)
    assert [] == chosen([old[0], StoredFile(**{**vars(old[1]), "size_bytes": 1001})])


def test_runs_that_differ_stay_apart() -> None:
    """Rows of two tiers share no file, nor do those that a fold kept fine for different times."""
    folded = {"kind": Kind.FOLDED}
    files = [
        stored_file("a", tier="downsampled", **folded),
        stored_file("b", tier="fine", trace_state="error", **folded),
        stored_file("c", tier="fine", trace_state="slow", **folded),
        stored_file("d", tier="fine"),
    ]
    assert [] == chosen(files)
    assert [["c", "e"]] == chosen([*files, stored_file("e", trace_state="slow", **folded)])


def test_symbols_become_one_run() -> None:
    """Of an old day all symbols are one run, whatever its size: then each is there once."""
    files = [stored_file("run", kind=Kind.SORTED, size_bytes=1 << 40, tier=None), stored_file("b", tier=None)]
    (choice,) = choices(Table.STACKS, files, TODAY)
    assert {"run", "b"} == {file.path for file in choice.files}


def test_the_tier_of_a_day() -> None:
    """A day leaves a tier when all of it is older than the tier is long."""
    config = RetentionConfig.model_validate({"keep": {"error": "40d", "slow": "1d"}})
    ages = {0: Tier.FINE, 7: Tier.FINE, 8: Tier.DOWNSAMPLED, 30: Tier.DOWNSAMPLED, 31: Tier.SUMMARY}
    ages |= {90: Tier.SUMMARY, -3: Tier.FINE}
    for age, tier in ages.items():
        assert tier is config.tier(TODAY - timedelta(days=age), TODAY), age
    assert config.tier(TODAY - timedelta(days=91), TODAY) is None
    assert ("error",) == config.held(TODAY - timedelta(days=40), TODAY)
    assert () == config.held(TODAY - timedelta(days=41), TODAY)


def test_what_is_due() -> None:
    """Files are folded that may hold a row that belongs elsewhere, and no others."""
    config = RetentionConfig.model_validate({"keep": {"error": "40d"}})
    day = {"day": TODAY - timedelta(days=10)}
    stays = [
        stored_file("a", tier="downsampled", **day),
        stored_file("b", trace_state="error", **day),
        stored_file("c"),
    ]
    assert [] == folds(stays, config, TODAY)
    due = [
        stored_file("d", trace_state="slow", **day),
        stored_file("e", **day),
        stored_file("f", tier=None, **day),
    ]
    (fold,) = folds([*stays, *due], config, TODAY)
    assert ["d", "e", "f"] == [file.path for file in fold.files]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"fine": "40d"}, "must not fall"),
        ({"fine": "36h"}, "multiple of"),
        ({"keep": {"error": "1h"}}, "whole days"),
        ({"keep": {"kept": "9d"}}, "error"),
        ({"top_stacks": 0}, "greater than"),
    ],
)
def test_a_retention_that_makes_no_sense(values: dict[str, Any], message: str) -> None:
    """It is refused, and says what is wrong."""
    with pytest.raises(ValidationError, match=message):
        RetentionConfig.model_validate(values)


def test_ranges_of_ids() -> None:
    """Ranges hold every id once, however many there are."""
    assert ["true AND true"] == id_ranges("x", 0)
    edges = [-(1 << 63), -1, 0, 1, (1 << 63) - 1]
    for count in (1_000_001, 7_654_321):
        conditions = id_ranges("x", count)
        assert -(-count // 1_000_000) == len(conditions)
        for x in edges:
            true = [all(holds(part, x) for part in condition.split(" AND ")) for condition in conditions]
            assert 1 == sum(true), (x, conditions)


def holds(part: str, x: int) -> bool:
    """Whether a part of a condition is true of a number."""
    if part == "true":
        return True
    _, operator, edge = part.split()
    return x >= int(edge) if operator == ">=" else x < int(edge)


def test_hostile_names(tmp_path: Path) -> None:
    """A name that is made to end a text of a query is a name; nothing is dropped but what is due."""
    assert "'it''s'" == literal("it's")
    store, clock = Store(str(tmp_path)), SimulatedClock(start_secs=time.time())
    name = "'; DROP TABLE chosen; --"
    for _ in range(2):
        resource = [("service.name", name)]
        StoreWriter(store, clock).write(Profiles.from_folded(b"it's;work 7\n", resource=resource))
    clock.advance(31 * DAY)
    assert not [step for step in Maintenance(store, RetentionConfig(), clock).run() if step.error]
    assert {(name, ("it's", "work")): 14} == {
        (row.service, row.stack[::-1]): value for row, value in values(store).items()
    }


def test_symbols_wait_for_readers(tmp_path: Path) -> None:
    """What a summary no longer refers to goes when the samples have not changed for the grace, not before."""
    store, clock = Store(str(tmp_path)), SimulatedClock(start_secs=time.time() - 31 * DAY)
    for number in range(3):
        StoreWriter(store, clock).write(Profiles.from_folded(f"main;work{number} {number + 7}\n".encode()))
    clock.advance(31 * DAY)
    config = RetentionConfig(top_stacks=1)

    def actions(grace_secs: float) -> set[Action]:
        maintenance = Maintenance(store, config, clock, delete_after_secs=grace_secs)
        return {step.action for step in maintenance.run(vacuum=False)}

    assert {Action.FOLD, Action.COMPACT} == actions(grace_secs=DAY)
    assert 4 == len(rows(store, Table.STACKS))
    # A clock that is a day ahead, as tomorrow is.
    clock.advance(DAY + 60)
    assert {Action.COLLECT} == actions(grace_secs=DAY)
    assert 2 == len(rows(store, Table.STACKS))
    assert 24 == values(store).total()
    assert set() == actions(grace_secs=DAY)


def test_a_writer_writes_symbols_of_old_days_again(tmp_path: Path) -> None:
    """Of a day three days back it does not rely on what it has written: somebody may have taken it away."""
    clock = SimulatedClock(start_secs=MIDNIGHT_SECS)
    writer = StoreWriter(Store(str(tmp_path)), clock)
    sample = Observed(
        *("cart", ("cpu", "nanoseconds"), 10, 3, 10, ("work", "main")), trace=0, state="", thread="1", value=7
    )
    written = []
    for _ in range(5):
        flushed = writer.write(request_of([sample]))
        written.append([flushed.rows[table] for table in (Table.FRAMES, Table.STACKS, Table.LABELS)])
        clock.advance(DAY)
    assert [[2, 1, 1], [0, 0, 0], [0, 0, 0], [2, 1, 1], [2, 1, 1]] == written


def exporter(folder: Path, clock: SystemClock, **keys: Any) -> ObjectStorageExporter:
    """One that maintains its store every minute."""
    maintenance = {"interval": 60, **keys}
    config = ObjectStorageConfig.model_validate({"url": str(folder), "maintenance": maintenance})
    return ObjectStorageExporter(config, component_settings(clock))


class Hasty(SystemClock):
    """A clock by which each wait is over at once, and as long as it was to be."""

    def __init__(self) -> None:
        self._skipped_secs = 0.0

    def monotonic(self) -> float:
        """Seconds, with those that nobody waited for."""
        return super().monotonic() + self._skipped_secs

    def wait(self, condition: Condition, timeout_secs: float | None) -> bool:
        """Let others work for a moment."""
        self._skipped_secs += timeout_secs or 0
        return condition.wait(0.01)


def test_the_exporter_maintains_its_folder(tmp_path: Path) -> None:
    """Flushes of a folder become a run without being asked, and nothing is left running after it."""
    one = exporter(tmp_path, Hasty())
    one.start()
    for _ in range(9):
        one.export(Profiles.from_folded(b"main;work 7\n"))
    deadline = time.monotonic() + 20
    while Kind.SORTED not in kinds(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    one.shutdown()
    assert Kind.SORTED in kinds(tmp_path)
    assert 63 == values(Store(str(tmp_path))).total()
    assert not [thread for thread in threading.enumerate() if "maintenance" in thread.name]


def test_work_that_is_given_up(tmp_path: Path) -> None:
    """A step that nobody waits for any more ends without a commit, and says so."""
    store, clock = Store(str(tmp_path)), SimulatedClock(start_secs=time.time())
    for _ in range(2):
        StoreWriter(store, clock).write(Profiles.from_folded(b"main;work 7\n"))
    versions = [store.snapshot(table).version() for table in Table]
    store.close()
    steps = list(Maintenance(store, RetentionConfig(), clock, eager=True).run(vacuum=False))
    assert all("given up" in str(step.error) for step in steps)
    assert 4 == len(steps)
    assert versions == [store.snapshot(table).version() for table in Table]


def kinds(folder: Path) -> set[Kind]:
    """How the files of the samples came to be."""
    return {file.kind for file in files_of(Store(str(folder)).snapshot(Table.SAMPLES))}


def test_who_maintains() -> None:
    """A folder is maintained by its exporter, an object store by whoever is told to."""
    assert is_folder("/var/lib/otelprof")
    assert is_folder("file:///var/lib/otelprof")
    assert not is_folder("s3://profiles/otelprof")


def test_files_that_no_version_needs(tmp_path: Path) -> None:
    """The vacuum removes what a killed process left, once it is old; what was replaced waits, too."""
    store, clock = Store(str(tmp_path)), SimulatedClock(start_secs=time.time())
    for _ in range(2):
        StoreWriter(store, clock).write(Profiles.from_folded(b"main;work 7\n"))
    folder = next((tmp_path / "samples").glob("date=*"))
    left, growing = folder / "sorted-0123456789abcdef-00000.parquet", folder / "part-0-uploading.parquet"
    for path in (left, growing):
        path.write_bytes(b"half of a file")
    long_ago = time.time() - 2 * DAY
    os.utime(left, (long_ago, long_ago))
    list(Maintenance(store, RetentionConfig(), clock, eager=True).run())
    assert not left.exists()
    assert growing.exists()
    # The two that became one wait for those who still read them.
    assert 4 == len(list(folder.glob("*.parquet")))
    assert 14 == values(store).total()


def test_a_store_that_is_not_there(tmp_path: Path) -> None:
    """There is nothing to maintain, and that is said."""
    with pytest.raises(EmptyStoreError):
        Maintenance(Store(str(tmp_path / "no")), RetentionConfig(), SimulatedClock()).plan()


def test_the_command(tmp_path: Path) -> None:
    """It says what is due, does it, and says what it did; then nothing is due."""
    for _ in range(3):
        StoreWriter(Store(str(tmp_path)), SimulatedClock(start_secs=time.time())).write(
            Profiles.from_folded(b"main;work 7\n")
        )

    def run(*options: str) -> str:
        result = CliRunner().invoke(app, ["compact", "--store", str(tmp_path), *options])
        assert 0 == result.exit_code, result.output
        return result.stdout

    assert "nothing is due\n" == run("--dry-run")
    planned = run("--now", "--dry-run").splitlines()
    assert ["compact", "samples"] == planned[0].split()[:2]
    assert planned[-1].startswith("due       12 files, ")
    done = run("--now").splitlines()
    assert "3 files, 3 rows, " in done[0]
    assert " -> 1 file, 3 rows, " in done[0]
    assert " -> 4 files, " in done[-1]
    assert "nothing was due\n" == run("--now")
    assert 1 == len(files_of(Store(str(tmp_path)).snapshot(Table.SAMPLES)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--retention", "fine"], "KEY=VALUE"),
        (["--retention", "fine=400d"], "must not fall"),
        (["--retention", "coarse=1d"], "coarse"),
        (["--delete-after", "1m"], "delete-after"),
        (["--store-option", "region"], "KEY=VALUE"),
    ],
)
def test_options_that_make_no_sense(tmp_path: Path, options: list[str], message: str) -> None:
    """They are refused with a message that names them."""
    result = CliRunner().invoke(app, ["compact", "--store", str(tmp_path), *options])
    assert 2 == result.exit_code
    assert message in result.output
