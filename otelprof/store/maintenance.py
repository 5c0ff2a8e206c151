"""Keeps a store small: what is due now, step by step, each one commit.

First samples are folded into coarser tiers, then small files become large ones, then symbols go that no
sample refers to, and at last the files that no version needs. Whoever else writes, reads or maintains the
store meanwhile is not in the way; who is killed leaves nothing half done.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from pydantic import Field

from otelprof.config.section import Section
from otelprof.config.units import Duration  # noqa: TC001 - pydantic reads it at run time
from otelprof.errors import RetryableError
from otelprof.store.compact import Choice, choices, compact
from otelprof.store.files import StoredFile, files_of, total_bytes
from otelprof.store.garbage import SYMBOLS, Files, Garbage, collect, garbage, may_have_garbage
from otelprof.store.retention import RetentionConfig, fold, folds
from otelprof.store.rewrite import Written
from otelprof.store.schema import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import date

    from otelprof.clock import Clock
    from otelprof.errors import OtelprofError
    from otelprof.store.store import Store

HOUR_SECS: Final = 3_600
_CONFLICTS: Final = 3
"""Steps of one kind that may be tried again, because somebody else was there first."""


class MaintenanceConfig(Section):
    """When a store is maintained by who writes it.

    Attributes:
        enabled: whether it is; by default in a folder, where nobody else would, and not in an object store.
        interval: seconds between two rounds, at least a minute.
        delete_after: seconds, whole hours, for which files that no version needs stay, and symbols that no
            sample refers to: no query and no flush may take longer.
    """

    enabled: bool | None = None
    interval: Duration = Field(default=HOUR_SECS, ge=60)
    delete_after: Duration = Field(
        default=24 * HOUR_SECS, ge=HOUR_SECS, le=7 * 24 * HOUR_SECS, multiple_of=HOUR_SECS
    )


class Action(StrEnum):
    """What a step does."""

    FOLD = "fold"
    COMPACT = "compact"
    COLLECT = "collect"
    VACUUM = "vacuum"


@dataclass(frozen=True)
class Step:
    """What is due, or was done.

    Attributes:
        action: what.
        table: where.
        day: of the rows; None for a vacuum.
        before: files that go.
        after: files that come instead; None when it was not done.
        error: why it was not done; None when it only was planned.
    """

    action: Action
    table: Table
    day: date | None
    before: Written
    after: Written | None = None
    error: OtelprofError | None = None


class _Work(Protocol):
    """Files of one day that are due."""

    @property
    def day(self) -> date: ...
    @property
    def files(self) -> tuple[StoredFile, ...]: ...


W = TypeVar("W", bound=_Work)


class Maintenance:
    """Maintains one store.

    Args:
        store: which; its tables need not be there yet.
        retention: how long rows stay, and how fine.
        clock: what day it is.
        delete_after_secs: see `MaintenanceConfig`.
        eager: also what is little, of a day that still grows.
    """

    def __init__(
        self,
        store: Store,
        retention: RetentionConfig,
        clock: Clock,
        *,
        delete_after_secs: float = 24 * HOUR_SECS,
        eager: bool = False,
    ) -> None:
        self._store = store
        self._retention = retention
        self._clock = clock
        self._delete_after_secs = delete_after_secs
        self._eager = eager

    def plan(self) -> list[Step]:
        """What is due now, and nothing done; what one step makes due for another is not in it.

        Raises:
            EmptyStoreError: there are no tables.
            UnavailableError: the store cannot be reached.
        """
        steps = []
        for table in reversed(Table):
            found: list[tuple[Action, _Work]] = []
            if table is Table.SAMPLES:
                due_folds = folds(self._files(table), self._retention, self._today)
                found += [(Action.FOLD, due) for due in due_folds]
            else:
                found += [(Action.COLLECT, due) for due in self._garbage(table)]
            days = {due.day for _, due in found}
            # What is folded or collected is in one run afterwards.
            found += [(Action.COMPACT, due) for due in self._choices(table) if due.day not in days]
            steps += [Step(action, table, due.day, _sum(due.files)) for action, due in found]
        return steps

    def run(self, *, vacuum: bool = True) -> Iterator[Step]:
        """Do what is due, step by step; who stops asking stops it between two steps.

        A step that fails with an error that may pass is told, and the others go on.

        Args:
            vacuum: also take away the files that no version needs.

        Raises:
            EmptyStoreError: there are no tables.
            StoreError: they are not of this version.
        """
        changed: set[Table] = set()
        for step in self._steps():
            if step.after is not None:
                changed.add(step.table)
            yield step
        for table in reversed(Table):
            if table in changed:
                self._checkpoint(table)
            if vacuum:
                yield self._vacuum(table)

    def _steps(self) -> Iterator[Step]:
        """All steps but the vacuum."""
        yield from self._each(
            Action.FOLD,
            Table.SAMPLES,
            lambda: folds(self._files(Table.SAMPLES), self._retention, self._today),
            lambda due: fold(self._store, due, self._retention),
        )
        for table in reversed(Table):
            find = partial(self._choices, table)
            yield from self._each(Action.COMPACT, table, find, partial(compact, self._store, table))
        for table in SYMBOLS:
            find_garbage = partial(self._garbage, table)
            yield from self._each(Action.COLLECT, table, find_garbage, partial(collect, self._store, table))

    def _each(
        self, action: Action, table: Table, find: Callable[[], Sequence[W]], do: Callable[[W], Written]
    ) -> Iterator[Step]:
        """What is due at first, each looked for anew before it is done."""
        found = find()
        failures = 0
        for _ in range(len(found) + _CONFLICTS):
            if failures >= len(found):
                return
            due = found[failures]
            step = Step(action, table, due.day, _sum(due.files))
            try:
                with self._store.errors(table):
                    after = do(due)
            except RetryableError as error:
                # Others may be working on this day: go on with the next.
                failures += 1
                yield replace(step, error=error)
            else:
                yield replace(step, after=after)
            found = find()

    def _choices(self, table: Table) -> list[Choice]:
        return choices(table, self._files(table), self._today, eager=self._eager)

    def _garbage(self, table: Table) -> list[Garbage]:
        today = self._today
        if not any(may_have_garbage(file.day, self._retention, today) for file in self._files(table)):
            return []
        symbols, samples = (
            Files(self._files(of), self._files(of, at=self._grace_began)) for of in (table, Table.SAMPLES)
        )
        return garbage(symbols, samples, self._retention, today)

    def _files(self, table: Table, *, at: datetime | None = None) -> list[StoredFile]:
        return files_of(self._store.snapshot(table, at=at))

    def _checkpoint(self, table: Table) -> None:
        """Let who opens the table read one file instead of all commits, and drop commits of long ago."""
        snapshot = self._store.snapshot(table)
        with self._store.errors(table):
            snapshot.create_checkpoint()
            snapshot.cleanup_metadata()

    def _vacuum(self, table: Table) -> Step:
        snapshot = self._store.snapshot(table)
        try:
            with self._store.errors(table):
                gone = snapshot.vacuum(
                    retention_hours=round(self._delete_after_secs / HOUR_SECS),
                    dry_run=False,
                    # It would not be less than a week.
                    enforce_retention_duration=False,
                    # Also what a process left that was killed: files that no commit names.
                    full=True,
                )
        except RetryableError as error:
            return Step(Action.VACUUM, table, None, Written(0, 0, 0), error=error)
        return Step(Action.VACUUM, table, None, Written(len(gone), 0, 0), Written(0, 0, 0))

    @property
    def _today(self) -> date:
        return datetime.fromtimestamp(self._clock.now(), UTC).date()

    @property
    def _grace_began(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now() - self._delete_after_secs, UTC)


def _sum(files: Sequence[StoredFile]) -> Written:
    return Written(len(files), sum(file.rows for file in files), total_bytes(files))
