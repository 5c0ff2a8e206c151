"""Requests of a queue on disk that no attempt can deliver: put aside, bounded, counted, tried again."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Any

import pytest

from otelprof._core import Profiles
from otelprof.errors import PermanentError
from otelprof.log.batching import BatchingCursor
from otelprof.log.cursor import DropReason
from otelprof.log.dead_letters import FOLDER_NAME, DeadLetters
from otelprof.telemetry.log_metrics import (
    DEAD_LETTERS,
    DEAD_LETTERS_REMOVED,
    DEAD_LETTERS_RETRIED,
    DEAD_LETTERS_SIZE,
    DEAD_LETTERS_WRITTEN,
    LOG_WRITE_FAILURES,
)
from otelprof.testing.clock import EPOCH_SECS
from tests.reference.build import ambiguous
from tests.unit.durable_runs import FAST, SLOW, Run, profiles, runs_on

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Any]:
    """Makes runs on one folder."""
    with runs_on(tmp_path) as run:
        yield run


@pytest.fixture
def letters(tmp_path: Path) -> DeadLetters:
    """The folder of these runs."""
    return DeadLetters(tmp_path / FOLDER_NAME)


def refuse(run: Run, *services: str, message: str = "no") -> None:
    """Append requests, each of which the fast exporter then refuses for good."""
    cursor = run.log.cursor(FAST)
    for service in services:
        run.append(service, exporters=(FAST,))
        item = cursor.take()
        assert item is not None
        item.first_attempt_at = run.clock.monotonic()
        run.clock.advance(2)
        cursor.refuse(item, PermanentError(message))


def kept_services(letters: DeadLetters) -> list[str]:
    """The services of what is in the folder."""
    bodies = [letters.body_path(kept).read_bytes() for kept in letters.all()]
    return [Profiles.decode(body).resources[0]["service.name"] for body in bodies]


def test_what_is_refused_for_good_is_put_aside(runs: Any, letters: DeadLetters) -> None:
    """With its reason, once, and counted; only its owner may read it; it does not come back by itself."""
    run = runs((FAST,))
    refuse(run, "a", message="not\x1b[2J this")
    (kept,) = letters.all()
    assert {
        "exporter": "otlp/fast",
        "reason": "permanent_error",
        "error_type": "PermanentError",
        "message": "not\\x1b[2J this",
        "first_attempt": "2026-01-01T00:00:00Z",
        "last_attempt": "2026-01-01T00:00:02Z",
        "attempts": 1,
        "samples": 1,
    } == letters.read(kept).model_dump(mode="json")
    assert profiles("a").to_otlp() == Profiles.decode(letters.body_path(kept).read_bytes()).to_otlp()
    modes = {stat.S_IMODE(path.stat().st_mode) for path in letters.folder.iterdir()}
    assert ({0o600}, 0o700) == (modes, stat.S_IMODE(letters.folder.stat().st_mode))
    assert (1, 1, 1, kept.size_bytes) == (
        run.dropped(FAST, DropReason.PERMANENT_ERROR),
        run.metrics.value(DEAD_LETTERS_WRITTEN, exporter="otlp/fast", reason="permanent_error"),
        run.metrics.value(DEAD_LETTERS),
        run.metrics.value(DEAD_LETTERS_SIZE),
    )
    run.crash()
    assert [] == runs((FAST,)).take(FAST)


def test_other_exporters_deliver_what_one_refuses(runs: Any, letters: DeadLetters) -> None:
    """A dead letter is one exporter's."""
    run = runs()
    run.append("a")
    cursor = run.log.cursor(FAST)
    cursor.refuse(cursor.take(), PermanentError("no"))
    assert (["a"], ["a"]) == (kept_services(letters), run.take(SLOW))


def test_three_crashes_put_a_request_aside(runs: Any, letters: DeadLetters) -> None:
    """What the process ended in the middle of three times in a row is not given out again; all else is."""
    for _ in range(3):
        run = runs()
        if run.log.cursor(FAST).item_count == 0:
            run.append("poison")
            run.append("good")
        run.crash_in(FAST)
    run = runs()
    assert (["good"], ["poison", "good"]) == (run.take(FAST), run.take(SLOW))
    assert (["poison"], 1) == (kept_services(letters), run.dropped(FAST, DropReason.CRASHED))
    letter = letters.read(letters.all()[0])
    assert ("otlp/fast", "crashed", 3, 1) == (
        letter.exporter,
        letter.reason,
        letter.attempts,
        letter.samples,
    )
    run.crash()
    run = runs()
    assert ["good"] == run.take(FAST)


def test_crashes_in_a_row_are_counted(runs: Any, letters: DeadLetters) -> None:
    """An attempt that ends, however, shows that it was not the request that ended the process."""
    run = runs((FAST,))
    run.append("a", exporters=(FAST,))
    for _ in range(2):
        run.crash_in(FAST)
        run = runs((FAST,))
    cursor = run.log.cursor(FAST)
    item = cursor.take()
    with cursor.attempt(item):
        cursor.retry_at(item, 0.0)
    run.log.flush()
    for _ in range(2):
        run.crash_in(FAST)
        run = runs((FAST,))
    assert ["a"] == run.take(FAST)
    assert [] == letters.all()


def test_a_shutdown_is_no_crash(runs: Any, letters: DeadLetters) -> None:
    """Nor is an end of the process between attempts, as often as it comes."""
    run = runs((FAST,))
    run.append("a", exporters=(FAST,))
    for _ in range(4):
        cursor = run.log.cursor(FAST)
        with cursor.attempt(cursor.take()):
            run.log.shutdown()
        run = runs((FAST,))
        run.crash()
        run = runs((FAST,))
        # Killed while it delivers what is left.
        run.log.close()
        run.crash_in(FAST)
        run = runs((FAST,))
    assert ["a"] == run.take(FAST)
    assert [] == letters.all()


@pytest.mark.parametrize(("max_crashes", "given_out"), [(0, ["a"]), (1, [])])
def test_how_many_crashes_is_configured(runs: Any, max_crashes: int, given_out: list[str]) -> None:
    """0 never puts a request aside; 1 gives it no second chance."""
    run = runs((FAST,))
    run.append("a", exporters=(FAST,))
    run.crash_in(FAST)
    assert given_out == runs((FAST,), dead_letter={"max_crashes": max_crashes}).take(FAST)


def test_what_may_have_crashed_is_sent_by_itself(runs: Any) -> None:
    """A batch in whose middle the process ended is none after it, so that only one request is blamed."""
    run = runs((FAST,), batch={"min_size": 0})
    run.append("a", "b", exporters=(FAST,))
    cursor = run.log.cursor(FAST)
    batch = cursor.take_batch()
    with cursor.attempt(*batch):
        run.crash()
    run = runs((FAST,), batch={"min_size": 0})
    run.append("c", exporters=(FAST,))
    cursor = run.log.cursor(FAST)
    assert isinstance(cursor, BatchingCursor)
    assert ["a", "b"] == run.take(FAST)
    assert ["c"] == [item.profiles.resources[0]["service.name"] for item in cursor.take_batch()]


def test_the_oldest_go_when_there_is_no_room(runs: Any, letters: DeadLetters) -> None:
    """The folder stays within its bound, in blocks of the disk; what goes is counted."""
    run = runs((FAST,), dead_letter={"max_size": "16KiB"})
    refuse(run, "a", "b", "c")
    assert ["b", "c"] == kept_services(letters)
    assert (1, 2, 16384) == (
        run.metrics.value(DEAD_LETTERS_REMOVED, reason="max_size"),
        run.metrics.value(DEAD_LETTERS),
        run.metrics.value(DEAD_LETTERS_SIZE),
    )


def test_what_is_too_old_goes(runs: Any, letters: DeadLetters) -> None:
    """Also when it was there before the start."""
    refuse(runs((FAST,)), "a", "b")
    run = Run(letters.folder.parent, (FAST,), dead_letter={"max_age": "1m"})
    for one in letters.all():
        assert EPOCH_SECS < one.kept_at < EPOCH_SECS + 5
    run.clock.advance(63)
    run.log._dead_letters.start()  # noqa: SLF001 - the first run has the file of the log
    assert ["b"] == kept_services(letters)
    assert 1 == run.metrics.value(DEAD_LETTERS_REMOVED, reason="max_age")


def test_none_can_be_kept(runs: Any, letters: DeadLetters) -> None:
    """With max_size: 0 what is refused is dropped, counted, as without storage."""
    run = runs((FAST,), dead_letter={"max_size": 0})
    refuse(run, "a")
    assert ([], 1) == (letters.all(), run.dropped(FAST, DropReason.PERMANENT_ERROR))


def test_what_cannot_be_put_aside_is_counted(runs: Any, tmp_path: Path) -> None:
    """A folder that cannot be written stops nothing."""
    (tmp_path / FOLDER_NAME).write_text("in the way")
    run = runs((FAST,))
    refuse(run, "a")
    run.append("b", exporters=(FAST,))
    assert (["b"], 1, 1) == (
        run.take(FAST),
        run.metrics.value(LOG_WRITE_FAILURES, operation="dead_letter"),
        run.dropped(FAST, DropReason.PERMANENT_ERROR),
    )


def test_a_dead_letter_is_tried_again(runs: Any, letters: DeadLetters) -> None:
    """The running service takes it into the queue of its exporter, on disk, and the letter goes."""
    run = runs((FAST,))
    refuse(run, "a", "b")
    letters.retry(letters.all()[1])
    run.log.tend()
    assert (["a"], 1) == (
        kept_services(letters),
        run.metrics.value(DEAD_LETTERS_RETRIED, exporter="otlp/fast"),
    )
    run.crash()
    assert ["b"] == runs((FAST,)).take(FAST)


def test_an_ambiguous_dead_letter_is_tried_again(runs: Any, letters: DeadLetters) -> None:
    """What a far side refused because two revisions read it differently is read as what it is."""
    run = runs((FAST,))
    run.log.append([(Profiles.decode(ambiguous().SerializeToString(), detect_revision=False), [FAST])])
    cursor = run.log.cursor(FAST)
    cursor.refuse(cursor.take(), PermanentError("ambiguous"))
    letters.retry(letters.all()[0])
    run.log.tend()
    assert ["checkout"] == run.take(FAST)


def test_who_cannot_take_a_dead_letter_leaves_it(runs: Any, letters: DeadLetters) -> None:
    """Without its exporter it stays, and is not tried again until somebody asks; without room it waits."""
    size = profiles("a").memory_bytes + profiles("a").wire_bytes
    first = runs((FAST,))
    refuse(first, "a")
    first.log.shutdown()
    letters.retry(letters.all()[0])
    other = runs((SLOW,))
    other.log.tend()
    assert [False] == [one.to_retry for one in letters.all()]
    other.log.shutdown()
    letters.retry(letters.all()[0])
    full = runs((FAST,), queue_size=size)
    full.append("b", exporters=(FAST,))
    full.log.tend()
    assert [True] == [one.to_retry for one in letters.all()]
    cursor = full.log.cursor(FAST)
    cursor.ack(cursor.take())
    full.log.tend()
    assert (["a"], []) == (full.take(FAST), letters.all())


def test_what_others_take_away_is_gone(runs: Any, letters: DeadLetters) -> None:
    """A letter that somebody dropped while otelprof runs is neither counted nor missed."""
    run = runs((FAST,))
    refuse(run, "a", "b")
    assert letters.remove(letters.all()[0])
    run.log.tend()
    assert (1, 0) == (
        run.metrics.value(DEAD_LETTERS),
        run.metrics.value(DEAD_LETTERS_REMOVED, reason="max_size"),
    )


def test_what_a_crash_left_half_written_goes(runs: Any, letters: DeadLetters) -> None:
    """A request without its reason is no dead letter; the start removes it."""
    refuse(runs((FAST,)), "a", "b")
    half, whole = letters.all()
    sidecar = letters.folder / f"{half.id}.json"
    sidecar.rename(letters.folder / f"{half.id}.new")
    Run(letters.folder.parent).log._dead_letters.start()  # noqa: SLF001 - the first run has the log's file
    assert {f"{whole.id}.json", f"{whole.id}.otlp.zst"} == {path.name for path in letters.folder.iterdir()}


def test_a_name_in_the_folder_is_not_trusted(runs: Any, letters: DeadLetters) -> None:
    """Only names that otelprof gives are letters, and no name leads out of the folder."""
    refuse(runs((FAST,)), "a")
    (letters.folder / "..json").write_text("{}")
    (letters.folder / "note.json").write_text("{}")
    (letters.folder / "20269999T999999.000000-00000000.json").write_text("{}")
    assert 1 == len(letters.all())
    for name in ("../queue", "note", "2027"):
        with pytest.raises(PermanentError, match="there is no dead letter"):
            letters.find(name)
    (kept,) = letters.all()
    (letters.folder / f"{kept.id}.json").write_text("{}")
    with pytest.raises(PermanentError, match="not what otelprof wrote"):
        letters.read(kept)
