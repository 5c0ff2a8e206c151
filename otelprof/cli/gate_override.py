"""`otelprof gate override`: somebody takes a regression on themselves, and the audit log says so."""

# ruff: noqa: PLC0415 - what is not needed for `--help` is imported where it is used

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from otelprof.cli.admin import caller
from otelprof.cli.audit import (
    DEFAULT_LOG,
    AnchorOptions,
    LogOption,
    anchor_store,
    content_of,
    is_store,
    unreadable,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otelprof.gate.override import Override, Request, Scope
    from otelprof.gate.override_comment import Approver

MAX_APPROVERS_BYTES: Final = 1 << 20


def override(  # noqa: PLR0913 - these are the options of the command
    *,
    event: Annotated[
        Path | None, typer.Option(help="An issue_comment event of GitHub: a comment, /perf-override REASON.")
    ] = None,
    approvers: Annotated[
        Path | None,
        typer.Option(
            help="Who may, a login a line: the file as it is at the base branch. Needed with --event."
        ),
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Without an event: why.")] = None,
    who: Annotated[
        str | None, typer.Option(help="Without an event: who does it; without it your login name.")
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(help="How long it lasts: 7d, or a date; 14d when nothing is said, at most 90d."),
    ] = None,
    function: Annotated[
        list[str] | None, typer.Option(help="Without an event: only for this function; may be repeated.")
    ] = None,
    repository: Annotated[str | None, typer.Option(help="Without an event: as owner/name.")] = None,
    pull_request: Annotated[int | None, typer.Option(min=1, help="Without an event: its number.")] = None,
    commit: Annotated[str | None, typer.Option(help="Without an event: only for this commit.")] = None,
    log: LogOption = DEFAULT_LOG,
    anchor: Annotated[
        str | None, typer.Option(help="Keep the new head of the log in a file, or a store, as s3://b/audit.")
    ] = None,
    anchor_option: AnchorOptions = None,
) -> None:
    """Override the gate, by a comment of an approver or by hand, and append that to the audit log.

    A comment that asks for nothing changes nothing. Exits with 0; with 1 when it is refused, 3 when something
    cannot be read.
    """
    from otelprof.cli.output import print_error
    from otelprof.errors import PermanentError
    from otelprof.gate.override import Request, Scope

    only_by_hand = (reason, who, function, repository, pull_request, commit)
    if (event is None) == (reason is None) or (event is not None and any(only_by_hand)):
        message = "give --event with --approvers, or --reason with what it is for"
        raise typer.BadParameter(message)
    if event is not None and approvers is None:
        message = "--event needs --approvers, the file as it is at the base branch"
        raise typer.BadParameter(message)
    may = None if approvers is None else _approvers(approvers)
    try:
        if event is not None:
            asked = _of_event(event, may or (), until)
        else:
            request = Request(reason or "", until, commit, tuple(function or ()))
            asked = _by_hand(request, caller(who), Scope(repository, pull_request), may)
    except PermanentError as error:
        print_error(error)
        raise typer.Exit(1) from error
    if asked is not None:
        _append(asked, log, anchor, anchor_option)


def _append(asked: Override, log: Path, anchor: str | None, options: Sequence[str] | None) -> None:
    from otelprof.cli.output import stderr, write
    from otelprof.gate.audit import append
    from otelprof.gate.override import EVENT, data, is_taken

    is_file = anchor is not None and not is_store(anchor)
    kept = None if anchor is None or is_file else anchor_store(anchor, options, makes_folder=True)
    found = append(log, EVENT, data(asked), datetime.now(UTC), lambda records: is_taken(asked, records), kept)
    stderr.print(str(asked), markup=False)
    typer.echo(str(found.head))
    if anchor is not None and is_file:
        write(f"{found.head}\n", Path(anchor))


def _approvers(path: Path) -> tuple[Approver, ...]:
    from otelprof.gate.override_comment import parse_approvers

    try:
        return parse_approvers(content_of(path, MAX_APPROVERS_BYTES).decode())
    except ValueError as error:
        unreadable(f"{path}: {error}")


def _of_event(path: Path, may: Sequence[Approver], until: str | None) -> Override | None:
    """What an event asks for; says why when it is nothing.

    Raises:
        PermanentError: it is refused.
    """
    from otelprof.cli.output import stderr
    from otelprof.gate.override import DEFAULT_UNTIL
    from otelprof.gate.override_comment import MAX_EVENT_BYTES, CommentEvent, near_miss, of_comment

    try:
        event = CommentEvent.parse(content_of(path, MAX_EVENT_BYTES))
    except ValueError as error:
        unreadable(f"{path}: {error}")
    asked = of_comment(event, may, default_until=until or DEFAULT_UNTIL)
    if asked is None:
        stderr.print(near_miss(event.comment.body) or "the comment asks for no override", markup=False)
    return asked


def _by_hand(request: Request, by: str, scope: Scope, may: Sequence[Approver] | None) -> Override:
    """What somebody asks for on the command line, where they are who they say.

    Raises:
        PermanentError: it is refused.
    """
    from otelprof.errors import PermanentError
    from otelprof.gate.override import by_hand
    from otelprof.telemetry.text import printable

    if may is not None and by.lower() not in {one.login for one in may}:
        message = f"{printable(by, 100)} is none of the {len(may)} approvers"
        raise PermanentError(message)
    return by_hand(request, by, scope, datetime.now(UTC))
