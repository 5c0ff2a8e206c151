"""A selection of a store cut into runs, by time or by an attribute: what versions are compared by."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING, Final

from otelprof.errors import RequestTooLargeError
from otelprof.store.reader import SURE_SUM, as_dicts
from otelprof.store.selection import MICROS, literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from otelprof._core import Profiles
    from otelprof.store.reader import StoreReader
    from otelprof.store.selection import Selection

VERSION: Final = "service.version"
_NANO: Final = 1e-9
_MAX_RUNS: Final = 1000
_PROCESS: Final = (
    "concat_ws(chr(1), array_to_string(map_keys(resource), chr(1)), "
    "array_to_string(map_values(resource), chr(1), chr(2))) AS process"
)
"""A resource as one text: the engine cannot group by a map."""


@dataclass(frozen=True)
class Cut:
    """What makes a run of a selection; nothing makes all of it one.

    Attributes:
        window_secs: windows that start in the same so many seconds, counted from 1970.
        label: the same value of this attribute, of resource, Profile or sample.
    """

    window_secs: float | None = None
    label: str | None = None


@dataclass(frozen=True)
class StoredRun:
    """One run.

    Attributes:
        name: of the window, and of the attribute's value.
        profiles: all sample types of it, with their periods.
        counts: stored samples by name and unit of the sample type.
        seconds: for how long processes were profiled, all of them together.
        started: unix seconds of its first window.
    """

    name: str
    profiles: Profiles
    counts: Mapping[tuple[str, str], int]
    seconds: float
    started: float


@dataclass(frozen=True)
class VersionRow:
    """One version of what is selected.

    Attributes:
        version: `service.version`.
        first: unix microseconds, the first start of a window.
        last: the last one.
        samples: that are stored.
    """

    version: str
    first: int
    last: int
    samples: int


def versions(reader: StoreReader, selection: Selection) -> list[VersionRow]:
    """The versions of a selection, the one that came first first.

    Raises:
        StoreError: the store is not to be used.
        UnavailableError: it cannot be reached.
        RequestTooLargeError: it is too much for one answer.
    """
    sql = (
        f"WITH named AS ({_named(VERSION)}) SELECT who AS version, "
        "CAST(min(window_start) AS BIGINT) AS first, CAST(max(window_start) AS BIGINT) AS last, "
        f"sum(count) AS samples FROM {_samples(selection)} JOIN named USING (labels_id) "
        "WHERE who IS NOT NULL GROUP BY who ORDER BY first, version"
    )
    return [VersionRow(**row) for row in reader.steadily(lambda: as_dicts(reader.bounded(sql)))]


def runs(reader: StoreReader, selection: Selection, cut: Cut) -> list[StoredRun]:
    """The runs of a selection, in order of time and of the attribute.

    Args:
        reader: of the store.
        selection: what is asked for.
        cut: what makes a run; rows without the attribute are in none.

    Raises:
        StoreError: the store is not to be used, or not whole.
        UnavailableError: it cannot be reached.
        RequestTooLargeError: it is too much for one answer, or makes too many runs.
    """
    return reader.steadily(lambda: list(_runs(reader, selection, cut)))


def _runs(reader: StoreReader, selection: Selection, cut: Cut) -> Iterator[StoredRun]:
    seconds = _seconds(reader, selection, cut)
    if len(seconds) > _MAX_RUNS:
        message = f"this makes {len(seconds)} runs; at most {_MAX_RUNS} are read: choose a longer window"
        raise RequestTooLargeError(message)
    keys = "piece, who, service, sample_type, unit, period_type, period_unit, period, stack_id"
    rows = reader.bounded(
        f"WITH named AS ({_named(cut.label)}) SELECT {keys}, min(labels_id) AS labels_id, max(date) AS date, "
        "sum(value) AS value, sum(count) AS count, sum(abs(CAST(value AS DOUBLE))) AS size, "
        "CAST(min(window_start) AS BIGINT) AS first "
        f"FROM {_samples(selection, cut)} JOIN named USING (labels_id) "
        f"WHERE {_has_label(cut)} GROUP BY {keys} ORDER BY piece, who"
    )
    if any(size >= SURE_SUM for size in rows["size"].to_pylist()):
        message = "values are at the end of 64 bits, and their sums behind it: ask for less time"
        raise RequestTooLargeError(message)
    pieces = list(zip(rows["piece"].to_pylist(), rows["who"].to_pylist(), strict=True))
    for piece, group in groupby(range(len(pieces)), pieces.__getitem__):
        places = list(group)
        of_run = rows.slice(places[0], len(places))
        counts: Counter[tuple[str, str]] = Counter()
        columns = (of_run[name].to_pylist() for name in ("sample_type", "unit", "count"))
        for sample_type, unit, count in zip(*columns, strict=True):
            counts[sample_type, unit] += count
        yield StoredRun(
            _name(piece, cut),
            reader.with_periods(of_run),
            counts,
            seconds[piece],
            min(of_run["first"].to_pylist()) / MICROS,
        )


def _seconds(reader: StoreReader, selection: Selection, cut: Cut) -> dict[tuple[int, str | None], float]:
    """For how long processes were profiled, by run.

    A window of a resource counts once; of sample types, that which was profiled for longest.
    """
    of_run = "piece, who"
    of_type = f"{of_run}, sample_type, unit"
    rows = reader.bounded(
        f"WITH named AS ({_named(cut.label, _PROCESS)}), "
        f"seen AS (SELECT DISTINCT {of_type}, process, service, window_start, window_ns "
        f"FROM {_samples(selection, cut)} JOIN named USING (labels_id) WHERE {_has_label(cut)}), "
        f"summed AS (SELECT {of_type}, sum(CAST(window_ns AS DOUBLE)) AS nanos FROM seen GROUP BY {of_type}) "
        f"SELECT {of_run}, max(nanos) AS nanos FROM summed GROUP BY {of_run}"
    )
    return {(row["piece"], row["who"]): row["nanos"] * _NANO for row in as_dicts(rows)}


def _named(label: str | None, process: str = "") -> str:
    """What is to be known of labels: the period, and the value of an attribute."""
    who = "CAST(NULL AS VARCHAR)"
    if label is not None:
        key = literal(label)
        who = f"coalesce(resource[{key}], attributes[{key}])"
    more = f", {process}" if process else ", period_type, period_unit, period"
    # A row of labels may be there twice, and in several days.
    return f"SELECT DISTINCT labels_id, {who} AS who{more} FROM labels"


def _samples(selection: Selection, cut: Cut | None = None) -> str:
    """The rows of a selection, each with the number of the window that it is in."""
    piece = "0"
    if cut is not None and cut.window_secs is not None:
        piece = f"CAST(window_start AS BIGINT) / {max(1, round(cut.window_secs * MICROS))}"
    return f"(SELECT *, {piece} AS piece FROM samples WHERE {selection.where()}) AS chosen"


def _has_label(cut: Cut) -> str:
    return "TRUE" if cut.label is None else "who IS NOT NULL"


def _name(piece: tuple[int, str | None], cut: Cut) -> str:
    window, who = piece
    parts = [] if who is None else [who]
    if cut.window_secs is not None:
        at = datetime.fromtimestamp(window * cut.window_secs, UTC)
        parts.insert(0, f"{at:%Y-%m-%dT%H:%M:%SZ}")
    return " ".join(parts) or "all"
