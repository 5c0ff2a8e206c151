"""Which files of `samples` may hold a trace, found out in one request for each fresh file.

A random id is between the bounds of every file that is not in the order of traces, so these have a Bloom
filter. The engine comes to it in four requests, one after the other, two files at a time. Here the end of a
file is read at once, with the footer and the filter in it, sixteen files at a time; then the engine is told
the times of those that are left, and skips the others by what the log says of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from otelprof._core import ColumnFilter
from otelprof.errors import InvalidRequestError
from otelprof.store.schema import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from deltalake import DeltaTable
    from deltalake._internal import DeltaFileSystemHandler

    from otelprof.store.store import Store

_TAIL_BYTES: Final = 32 << 10
"""Of the first read: what a flush of some 13,000 traces ends with."""
_MAX_TAIL_BYTES: Final = 8 << 20
"""A file with more than that to read first is left to the engine."""
_FEW_FILES: Final = 2
"""So many are left to the engine, which is to read them anyway."""
_REQUESTS_AT_ONCE: Final = 16
_MAX_KEPT_BYTES: Final = 64 << 20
"""Of filters, in memory."""
_MAX_SPANS: Final = 32
"""Of times that the engine is told one by one."""
_MICROS_OF_MILLI: Final = 1_000
"""Bounds in the log may be cut to whole ones."""


class _File(NamedTuple):
    """What the log says of a file; None where it does not say.

    Attributes:
        path: within the table's folder.
        size_bytes: of the file.
        trace_ids: the least and the greatest.
        windows: unix microseconds, the first and the last start of one.
    """

    path: str
    size_bytes: int
    trace_ids: tuple[str, str] | None
    windows: tuple[int, int] | None


class TraceFiles:
    """The files of `samples`, and the filters that were read; for one thread at a time.

    Args:
        store: where they are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._snapshot: DeltaTable | None = None
        self._files: Sequence[_File] | None = None
        # By paths, which are never used again.
        self._filters: dict[str, ColumnFilter] = {}

    def see(self, snapshot: DeltaTable) -> None:
        """Speak of these files from now on."""
        self._snapshot, self._files = snapshot, None

    def condition(self, trace_id: str) -> str:
        """What is true of every row of a trace, in SQL.

        An engine need not open files of which it cannot be true.
        """
        if self._files is None:
            self._files = () if self._snapshot is None else _files_of(self._snapshot)
        files = [file for file in self._files if _is_between(file, trace_id)]
        if len(files) <= _FEW_FILES:
            return "TRUE"
        self._read_filters(file for file in files if file.path not in self._filters)
        found = [file for file in files if self._may_hold(file, trace_id)]
        spans = [file.windows for file in found if file.windows is not None]
        return "TRUE" if len(spans) < len(found) else _in_spans(spans)

    def _may_hold(self, file: _File, trace_id: str) -> bool:
        known = self._filters.get(file.path)
        return known is None or known.may_hold(trace_id)

    def _read_filters(self, files: Iterable[_File]) -> None:
        sizes = {file.path: file.size_bytes for file in files}
        if not sizes:
            return
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - only where a store is used

        from deltalake._internal import DeltaFileSystemHandler  # noqa: PLC0415 - heavy

        if sum(known.size_bytes for known in self._filters.values()) > _MAX_KEPT_BYTES:
            self._filters = {}
        # The way that the tables take: one set of options and credentials (see `rewrite`).
        remote = DeltaFileSystemHandler(self._store.place(Table.SAMPLES), self._store.options, sizes)
        with ThreadPoolExecutor(min(len(sizes), _REQUESTS_AT_ONCE)) as pool:
            found = pool.map(lambda path: _filter_of(remote, path, sizes[path]), sizes)
            self._filters.update((path, known) for path, known in zip(sizes, found, strict=True) if known)


def _filter_of(remote: DeltaFileSystemHandler, path: str, size_bytes: int) -> ColumnFilter | None:
    from deltalake.exceptions import DeltaError  # noqa: PLC0415 - heavy

    wanted = _TAIL_BYTES
    try:
        while wanted <= _MAX_TAIL_BYTES:
            found = ColumnFilter.read(_tail(remote, path, size_bytes, wanted), size_bytes, "trace_id")
            if not isinstance(found, int):
                return found
            wanted = found
    except (InvalidRequestError, DeltaError, OSError):
        # The file is left to the engine, which says what is wrong with it, or tries again.
        pass
    return None


def _tail(remote: DeltaFileSystemHandler, path: str, size_bytes: int, wanted: int) -> bytes:
    file = remote.open_input_file(path)
    length = min(wanted, size_bytes)
    file.seek(size_bytes - length)
    return file.read(length)


def _is_between(file: _File, trace_id: str) -> bool:
    return file.trace_ids is None or file.trace_ids[0] <= trace_id <= file.trace_ids[1]


def _in_spans(spans: Iterable[tuple[int, int]]) -> str:
    merged: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(last, merged[-1][1])
        else:
            merged.append((first, last))
    if len(merged) > _MAX_SPANS:
        merged = [(merged[0][0], merged[-1][1])]
    conditions = (
        f"window_start BETWEEN to_timestamp_micros({first}) AND to_timestamp_micros({last})"
        for first, last in merged
    )
    return f"({' OR '.join(conditions)})" if merged else "FALSE"


def _files_of(snapshot: DeltaTable) -> Sequence[_File]:
    from arro3.core import DataType  # noqa: PLC0415 - comes with deltalake
    from arro3.core import Table as Rows  # noqa: PLC0415 - as above

    actions = Rows.from_arrow(snapshot.get_add_actions(flatten=True))

    def column(name: str, kind: DataType | None = None) -> Sequence[Any]:
        # What no file has statistics of has no column.
        if name not in actions.column_names:
            return [None] * actions.num_rows
        values = actions[name]
        return list((values.cast(kind) if kind else values).to_pylist())

    micros = DataType.int64()
    return [
        _File(
            path=path,
            size_bytes=size_bytes,
            # Without an id, nothing is between these.
            trace_ids=("", "") if rows is not None and rows == unlinked else _both(least, greatest),
            windows=_widened(first, last),
        )
        for path, size_bytes, rows, unlinked, least, greatest, first, last in zip(
            column("path"),
            column("size_bytes"),
            column("num_records"),
            column("null_count.trace_id"),
            column("min.trace_id"),
            column("max.trace_id"),
            column("min.window_start", micros),
            column("max.window_start", micros),
            strict=True,
        )
    ]


def _both(least: str | None, greatest: str | None) -> tuple[str, str] | None:
    return None if least is None or greatest is None else (least, greatest)


def _widened(first: int | None, last: int | None) -> tuple[int, int] | None:
    return None if first is None or last is None else (first, last + _MICROS_OF_MILLI)
