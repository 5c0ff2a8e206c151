"""Bugs that somebody could make in delivery and in the log: each must be found by the simulation.

A mutant takes the place of one method of the product while a seed runs.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from otelprof.delivery.batch import Batcher
from otelprof.delivery.sender import Sender
from otelprof.errors import OtelprofError
from otelprof.log.cursor import Cursor, DropReason
from otelprof.log.durable import DurableLog
from otelprof.log.journal import Journal
from otelprof.log.memory import Held, MemoryLog
from otelprof.log.segments import Segments

Mutant = tuple[type, str, Callable[..., Any]]
"""A class, one of its methods, and what is done instead."""

_attempt: Final = Sender._attempt  # noqa: SLF001 - the original
_append: Final = MemoryLog.append
_settle: Final = MemoryLog.settle
_pieces: Final = Batcher._pieces  # noqa: SLF001 - the original
_give_up: Final = Cursor._give_up  # noqa: SLF001 - the original
_write: Final = DurableLog._write  # noqa: SLF001 - the original
_open: Final = Journal.__init__
_open_segments: Final = Segments.__init__
_release: Final = Segments.release
_append_bodies: Final = Segments.append


def _acknowledge_before_the_export(sender: Any, item: Any) -> None:
    sender._cursor.ack(item)  # noqa: SLF001 - as the original
    _attempt(sender, item)


def _deliver_twice(sender: Any, item: Any) -> None:
    with suppress(OtelprofError, ValueError):
        sender._exporter.export(item.profiles)  # noqa: SLF001 - as the original
    _attempt(sender, item)


def _forget_a_retry(cursor: Any, item: Any, _not_before: float) -> None:
    with cursor._log.lock:  # noqa: SLF001 - as the original
        cursor._pass(item)  # noqa: SLF001 - as the original


def _retry_once_more(cursor: Any, item: Any, reason: DropReason) -> None:
    _give_up(cursor, item, reason)
    if reason is DropReason.RETRIES_EXHAUSTED:
        cursor._log._give(item.profiles, item.size_bytes, [(cursor, None)])  # noqa: SLF001 - what it drops


def _settle_for_the_first(log: Any, held: Held, profiles: Any) -> None:
    _settle(log, Held(held.profiles, held.size_bytes, held.items[:1]), profiles)


def _lose_the_last_piece(batcher: Any, requests: Any) -> Any:
    pieces, size_bytes = _pieces(batcher, requests)
    return pieces[: max(len(pieces) - 1, 1)], size_bytes


def _append_to_the_first(log: Any, entries: Any, held: Any = ()) -> Any:
    return _append(log, [(profiles, exporters[:1]) for profiles, exporters in entries], held)


def _pass_at_a_shutdown(cursor: Any, item: Any, reason: DropReason) -> None:
    if reason is DropReason.SHUTDOWN:
        cursor._pass(item)  # noqa: SLF001 - as the original
    else:
        _give_up(cursor, item, reason)


def _acknowledge_what_was_not_written(log: Any, entries: Any, held: Any) -> Any:
    try:
        return _write(log, entries, held)
    except OtelprofError:
        return {}


def _do_not_sync(journal: Any, path: Any, *, fsync: bool) -> None:
    _open(journal, path, fsync=not fsync)


def _do_not_sync_bodies(segments: Any, directory: Any, *, fsync: bool) -> None:  # noqa: ARG001 - as the original
    _open_segments(segments, directory, fsync=False)


def _release_two(segments: Any, place: Any) -> None:
    _release(segments, place)
    _release(segments, place)


def _write_over_the_last(segments: Any, bodies: Any) -> Any:
    segments._size_bytes = max(segments._size_bytes - 1, 0)  # noqa: SLF001 - as the original
    return _append_bodies(segments, bodies)


def _know_nothing_passed(log: Any) -> Any:
    return len(log._behind), ""  # noqa: SLF001 - as the original


def _do_nothing(*_: object) -> None:
    """Nothing."""


MUTANTS: Final[dict[str, Mutant]] = {
    "acknowledges before the export": (Sender, "_attempt", _acknowledge_before_the_export),
    "delivers twice": (Sender, "_attempt", _deliver_twice),
    "forgets a retry": (Cursor, "retry_at", _forget_a_retry),
    "counts what it still delivers": (Cursor, "_give_up", _retry_once_more),
    "drops uncounted": (MemoryLog, "count_drop", _do_nothing),
    "holds memory for ever": (MemoryLog, "release", _do_nothing),
    "settles for the first exporter": (MemoryLog, "settle", _settle_for_the_first),
    "appends for the first exporter": (MemoryLog, "append", _append_to_the_first),
    "loses the last piece of a batch": (Batcher, "_pieces", _lose_the_last_piece),
    "gives up on disk at a shutdown": (Cursor, "_give_up", _pass_at_a_shutdown),
    "marks no progress": (DurableLog, "_progress", _know_nothing_passed),
    "acknowledges what the disk did not take": (DurableLog, "_write", _acknowledge_what_was_not_written),
    "does not wait for the disk": (Journal, "__init__", _do_not_sync),
    "does not wait for bodies": (Segments, "__init__", _do_not_sync_bodies),
    "removes a segment too early": (Segments, "release", _release_two),
    "writes over another body": (Segments, "append", _write_over_the_last),
}
