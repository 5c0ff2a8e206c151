"""Why a selection is empty: what can be known of it from the store."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from otelprof.store.policy import policy_events
from otelprof.store.reader import as_dicts
from otelprof.store.schema import Table
from otelprof.store.selection import MICROS, Selection
from otelprof.telemetry.quantity import human, share
from otelprof.telemetry.text import counted, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otelprof.store.reader import StoreReader

# What a person calls the fields of a selection, in the order in which they are doubted.
_DOUBTED: Final = {
    "span_id": "this span",
    "sample_type": "this sample type",
    "labels": "these labels",
    "trace_states": "this state of the trace",
    "span_name": "this span name",
    "since": "this beginning",
    "until": "this end",
}
_NOBODY: Final = Selection()
_MAX_RULES: Final = 5
_RECENT_SECS: Final = 300
"""Older than this, samples are not waiting to be flushed with any sensible `flush_interval`."""


@dataclass(frozen=True)
class Extent:
    """What a store holds as a whole, by the statistics of its files.

    Attributes:
        rows: of `samples`.
        linked: of them, with a trace id.
        first: unix microseconds, the first start of a window.
        last: the last one.
    """

    rows: int
    linked: int
    first: int
    last: int


def extent(reader: StoreReader) -> Extent | None:
    """What a store holds; None when it holds nothing.

    Raises:
        StoreError: the store is not to be used.
        UnavailableError: it cannot be reached.
    """
    from arro3.core import Table as Rows  # noqa: PLC0415 - comes with deltalake

    files = as_dicts(Rows.from_arrow(reader.store.table(Table.SAMPLES).get_add_actions(flatten=True)))
    files = [one for one in files if one["num_records"]]
    if not files:
        return None
    rows = sum(one["num_records"] for one in files)
    return Extent(
        rows=rows,
        linked=rows - sum(one["null_count.trace_id"] for one in files),
        first=min(_micros(one["min.window_start"]) for one in files),
        last=max(_micros(one["max.window_start"]) for one in files),
    )


def _micros(moment: datetime) -> int:
    return round(moment.timestamp() * MICROS)


def why_empty(reader: StoreReader, selection: Selection, now: float) -> Iterator[str]:
    """What is known of why nothing was found, a sentence each.

    Args:
        reader: of the store.
        selection: of which nothing was found.
        now: unix seconds.

    Raises:
        StoreError: the store is not to be used.
        UnavailableError: it cannot be reached.
    """
    whole = extent(reader)
    if whole is None:
        yield "the store holds no samples yet"
        return
    yield (
        f"the store holds {counted(whole.rows, 'row')} of {moment(whole.first)} to {moment(whole.last)} UTC, "
        f"{share(whole.linked, whole.rows)} of them linked to a trace"
    )
    yield from _out_of_time(selection, whole, now)
    found_without = [word for name, word in _DOUBTED.items() if _is_there_without(reader, selection, name)]
    if found_without:
        yield f"there is something without {' or without '.join(found_without)}"
    if selection.service is not None:
        yield from _of_service(reader, selection)
    if (selection.trace_id is None or found_without) and not selection.linked:
        return
    yield from _of_traces(reader, selection, whole, now)


def _out_of_time(selection: Selection, whole: Extent, now: float) -> Iterator[str]:
    if selection.until is not None and selection.until <= whole.first:
        yield "this time is before that: it is out of retention, or was never stored"
    if selection.since is not None and selection.since > whole.last:
        ago = human(max(0, round(now) - whole.last // MICROS), "s")
        yield f"this time is after that: the newest samples are {ago} old, and later ones are not flushed yet"


def _is_there_without(reader: StoreReader, selection: Selection, name: str) -> bool:
    nothing = getattr(_NOBODY, name)
    if getattr(selection, name) == nothing:
        return False
    wider = Selection(
        **{one.name: getattr(selection, one.name) for one in fields(selection)} | {name: nothing}
    )
    if wider == _NOBODY:
        return False
    return reader.query(f"SELECT 1 AS one FROM samples WHERE {reader.where(wider)} LIMIT 1").num_rows > 0


def _of_service(reader: StoreReader, selection: Selection) -> Iterator[str]:
    alone = Selection(service=selection.service, since=selection.since, until=selection.until)
    sums = (
        "coalesce(sum(count), 0) AS samples, "
        "coalesce(sum(count) FILTER (WHERE trace_id IS NOT NULL), 0) AS linked"
    )
    (row,) = as_dicts(reader.query(f"SELECT {sums} FROM samples WHERE {alone.where()}"))
    service = printable(str(selection.service), 200)
    if row["samples"]:
        yield (
            f"{service} has {counted(row['samples'], 'sample')} in this time, "
            f"{share(row['linked'], row['samples'])} of them linked"
        )
        if not row["linked"]:
            yield f"nothing of {service} is linked: its profiler does not say trace ids (docs/linkage.md)"
        return
    names = reader.query("SELECT DISTINCT service FROM samples ORDER BY service")["service"].to_pylist()
    if selection.service in names:
        yield f"{service} has no samples in this time"
        return
    near = get_close_matches(str(selection.service), names, n=1)
    meant = f" (did you mean {near[0]!r}?)" if near else ""
    yield f"no service here is called {service}{meant}; otelprof services lists them"


def _of_traces(reader: StoreReader, selection: Selection, whole: Extent, now: float) -> Iterator[str]:
    if not whole.linked:
        yield "no sample in the store is linked to a trace: profilers did not say trace ids (docs/linkage.md)"
        return
    if selection.trace_id is None:
        return
    newest = round(now) - whole.last // MICROS
    if newest < _RECENT_SECS:
        yield f"the newest samples are {human(max(0, newest), 's')} old: a later trace is not flushed yet"
    yield (
        "otherwise no sample of the trace was stored: it ran on no profiled thread while one was taken, "
        "or it is older than the retention, or a sampling rule dropped or demoted it"
    )
    rules = _rules(reader, selection.service)
    yield from rules[:_MAX_RULES]
    if not rules:
        yield "no sampling rule that keeps less than all is known to the store"


def _rules(reader: StoreReader, service: str | None) -> list[str]:
    """The rules that were last in force and do not keep every trace, in words."""
    events = [event for event in policy_events(reader.store) if event.kind in {"rule", "probability"}]
    newest: dict[tuple[str, str], float] = {}
    for event in events:
        newest[event.component, event.kind] = event.time_secs
    return [
        f"in force since {moment(round(event.time_secs * MICROS))} UTC: {printable(event.what, 300)}"
        for event in events
        if event.time_secs == newest[event.component, event.kind]
        and event.service in {"", service or event.service}
        and event.probability is not None
        and event.probability < 1
    ]


def moment(micros: int) -> str:
    """A time as people write it, UTC."""
    return f"{datetime.fromtimestamp(micros / MICROS, UTC):%Y-%m-%d %H:%M:%S}"
