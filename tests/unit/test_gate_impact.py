"""What a faster function is worth, and claims that a profile does not bear out."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelprof.errors import PermanentError
from otelprof.gate.amdahl import overall_speedup
from otelprof.gate.antipatterns import cold_path, microbenchmark, single_run
from otelprof.gate.impact import Calls, function_cost, impact
from otelprof.gate.runs import read_runs
from tests.unit.command import otelprof

if TYPE_CHECKING:
    from pathlib import Path

FOLDED = "main;handle;score 30\nmain;handle;score;parse 20\nmain;parse;parse 50\nmain 100\nmain;idle 800\n"


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    """A profile of 1,000 samples: `score` has 5 %, of which 3 % are its own; `parse` 7 %."""
    path = tmp_path / "cpu.folded"
    path.write_text(FOLDED, encoding="utf-8")
    return path


def test_ten_times_on_three_percent() -> None:
    """Amdahl's law, on the case that everybody meets: x10 on 3 % is 1.03x."""
    assert "1.03" == f"{overall_speedup(0.03, 10):.2f}"
    assert [1, 2, math.inf, 0.5] == [
        overall_speedup(share, speedup)
        for share, speedup in ((0, 10), (0.5, math.inf), (1, math.inf), (1, 0.5))
    ]


@given(st.floats(0, 1), st.floats(1, 1e6))
def test_the_whole_gains_no_more_than_the_part(share: float, speedup: float) -> None:
    """What the whole gains is between nothing and what the part gains, and no more than if it were gone."""
    overall = overall_speedup(share, speedup)
    assert 1 <= overall <= speedup * (1 + 1e-9)
    assert overall <= overall_speedup(share, math.inf)


def test_the_cost_of_a_function(profile: Path) -> None:
    """With what it calls, of which recursion counts once; its own; and in how many samples."""
    profiles = [run.profiles["cpu"] for run in read_runs(profile)]
    score, parse = (function_cost(profiles, name) for name in ("score", "parse"))

    assert (30, 50, 1000, 50) == (score.own, score.total, score.whole, score.samples)
    assert (70, 70) == (parse.own, parse.total)
    assert [0.05, 0.03] == [score.share, score.own_share]


def test_costs_of_several_profiles_are_added(profile: Path, tmp_path: Path) -> None:
    """Shares are of all profiles together, and of each; one without the function has a share of nothing."""
    other = tmp_path / "other.folded"
    other.write_text("main;idle 1000\n", encoding="utf-8")
    cost = function_cost(
        [run.profiles["cpu"] for path in (profile, other) for run in read_runs(path)], "score"
    )
    assert (0.025, (0.05, 0.0)) == (cost.share, cost.shares)


def test_a_function_that_is_not_there(profile: Path) -> None:
    """The message names what is called nearly so."""
    profiles = [run.profiles["cpu"] for run in read_runs(profile)]
    with pytest.raises(PermanentError, match=r"no stack has the function scor: is it score\?"):
        function_cost(profiles, "scor")
    with pytest.raises(PermanentError, match="profiles of one unit are needed"):
        function_cost([], "score")


def test_calls_and_their_cost(profile: Path) -> None:
    """What is missing is made of what was measured; what does not fit it is told."""
    assert Calls(100, 0.002) == Calls(100).completed(0.2)
    assert Calls(100, 0.002) == Calls(None, 0.002).completed(0.2)
    assert Calls(100) == Calls(100).completed(None)
    assert (0.2, None) == (Calls(100, 0.002).cores, Calls(100).cores)

    folded = read_runs(profile)[0].profiles["cpu"]
    assert function_cost([folded], "score").cores is None  # folded stacks say no duration
    timed = replace(folded, unit="nanoseconds", values=folded.values * 1e7, duration_seconds=5.0)
    cost = function_cost([timed], "score")
    assert 0.1 == pytest.approx(cost.cores)
    assert 0.001 == pytest.approx(impact(cost, 10, Calls(100)).calls.seconds_each)
    found = impact(cost, 10, Calls(100, 0.01))
    assert "calls x cost of a call make 1 cores, and the profile has 0.1" in str(found.warnings[-1])


def test_a_share_of_waiting_is_told(profile: Path) -> None:
    """A share of a wall profile is no share of latency, and the command says so."""
    wall = replace(read_runs(profile)[0].profiles["cpu"], type="wall")
    assert "is of threads" in str(impact(function_cost([wall], "score"), 10).warnings[-1])


def test_cold_paths() -> None:
    """Less than 1 % to gain is cold, and so is what takes no CPU to speak of, whatever its share."""
    assert ["cold path: f has 0.40% of the cost; made infinitely fast it is worth 1.004x"] == [
        str(one) for one in cold_path("f", 0.004)
    ]
    assert "takes 0.006 of a core" in str(cold_path("f", 0.5, 3 * 0.002)[0])
    assert [] == cold_path("f", 0.03) + cold_path("f", 0.03, 0.5)


def test_micro_benchmarks() -> None:
    """A gain of which hardly anything is left is told with both figures; no gain claims nothing."""
    assert ["micro-benchmark: 10x of f is 1.03x of the program, where it has 3.0% of the cost"] == [
        str(one) for one in microbenchmark("f", 10, 0.03)
    ]
    assert [] == microbenchmark("f", 10, 0.9) + microbenchmark("f", 1, 0.03) + microbenchmark("f", 0.5, 0.03)


def test_single_runs_are_refused() -> None:
    """One run of a side supports no claim; two of each do."""
    assert [True, True, True] == [single_run(*runs)[0].refuses for runs in ((1, 1), (10, 1), (0, 5))]
    assert "1 run before and 10 runs after" in str(single_run(1, 10)[0])
    assert [] == single_run(2, 2)


def test_names_in_messages_are_printable() -> None:
    """A name out of a profile cannot move a cursor."""
    name = "f\x1b[2J"
    found = [*cold_path(name, 0), *microbenchmark(name, 10, 0.03)]
    assert [True] * 2 == [str(one).isprintable() for one in found]


def test_the_command(profile: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Text has a line a figure, and the warnings; JSON the same figures."""
    command = ("impact", str(profile), "--function", "score", "--speedup", "10")
    code, out, _ = otelprof(capsys, *command)
    assert 0 == code
    assert "10x faster               1.05x overall: 4.5% less cpu" in out.splitlines()
    assert "warning: its share is made of 50 samples; 100 or more tell it well" in out.splitlines()

    found = json.loads(otelprof(capsys, *command, "--format", "json")[1])
    assert [0.05, 0.03, 1 / 0.955] == [found[key] for key in ("share", "own_share", "overall_speedup")]
    assert 2 == len(found["warnings"])


def test_markdown_is_safe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A name in a comment is no markup, no cell, no mention and no HTML."""
    path = tmp_path / "cpu.folded"
    name = "f|`<img src=x>`*@owner*"
    path.write_text(f"main;{name} 100\nmain 1\n", encoding="utf-8")
    command = ("impact", str(path), "--function", name, "--speedup", "2", "--format", "markdown")
    code, out, _ = otelprof(capsys, *command)
    assert 0 == code
    assert "**Impact of f\\|\\`\\<img src=x\\>\\`\\*\\@\u200bowner\\***" == out.splitlines()[0]


def test_what_is_not_there_is_told(profile: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A type that no profile is of, a function, and a cost that is no duration."""
    command = ("impact", str(profile), "--speedup", "10", "--function")
    for more, code, why in (
        (("score", "--type", "wall"), 1, "there are cpu"),
        (("scores",), 1, "is it score?"),
        (("score", "--cost-per-call", "much"), 2, "not a duration"),
        (("score", "--speedup", "0"), 2, "--speedup"),
    ):
        answer = otelprof(capsys, *command, *more)
        assert code == answer[0]
        assert why in answer[2]
