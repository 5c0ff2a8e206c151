"""What overrides make of the gate's report."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from otelprof.gate.audit import append
from otelprof.gate.overridden import overridden
from otelprof.gate.override import EVENT, Override, Scope, data
from otelprof.gate.report_text import markdown, text
from tests.gate_programs import Program, folded
from tests.unit.command import otelprof

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
HERE = Scope("owner/name", 7, "0123456789abcdef")
SLOW = "app.f00"


def override(**changes: Any) -> Override:
    """An override of pull request 7."""
    fields: dict[str, Any] = {
        "reason": "asked for",
        "by": "approver",
        "source": "comment",
        "repository": "owner/name",
        "pull_request": 7,
        "since": NOW - timedelta(days=1),
        "until": NOW + timedelta(days=1),
    }
    return Override.model_validate({**fields, **changes})


def report(*functions: str, verdict: str = "FAIL", missing: int = 0) -> dict[str, Any]:
    """A report that finds something in these functions."""
    finding = {
        "profile": "cpu",
        "share_before": 0.1,
        "share_after": 0.2,
        "cost_before": 1.0,
        "cost_after": 2.0,
        "unit": "nanoseconds per request",
        "growth": 1.0,
        "p_adjusted": 0.001,
        "why": "it grew",
    }
    return {
        "verdict": verdict,
        "findings": [{**finding, "function": name} for name in functions],
        "missing_variants": [{"function": None, "why": "missing"}] * missing,
        "warnings": [],
        "covers": [],
        "needs": [],
    }


@pytest.mark.parametrize(
    ("said", "overrides", "verdict"),
    [
        (report("main.a"), [override()], "PASS"),
        (report("main.a"), [override(functions=("main.a",))], "PASS"),
        (report("main.a", "main.b"), [override(functions=("main.a",))], "FAIL"),
        (
            report("main.a", "main.b"),
            [override(functions=("main.a",)), override(functions=("main.b",))],
            "PASS",
        ),
        (report("main.a"), [], "FAIL"),
        (report("main.a"), [override(pull_request=8)], "FAIL"),
        (report("main.a"), [override(repository="owner/other")], "FAIL"),
        (report("main.a"), [override(commit="fedcba9")], "FAIL"),
        (report("main.a"), [override(until=NOW)], "FAIL"),
        (report("main.a"), [override(since=NOW + timedelta(hours=1))], "FAIL"),
        (report("main.a", missing=1), [override()], "FAIL"),
        (report(missing=1), [override()], "FAIL"),
        (report(verdict="INCONCLUSIVE"), [override()], "INCONCLUSIVE"),
        (report(verdict="PASS"), [override()], "PASS"),
    ],
)
def test_what_an_override_turns(said: dict[str, Any], overrides: list[Override], verdict: str) -> None:
    """FAIL becomes PASS when all findings are covered, here and now; nothing else changes."""
    found = overridden(said, overrides, HERE, NOW)
    assert (verdict, said["verdict"]) == (found["verdict"], found["verdict_without_overrides"])


def test_every_override_is_shown_until_it_ends() -> None:
    """Those of other pull requests too, in both forms; one that has ended is not."""
    here = override(functions=("main.a",))
    others = [override(pull_request=8), override(pull_request=9, until=NOW)]
    found = overridden(report("main.a"), [here, *others], HERE, NOW)

    assert [str(here), str(others[0])] == found["overrides"]
    assert [str(here)] == [one["overridden"] for one in found["findings"]]
    assert text(found).startswith("verdict: PASS, overridden: FAIL\n")
    assert f"override in force: {others[0]}" in text(found).splitlines()
    page = markdown(found)
    assert page.startswith("## Performance gate: PASS, overridden: FAIL\n")
    assert 2 == page.partition("**Overrides in force**")[2].count("\n- overridden")


def test_the_gate_takes_a_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the audit log FAIL exits with 0 for the pull request it is for, and 3 when the log is broken."""
    made = Program(np.random.default_rng(1), functions=12)
    for side, factors in (("base", {}), ("slow", {SLOW: 2.0})):
        for at in range(6):
            folder = tmp_path / side / f"run{at}"
            folder.mkdir(parents=True)
            (folder / "cpu.folded").write_text(folded(made.run(3000, factors)), encoding="utf-8")
    log = tmp_path / "log"
    now = datetime.now(UTC)
    lasting = override(since=now - timedelta(hours=1), until=now + timedelta(hours=1))
    append(log, EVENT, data(lasting), now)
    sides = ("gate", "--baseline", str(tmp_path / "base"), "--candidate", str(tmp_path / "slow"))
    with_log = (*sides, "--audit-log", str(log), "--repository", "owner/name", "--pull-request")

    assert 1 == otelprof(capsys, *sides)[0]
    assert 1 == otelprof(capsys, *with_log, "8")[0]
    code, out, _ = otelprof(capsys, *with_log, "7", "--format", "json")
    found = json.loads(out)
    assert (0, "PASS", "FAIL") == (code, found["verdict"], found["verdict_without_overrides"])

    log.write_bytes(log.read_bytes().replace(b"approver", b"somebody"))
    code, out, err = otelprof(capsys, *with_log, "7")
    assert (3, "") == (code, out)
    assert "line 1: its hash is not that" in err
