"""Comments on pull requests that ask for an override, and who may.

Of a comment nothing is believed but what the forge itself says in the event: who wrote it, and on what. Who
may override stands in a file that the caller takes from the *base* branch: a pull request cannot name its
approvers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final, Self

from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from otelprof.errors import PermanentError
from otelprof.gate.override import DEFAULT_UNTIL, Override, Request, ends
from otelprof.telemetry.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

COMMAND: Final = "/perf-override"
MAX_APPROVERS: Final = 1000
MAX_EVENT_BYTES: Final = 1 << 20

_LOGIN: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,98}[A-Za-z0-9])?")
_APPROVER: Final = re.compile(rf"@?({_LOGIN.pattern})(?:\s+([0-9]{{1,19}}))?")
_OPTION: Final = re.compile(r"(until|function|commit): *(.*)")


@dataclass(frozen=True)
class Approver:
    """Who may override.

    Attributes:
        login: in lower case, as the forge compares it.
        id: the number of the account, when the file gives it.
    """

    login: str
    id: int | None = None


def parse_approvers(text: str) -> tuple[Approver, ...]:
    """Who may override: a login a line, with `@` or without, and the number of the account behind it or not.

    What is behind `#` is a comment.

    Raises:
        ValueError: a line is something else, or nobody is named.
    """
    found: list[Approver] = []
    for number, line in enumerate(text.splitlines(), start=1):
        content = line.partition("#")[0].strip()
        if not content:
            continue
        match = _APPROVER.fullmatch(content)
        if match is None:
            # A letter of another alphabet that looks like one of these is what nobody sees in a review.
            message = (
                f"line {number}: {content!a} is no login: ASCII letters, digits, - and _, with the number of"
                " the account behind a space or without"
            )
            raise ValueError(message)
        found.append(Approver(match[1].lower(), int(match[2]) if match[2] else None))
    if not 0 < len(found) <= MAX_APPROVERS:
        message = f"it names {len(found)} approvers; 1 to {MAX_APPROVERS} are expected"
        raise ValueError(message)
    return tuple(found)


def _is_approver(login: str, account: int, approvers: Iterable[Approver]) -> bool:
    """Whether somebody may override: by name, and by the number of the account where one is asked for.

    A login that was given up can be taken by anybody, and the number cannot.
    """
    return _LOGIN.fullmatch(login) is not None and any(
        one.login == login.lower() and one.id in {None, account} for one in approvers
    )


class _User(BaseModel):
    login: str
    id: int
    type: str


class _Comment(BaseModel):
    id: int
    html_url: str = Field(max_length=2000)
    body: str
    user: _User
    created_at: AwareDatetime
    updated_at: AwareDatetime
    performed_via_github_app: Any = None


class _Issue(BaseModel):
    number: int
    state: str
    user: _User
    pull_request: dict[str, Any] | None = None


class _Repository(BaseModel):
    full_name: str = Field(max_length=300)


class CommentEvent(BaseModel):
    """An `issue_comment` event, as GitHub Actions leaves it in the file `$GITHUB_EVENT_PATH`.

    Source: docs.github.com, "Webhook events and payloads", `issue_comment`. Of its keys what is needed.
    """

    action: str
    comment: _Comment
    issue: _Issue
    repository: _Repository
    sender: _User

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Read it.

        Raises:
            ValueError: it is none; says which key is missing or of another type.
        """
        if len(content) > MAX_EVENT_BYTES:
            message = f"an event has at most {MAX_EVENT_BYTES} bytes; this one has {len(content)}"
            raise ValueError(message)
        try:
            return cls.model_validate_json(content)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            message = f"it is no issue_comment event: {where or 'as a whole'}: {first['msg']}"
            raise ValueError(message) from error


def of_comment(
    event: CommentEvent, approvers: Sequence[Approver], *, default_until: str = DEFAULT_UNTIL
) -> Override | None:
    """The override that a comment asks for; None when it asks for none.

    Args:
        event: what the forge says.
        approvers: of the base branch.
        default_until: how long it lasts when the comment does not say.

    Raises:
        PermanentError: it asks for one, and is not to get it.
    """
    request = _requested(event.comment.body)
    if request is None:
        return None
    _see_that_it_is_fresh(event)
    by = _approver(event, approvers)
    since = event.comment.created_at.astimezone(UTC)
    return Override(
        reason=request.reason,
        by=by,
        by_id=event.comment.user.id,
        source="comment",
        url=event.comment.html_url,
        comment_id=event.comment.id,
        repository=event.repository.full_name,
        pull_request=event.issue.number,
        commit=request.commit,
        functions=request.functions,
        since=since,
        until=ends(default_until if request.until is None else request.until, since),
    )


def near_miss(body: str) -> str | None:
    """Why a comment that looks as if it asked for an override does not; None when it does not look so."""
    for number, line in enumerate(body.splitlines(), start=1):
        if COMMAND in line.lower():
            return (
                f"line {number} reads '{printable(line.strip(), 100)}': taken is only a comment whose first"
                f" line begins with {COMMAND}, in lower case, and a space"
            )
    return None


def _requested(body: str) -> Request | None:
    """What a comment asks for; None when it asks for nothing.

    The command is the first line, so that nothing that quotes, shows or hides it asks for anything.

    Raises:
        PermanentError: it asks for something that cannot be understood.
    """
    first, *following = body.splitlines() or [""]
    command, _, reason = first.rstrip().partition(" ")
    if command != COMMAND:
        return None
    found: dict[str, list[str]] = {"until": [], "commit": [], "function": []}
    for number, line in enumerate(following, start=2):
        if not line.strip():
            break  # behind an empty line is prose
        match = _OPTION.fullmatch(line.rstrip())
        if match is None:
            message = (
                f"line {number} reads '{printable(line, 100)}': until:, function: or commit: is expected, or"
                " an empty line before what is none of them"
            )
            raise PermanentError(message)
        found[match[1]].append(match[2])
    if any(line.startswith(COMMAND) for line in following):
        message = f"{COMMAND} stands there twice: write a comment for each"
        raise PermanentError(message)
    for key in ("until", "commit"):
        if len(found[key]) > 1:
            message = f"{key}: stands there twice"
            raise PermanentError(message)
    end, commit = (next(iter(found[key]), None) for key in ("until", "commit"))
    request = Request(reason.strip(), end, commit, tuple(found["function"]))
    request.check()
    return request


def _see_that_it_is_fresh(event: CommentEvent) -> None:
    """See that the comment is on an open pull request, and as it was written.

    Raises:
        PermanentError: it is not.
    """
    comment, issue = event.comment, event.issue
    if event.action != "created" or comment.created_at != comment.updated_at:
        message = f"the comment was {printable(event.action, 20)}: only a new comment is taken; write another"
        if event.action == "created":
            message = "the comment was edited: only a comment as it was first written is taken; write another"
        raise PermanentError(message)
    if issue.pull_request is None:
        message = f"#{issue.number} is no pull request"
        raise PermanentError(message)
    if issue.state != "open":
        message = f"pull request #{issue.number} is {printable(issue.state, 20)}"
        raise PermanentError(message)


def _approver(event: CommentEvent, approvers: Sequence[Approver]) -> str:
    """Who wrote the comment, who may.

    Raises:
        PermanentError: they may not.
    """
    user, author = event.comment.user, event.issue.user
    who = printable(user.login, 100)
    if user.type != "User" or event.comment.performed_via_github_app:
        message = f"{who} wrote by an app or is of the type {printable(user.type, 20)}: only a person may"
    elif user.id != event.sender.id:
        message = f"{who} did not send it, {printable(event.sender.login, 100)} did"
    elif user.id == author.id or user.login.lower() == author.login.lower():
        message = f"{who} is the author of pull request #{event.issue.number}: somebody else has to"
    elif not _is_approver(user.login, user.id, approvers):
        message = f"{who} (account {user.id}) is none of the {len(approvers)} approvers of the base branch"
    else:
        return user.login
    raise PermanentError(message)
