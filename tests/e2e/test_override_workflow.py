"""The workflow of examples/github: its steps, run as a runner does, on repositories in a folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from otelprof.gate.audit import read, verify
from otelprof.gate.override import overrides

ROOT: Final = Path(__file__).resolve().parents[2]
WORKFLOW: Final = yaml.safe_load((ROOT / "examples/github/perf-override.yml").read_text(encoding="utf-8"))
RECORDED: Final = ROOT / "tests/data/github/issue_comment.created.json"
JOB: Final[dict[str, Any]] = WORKFLOW["jobs"]["override"]
_BASH: Final = shutil.which("bash") or "bash"
_GIT: Final = shutil.which("git") or "git"


def git(folder: Path, *arguments: str) -> str:
    """Run git, without anybody's settings."""
    environ = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    who = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    command = [_GIT, "-C", str(folder), *who, *arguments]
    return subprocess.run(command, check=True, env=environ, capture_output=True, text=True).stdout  # noqa: S603


@pytest.fixture
def forge(tmp_path: Path) -> Path:
    """A repository with a default branch that names an approver, and a branch for the log."""
    folder = tmp_path / "forge"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    (folder / ".github").mkdir()
    (folder / ".github/perf-approvers").write_text("approver 1002\n", encoding="utf-8")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "Name who may override")
    git(folder, "switch", "--quiet", "--orphan", "perf-audit")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "Audit log")
    git(folder, "switch", "--quiet", "main")
    return folder


def run_job(forge: Path, workspace: Path, event: Path) -> list[int]:
    """Run the steps of the job; the exit code of each step that runs a shell, up to the first that fails."""
    workspace.mkdir()
    codes: list[int] = []
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environ = {**os.environ, "GITHUB_EVENT_PATH": str(event), "PATH": programs}
    environ |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    for step in JOB["steps"]:
        if step.get("uses", "").startswith("actions/checkout@"):
            branch = step["with"]["ref"].replace("${{ github.event.repository.default_branch }}", "main")
            target = workspace / step["with"]["path"]
            git(forge, "clone", "--quiet", "--branch", branch, str(forge), str(target))
        elif "run" in step and step["name"] != "install":
            command = [_BASH, "-e", "-c", step["run"]]
            codes.append(subprocess.run(command, cwd=workspace, env=environ, check=False).returncode)  # noqa: S603
            if codes[-1]:
                break
    return codes


def test_a_comment_reaches_the_log(forge: Path, tmp_path: Path) -> None:
    """The job pushes the record to the log's branch, and its head is the artefact."""
    assert [0, 0] == run_job(forge, tmp_path / "workspace", RECORDED)

    content = git(forge, "show", "perf-audit:otelprof-audit.jsonl").encode()
    verified = verify(content)
    assert ["approver"] == [one.by for one in overrides(verified.records)]
    assert f"{verified.head}\n" == (tmp_path / "workspace/audit-head.txt").read_text(encoding="utf-8")
    assert "otelprof-audit.jsonl\n" == git(forge, "ls-tree", "--name-only", "perf-audit")


def test_a_refused_comment_leaves_the_log(forge: Path, tmp_path: Path) -> None:
    """Who is the author gets a job that fails, and nothing is pushed."""
    before = git(forge, "rev-parse", "perf-audit")
    event = tmp_path / "event.json"
    event.write_bytes(RECORDED.read_bytes().replace(b'"approver", "id": 1002', b'"author", "id": 1001'))

    assert [1] == run_job(forge, tmp_path / "workspace", event)
    assert before == git(forge, "rev-parse", "perf-audit")
    assert b"" == read(tmp_path / "workspace/audit/otelprof-audit.jsonl")


def test_nothing_of_the_pull_request_runs() -> None:
    """The job checks out nothing of the pull request, no text of the event reaches a shell."""
    checkouts = [step["with"]["ref"] for step in JOB["steps"] if "checkout" in step.get("uses", "")]
    assert ["${{ github.event.repository.default_branch }}", "perf-audit"] == checkouts
    scripts = " ".join(step.get("run", "") for step in JOB["steps"])
    assert [] == re.findall(r"\$\{\{|gh pr|refs/pull", scripts)
    assert ({}, {"contents": "write"}) == (WORKFLOW["permissions"], JOB["permissions"])
    assert {"issue_comment": {"types": ["created"]}} == WORKFLOW[True]  # YAML 1.1 reads `on` as true
