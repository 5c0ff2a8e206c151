"""Writes some files of a table anew: taken to a local folder, queried there, put back in one commit.

The commit names each file that goes and each that comes. Files that writers add meanwhile are in neither
list and stay. It is made only when every file that goes is there in the version just before it, so that of
two who write the same files anew one gives up. delta-rs alone does not find that out: it lets two commits
remove one file when they say that they change no data. A process that dies on the way leaves files that no
commit names, and the vacuum takes them away.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, Any, Final, Self

from otelprof.errors import ConflictError
from otelprof.store.files import Kind, files_of, name_in_run, new_run
from otelprof.store.schema import PARTITION, writer_properties

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import TracebackType

    from arro3.core import RecordBatch, RecordBatchReader
    from deltalake import DeltaTable, QueryBuilder
    from deltalake.transaction import AddAction, RemoveAction

    from otelprof.store.files import StoredFile
    from otelprof.store.schema import Table
    from otelprof.store.store import Store

MEMORY_BYTES: Final = 256 << 20
"""Of one query; what it needs above this it keeps in temporary files."""
_COPY_BYTES: Final = 8 << 20
_TARGET_FILE_BYTES: Final = 128 << 20
_COMMIT_ATTEMPTS: Final = 100
"""As many commits of writers may get ahead of one."""


def engine(tables: dict[str, DeltaTable]) -> QueryBuilder:
    """What answers SQL over tables, by name, in bounded memory and on one core."""
    from deltalake import QueryBuilder  # noqa: PLC0415 - heavy

    # Not with several cores: each sorts a part of the rows with a part of the memory.
    queries = QueryBuilder({"datafusion.execution.target_partitions": "1"})
    queries.execute(f"SET datafusion.runtime.memory_limit = '{MEMORY_BYTES >> 20}M'")
    for name, table in tables.items():
        queries.register(name, table)
    return queries


@dataclass(frozen=True)
class Written:
    """What became of some files.

    Attributes:
        files: how many.
        rows: in all of them.
        size_bytes: of all of them.
    """

    files: int
    rows: int
    size_bytes: int


class Rewrite:
    """Files of one day of one table on their way to others; a context manager, which owns the local folder.

    Args:
        store: whose files.
        table: whose files.
        files: what is written anew; at least one, all of one day.
    """

    def __init__(self, store: Store, table: Table, files: Sequence[StoredFile]) -> None:
        from deltalake._internal import DeltaFileSystemHandler  # noqa: PLC0415 - heavy

        self._store = store
        self._table = table
        self._snapshot = store.snapshot(table)
        self._files = files
        # The public class around it needs pyarrow, which nothing else here does. Like this the files take the
        # way that the tables take: one set of options and credentials.
        self._remote = DeltaFileSystemHandler(store.place(table), store.options)
        self._folder = TemporaryDirectory(prefix="otelprof-")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()

    @property
    def columns(self) -> str:
        """The columns of the table, for a query."""
        return ", ".join(f'"{field.name}"' for field in self._snapshot.schema().fields)

    def fetch(self) -> DeltaTable:
        """The files as a table of their own, in the local folder."""
        from deltalake import DeltaTable  # noqa: PLC0415 - heavy
        from deltalake.transaction import AddAction, create_table_with_add_actions  # noqa: PLC0415 - heavy

        source = Path(self._folder.name, "before")
        adds = []
        for file in self._files:
            place = source / file.path
            place.parent.mkdir(parents=True, exist_ok=True)
            self._download(file.path, place)
            stats = json.dumps({"numRecords": file.rows}) if file.rows else "{}"
            values = {"date": file.day.isoformat()}
            adds.append(AddAction(file.path, file.size_bytes, values, _now_millis(), False, stats))  # noqa: FBT003 - not data_change
        create_table_with_add_actions(
            str(source), self._snapshot.schema(), adds, mode="error", partition_by=PARTITION
        )
        return DeltaTable(source)

    def commit(
        self, results: Iterable[Iterable[RecordBatch]], *, kind: Kind = Kind.SORTED, is_same: bool
    ) -> Written:
        """Put what became of the files in their place, in one commit.

        Args:
            results: rows that share files with no others, in their order; those without rows give none.
            kind: of the files.
            is_same: whether the rows are those that were there: who follows the table may skip the commit.

        Returns:
            What was written.

        Raises:
            ConflictError: somebody else took away one of the files; nothing has changed.
        """
        from deltalake.transaction import AddAction, RemoveAction  # noqa: PLC0415 - heavy

        day, run, now = self._files[0].day, new_run(), _now_millis()
        values: dict[str, str | None] = {"date": day.isoformat()}
        actions: list[AddAction | RemoveAction] = []
        rows = size_bytes = 0
        for number, (local, add) in enumerate(self._write(results)):
            path = name_in_run(day, kind, run, number)
            self._upload(local, path)
            rows += json.loads(add["stats"])["numRecords"]
            size_bytes += add["size"]
            actions.append(AddAction(path, add["size"], values, now, not is_same, add["stats"]))
        files = len(actions)
        actions += [
            RemoveAction(file.path, not is_same, now, file.size_bytes, values) for file in self._files
        ]
        self._commit(actions)
        return Written(files, rows, size_bytes)

    def _commit(self, actions: list[AddAction | RemoveAction]) -> None:
        """Commit behind a version in which all the files are there."""
        from deltalake import CommitProperties  # noqa: PLC0415 - heavy
        from deltalake.exceptions import CommitFailedError  # noqa: PLC0415 - heavy

        table, going = self._snapshot, {file.path for file in self._files}
        for attempt in range(_COMMIT_ATTEMPTS):
            if attempt:
                table.update_incremental()
            gone = going - {file.path for file in files_of(table)}
            if gone:
                message = f"table {self._table.value}: somebody else took away {len(gone)} files meanwhile"
                raise ConflictError(message)
            try:
                table.create_write_transaction(
                    actions,
                    mode="append",
                    schema=table.schema(),
                    partition_by=PARTITION,
                    # Only as the version after the one that was looked at.
                    commit_properties=CommitProperties(max_commit_retries=0),
                )
            except CommitFailedError:
                continue
            return
        message = f"table {self._table.value}: {_COMMIT_ATTEMPTS} commits of others got ahead of this one"
        raise ConflictError(message)

    def _write(self, results: Iterable[Iterable[RecordBatch]]) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Results as files in the local folder, in their order, with what the log says of each."""
        from deltalake import DeltaTable, write_deltalake  # noqa: PLC0415 - heavy

        for number, batches in enumerate(results):
            self._store.check_open()
            reader = _reader(self._store, batches)
            if reader is None:
                continue
            place = Path(self._folder.name, f"after-{number}")
            table = DeltaTable.create(place, self._snapshot.schema(), partition_by=PARTITION)
            write_deltalake(
                table,
                reader,
                mode="append",
                target_file_size=_TARGET_FILE_BYTES,
                writer_properties=writer_properties(self._table),
            )
            log = (place / "_delta_log" / f"{1:020d}.json").read_text("utf-8").splitlines()
            adds = (json.loads(line).get("add") for line in log)
            # Their names are numbered in the order in which they were written.
            for add in sorted((add for add in adds if add is not None), key=lambda add: str(add["path"])):
                yield place / add["path"], add

    def _download(self, path: str, place: Path) -> None:
        source = self._remote.open_input_file(path)
        with place.open("wb") as target:
            while data := source.read(_COPY_BYTES):
                self._store.check_open()
                target.write(data)

    def _upload(self, place: Path, path: str) -> None:
        target: IO[bytes] = self._remote.open_output_stream(path)  # type: ignore[assignment] # its stub lacks close
        with place.open("rb") as source:
            while data := source.read(_COPY_BYTES):
                self._store.check_open()
                target.write(data)
        target.close()


def _now_millis() -> int:
    return time.time_ns() // 1_000_000


def _reader(store: Store, batches: Iterable[RecordBatch]) -> RecordBatchReader | None:
    """A stream of the batches; None when they have no row."""
    from arro3.core import RecordBatchReader  # noqa: PLC0415 - comes with deltalake

    filled = (batch for batch in batches if batch.num_rows)
    first = next(filled, None)
    if first is None:
        return None

    def stream() -> Iterator[RecordBatch]:
        yield first
        # It is asked from within delta-rs' own threads, where no query can begin.
        with ThreadPoolExecutor(max_workers=1) as outside:
            while (batch := outside.submit(next, filled, None).result()) is not None:
                store.check_open()
                yield batch

    return RecordBatchReader.from_batches(first.schema, stream())
