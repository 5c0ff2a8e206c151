"""The gate: verdicts on runs that are made by chance, and on recorded ones."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from otelprof.errors import PermanentError
from otelprof.gate.check import Checked, Verdict, check
from otelprof.gate.config import GateConfig, Limits
from otelprof.gate.report import explained, report
from otelprof.gate.runs import Run, Work, read_runs
from tests import recordings
from tests.gate_programs import Program, Stacks, extracted, inlined, renamed, run_profile, slower

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

NOW = datetime(2026, 11, 24, tzinfo=UTC).timestamp()
RECORDED = recordings.SHARED.parent / "gates"
RECORDED_SIDES = [
    (folder, before, after, expected)
    for folder in sorted(RECORDED.glob("*/"))
    for before, after, expected in (
        ("base", "aa", set()),
        ("base", "aa-shift", set()),
        ("base", "regress", {"main.scoreItems"}),
        ("io-before", "io-after", set()),
        ("io2-before", "io2-after", set()),
    )
    if (folder / after).is_dir()
]
CPU = GateConfig(types=("cpu",))


def runs(stacks: Sequence[Stacks], **metadata: Any) -> list[Run]:
    """Runs of CPU profiles."""
    return [Run(f"run{at:02}", {"cpu": run_profile(one)}, metadata) for at, one in enumerate(stacks)]


def checked(before: Sequence[Run], after: Sequence[Run], config: GateConfig = CPU) -> Checked:
    """What the gate says."""
    return check(before, after, config, Work.parse(config.work), now=NOW)


def program(seed: int) -> tuple[Program, str]:
    """A program, and a function of it that is large, and called by a larger one."""
    made = Program(np.random.default_rng(seed))
    shares = made.shares()
    chosen = min((name for name in made.names[1:] if shares[name] > 0.08), key=lambda name: shares[name])
    return made, chosen


def found(result: Checked) -> set[str]:
    """The functions that fail."""
    return {one["function"] for one in report(result)["findings"]}


@pytest.mark.parametrize(("folder", "before", "after", "expected"), RECORDED_SIDES)
def test_recorded_runs(folder: Path, before: str, after: str, expected: set[str]) -> None:
    """Of recorded programs, what became slower is found by name, and nothing else is."""
    result = checked(read_runs(folder / before), read_runs(folder / after))

    assert expected == found(result)
    assert (Verdict.FAIL if expected else Verdict.PASS) == result.verdict


def test_no_change_passes() -> None:
    """Runs of the same program pass, and it is said what was to be seen."""
    made, _ = program(1)
    result = checked(runs([made.run(1000) for _ in range(10)]), runs([made.run(1000) for _ in range(10)]))

    (covers,) = report(result)["covers"]
    assert Verdict.PASS == result.verdict
    assert 0.01 < covers["min_share"] < 0.1
    assert [10, 10] == covers["runs"]


@pytest.mark.parametrize("size", [10, 5])
def test_a_regression_is_named(size: int) -> None:
    """A function that costs 1.6 times as much fails by its name, with its callers not among the findings."""
    made, chosen = program(2)
    before = runs([made.run(2000) for _ in range(size)])
    after = runs([made.run(2000, {chosen: 1.6}) for _ in range(size)])
    result = checked(before, after)
    (finding,) = report(result)["findings"]

    assert (Verdict.FAIL, 1) == (result.verdict, result.verdict.exit_code)
    assert chosen == finding["function"]
    assert 0.6 == pytest.approx(finding["growth"], abs=0.2)
    assert finding["cost_after"] / finding["cost_before"] == pytest.approx(1 + finding["growth"])
    assert finding["p_adjusted"] < 0.01


CHANGES: dict[str, Callable[[Stacks, str, np.random.Generator], Stacks]] = {
    "inlined": lambda stacks, name, _: inlined(stacks, name),
    "renamed": lambda stacks, name, _: renamed(stacks, name, "app.other"),
    "extracted": lambda stacks, name, random: extracted(stacks, name, "app.part", 0.7, random),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_moves_does_not_fail(change: str) -> None:
    """A function that is inlined, renamed, or split passes; one that also became slower does not."""
    random = np.random.default_rng(7)
    made, chosen = program(3)
    before = runs([made.run(2000) for _ in range(10)])
    after = [CHANGES[change](made.run(2000), chosen, random) for _ in range(10)]
    other = max((name for name in made.names if name != chosen), key=lambda name: made.shares()[name] % 0.3)
    worse = [slower(one, other, 0.8, random) for one in after]

    assert set() == found(checked(before, runs(after)))
    assert Verdict.FAIL == checked(before, runs(worse)).verdict


def test_a_renamed_function_that_became_slower_fails() -> None:
    """A new name hides nothing: the finding says what it was called."""
    made, chosen = program(4)
    before = runs([made.run(2000) for _ in range(10)])
    after = runs([renamed(made.run(2000, {chosen: 1.8}), chosen, "app.other") for _ in range(10)])
    (finding,) = report(checked(before, after))["findings"]

    assert "app.other" == finding["function"]
    assert f"called {chosen} before" in finding["why"]


@pytest.mark.parametrize("above", [("inner",), ()], ids=["above", "beside"])
def test_what_was_extracted_near_a_regression_is_no_finding(above: tuple[str, ...]) -> None:
    """What a function grew by is neither what a new one above it costs, nor hides what one beside it was."""
    before: Stacks = {("main", "handle", "decode"): 160, ("main", "handle", "score"): 160, ("main",): 600}
    inner = ("main", "handle", "inner", "decode")
    after: Stacks = {inner: 160, ("main", "handle", *above, "score"): 300, ("main",): 600}
    result = checked(runs([before] * 10), runs([after] * 10))

    assert {"score"} == found(result)
    assert any("inner moved" in one for one in result.warnings)


def test_what_was_extracted_and_became_slower_fails() -> None:
    """What a new function costs beyond what its caller lost is its own, though others grew as well."""
    score = ("main", "handle", "rank", "order", "compare", "score")
    before: Stacks = {("main", "handle"): 240, score: 160, ("main",): 600}
    after: Stacks = {("main", "handle", "inner"): 400, score: 300, ("main",): 600}
    result = checked(runs([before] * 10), runs([after] * 10))

    assert {"inner", "score"} == found(result)


def test_work_is_what_costs_are_divided_by() -> None:
    """A candidate that did twice the work in twice the time is no slower; without the work it is."""
    made, _ = program(5)
    before = runs([made.run(1000) for _ in range(5)], requests=100)
    after = runs([made.run(2000) for _ in range(5)], requests=200)

    assert Verdict.PASS == checked(before, after).verdict
    untold = checked(runs([made.run(1000)] * 5), runs([made.run(2000)] * 5))
    assert {"(total)"} <= found(untold) or Verdict.FAIL == untold.verdict
    assert any("everything grew alike" in one for one in untold.warnings)
    assert any("no run.json has requests" in one for one in untold.warnings)


def test_share_is_the_last_resort() -> None:
    """Shares can be compared, which is said; the same growth everywhere is then none."""
    made, _ = program(5)
    result = checked(
        runs([made.run(1000) for _ in range(5)]),
        runs([made.run(2000) for _ in range(5)]),
        GateConfig(types=("cpu",), work="share"),
    )

    assert set() == found(result)
    assert any("shares are compared" in one for one in result.warnings)


def test_work_that_only_some_runs_tell() -> None:
    """Sides of which some runs say what they did, and some do not, cannot be compared."""
    made, _ = program(5)
    before = runs([made.run(100), made.run(100)], requests=1)

    with pytest.raises(PermanentError, match=r"as run00: its run.json has no requests above zero"):
        checked(before, runs([made.run(100)]))


def test_one_run_is_no_evidence() -> None:
    """A claim of a single run is refused, whatever it shows."""
    made, chosen = program(2)
    result = checked(runs([made.run(2000)]), runs([made.run(2000, {chosen: 9})]))

    assert (Verdict.INCONCLUSIVE, 2) == (result.verdict, result.verdict.exit_code)
    assert ("cpu: 2 runs a side at least: one says nothing of its noise",) == result.needs


def test_too_few_runs_are_inconclusive() -> None:
    """Three runs of few samples cover nothing that matters: it is said how many would."""
    made, _ = program(2)
    result = checked(runs([made.run(150) for _ in range(3)]), runs([made.run(150) for _ in range(3)]))

    assert Verdict.INCONCLUSIVE == result.verdict
    assert "runs a side as these" in result.needs[0]


def test_required_variants() -> None:
    """A variant without runs on a side fails the gate by name; those that are there are compared each."""
    made, chosen = program(2)
    config = GateConfig(types=("cpu",), variants={"on": {"flag": True}, "off": {"flag": False}})
    on, off = (runs([made.run(1500) for _ in range(6)], flag=flag) for flag in (True, False))
    slow = runs([made.run(1500, {chosen: 2}) for _ in range(6)], flag=True)
    missing = checked([*on, *off], on, config)

    assert (Verdict.FAIL, ("off (candidate)",)) == (missing.verdict, missing.missing)
    assert ["the variant off (candidate) has no runs: it is required"] == [
        one["why"] for one in report(missing)["missing_variants"]
    ]
    both = checked([*on, *off], [*slow, *off], config)
    assert [("cpu, on", chosen)] == [(one["profile"], one["function"]) for one in report(both)["findings"]]


def test_dearer_where_the_whole_became_cheaper() -> None:
    """A small growth is redistributed when the whole fell; fail_on_masked fails it, and says its price."""
    made, chosen = program(6)
    shares = made.shares()
    large = max((name for name in made.names if name != chosen), key=lambda name: shares[name] % 0.6)
    before = runs([made.run(3000) for _ in range(10)])
    after = runs(
        [made.run(3000, {large: 0.3, chosen: 1.9 / (0.3 if chosen in large else 1)}) for _ in range(10)]
    )
    kind = checked(before, after)
    strict = checked(before, after, GateConfig(types=("cpu",), fail_on_masked=True))

    assert set() == found(kind) or Verdict.FAIL != kind.verdict
    assert any("fail_on_masked is on" in one for one in strict.warnings)


def test_missing_profiles_are_said() -> None:
    """A type that is asked for and not there is said; without CPU profiles there is no verdict."""
    made, _ = program(1)
    both = runs([made.run(1000) for _ in range(6)])
    wall = [Run("run", {"wall": run_profile(made.run(100))})] * 2

    assert any("alloc was not compared" in one for one in checked(both, both, GateConfig()).warnings)
    with pytest.raises(PermanentError, match="no type of profile in common"):
        checked(wall, wall, GateConfig(required_types=()))


def test_units_that_differ() -> None:
    """CPU time against a count of events is refused."""
    made, _ = program(1)
    before = runs([made.run(100)] * 2)
    after = runs([made.run(100)] * 2)
    object.__setattr__(after[0].profiles["cpu"], "unit", "count")

    with pytest.raises(PermanentError, match="cannot be compared: they are cpu in count, cpu in nanoseconds"):
        checked(before, after)


def test_what_differs_is_said() -> None:
    """Other hardware, another period, and a stale baseline are warnings."""
    made, _ = program(1)
    old = runs([made.run(500)] * 5, cpu_model="A", start_unix=NOW - 8 * 86400)
    new = runs([made.run(500)] * 5, cpu_model="B", start_unix=NOW)
    object.__setattr__(old[0].profiles["cpu"], "duration_seconds", 0.0)
    for run in new:
        object.__setattr__(run.profiles["cpu"], "period", 20_000_000)
    result = checked(old, new)

    assert 8 * 86400 == result.baseline_age_seconds
    for said in (
        "cpu_model differs: A before, B after",
        "the sampling period differs",
        "the baseline is stale",
    ):
        assert any(said in one for one in result.warnings), said


def test_explained() -> None:
    """All that is known of a function can be asked for, of those that did not fail as well."""
    made, chosen = program(2)
    result = checked(
        runs([made.run(2000) for _ in range(5)]), runs([made.run(2000, {chosen: 2}) for _ in range(5)])
    )
    (one,) = explained(result, chosen)
    (other,) = explained(result, "main")

    assert one["outcome"].startswith("fails: ")
    assert [5, 5] == [len(one["costs_before"]), len(one["costs_after"])]
    assert other["outcome"] != one["outcome"]
    assert [] == explained(result, "nothing")


@pytest.mark.parametrize(
    ("before", "after", "exceeded"),
    [(100, 129, False), (100, 131, True), (5, 14, False), (500, 590, False), (500, 601, True), (0, 11, True)],
)
def test_thresholds(before: float, after: float, exceeded: bool) -> None:  # noqa: FBT001 - a table
    """30 % of its own with 1 point of the whole, or 10 points of the whole alone."""
    assert exceeded == Limits(0.3, 0.01, 0.1).exceeded(before, after, 1000)
