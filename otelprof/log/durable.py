"""The log on disk (`sending_queue.storage`): what was acknowledged survives the end of the process.

    append ─► room? ─► journal (disk) ─► cursors ─► senders ─► passed ─► journal
                                            ▲
                  start ─► journal, read ───┘

All that waits stands in memory, too: the disk is only read at a start, and delivery never waits for it. A
request is written once, as plain OTLP, whoever it is for. What came of it - a batch, what sampling left at a
gate - is not written: the claims of its items keep the request itself until all of that is passed, and after
a restart it is merged or decided about again.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Final

from otelprof._core import Limits, Profiles
from otelprof.config.dead_letter import DeadLetterConfig
from otelprof.errors import (
    ConfigError,
    ConfigProblem,
    OtelprofError,
    OverloadedError,
    PermanentError,
    RetryableError,
)
from otelprof.log.cursor import Claim, DropReason
from otelprof.log.dead_letter_queue import DeadLetterQueue
from otelprof.log.log_file import LogFile
from otelprof.log.marks import FILE_NAME, Left, Marks
from otelprof.log.memory import NONE_HELD, Demand, Held, MemoryLog
from otelprof.log.steps import Step, Steps
from otelprof.log.stored import About
from otelprof.model import ComponentId
from otelprof.telemetry.log_metrics import (
    DEAD_LETTERS_RETRIED,
    LOG_CORRUPT_REQUESTS,
    LOG_MISSING_REQUESTS,
    LOG_RESTORED_REQUESTS,
    LOG_UNWRITTEN_STEPS,
    LOG_WRITE_FAILURES,
)
from otelprof.telemetry.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    import structlog

    from otelprof.clock import Clock
    from otelprof.config.exporter import SendingQueueConfig
    from otelprof.log.cursor import Cursor, Item
    from otelprof.log.dead_letters import Kept
    from otelprof.log.journal import Journal
    from otelprof.log.marks import Attempt
    from otelprof.log.memory import Appended
    from otelprof.log.stored import Stored
    from otelprof.telemetry.metrics import Metrics

# Said to a client when the disk takes nothing: longer than for a full queue, since somebody must come.
DISK_RETRY_AFTER_SECS: Final = 5.0
# What was accepted once is not refused because a limit was lowered since.
_LIMITS: Final = Limits(
    max_body_bytes=2 << 30,
    max_profiles=(1 << 31) - 1,
    max_table_entries=(1 << 31) - 1,
    max_stack_depth=(1 << 31) - 1,
    max_attributes=(1 << 31) - 1,
    max_attribute_depth=64,
)


@dataclass(frozen=True)
class Storage:
    """Where and how a log is kept.

    Attributes:
        id: of the extension.
        directory: of the file; it exists.
        fsync: have the disk confirm each append.
        max_age_secs: what is older is dropped, counted; 0 keeps everything.
        dead_letter: what becomes of requests that no attempt can deliver.
    """

    id: ComponentId
    directory: Path
    fsync: bool
    max_age_secs: float
    dead_letter: DeadLetterConfig = field(default_factory=DeadLetterConfig)


class DurableLog(MemoryLog):
    """A log of which some exporters' part stands on disk.

    Args:
        queues: the exporters that read it, with their bounds; those with `storage` are kept.
        storage: where.
        clock: time for retries, and how old a request is.
        metrics: where lost and refused samples are counted.
        logger: for what is wrong with the file.
    """

    def __init__(
        self,
        queues: Mapping[ComponentId, SendingQueueConfig],
        storage: Storage,
        clock: Clock,
        metrics: Metrics,
        logger: structlog.stdlib.BoundLogger,
    ) -> None:
        super().__init__(queues, clock, metrics)
        self._durable = {exporter for exporter, config in queues.items() if config.storage is not None}
        self._storage = storage
        self._file = LogFile(storage.directory, clock, metrics, logger, fsync=storage.fsync)
        self._logger = logger
        self._throttle = Throttle(clock)
        self._journal: Journal | None = None
        self._marks: Marks | None = None
        self._dead_letters = DeadLetterQueue(
            storage.directory, storage.dead_letter, clock, metrics, logger, fsync=storage.fsync
        )
        self._behind: dict[int, int] = {}
        # Requests that may have brought the process down, until an attempt has ended otherwise.
        self._suspects: set[tuple[int, str]] = set()
        self._steps = Steps()
        self._is_failing = False
        # Held by who writes steps to the file, until they are off the list.
        self._flushing = Lock()

    def start(self) -> None:
        """Open the file, and give out what is in it.

        Raises:
            ConfigError: the file cannot be opened or written, or another process has it.
        """
        marks = self._storage.directory / FILE_NAME
        try:
            self._journal, found = self._file.open(left := Left.read(marks))
            self._marks = Marks(marks, self._journal.run, self._progress)
        except OSError as error:
            path = f"extensions.{self._storage.id}.directory"
            raise ConfigError([ConfigProblem(path, f"the log cannot be opened: {error}")]) from error
        except sqlite3.Error as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            why = "another otelprof has it open" if busy else str(error)
            path = f"extensions.{self._storage.id}.directory"
            raise ConfigError([ConfigProblem(path, f"{self._file.path} cannot be opened: {why}")]) from error
        if found.lost:
            self._metrics.add(LOG_CORRUPT_REQUESTS, len(found.lost))
            self._logger.error("requests on disk are damaged, and lost", requests=len(found.lost))
        missing = min(left.last_row - found.last_row, left.outstanding)
        if found.damaged:
            missing = max(missing, left.outstanding - len(found.requests) - len(found.lost))
        if missing > 0:
            self._metrics.add(LOG_MISSING_REQUESTS, missing)
            self._logger.error("requests are not on disk any more, and lost", requests=missing)
        self._dead_letters.start()
        for stored in found.requests:
            self._restore(stored)
        self._mark(lambda marks: marks.appended(found.last_row, len(self._behind)))
        self._mark(Marks.write)
        self._metrics.observe(LOG_UNWRITTEN_STEPS, lambda: len(self._steps) if self._is_failing else 0)
        if found.requests:
            self._logger.info("requests were left by an earlier run", requests=len(found.requests))
        self.flush()

    def renew(self, exporter: ComponentId, config: SendingQueueConfig) -> Cursor:
        """As in memory; what is appended from now on is kept on disk as the exporter is configured now."""
        (self._durable.discard if config.storage is None else self._durable.add)(exporter)
        return super().renew(exporter, config)

    def keep_only(self, exporters: Collection[ComponentId]) -> None:
        """As in memory; dead letters of others are no longer tried again."""
        self._durable.intersection_update(exporters)
        super().keep_only(exporters)

    def append(
        self, entries: Sequence[Appended], held: Mapping[int, ComponentId] = NONE_HELD
    ) -> Sequence[Held]:
        """Take requests for their exporters, all or none; on disk first.

        Raises:
            OverloadedError: the disk takes nothing now.
            RequestTooLargeError, OverloadedError, UnavailableError: as in memory.
        """
        demand = Demand.of(entries, self._wire_bytes)
        with self._lock:
            self._check_room(demand)
            self._reserve(demand, 1)
        try:
            claims = self._write(entries, held)
        except BaseException:
            with self._lock:
                self._reserve(demand, -1)
            raise
        with self._lock:
            self._reserve(demand, -1)
            added = self._steps.added
            waiting = self._take_in(entries, demand, held, claims)
            has_dropped = self._steps.added > added
        # What had to make room.
        if has_dropped:
            self.flush()
        return waiting

    def begin_attempt(self, exporter: ComponentId, rows: tuple[int, ...]) -> Attempt:
        """An exporter begins to work on requests: should the process end now, it is known."""
        attempt = super().begin_attempt(exporter, rows)
        self._mark(lambda marks: marks.begin(attempt))
        return attempt

    def end_attempt(self, attempt: Attempt) -> None:
        """It has ended; what it worked on has not brought the process down."""
        if self._suspects:
            with self._lock:
                spared = self._spare(attempt.rows, attempt.exporter)
            if spared:
                self._write_steps()
        # An attempt at what is passed blames nobody: the next start finds it passed.
        is_passed = not any(row in self._behind for row in attempt.rows)
        self._mark(lambda marks: marks.end(attempt, is_urgent=not is_passed))

    def keep_dead_letter(self, exporter: ComponentId, item: Item, error: Exception) -> None:
        """Keep what an exporter of this log can never deliver."""
        if item.claim is not None:
            try:
                self._dead_letters.add_refused(exporter, item, error)
            except OSError as failure:
                self._failed("dead_letter", failure)

    def tend(self) -> None:
        """Drop what is too old, counted, and try again what somebody wants to have tried again."""
        if self._closed:
            return
        if self._storage.max_age_secs:
            for exporter in list(self._durable):
                cursor = self._cursors.get(exporter)
                if cursor is not None:
                    cursor.expire(self._clock.now() - self._storage.max_age_secs)
        self._dead_letters.refresh()
        full: set[str] = set()
        for kept, letter in self._dead_letters.to_retry():
            if letter.exporter not in full and not self._retry(kept, letter.exporter):
                full.add(letter.exporter)
        self._write_steps()
        self._give_back()

    def passed(self, exporter: ComponentId, claim: Claim) -> None:
        """An exporter has passed all that stood for a claim. The lock is held."""
        self._spare(claim.rows, str(exporter))
        for row in claim.rows:
            self._behind[row] -= 1
            is_last = self._behind[row] == 0
            if is_last:
                del self._behind[row]
            self._steps.add(Step.SETTLED if is_last else Step.PASSED, row, str(exporter))

    def flush(self) -> None:
        """Write down what exporters have passed: a little in the marks alone. What fails is written later."""
        if self._steps.are_many or not self._mark(Marks.write):
            self._write_steps()

    def close(self) -> None:
        """Take nothing more. Should the process be killed while it delivers the rest, that is no crash."""
        super().close()
        self._mark(Marks.end_all)

    def shutdown(self) -> None:
        """Close the file. Safe before `start`, and more than once."""
        self._write_steps()
        self._mark(Marks.end_all)
        with self._flushing:
            if self._journal is not None:
                self._journal.close()
                self._journal = None
        if self._marks is not None:
            self._marks.close()

    def _write_steps(self) -> None:
        """Write to the file what exporters have passed."""
        with self._flushing:
            if self._journal is not None:
                self._write_now(self._journal)

    def _write_now(self, journal: Journal) -> None:
        """The same, `_flushing` is held."""
        steps = self._steps.all()
        if steps:
            try:
                journal.write(steps)
            except sqlite3.Error as error:
                self._is_failing = True
                self._failed("progress", error)
            else:
                self._written(len(steps))

    def _give_back(self) -> None:
        """Have the disk hold little beside what is outstanding."""
        with self._flushing:
            if self._journal is not None:
                try:
                    self._journal.give_back()
                except (sqlite3.Error, OSError) as error:
                    self._failed("give_back", error)

    def _written(self, count: int) -> None:
        """Steps are in the file, and leave the marks. `_flushing` is held."""
        self._steps.written(count)
        self._is_failing = False

    def _progress(self) -> tuple[int, str]:
        """How many requests are outstanding, and what was passed that the file does not know."""
        return len(self._behind), self._steps.passed_text()

    def _restore(self, stored: Stored) -> None:
        """Give a request out again to those of its exporters that are still there."""
        about = stored.about
        self._behind[stored.row] = len(stored.pending)
        exporters = {
            ComponentId.parse(text): Claim((stored.row,), 1, about.appended_at, text in stored.crashes)
            for text in stored.pending
        }
        self._suspects |= {(stored.row, text) for text in stored.crashes}
        exporters = self._without_poison(stored, exporters)
        if not exporters:
            return
        try:
            # It was written here: what else its bytes could mean is not asked.
            profiles = Profiles.decode(stored.body, _LIMITS, detect_revision=False)
        except OtelprofError:
            self._metrics.add(LOG_CORRUPT_REQUESTS)
            self._logger.exception("a request on disk cannot be read, and is lost")
            self._let_go(exporters, about.samples, None)
            return
        self._metrics.add(LOG_RESTORED_REQUESTS)
        removed = {one: claim for one, claim in exporters.items() if one not in self._cursors}
        if removed:
            names = ", ".join(map(str, removed))
            self._logger.warning("a request was for exporters that are no longer configured", exporters=names)
            self._let_go(removed, about.samples, DropReason.EXPORTER_REMOVED)
        left = {one: claim for one, claim in exporters.items() if one in self._cursors}
        max_age_secs = self._storage.max_age_secs
        if 0 < max_age_secs < self._clock.now() - about.appended_at:
            self._let_go(left, about.samples, DropReason.EXPIRED)
            return
        size_bytes = profiles.memory_bytes + profiles.wire_bytes
        takers = [(self._cursors[one], claim) for one, claim in left.items()]
        with self._lock:
            if about.pipeline and takers:
                held = self._hold_back(profiles, size_bytes, takers)
                self.left_held.append((ComponentId.parse(about.pipeline), held))
            else:
                self._give(profiles, size_bytes, takers)

    def _without_poison(
        self, stored: Stored, claims: Mapping[ComponentId, Claim]
    ) -> dict[ComponentId, Claim]:
        """The exporters that did not crash too often on a request; for the others it is put aside."""
        most = self._storage.dead_letter.max_crashes
        crashed = [name for name, crashes in stored.crashes.items() if 0 < most <= crashes.count]
        poison = {exporter: claim for exporter, claim in claims.items() if str(exporter) in crashed}
        for exporter in poison:
            self._logger.error(
                "otelprof ended in the middle of a request too often; it is put aside",
                exporter=str(exporter),
                samples=stored.about.samples,
            )
            try:
                self._dead_letters.add_crashed(
                    str(exporter), stored.body, stored.about.samples, stored.crashes[str(exporter)]
                )
            except OSError as failure:
                self._failed("dead_letter", failure)
        self._let_go(poison, stored.about.samples, DropReason.CRASHED)
        return {exporter: claim for exporter, claim in claims.items() if exporter not in poison}

    def _retry(self, kept: Kept, name: str) -> bool:
        """Append a dead letter for its exporter, and remove it; it stays where that cannot be.

        Returns:
            False when the exporter has no room for it now.
        """
        try:
            profiles = Profiles.decode(self._dead_letters.take(kept), _LIMITS, detect_revision=False)
            try:
                self.append([(profiles, [self._durable_exporter(name)])])
            except RetryableError:
                self._dead_letters.ask_again(kept)
                return False
        except (PermanentError, ValueError) as error:
            self._logger.warning("a dead letter cannot be tried again", id=kept.id, error=str(error))
        else:
            self._dead_letters.remove(kept)
            self._metrics.add(DEAD_LETTERS_RETRIED, exporter=name)
            self._logger.info("a dead letter is tried again", id=kept.id, exporter=name)
        return True

    def _durable_exporter(self, name: str) -> ComponentId:
        """An exporter whose queue is here.

        Raises:
            PermanentError: there is none of that name.
            ValueError: it is no name.
        """
        exporter = ComponentId.parse(name)
        if exporter not in self._durable:
            message = f"exporters.{exporter} is not there, or has no sending_queue.storage"
            raise PermanentError(message)
        return exporter

    def _spare(self, rows: Sequence[int], exporter: str) -> bool:
        """Requests have not brought the process down; whether some had been suspected. The lock is held."""
        spared = self._suspects.intersection((row, exporter) for row in rows)
        self._suspects -= spared
        for row, name in spared:
            self._steps.add(Step.SPARED, row, name)
        return bool(spared)

    def _mark(self, write: Callable[[Marks], None]) -> bool:
        """Have the next start know something; it knows less when that cannot be written, which is False."""
        if self._marks is None:
            return False
        try:
            write(self._marks)
        except OSError as error:
            self._failed("marks", error)
            return False
        return True

    def _let_go(self, claims: Mapping[ComponentId, Claim], samples: int, reason: DropReason | None) -> None:
        with self._lock:
            for exporter, claim in claims.items():
                self.passed(exporter, claim)
                if reason is not None:
                    self.count_drop(exporter, samples, reason)

    def _reserve(self, demand: Demand, sign: int) -> None:
        for exporter, needed_bytes in demand.needed_bytes.items():
            self._cursors[exporter].reserve(sign * needed_bytes)

    def _wire_bytes(self, entry: Appended) -> int:
        """What the wire form takes, which is kept for the exporters once it was written."""
        profiles, exporters = entry
        return profiles.wire_bytes if self._durable.intersection(exporters) else 0

    def _write(
        self, entries: Sequence[Appended], held: Mapping[int, ComponentId]
    ) -> Mapping[tuple[int, ComponentId], Claim]:
        """Write what is for exporters that are kept.

        Returns:
            Their claims, by the number of the request and the exporter.
        """
        now = self._clock.now()
        kept: list[tuple[int, list[ComponentId]]] = []
        requests: list[tuple[About, bytes]] = []
        for number, (profiles, exporters) in enumerate(entries):
            durable = [one for one in exporters if one in self._durable]
            if durable:
                kept.append((number, durable))
                pipeline = str(held[number]) if number in held else ""
                about = About(now, profiles.sample_count, tuple(map(str, durable)), pipeline)
                requests.append((about, profiles.to_otlp()))
        if not requests:
            return {}
        try:
            with self._flushing:
                if self._journal is None:
                    message = f"storage {self._storage.id} is closed; send the request again"
                    raise OverloadedError(message, retry_after_secs=DISK_RETRY_AFTER_SECS)
                if self._journal.is_due:
                    # So that it knows which segments nobody needs.
                    self._write_now(self._journal)
                # A few are in the marks, and cost less together.
                steps = self._steps.all() if self._steps.are_many else ()
                rows = self._journal.append(requests, steps)
                self._written(len(steps))
        except (sqlite3.Error, OSError) as error:
            self._failed("append", error)
            message = f"storage {self._storage.id} cannot write to {self._storage.directory}: {error}"
            raise OverloadedError(message, retry_after_secs=DISK_RETRY_AFTER_SECS) from error
        claims: dict[tuple[int, ComponentId], Claim] = {}
        for row, (number, durable) in zip(rows, kept, strict=True):
            self._behind[row] = len(durable)
            claims |= {(number, exporter): Claim((row,), 1, now) for exporter in durable}
        self._mark(lambda marks: marks.appended(rows[-1], len(self._behind)))
        return claims

    def _failed(self, operation: str, error: Exception) -> None:
        self._metrics.add(LOG_WRITE_FAILURES, operation=operation)
        held_back = self._throttle.passed(operation)
        if held_back is not None:
            self._logger.error(
                "the log cannot be written", operation=operation, error=str(error), suppressed=held_back
            )
