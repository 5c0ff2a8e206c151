"""What the commands that read a store have in common: where it is, and what is selected."""

# ruff: noqa: PLC0415 - what is not needed for `--help` is imported where it is used

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from otelprof.errors import PermanentError
    from otelprof.query.flamegraph import FlameGraph
    from otelprof.store.reader import StoreReader
    from otelprof.store.selection import Selection
    from otelprof.store.store import Store

StoreUrl = Annotated[
    str,
    typer.Option(
        "--store", envvar="OTELPROF_STORE", help="The store: a folder, or a URL as s3://bucket/otelprof."
    ),
]
StoreOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--store-option",
        metavar="KEY=VALUE",
        help="An option of the object store, as delta-rs has it; credentials are taken from the environment.",
    ),
]
Service = Annotated[str | None, typer.Option(help="Only of this service.name.")]
SampleType = Annotated[
    str | None, typer.Option("--type", help="Only of this sample type; that of CPU when not given.")
]
Labels = Annotated[
    list[str] | None,
    typer.Option("--label", metavar="KEY=VALUE", help="Only with this attribute, of resource or sample."),
]
Since = Annotated[
    str | None, typer.Option(help="From then on: RFC 3339, or a duration before now, as 1h or 7d.")
]
Until = Annotated[str | None, typer.Option(help="Up to then, in the same words.")]
SpanName = Annotated[str | None, typer.Option(help="Only of spans of this name.")]
Slow = Annotated[bool, typer.Option("--slow", help="Only of traces that the tracing side found slow.")]
Error = Annotated[bool, typer.Option("--error", help="Only of traces with an error.")]

_MICROS: Final = 10**6


def pairs(options: Sequence[str] | None, name: str) -> dict[str, str]:
    """`KEY=VALUE` options as a mapping.

    Raises:
        typer.BadParameter: one is none.
    """
    found = {}
    for option in options or ():
        key, sign, value = option.partition("=")
        if not sign or not key:
            # Not the text itself: it may be a secret that was given without its key.
            message = f"{name} wants KEY=VALUE, and a text of {len(option)} characters is none"
            raise typer.BadParameter(message)
        found[key] = value
    return found


def moment(text: str | None, now: float) -> int | None:
    """A time of the command line in unix microseconds.

    Args:
        text: RFC 3339 (UTC when it has no offset), or a duration before now.
        now: unix seconds.

    Raises:
        typer.BadParameter: it is neither.
    """
    if text is None:
        return None
    from datetime import UTC, datetime

    from otelprof.config.units import parse_duration

    try:
        return max(0, round((now - parse_duration(text)) * _MICROS))
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        message = f"{text!r} is no time: write 2026-11-24T10:00:00Z, or a duration before now, as 15m or 1h"
        raise typer.BadParameter(message) from error
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * _MICROS)


def states(*, slow: bool, error: bool) -> tuple[str, ...]:
    """The states of traces that are asked for."""
    return (("slow",) if slow else ()) + (("error",) if error else ())


def select(now: float, since: str | None, until: str | None, **others: object) -> Selection:
    """What is asked for.

    Args:
        now: unix seconds.
        since: a time of the command line.
        until: another one.
        others: the other fields of a `Selection`.

    Raises:
        typer.BadParameter: an id or a time is none.
    """
    from otelprof.store.selection import Selection

    try:
        return Selection(since=moment(since, now), until=moment(until, now), **others)  # type: ignore[arg-type] # as its fields are
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def open_store(url: str, options: Sequence[str] | None) -> Store:
    """A store; nothing is read of it yet.

    Raises:
        typer.BadParameter: the URL has credentials, or an option is none.
        OtelprofError: deltalake is not installed.
    """
    from importlib.util import find_spec

    from otelprof.errors import PermanentError
    from otelprof.store.store import Store

    if find_spec("deltalake") is None:
        message = "reading a store needs deltalake: pip install 'otelprof[storage]'"
        raise PermanentError(message)
    try:
        return Store(url, pairs(options, "--store-option"))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def open_reader(url: str, options: Sequence[str] | None) -> StoreReader:
    """A reader of a store.

    Raises:
        typer.BadParameter: see `open_store`.
        OtelprofError: as above.
    """
    from otelprof.store.reader import StoreReader

    return StoreReader(open_store(url, options))


@contextmanager
def progress(words: str) -> Iterator[None]:
    """Say on a terminal what takes long, while it does."""
    from otelprof.cli.output import stderr

    if not stderr.is_terminal:
        yield
        return
    with stderr.status(words):
        yield


def note(words: str) -> None:
    """Say something about the answer, on stderr."""
    from otelprof.cli.output import stderr
    from otelprof.telemetry.text import printable

    stderr.print(printable(f"note: {words}", 5000), markup=False)


def read_graph(reader: StoreReader, selection: Selection, now: float, *, labels: bool = False) -> FlameGraph:
    """What is asked for; says on stderr what it stands for, or why there is nothing.

    Raises:
        typer.Exit: there is nothing.
    """
    from otelprof.query.flamegraph import flame_graph

    with progress("reading the store"):
        graph = flame_graph(reader, selection, labels=labels)
    if graph is None:
        fail_empty(reader, selection, now)
    services = ", ".join(graph.services)
    words = f"{_in_words(selection)}: {graph.in_words}, sample type {':'.join(graph.key)}, service {services}"
    if graph.other_types:
        words += f" (with --type: {', '.join(':'.join(key) for key in graph.other_types)})"
    note(words)
    return graph


def fail_empty(reader: StoreReader, selection: Selection, now: float) -> NoReturn:
    """Say why nothing was found, and end with exit code 1.

    Raises:
        typer.Exit: always.
    """
    from otelprof.cli.output import print_error

    print_error(nothing_selected(selection))
    say_why_empty(reader, selection, now)
    raise typer.Exit(1)


def nothing_selected(selection: Selection) -> PermanentError:
    """What is to be said of a selection of which nothing was found."""
    from otelprof.errors import PermanentError
    from otelprof.telemetry.text import printable

    return PermanentError(printable(f"the store has no samples {_in_words(selection)}", 5000))


def say_why_empty(reader: StoreReader, selection: Selection, now: float) -> None:
    """Say on stderr what the store knows of why nothing was found."""
    from otelprof.query.absence import why_empty

    with progress("looking for the reason"):
        reasons = list(why_empty(reader, selection, now))
    for reason in reasons:
        note(reason)


def _in_words(selection: Selection) -> str:
    """What a selection is, for a person."""
    labels = ", ".join(f"{key}={value}" for key, value in selection.labels.items())
    parts = (
        ("other traces than", selection.other_than_trace),
        ("trace", selection.trace_id),
        ("span", selection.span_id),
        ("service", selection.service),
        ("sample type", selection.sample_type),
        ("span name", selection.span_name),
        ("state", " or ".join(selection.trace_states)),
        ("with", labels),
    )
    return "of " + (", ".join(f"{word} {text}" for word, text in parts if text) or "everything")
