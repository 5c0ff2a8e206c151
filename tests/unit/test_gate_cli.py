"""`otelprof gate` and `otelprof diff`: what they print, and how they exit."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from otelprof.config.units import parse_duration
from otelprof.errors import ConfigError
from otelprof.gate.config import GateConfig, load_gate_config
from otelprof.gate.report_text import escaped
from tests.gate_programs import Program, folded
from tests.unit.command import otelprof

ROOT = Path(__file__).parents[2]
SLOW = "app.f00"


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of runs: `base`, `same`, `slow`, and `few`."""
    root = tmp_path_factory.mktemp("sides")
    made = Program(np.random.default_rng(1), functions=12)
    for side, size, factors in (("base", 6, {}), ("same", 6, {}), ("slow", 6, {SLOW: 2.0}), ("few", 1, {})):
        for at in range(size):
            folder = root / side / f"run{at}"
            folder.mkdir(parents=True)
            (folder / "cpu.folded").write_text(folded(made.run(3000, factors)), encoding="utf-8")
            (folder / "run.json").write_text(json.dumps({"requests": 50}), encoding="utf-8")
    return {path.name: path for path in root.iterdir()}


@pytest.mark.parametrize(
    ("candidate", "code", "verdict"), [("same", 0, "PASS"), ("slow", 1, "FAIL"), ("few", 2, "INCONCLUSIVE")]
)
def test_verdicts(
    sides: dict[str, Path], capsys: pytest.CaptureFixture[str], candidate: str, code: int, verdict: str
) -> None:
    """The exit code is the verdict, and the first line of the report says it."""
    found, out, err = otelprof(capsys, "gate", "--baseline", sides["base"], "--candidate", sides[candidate])

    assert (code, f"verdict: {verdict}", "") == (found, out.splitlines()[0], err)


def test_json(sides: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """The report for machines has all that was asked for, and costs per unit of work."""
    arguments = ("gate", "--baseline", sides["base"], "--candidate", sides["slow"], "--format", "json")
    report: dict[str, Any] = json.loads(otelprof(capsys, *arguments)[1])
    (finding,) = report["findings"]

    assert {"verdict", "findings", "warnings", "covers", "needs"} <= set(report)
    assert SLOW == finding["function"]
    assert {"share_before", "share_after", "cost_before", "cost_after", "growth", "p_adjusted", "why"} <= set(
        finding
    )
    given = json.loads(otelprof(capsys, *arguments, "--work", "requests=100")[1])["findings"][0]
    assert finding["cost_before"] == pytest.approx(2 * given["cost_before"])


def test_markdown_and_the_flame_graph(
    sides: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The report for a pull request names the function, and where the differential flame graph is."""
    svg, page = tmp_path / "diff.svg", tmp_path / "report.md"
    arguments = ("--format", "markdown", "--flamegraph", svg, "-o", page)
    code, out, _ = otelprof(
        capsys, "gate", "--baseline", sides["base"], "--candidate", sides["slow"], *arguments
    )

    assert (1, "") == (code, out)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("## Performance gate: FAIL\n")
    assert "app.f00" in text
    assert "[Differential flame graph](diff.svg)" in text
    assert "<svg" in svg.read_text(encoding="utf-8")


def test_explain(sides: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """All that is known of a function can be asked for; one that is not there is wrong usage."""
    arguments = ("gate", "--baseline", sides["base"], "--candidate", sides["slow"], "--explain")

    assert f"{SLOW} (cpu): fails: " in otelprof(capsys, *arguments, SLOW)[1]
    assert 3 == otelprof(capsys, *arguments, "no.such.function")[0]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--baseline", "base"],
        ["--baseline", "base", "--candidate", "nowhere"],
        ["--baseline", "base", "--candidate", "same", "--work", "0=0"],
        ["--baseline", "base", "--candidate", "same", "--config", "nowhere.yaml"],
        ["--baseline", "base", "--candidate", "same", "--format", "xml"],
        ["--nonsense"],
        ["calibrate", "nowhere"],
        ["calibrate"],
    ],
)
def test_wrong_usage(
    sides: dict[str, Path], arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong usage and what cannot be read exit with 3, so that no verdict can be read into it."""
    code, out, err = otelprof(capsys, "gate", *(sides.get(one, one) for one in arguments))

    assert (3, "") == (code, out)
    assert err


def test_calibrate(sides: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """Runs without a change say how often the gate would fail on them, and what it would see."""
    code, out, _ = otelprof(capsys, "gate", "calibrate", sides["base"], "--pairs", "50", "--format", "json")
    said = json.loads(out)
    (three,) = [one for one in said["sizes"] if one["runs"] == 3]

    assert 0 == code
    assert (6, 50) == (said["runs"], three["pairs"])
    assert three["failed"] <= 2
    text = otelprof(capsys, "gate", "calibrate", sides["base"], "--pairs", "5")[1]
    assert "to buy" in text


@pytest.mark.parametrize("kind", ["text", "markdown", "json", "svg"])
def test_diff(sides: dict[str, Path], kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The difference is written in each format, per unit of work."""
    code, out, _ = otelprof(capsys, "diff", sides["base"], sides["slow"], "--format", kind)

    assert 0 == code
    assert SLOW in out
    if kind == "json":
        said = json.loads(out)
        first = said["functions"][0]
        assert "requests" == said["per"]
        assert first["after"] - first["before"] == max(
            one["after"] - one["before"] for one in said["functions"]
        )


def test_diff_of_files(sides: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """Single files are compared per run, which is a warning; a type that is not there is an error."""
    files = [sides[name] / "run0/cpu.folded" for name in ("base", "slow")]
    code, out, err = otelprof(capsys, "diff", *files)

    assert (0, True) == (code, "per run" in out.splitlines()[0])
    assert "no run says what it did" in err
    assert 1 == otelprof(capsys, "diff", *files, "--type", "alloc")[0]


def test_the_configuration_of_the_repository() -> None:
    """What is in config/gate.yaml is good, and says what is the default anyway."""
    assert GateConfig() == load_gate_config(ROOT / "config/gate.yaml", {})


def test_tighten(tmp_path: Path) -> None:
    """A threshold moves from one value to the other, day by day, and stays there."""
    path = tmp_path / "gate.yaml"
    path.write_text(
        "thresholds: {tighten: {from: 0.5, to: 0.3, over: 100d, starting: 2026-01-01}}\nrefresh: weekly\n"
    )
    config = load_gate_config(path, {})
    tighten = config.thresholds.tighten
    assert tighten is not None
    days = [
        datetime(2025, 12, 1, tzinfo=UTC),
        datetime(2026, 2, 20, tzinfo=UTC),
        datetime(2027, 1, 1, tzinfo=UTC),
    ]

    assert [0.5, 0.4, 0.3] == pytest.approx([tighten.at(day) for day in days])
    assert parse_duration("7d") == config.refresh


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("treshold: {}", "is not a known key"),
        ("alpha: 2", "alpha"),
        ("required_types: [wall]", "required_types names wall"),
        ("names: {strip: ['(']}", "not a regular expression"),
        ("thresholds: {tighten: {from: 1}}", "thresholds.tighten"),
    ],
)
def test_wrong_configuration(tmp_path: Path, text: str, message: str) -> None:
    """A mistake in gate.yaml is told with its key."""
    path = tmp_path / "gate.yaml"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(ConfigError, match=message):
        load_gate_config(path, {})


def test_hostile_names() -> None:
    """A name cannot end a cell, mention anybody, or bring markup into a pull request."""
    shown = escaped("a|b @team <img src=x> [x](http://y) `z`\n## h")

    assert "\n" not in shown
    assert "@team" not in shown
    assert all(f"\\{char}" in shown for char in "|<>[]()`#")


def test_flight_recordings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of Java Flight Recorder it is said what converts them, of a file as of a folder of them."""
    recording = tmp_path / "runs" / "run0" / "cpu.jfr"
    recording.parent.mkdir(parents=True)
    recording.write_bytes(b"FLR\0\0\x02\0\0")
    for side in (recording, tmp_path / "runs"):
        code, _, err = otelprof(capsys, "diff", side, side)
        assert (1, True) == (code, "jfrconv --cpu recording.jfr cpu.pb.gz" in err)
