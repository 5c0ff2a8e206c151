"""The action for GitHub's workflows: its steps, run as a runner does, with a recorded event."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from otelprof.gate.audit import append
from otelprof.gate.override import EVENT as OVERRIDE
from otelprof.gate.override import Request, Scope, by_hand, data
from tests.gate_programs import Program, folded

ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / ".github/actions/gate/action.yml").read_text(encoding="utf-8"))
EVENT: dict[str, Any] = json.loads((ROOT / "tests/data/github/pull_request.json").read_text(encoding="utf-8"))
EXPRESSION = re.compile(r"\$\{\{ *([\w.-]+) *\}\}")


@dataclass
class Runner:
    """What a runner knows while it goes through the steps of a composite action."""

    folder: Path
    inputs: dict[str, str]
    outputs: dict[str, str] = field(default_factory=dict)
    summary: str = ""
    ran: list[str] = field(default_factory=list)

    def value(self, path: str) -> str:
        """What an expression stands for; nothing when it is not there, as on a runner."""
        known: Any = {
            "inputs": self.inputs,
            "github": {"event": EVENT, "repository": EVENT["repository"]["full_name"]},
            "steps": {"compare": {"outputs": self.outputs}},
        }
        for key in path.split("."):
            known = known.get(key, "") if isinstance(known, dict) else ""
        return str(known)

    def expanded(self, text: str) -> str:
        """A text with its expressions expanded."""
        return EXPRESSION.sub(lambda match: self.value(match[1]), text)

    def is_wanted(self, step: dict[str, Any]) -> bool:
        """Whether a step's condition holds: `path == 'text'` or `path != 'text'`."""
        condition = re.fullmatch(r"([\w.-]+) (==|!=) '([^']*)'", step.get("if", "x != ''"))
        assert condition is not None
        is_same = self.value(condition[1]) == condition[3]
        return is_same == (condition[2] == "==") if "if" in step else True

    def run(self) -> int:
        """Run the steps until one fails: its exit code."""
        for step in ACTION["runs"]["steps"]:
            if self.is_wanted(step) and "run" in step:
                self.ran.append(step["name"])
                code = self._script(step)
                if code:
                    return code
        return 0

    def _script(self, step: dict[str, Any]) -> int:
        assert not EXPRESSION.search(step["run"])
        output, summary = self.folder / "output", self.folder / "summary"
        environ = {
            "PATH": f"{self.folder}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "RUNNER_TEMP": str(self.folder),
            "GITHUB_OUTPUT": str(output),
            "GITHUB_STEP_SUMMARY": str(summary),
            **{key: self.expanded(str(value)) for key, value in step["env"].items()},
        }
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
        done = subprocess.run(  # noqa: S603 - ours
            command, env=environ, cwd=self.folder, capture_output=True, check=False
        )
        if output.exists():
            self.outputs = dict(line.split("=", 1) for line in output.read_text().splitlines())
        self.summary = summary.read_text() if summary.exists() else ""
        return done.returncode


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, str]:
    """The defaults of the action, with nothing to install, and folders of runs."""
    made = Program(np.random.default_rng(1), functions=12)
    for side, size, factors in (
        ("base", 5, {}),
        ("same", 5, {}),
        ("slow", 5, {"app.f00": 2.0}),
        ("few", 1, {}),
    ):
        for at in range(size):
            run = tmp_path / side / f"run{at}"
            run.mkdir(parents=True)
            (run / "cpu.folded").write_text(folded(made.run(3000, factors)), encoding="utf-8")
    given = {key: str(one.get("default", "")) for key, one in ACTION["inputs"].items()}
    return {**given, "requirement": "", "baseline": "base", "work": "requests=10"}


@pytest.mark.parametrize(
    ("candidate", "on_inconclusive", "verdict", "code"),
    [
        ("same", "fail", "PASS", 0),
        ("slow", "fail", "FAIL", 1),
        ("slow", "pass", "FAIL", 1),
        ("few", "fail", "INCONCLUSIVE", 1),
        ("few", "pass", "INCONCLUSIVE", 0),
    ],
)
def test_verdicts(  # noqa: PLR0913, PLR0917 - a table
    inputs: dict[str, str], tmp_path: Path, candidate: str, on_inconclusive: str, verdict: str, code: int
) -> None:
    """The check fails on FAIL, on INCONCLUSIVE as it is told, and the report is in the summary."""
    runner = Runner(tmp_path, {**inputs, "candidate": candidate, "on-inconclusive": on_inconclusive})

    assert code == runner.run()
    assert verdict == runner.outputs["verdict"]
    assert runner.summary.startswith(f"## Performance gate: {verdict}\n")
    assert EVENT["pull_request"]["base"]["sha"] in runner.summary
    assert ["Compare", "Conclude"] == runner.ran


def test_what_cannot_be_read_fails(inputs: dict[str, str], tmp_path: Path) -> None:
    """Without runs there is no verdict, and the step fails with 3; quotes in a name are nothing else."""
    hostile = '"; touch hacked; echo "'
    runner = Runner(tmp_path, {**inputs, "candidate": hostile})

    assert (3, {}) == (runner.run(), runner.outputs)
    assert not (tmp_path / "hacked").exists()


def test_an_override_counts(inputs: dict[str, str], tmp_path: Path) -> None:
    """An override of the pull request's commit in the log makes FAIL a PASS, which says so."""
    now, head = datetime.now(UTC), EVENT["pull_request"]["head"]["sha"]
    scope = Scope(EVENT["repository"]["full_name"], EVENT["number"])
    said = by_hand(Request("asked for", commit=head[:12]), "approver", scope, now - timedelta(minutes=1))
    append(tmp_path / "log", OVERRIDE, data(said), now)
    runner = Runner(tmp_path, {**inputs, "candidate": "slow", "audit-log": "log"})

    assert (0, "PASS") == (runner.run(), runner.outputs["verdict"])
    assert runner.summary.startswith("## Performance gate: PASS, overridden: FAIL\n")


def test_comment(inputs: dict[str, str], tmp_path: Path) -> None:
    """The report goes into the pull request of the event, as one comment, when that is asked for."""
    gh = tmp_path / "gh"
    gh.write_text('#!/usr/bin/env bash\nprintf "%s\\n" "$@" > said\n', encoding="utf-8")
    gh.chmod(0o755)
    runner = Runner(tmp_path, {**inputs, "candidate": "same", "comment": "true"})

    assert 0 == runner.run()
    said = (tmp_path / "said").read_text(encoding="utf-8").splitlines()
    assert ["pr", "comment", str(EVENT["pull_request"]["number"])] == said[:3]
    assert runner.outputs["report"] == said[-1]
