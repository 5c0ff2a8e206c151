"""A selection cut into runs: nothing is counted twice, nothing is lost, and processes are told apart."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import pytest

from otelprof._core import Profiles
from otelprof.errors import RequestTooLargeError
from otelprof.query.flamegraph import flame_graph
from otelprof.query.runs import Cut, StoredRun, runs, versions
from otelprof.store.reader import StoreReader
from otelprof.store.selection import Selection
from otelprof.store.store import Store
from otelprof.store.writer import StoreWriter
from otelprof.testing.clock import SimulatedClock

if TYPE_CHECKING:
    from pathlib import Path

START: Final = 1_750_000_320
WINDOW: Final = 10
HOSTILE: Final = 'it\'s, "quoted"'


def sent(  # noqa: PLR0913 - what a window is made of
    text: str,
    version: str | None,
    pod: str,
    at: int,
    *,
    sample_type: tuple[str, str] = ("cpu", "nanoseconds"),
    window: int = WINDOW,
) -> Profiles:
    """One window of one process."""
    resource = [("service.name", "checkout"), ("service.instance.id", pod)]
    resource += [("service.version", version)] if version is not None else []
    message = Profiles.from_folded(text.encode(), sample_type=sample_type, resource=resource).to_proto()
    profile = message.resource_profiles[0].scope_profiles[0].profiles[0]
    profile.time_unix_nano, profile.duration_nano = at * 10**9, window * 10**9
    profile.period = 5
    profile.period_type.CopyFrom(profile.sample_type)
    return Profiles.decode(message.SerializeToString())


@pytest.fixture
def reader(tmp_path: Path) -> StoreReader:
    """Four windows of two processes; each window by a writer of its own, so that labels are there often."""
    for at in range(4):
        writer = StoreWriter(Store(str(tmp_path)), SimulatedClock(start_secs=START))
        for pod in ("a", HOSTILE):
            text = f"main;run {10 * (at + 1)}\nmain 5\n"
            writer.write(sent(text, "1" if at < 2 else HOSTILE, pod, START + at * WINDOW))
    StoreWriter(Store(str(tmp_path)), SimulatedClock(start_secs=START)).write(
        sent("main;old 100\n", None, "a", START - 1000)
    )
    return StoreReader(Store(str(tmp_path)))


def summed(found: list[StoredRun]) -> Counter[str]:
    """All stacks of all runs."""
    stacks: Counter[str] = Counter()
    for run in found:
        stacks.update(dict(run.profiles.fold()))
    return stacks


@pytest.mark.parametrize(
    ("cut", "names", "seconds"),
    [
        (Cut(), ["all"], [90.0]),
        (
            Cut(window_secs=20),
            ["2025-06-15T14:55:20Z", "2025-06-15T15:12:00Z", "2025-06-15T15:12:20Z"],
            [10.0, 40.0, 40.0],
        ),
        (Cut(label="service.instance.id"), ["a", HOSTILE], [50.0, 40.0]),
    ],
)
def test_runs(reader: StoreReader, cut: Cut, names: list[str], seconds: list[float]) -> None:
    """Runs together are the whole, and each knows for how long its processes were profiled."""
    found = runs(reader, Selection(), cut)
    graph = flame_graph(reader, Selection())

    assert names == [run.name for run in found]
    assert seconds == pytest.approx([run.seconds for run in found])
    assert graph is not None
    assert dict(graph.profiles.fold()) == summed(found)
    assert {5} == {outline.period for run in found for outline in run.profiles.outlines}
    assert 17 == sum(run.counts["cpu", "nanoseconds"] for run in found)


def test_what_has_no_label_is_in_no_run(reader: StoreReader) -> None:
    """A run is of a value; what has none is left out, as a version that is not told is none."""
    found = runs(reader, Selection(), Cut(label="service.version"))

    assert ["1", HOSTILE] == [run.name for run in found]
    assert ["1", HOSTILE] == [row.version for row in versions(reader, Selection())]
    assert "main;old" not in summed(found)
    assert [] == runs(reader, Selection(labels={"service.version": "9"}), Cut())


def test_too_many_runs(reader: StoreReader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many are refused, and it is said what helps."""
    monkeypatch.setattr("otelprof.query.runs._MAX_RUNS", 2)
    with pytest.raises(RequestTooLargeError, match="choose a longer window"):
        runs(reader, Selection(), Cut(window_secs=20))


def test_values_at_the_end_of_64_bits(tmp_path: Path) -> None:
    """Sums that no 64 bits hold are refused, not wrapped around."""
    writer = StoreWriter(Store(str(tmp_path)), SimulatedClock(start_secs=START))
    for at in range(2):
        writer.write(sent(f"main {2**63 - 1}\n", "1", "a", START + at * WINDOW))
    with pytest.raises(RequestTooLargeError, match="64 bits"):
        runs(StoreReader(Store(str(tmp_path))), Selection(), Cut())


def test_sample_types_of_one_process(tmp_path: Path) -> None:
    """A process of which CPU and allocations were profiled was there once, for the longer of both."""
    writer = StoreWriter(Store(str(tmp_path)), SimulatedClock(start_secs=START))
    writer.write(sent("main 1\n", "1", "a", START))
    writer.write(sent("main 1\n", "1", "a", START, sample_type=("alloc_space", "bytes"), window=4 * WINDOW))
    (run,) = runs(StoreReader(Store(str(tmp_path))), Selection(), Cut())

    assert 4 * WINDOW == pytest.approx(run.seconds)
    assert {("cpu", "nanoseconds"): 1, ("alloc_space", "bytes"): 1} == run.counts
