"""The small file beside the log's: what it says is read back, and it stays small."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from otelprof.log.marks import Attempt, Left, Marks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

PASSED: Sequence[tuple[int, str]] = [(3, "otlp"), (4, 'otlp/"x"')]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file is."""
    return tmp_path / "queue.marks"


@pytest.fixture
def marks(path: Path) -> Iterator[Marks]:
    """The file, of run 7."""
    made = Marks(path, 7, lambda: (5, json.dumps(PASSED)[1:-1]))
    made.write()
    yield made
    made.close()


@pytest.mark.parametrize("rows", [(), (8,), (1, 2, 3), (1, 3, 4, 5, 9), (2, 4, 6)])
def test_what_is_under_way_is_read_back(path: Path, marks: Marks, rows: tuple[int, ...]) -> None:
    """With all else that the next start is to know."""
    first, second = Attempt("otlp", 1.5, rows), Attempt("otlp", 1.5, rows)
    marks.appended(9, 6)
    assert Left(7, 9, 6, PASSED, []) == Left.read(path)
    marks.begin(first)
    marks.begin(second)
    marks.end(first)
    assert Left(7, 9, 6, PASSED, [second]) == Left.read(path)
    marks.write()
    assert Left(7, 9, 5, PASSED, [second]) == Left.read(path)


def test_a_large_batch_is_a_small_mark(path: Path, marks: Marks) -> None:
    """The file is written over at each attempt: rows that follow each other are one range."""
    attempt = Attempt("otlp", 1.0, tuple(range(1, 100_000)))
    marks.begin(attempt)
    assert path.stat().st_size < 200
    assert [attempt] == Left.read(path).attempts


def test_a_shutdown_leaves_no_attempt(path: Path, marks: Marks) -> None:
    """Nor does what is tried while it lasts; what ends after it is not written any more."""
    attempt = Attempt("otlp", 1.0, (1,))
    marks.begin(attempt)
    marks.end_all()
    marks.begin(Attempt("otlp", 2.0, (2,)))
    marks.appended(3, 1)
    marks.write()
    assert ([], 3) == (Left.read(path).attempts, Left.read(path).last_row)
    marks.close()
    left = path.read_bytes()
    marks.end(attempt)
    marks.close()
    assert left == path.read_bytes()


def test_no_file(path: Path) -> None:
    """Then nothing is known."""
    assert Left() == Left.read(path)
