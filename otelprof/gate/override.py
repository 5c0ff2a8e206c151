"""Overrides: a named person takes a regression on themselves, for a reason, for a while, for all to see.

Each is a record of the audit log (`audit.py`). This is what one is, and which bear on a verdict; how a
comment on a pull request becomes one is in `override_comment.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from otelprof.config.units import parse_duration
from otelprof.errors import PermanentError
from otelprof.telemetry.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otelprof.gate.audit import Record

EVENT: Final = "override"
"""The event of its records in the audit log."""
DEFAULT_UNTIL: Final = "14d"
MAX_VALID_DAYS: Final = 90
MAX_REASON_CHARS: Final = 500
MAX_NAME_CHARS: Final = 200
MAX_FUNCTIONS: Final = 20
MAX_FUNCTION_CHARS: Final = 500

_COMMIT: Final = re.compile(r"[0-9a-f]{7,64}")


@dataclass(frozen=True)
class Scope:
    """What is looked at: a commit of a pull request of a repository.

    Attributes:
        repository: as `owner/name`; None where there is only one.
        pull_request: its number; None outside of one.
        commit: its full hash; None when not known.
    """

    repository: str | None = None
    pull_request: int | None = None
    commit: str | None = None


class Override(BaseModel):
    """What somebody took on themselves; the data of a record.

    Attributes:
        reason: theirs.
        by: their login, or their name on the command line.
        by_id: the number of their account, which no one else gets when they change their name.
        source: `comment` is what the forge says; `command line` is what somebody said.
        url: of the comment.
        comment_id: of the comment, which is taken once.
        repository: as `owner/name`; None is any.
        pull_request: that it is for; None is any.
        commit: that it is for, or the first 7 digits of it or more; None is any of the pull request.
        functions: that it is for; none is all.
        since: when it was said.
        until: when it ends.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    reason: str = Field(min_length=1, max_length=MAX_REASON_CHARS)
    by: str = Field(min_length=1, max_length=MAX_NAME_CHARS)
    by_id: int | None = None
    source: Literal["comment", "command line"]
    url: str | None = None
    comment_id: int | None = None
    repository: str | None = None
    pull_request: int | None = None
    commit: str | None = None
    functions: tuple[str, ...] = ()
    since: AwareDatetime
    until: AwareDatetime

    def covers(self, function: str) -> bool:
        """Whether it takes on a regression of this function."""
        return not self.functions or function in self.functions

    def applies_to(self, scope: Scope) -> bool:
        """Whether it was said of this. What the scope does not know is not taken for a match."""
        return (
            self.repository in {None, scope.repository}
            and self.pull_request in {None, scope.pull_request}
            and (self.commit is None or (scope.commit or "").startswith(self.commit))
        )

    def __str__(self) -> str:
        functions = (
            f" for {', '.join(printable(one, 100) for one in self.functions)}" if self.functions else ""
        )
        of = "" if self.pull_request is None else f" of #{self.pull_request}"
        at = "" if self.commit is None else f" at {self.commit[:12]}"
        return (
            f"overridden{functions}{of}{at} by {printable(self.by, 100)} until"
            f" {self.until.astimezone(UTC):%Y-%m-%d %H:%M} UTC: {printable(self.reason)}"
        )


def overrides(records: Iterable[Record]) -> tuple[Override, ...]:
    """The overrides of a log that was verified, oldest first.

    Raises:
        ValueError: the data of one is no override; says of which.
    """
    found = []
    for record in records:
        if record.event == EVENT:
            try:
                found.append(Override.model_validate(record.data))
            except ValidationError as error:
                message = f"record {record.sequence} is no override: {error.errors()[0]['msg']}"
                raise ValueError(message) from error
    return tuple(found)


def active(
    all_of_them: Iterable[Override], now: datetime, scope: Scope | None = None
) -> tuple[Override, ...]:
    """Those that have not ended: what every report shows; with a scope, what bears on its verdict.

    Args:
        all_of_them: as `overrides` gives them.
        now: with a time zone. An override that begins later is not there yet.
        scope: what is judged; None is everything.
    """
    return tuple(
        one
        for one in all_of_them
        if one.since <= now < one.until and (scope is None or one.applies_to(scope))
    )


def covering(function: str, in_force: Iterable[Override]) -> Override | None:
    """The override that takes on a regression of a function: of several, the one that lasts longest."""
    found = [one for one in in_force if one.covers(function)]
    return max(found, key=lambda one: one.until, default=None)


@dataclass(frozen=True)
class Request:
    """What somebody asks for.

    Attributes:
        reason: theirs.
        until: when it ends, as `ends` reads it; None when they do not say.
        commit: that it is for; None is any.
        functions: that it is for; none is all.
    """

    reason: str
    until: str | None = None
    commit: str | None = None
    functions: tuple[str, ...] = ()

    def check(self) -> None:
        """See that it can be shown and compared.

        Raises:
            PermanentError: a text is empty, too long or not printable, or the commit is none.
        """
        if not re.search(r"\w", self.reason):
            message = "a reason is missing"
            raise PermanentError(message)
        for what, text, most in (
            ("the reason", self.reason, MAX_REASON_CHARS),
            *(("a function", one, MAX_FUNCTION_CHARS) for one in self.functions),
        ):
            if not text or len(text) > most or not text.isprintable():
                message = f"{what} has 1 to {most} printable characters; this one is '{printable(text, 100)}'"
                raise PermanentError(message)
        if len(self.functions) > MAX_FUNCTIONS:
            message = f"{len(self.functions)} functions are named; at most {MAX_FUNCTIONS} can be"
            raise PermanentError(message)
        if self.commit is not None and not _COMMIT.fullmatch(self.commit):
            message = (
                f"commit '{printable(self.commit, 100)}' is not 7 to 64 hexadecimal digits in lower case"
            )
            raise PermanentError(message)


def ends(until: str, since: datetime) -> datetime:
    """When an override ends.

    Args:
        until: how long it lasts, as `7d`; or a date, the whole of which belongs to it, UTC.
        since: when it begins.

    Raises:
        PermanentError: it is neither, not after `since`, or more than 90 days behind it.
    """
    try:
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", until):
            end = datetime.fromisoformat(f"{until}T00:00:00+00:00") + timedelta(days=1)
        else:
            end = since + timedelta(seconds=parse_duration(until))
    except (ValueError, OverflowError) as error:
        message = f"until '{printable(until, 100)}' is neither a duration as 7d nor a date as 2026-12-31"
        raise PermanentError(message) from error
    if not timedelta(0) < end - since <= timedelta(days=MAX_VALID_DAYS):
        message = f"until {until} does not end within {MAX_VALID_DAYS} days from now"
        raise PermanentError(message)
    return end


def by_hand(request: Request, by: str, scope: Scope, now: datetime) -> Override:
    """The override that somebody makes on the command line.

    Args:
        request: what they ask for.
        by: who they say they are.
        scope: the pull request that it is for; without one, the commit of the request says what it is for.
        now: with a time zone.

    Raises:
        PermanentError: it cannot be shown, or is for everything.
    """
    request.check()
    for what, text in (("a name", by), ("a repository", scope.repository or "-")):
        if not text or len(text) > MAX_NAME_CHARS or not text.isprintable():
            message = f"{what} has 1 to {MAX_NAME_CHARS} printable characters; not '{printable(text, 100)}'"
            raise PermanentError(message)
    if scope.pull_request is None and request.commit is None:
        message = "an override is for a pull request or for a commit: give --pull-request or --commit"
        raise PermanentError(message)
    since = now.astimezone(UTC).replace(microsecond=0)
    return Override(
        reason=request.reason,
        by=by,
        source="command line",
        repository=scope.repository,
        pull_request=scope.pull_request,
        commit=request.commit,
        functions=request.functions,
        since=since,
        until=ends(DEFAULT_UNTIL if request.until is None else request.until, since),
    )


def is_taken(override: Override, records: Iterable[Record]) -> bool:
    """Whether the comment stands in the log already, as after a job that was run again."""
    return override.comment_id is not None and any(
        record.event == EVENT
        and record.data.get("comment_id") == override.comment_id
        and record.data.get("repository") == override.repository
        for record in records
    )


def data(override: Override) -> dict[str, Any]:
    """What is written into the audit log: all but what is null."""
    return override.model_dump(mode="json", exclude_none=True)
