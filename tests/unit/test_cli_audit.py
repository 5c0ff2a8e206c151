"""`otelprof gate override` and `otelprof audit`: what they print, where, and how they exit."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.command import otelprof

RECORDED = Path(__file__).parents[1] / "data" / "github" / "issue_comment.created.json"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the log is, with a file of approvers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OTELPROF_AUDIT_LOG", raising=False)
    (tmp_path / "approvers").write_text("approver\n", encoding="utf-8")
    return tmp_path


def by_hand(capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, str, str]:
    """An override of pull request 7."""
    fixed = ("--reason", "asked for", "--who", "somebody", "--pull-request", "7")
    return otelprof(capsys, "gate", "override", *fixed, *more)


def test_a_comment_becomes_a_record(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The head is printed and written as an anchor; a second run of the job adds nothing."""
    of_comment = ("gate", "override", "--event", str(RECORDED), "--approvers", "approvers")
    first = otelprof(capsys, *of_comment, "--anchor", "head")
    second = otelprof(capsys, *of_comment)

    assert (0, (folder / "head").read_text(encoding="utf-8")) == first[:2]
    assert first == second
    assert first[1].startswith("otelprof audit head: 1 record, sha256 ")
    assert "overridden of #7 by approver until 2026-12-08 10:00 UTC: the second score" in first[2]
    assert 1 == len((folder / "otelprof-audit.jsonl").read_bytes().splitlines())


def test_a_comment_that_asks_for_nothing_changes_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It exits with 0, since most comments are such; a near miss is told."""
    event: dict[str, Any] = json.loads(RECORDED.read_bytes())
    for body, told in (("Looks good.", "asks for no override"), ("> /perf-override x", "line 1 reads")):
        event["comment"]["body"] = body
        (folder / "event.json").write_text(json.dumps(event), encoding="utf-8")
        code, out, err = otelprof(
            capsys, "gate", "override", "--event", "event.json", "--approvers", "approvers"
        )
        assert (0, "") == (code, out)
        assert told in err
    assert not (folder / "otelprof-audit.jsonl").exists()


def test_who_may_not_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It exits with 1, says why, and writes nothing; by hand as by comment."""
    (folder / "approvers").write_text("other\n", encoding="utf-8")
    for answer in (
        otelprof(capsys, "gate", "override", "--event", str(RECORDED), "--approvers", "approvers"),
        by_hand(capsys, "--approvers", "approvers"),
    ):
        assert (1, "") == answer[:2]
        assert "is none of the 1 approvers" in answer[2].replace("(account 1002) ", "")
    assert not (folder / "otelprof-audit.jsonl").exists()


def test_what_cannot_be_read_exits_with_3(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Approvers that name nobody, what is no event, and a log that is none are told from a refusal."""
    (folder / "nobody").write_text("# nobody yet\n", encoding="utf-8")
    (folder / "log").mkdir()
    event = ("gate", "override", "--event")
    for arguments, why in (
        ((*event, str(RECORDED), "--approvers", "nobody"), "nobody: it names 0 approvers"),
        ((*event, str(RECORDED), "--approvers", "absent"), "absent cannot be read"),
        ((*event, "approvers", "--approvers", "approvers"), "no issue_comment event"),
        (("audit", "verify"), "otelprof-audit.jsonl is not there"),
        (("audit", "show"), "otelprof-audit.jsonl is not there"),
        (("audit", "verify", "--log", "log"), "log cannot be read"),
        (("audit", "verify", "--anchor", "approvers"), "approvers: there is no head in it"),
        (("audit", "verify", "--head", "12"), "--head: there is no head in it"),
    ):
        code, out, err = otelprof(capsys, *arguments)
        assert (3, "") == (code, out)
        assert why in err


def test_options_that_do_not_fit(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A comment speaks for itself, and needs approvers; an anchor is one. The gate's usage errors are 3."""
    assert folder
    for arguments in (
        ("gate", "override"),
        ("gate", "override", "--event", str(RECORDED)),
        ("gate", "override", "--event", str(RECORDED), "--approvers", "approvers", "--pull-request", "8"),
        ("gate", "override", "--event", str(RECORDED), "--approvers", "approvers", "--reason", "x"),
        ("gate", "override", "--reason", "x", "--pull-request", "none"),
    ):
        assert 3 == otelprof(capsys, *arguments)[0]
    assert 2 == otelprof(capsys, "audit", "verify", "--head", "12", "--anchor", "approvers")[0]


def test_a_log_that_holds(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It exits with 0 and prints the head, which is the anchor for later: as a file, a hash, or on stdin."""
    by_hand(capsys, "--anchor", "head")
    code, head, _ = by_hand(capsys)
    first = (folder / "head").read_text(encoding="utf-8")

    assert (0, head, "") == otelprof(capsys, "audit", "verify")
    assert (0, head, "") == otelprof(capsys, "audit", "verify", "--anchor", "head")
    assert (0, head, "") == otelprof(capsys, "audit", "verify", "--head", first.split()[-1])
    message = io.TextIOWrapper(io.BytesIO(f"audit\n\n{first}".encode()))
    monkeypatch.setattr(sys, "stdin", message)
    assert (0, head, "") == otelprof(capsys, "audit", "verify", "--anchor", "-")
    assert 0 == code


def test_a_log_that_does_not_hold(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It exits with 1, and names the first line that is wrong, or what the anchor knows of."""
    by_hand(capsys)
    by_hand(capsys, "--anchor", "head")
    log = folder / "otelprof-audit.jsonl"
    whole = log.read_bytes()

    log.write_bytes(whole.splitlines(keepends=True)[0])
    assert 0 == otelprof(capsys, "audit", "verify")[0]
    code, out, err = otelprof(capsys, "audit", "verify", "--anchor", "head")
    assert (1, "") == (code, out)
    assert "2 records were anchored and 1 are there: it was cut off at its end" in err

    log.unlink()
    assert 1 == otelprof(capsys, "audit", "verify", "--anchor", "head")[0]

    log.write_bytes(whole.replace(b"somebody", b"nobody", 1))
    code, out, err = otelprof(capsys, "audit", "verify")
    assert (1, "") == (code, out)
    assert "otelprof-audit.jsonl, line 1: its hash is not that of what it holds" in err


def test_a_log_is_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line a record, or JSON; up to the first line that is wrong."""
    by_hand(capsys, "--function", "main.a", "--until", "2d")
    by_hand(capsys, "--commit", "0123456789abcdef")
    code, out, _ = otelprof(capsys, "audit", "show")
    lines = out.splitlines()

    assert (0, 2) == (code, len(lines))
    assert "overridden for main.a of #7 by somebody until" in lines[0]
    assert "overridden of #7 at 0123456789ab by somebody until" in lines[1]
    records = json.loads(otelprof(capsys, "audit", "show", "--format", "json")[1])
    assert ["main.a"] == records[0]["data"]["functions"]
    assert [1, 2] == [record["sequence"] for record in records]

    log = folder / "otelprof-audit.jsonl"
    log.write_bytes(log.read_bytes() + b"{}\n")
    code, out, err = otelprof(capsys, "audit", "show")
    assert (1, lines) == (code, out.splitlines())
    assert "line 3" in err
