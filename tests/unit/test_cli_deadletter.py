"""`otelprof deadletter`: what it prints, and what it does to the folder."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from otelprof.cli.app import app
from otelprof.errors import PermanentError
from otelprof.log.dead_letters import FOLDER_NAME, DeadLetter, DeadLetters
from otelprof.log.journal import FILE_NAME
from otelprof.testing.clock import EPOCH_SECS

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result

MOMENT = datetime.fromtimestamp(EPOCH_SECS, UTC)


@pytest.fixture
def letters(tmp_path: Path) -> DeadLetters:
    """The dead letters of a storage, two of them."""
    (tmp_path / FILE_NAME).touch()
    made = DeadLetters(tmp_path / FOLDER_NAME)
    for number in range(2):
        letter = DeadLetter(
            exporter=f"otlp/{number}",
            reason="permanent_error",
            error_type="PermanentError",
            message="[red]no\x1b[2J",
            first_attempt=MOMENT,
            last_attempt=MOMENT,
            attempts=1,
            samples=1234,
        )
        made.add(letter, b"", EPOCH_SECS + number)
    return made


def deadletter(letters: DeadLetters, *arguments: str) -> Result:
    """Run a command on their storage."""
    command, *others = arguments
    directory = str(letters.folder.parent)
    return CliRunner().invoke(app, ["deadletter", command, "--directory", directory, *others])


def test_list(letters: DeadLetters) -> None:
    """One a line, the oldest first; what a far side said moves no cursor, and is no markup."""
    first, second = letters.all()
    letters.retry(second)
    head, *lines = deadletter(letters, "list").output.splitlines()
    assert ["id", "exporter", "reason", "last", "attempt", "attempts", "samples", "message"] == head.split()
    assert [
        [first.id, "otlp/0", "permanent_error", "2026-01-01 00:00:00Z", "1", "1,234", r"[red]no\x1b[2J"],
        [second.id, "otlp/1", "to be tried again", "2026-01-01 00:00:00Z", "1", "1,234", r"[red]no\x1b[2J"],
    ] == [[cell.strip() for cell in line.split("  ") if cell] for line in lines]


def test_list_for_a_program(letters: DeadLetters) -> None:
    """All that is known, as JSON."""
    first, second = letters.all()
    found = json.loads(deadletter(letters, "list", "--format", "json").output)
    assert [first.id, second.id] == [one["id"] for one in found]
    assert {
        "id": first.id,
        "exporter": "otlp/0",
        "reason": "permanent_error",
        "error_type": "PermanentError",
        "message": "[red]no\x1b[2J",
        "first_attempt": "2026-01-01T00:00:00Z",
        "last_attempt": "2026-01-01T00:00:00Z",
        "attempts": 1,
        "samples": 1234,
        "size_bytes": 8192,
        "to_retry": False,
        "file": str(letters.body_path(first)),
    } == found[0]


def test_list_of_none(tmp_path: Path) -> None:
    """A storage without dead letters says so."""
    (tmp_path / FILE_NAME).touch()
    letters = DeadLetters(tmp_path / FOLDER_NAME)
    assert ("no dead letter\n", "[]\n") == (
        deadletter(letters, "list").output,
        deadletter(letters, "list", "--format", "json").output,
    )


def test_show(letters: DeadLetters) -> None:
    """One of them, by the beginning of its name."""
    first, _ = letters.all()
    lines = deadletter(letters, "show", first.id[:-4]).output.splitlines()
    assert f"file:          {letters.body_path(first)}" == lines[-1]
    assert r"message:       [red]no\x1b[2J" in lines
    assert first.id == json.loads(deadletter(letters, "show", first.id, "--format", "json").output)["id"]


def test_a_beginning_must_tell(letters: DeadLetters) -> None:
    """A name that begins two of them is refused."""
    result = deadletter(letters, "show", "2026")
    assert isinstance(result.exception, PermanentError)
    assert "2 dead letters begin with '2026'" in str(result.exception)


def test_retry_and_drop(letters: DeadLetters) -> None:
    """Those that are named, or all; neither is nothing."""
    first, second = letters.all()
    assert "1 dead letter will be tried again\n" == deadletter(letters, "retry", first.id).output
    assert [True, False] == [one.to_retry for one in letters.all()]
    assert "2 dead letters will be tried again\n" == deadletter(letters, "retry", "--all").output
    assert "1 dead letter removed\n" == deadletter(letters, "drop", second.id).output
    assert 2 == deadletter(letters, "drop").exit_code
    assert 2 == deadletter(letters, "drop", first.id, "--all").exit_code
    assert [first.id] == [one.id for one in letters.all()]


def test_it_must_be_readable(letters: DeadLetters, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user is told, instead of seeing none."""
    monkeypatch.setattr("os.access", lambda path, _mode: path != letters.folder)
    result = deadletter(letters, "list")
    assert isinstance(result.exception, PermanentError)
    assert "run this as the user that otelprof runs as" in str(result.exception)


def test_it_must_be_a_storage(tmp_path: Path) -> None:
    """Another folder is told, instead of being empty."""
    result = deadletter(DeadLetters(tmp_path / FOLDER_NAME), "list")
    assert isinstance(result.exception, PermanentError)
    assert "has no queue.db" in str(result.exception)
