"""`otelprof.gate.runs`: from folders to runs."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest

from otelprof.errors import PermanentError
from otelprof.gate import runs as gate_runs
from otelprof.gate.runs import Work, read_runs
from tests import recordings

if TYPE_CHECKING:
    from pathlib import Path

    from otelprof.gate.profile_file import RunProfile


def write_run(folder: Path, profiles: dict[str, str], metadata: dict[str, object] | None = None) -> None:
    """A run folder of folded stacks."""
    folder.mkdir(parents=True)
    for name, text in profiles.items():
        (folder / name).write_text(text, encoding="utf-8")
    if metadata is not None:
        (folder / "run.json").write_text(json.dumps(metadata), encoding="utf-8")


def stacks(profile: RunProfile) -> dict[str, float]:
    """The stacks of a profile as text."""
    pieces = np.split(profile.frames, profile.ends[:-1])
    texts = [";".join(profile.names[frame] for frame in piece) for piece in pieces]
    return dict(zip(texts, profile.values.tolist(), strict=True))


def test_folder_of_run_folders(tmp_path: Path) -> None:
    """Each folder that holds profiles is a run; the type is the stem of the file."""
    write_run(tmp_path / "run01", {"wall.folded": "main;wait 5\n"}, {"requests": 7})
    write_run(tmp_path / "run00", {"cpu.folded": "main;f 3\nmain 1\n", "allocs.folded": "main 9\n"})
    write_run(tmp_path / ".hidden", {"cpu.folded": "main 1\n"})

    first, second = read_runs(tmp_path)

    assert (["run00", "run01"], {"alloc", "cpu"}, {"wall"}) == (
        [first.name, second.name],
        set(first.profiles),
        set(second.profiles),
    )
    assert {"main;f": 3.0, "main": 1.0} == stacks(first.profiles["cpu"])
    assert ({}, {"requests": 7}) == (first.metadata, second.metadata)


def test_files_are_runs(tmp_path: Path) -> None:
    """Files that lie in the named folder are a run each; with a run.json beside them they are one."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.folded").write_text("main 1\n", encoding="utf-8")

    assert ["a.folded", "b.folded"] == [run.name for run in read_runs(tmp_path)]
    assert [["cpu"], ["cpu"]] == [list(run.profiles) for run in read_runs(tmp_path)]

    (tmp_path / "run.json").write_text("{}", encoding="utf-8")
    (only,) = read_runs(tmp_path)

    assert ["a", "b"] == sorted(only.profiles)
    assert [(tmp_path / "a.folded").name] == [run.name for run in read_runs(tmp_path / "a.folded")]


def test_types_that_are_not_wanted_are_not_read(tmp_path: Path) -> None:
    """A damaged file of a type that nobody asks for stops nothing."""
    write_run(tmp_path / "run00", {"cpu.folded": "main 1\n", "wall.folded": "main 1\nno number\n"})

    (run,) = read_runs(tmp_path, types=["cpu"])

    assert ["cpu"] == list(run.profiles)


def test_real_pprofs() -> None:
    """Of several sample types the one that the type of profile is of is read, with what a look stands for."""
    (heap,) = read_runs(recordings.OWN / "pprof/heap.pb.gz", types=["heap"])
    (alloc,) = read_runs(recordings.OWN / "pprof/heap.pb.gz", types=["alloc"])
    (node,) = read_runs(recordings.OWN / "pprof/node-pyroscope.pb.gz")

    assert [("inuse_space", "bytes"), ("alloc_space", "bytes")] == [
        heap.profiles["heap"].sample_type,
        alloc.profiles["alloc"].sample_type,
    ]
    assert 65_536 == alloc.profiles["alloc"].period
    assert {"cpu", "wall"} == set(node.profiles)


def test_otlp_counts_become_time() -> None:
    """Timestamps of an eBPF profile count one period of CPU time each."""
    (run,) = read_runs(recordings.OWN / "ebpf-cpu/00000.otlp")
    cpu = run.profiles["cpu"]

    assert ("nanoseconds", 50_000_000, 135.0) == (cpu.unit, cpu.period, cpu.samples)
    assert 135 * 50_000_000 == cpu.total


def test_a_service_that_is_not_there() -> None:
    """Without a sample of the service that is asked for, a file cannot be compared."""
    (run,) = read_runs(recordings.OWN / "ebpf-linked/00000.otlp", service="unknown_service")

    assert run.profiles["cpu"].samples > 0
    with pytest.raises(PermanentError, match=r"holds no cpu sample of the service nobody"):
        read_runs(recordings.OWN / "ebpf-linked/00000.otlp", service="nobody")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("requests", Work("requests")), ("requests=7000", Work("requests", 7000)), ("n=0.5", Work("n", 0.5))],
)
def test_work(text: str, expected: Work) -> None:
    """A unit of work is a key of run.json, or a key and an amount."""
    assert expected == Work.parse(text)


@pytest.mark.parametrize("text", ["", "=3", "requests=", "requests=0", "requests=-1", "requests=nan", "a b"])
def test_no_work(text: str) -> None:
    """What is no unit of work is refused, with what to write."""
    with pytest.raises(ValueError, match="write requests=7000"):
        Work.parse(text)


def test_work_of_a_run(tmp_path: Path) -> None:
    """A run that does not say what it did has no work; nonsense is nothing."""
    for name, value in {"a": 5, "b": True, "c": "5", "d": -1, "e": 1e400}.items():
        write_run(tmp_path / name, {"cpu.folded": "main 1\n"}, {"requests": value})

    assert [5.0, None, None, None, None] == [Work("requests").of(run) for run in read_runs(tmp_path)]
    assert [3.0] * 5 == [Work("requests", 3).of(run) for run in read_runs(tmp_path)]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "is neither a file nor a folder"),
        ({"run0/notes.txt": "x"}, "holds no profile"),
        ({"run0/cpu.folded": "main 1\nmain\n"}, "run0/cpu.folded: "),
        ({"run0/cpu.otlp": ""}, "run0/cpu.otlp holds no sample"),
        ({"run0/cpu.folded": "a 1\n", "run0/cpu.b.folded": "a 1\n"}, "holds two profiles of the type cpu"),
        ({"run0/cpu.folded": "a 1\n", "run0/run.json": "[]"}, "run.json is no JSON object"),
        ({"run0/cpu.folded": "a 1\n", "run0/run.json": "{"}, "run.json cannot be read"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_read(tmp_path: Path, files: dict[str, str], message: str) -> None:
    """An error names the file and what is wrong with it."""
    root = tmp_path / "runs"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")

    with pytest.raises(PermanentError, match=re.escape(message)):
        read_runs(root)


def test_too_many_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a limit to how many runs are read."""
    monkeypatch.setattr(gate_runs, "MAX_RUNS", 1)
    for name in ("a", "b"):
        write_run(tmp_path / name, {"cpu.folded": "main 1\n"})

    with pytest.raises(PermanentError, match="holds 2 runs; at most 1 are read"):
        read_runs(tmp_path)
