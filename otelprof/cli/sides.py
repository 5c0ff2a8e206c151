"""A side of a comparison, as the command line has it: a file, a folder of runs, or a selection of a store."""

# ruff: noqa: PLC0415 - what is not needed for `--help` is imported where it is used

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from otelprof.cli import store_options as options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from otelprof.gate.runs import Run, Work
    from otelprof.query.runs import Cut, StoredRun
    from otelprof.store.reader import StoreReader
    from otelprof.store.selection import Selection

SECOND: Final = "second"
"""The unit of work of runs from a store: a second of a process that was profiled."""
DEFAULT_WINDOW: Final = "1m"
"""Of the runs that a selection of a store is cut into."""
_TERMS: Final = re.compile(r"(?<!\\),")
_TIMES: Final = ("since", "until")
_MIN_PART: Final = 0.5
_MAX_NAMED: Final = 10

SIDE: Final = "a file, a folder of runs, or with --store a selection, as service.version=1.4,since=1d"
Store = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar="OTELPROF_STORE",
        help="The store that selections are of: a folder, or a URL as s3://bucket/otelprof.",
    ),
]
StoreOptions = options.StoreOptions
Labels = Annotated[
    list[str] | None,
    typer.Option("--label", metavar="KEY=VALUE", help="Of a store, both sides: only with this attribute."),
]
Since = Annotated[str | None, typer.Option(help="Of a store, both sides: RFC 3339, or as 1h before now.")]
Until = Annotated[str | None, typer.Option(help="Of a store, both sides, in the same words.")]
Window = Annotated[
    str | None, typer.Option(help="Of a store: what starts in so long is a run; 1m when nothing is said.")
]
RunLabel = Annotated[
    str | None,
    typer.Option(help="Of a store: each value of this attribute is a run, as service.instance.id."),
]


@dataclass(frozen=True)
class StoreArguments:
    """What both sides of a comparison have in common.

    Attributes:
        url: of the store; None when none was named.
        options: of the object store, as `--store-option` has them.
        service: `service.name`.
        labels: as `--label` has them.
        since: a time of the command line.
        until: likewise.
        cut: what makes a run of a selection.
    """

    url: str | None = None
    options: Sequence[str] | None = None
    service: str | None = None
    labels: Sequence[str] | None = None
    since: str | None = None
    until: str | None = None
    cut: Cut | None = None


@dataclass(frozen=True)
class Side:
    """The runs of one side.

    Attributes:
        runs: in order.
        is_stored: they are of a store.
    """

    runs: tuple[Run, ...]
    is_stored: bool = False


@dataclass
class Sides:
    """Reads sides; the store is opened once, and when the first selection is read.

    Attributes:
        arguments: what the sides have in common.
        types: of profiles that are read; all when None.
        service: of runs in files, where `arguments` has none.
        work: the key of the work that a selection says it did.
    """

    arguments: StoreArguments
    types: Sequence[str] | None = None
    service: str | None = None
    work: str = "requests"
    _reader: StoreReader | None = field(default=None, init=False)

    def read(self, text: str) -> Side:
        """The runs of a side.

        Raises:
            typer.BadParameter: it is a selection and not to be read as one, or there is no store.
            OtelprofError: a file or the store cannot be read, or nothing of it is selected: it was said why.
        """
        from otelprof.gate.runs import read_runs

        path = Path(text)
        if "=" in text and not path.exists():
            return Side(self._stored(text), is_stored=True)
        service = self.arguments.service or self.service
        return Side(read_runs(path, service=service, types=self.types))

    def last_versions(self) -> tuple[str, str]:
        """Selections of the two versions that came last.

        Raises:
            typer.BadParameter: there is no store, or it has fewer versions.
        """
        from otelprof.query.runs import VERSION, versions
        from otelprof.telemetry.text import printable

        selection, _ = self._selection("")
        with options.progress("looking for versions"):
            found = versions(self._open(), selection)
        if len(found) < 2:  # noqa: PLR2004 - before and after
            there = f"only {printable(found[0].version, 200)}" if found else "none"
            message = f"two versions ({VERSION}) are needed, and {there} is there: name two sides"
            raise typer.BadParameter(message)
        before, after = (f"{VERSION}={escaped(row.version)}" for row in found[-2:])
        options.note(f"the two versions that came last: {before}, {after}")
        return before, after

    def _stored(self, text: str) -> tuple[Run, ...]:
        from otelprof.query.runs import Cut, runs
        from otelprof.telemetry.text import counted

        selection, work = self._selection(text)
        reader = self._open()
        cut = self.arguments.cut or Cut()
        with options.progress("reading the store"):
            found = runs(reader, selection, cut)
        if not found:
            self._nothing(reader, selection)
        whole = _without_ends(found) if cut.window_secs is not None else found
        seconds = sum(one.seconds for one in whole)
        made = "" if cut == Cut() else f"{len(whole)} of {counted(len(found), 'run')}, "
        options.note(f"{text or 'everything'}: {made}{seconds:,.0f} s of processes profiled")
        return tuple(_run(one, self.work, work, seconds, self.types) for one in whole)

    def _selection(self, text: str) -> tuple[Selection, float | None]:
        """What a side selects, and what it says it did."""
        from otelprof.clock import SystemClock

        arguments = self.arguments
        terms = parse_terms(text)
        work = _number(terms.pop("work", None))
        since, until = (terms.pop(name, None) or getattr(arguments, name) for name in _TIMES)
        service = terms.pop("service", None) or arguments.service or self.service
        labels = options.pairs(arguments.labels, "--label") | terms
        return options.select(SystemClock().now(), since, until, service=service, labels=labels), work

    def _open(self) -> StoreReader:
        if self.arguments.url is None:
            message = "a selection is of a store: give --store, or OTELPROF_STORE"
            raise typer.BadParameter(message)
        if self._reader is None:
            self._reader = options.open_reader(self.arguments.url, self.arguments.options)
        return self._reader

    @staticmethod
    def _nothing(reader: StoreReader, selection: Selection) -> NoReturn:
        """Say why nothing is selected, and which versions there are.

        Raises:
            PermanentError: always: no verdict.
        """
        from otelprof.clock import SystemClock
        from otelprof.query.runs import VERSION, versions

        options.say_why_empty(reader, selection, SystemClock().now())
        if VERSION in selection.labels:
            others = {key: text for key, text in selection.labels.items() if key != VERSION}
            found = versions(reader, replace(selection, labels=others))[-_MAX_NAMED:]
            options.note(f"versions there: {', '.join(row.version for row in found) or 'none'}")
        raise options.nothing_selected(selection)


def unit_of(read: Sequence[Side], unit: Work) -> Work:
    """What costs are per, when it was not said: of a store whose sides do not say it, a second."""
    from otelprof.gate.runs import Work

    runs = [run for side in read for run in side.runs]
    said = any(unit.of(run) is not None for run in runs)
    if said or not all(side.is_stored for side in read) or not all(run.number(SECOND) for run in runs):
        return unit
    options.note(
        "costs are per second of a process: if a version had more to do in one, say what each did, as"
        " service.version=1.4,work=120000"
    )
    return Work(SECOND)


def parse_terms(text: str) -> dict[str, str]:
    r"""`KEY=VALUE` terms of a selection, between commas; `\,` is a comma of a value.

    Raises:
        typer.BadParameter: one is none, or a key is there twice.
    """
    terms: dict[str, str] = {}
    for term in _TERMS.split(text) if text else ():
        key, sign, value = term.replace("\\,", ",").partition("=")
        if not sign or not key.strip() or key.strip() in terms:
            message = f"{text!r}: {term!r} is no KEY=VALUE of its own; a side is {SIDE}"
            raise typer.BadParameter(message)
        terms[key.strip()] = value
    return terms


def escaped(value: str) -> str:
    """A value as a term of a selection has it."""
    return value.replace(",", "\\,")


def cut_of(window: str | None, run_label: str | None, default_window: str | None) -> Cut:
    """What makes a run.

    Args:
        window: `--window`.
        run_label: `--run-label`.
        default_window: when neither is given.

    Raises:
        typer.BadParameter: the window is no duration above zero.
    """
    from otelprof.config.units import parse_duration
    from otelprof.query.runs import Cut

    text = default_window if window is None and run_label is None else window
    try:
        seconds = None if text is None else parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--window") from error
    if seconds is not None and seconds <= 0:
        message = "a window is longer than nothing, as 1m"
        raise typer.BadParameter(message, param_hint="--window")
    return Cut(seconds, run_label)


def _number(text: str | None) -> float | None:
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,15}(\.[0-9]+)?", text) or not float(text):
        message = f"work={text}: a number above zero is wanted, of what all runs of the side did"
        raise typer.BadParameter(message)
    return float(text)


def _without_ends(found: Sequence[StoredRun]) -> list[StoredRun]:
    """Windows that were profiled for long enough: the first and the last are often cut."""
    middle = sorted(one.seconds for one in found)[len(found) // 2]
    return [one for one in found if one.seconds >= _MIN_PART * middle]


def _run(
    stored: StoredRun, key: str, work: float | None, all_seconds: float, types: Sequence[str] | None
) -> Run:
    """A run as the gate has it; what its side did is divided among runs by how long they were."""
    from otelprof.gate.profile_file import profiles_of
    from otelprof.gate.runs import Run
    from otelprof.telemetry.text import printable

    profiles = {}
    for profile in profiles_of([stored.profiles]):
        if types is None or profile.type in types:
            profiles[profile.type] = replace(
                profile,
                # Rows of a store stand for several samples; values and a period say best how many.
                samples=profile.samples if profile.period else float(stored.counts[profile.sample_type]),
                duration_seconds=stored.seconds,
                started=stored.started,
            )
    metadata: Mapping[str, float] = {SECOND: stored.seconds}
    if work is not None and all_seconds:
        metadata = {**metadata, key: work * stored.seconds / all_seconds}
    return Run(printable(stored.name), profiles, metadata)
