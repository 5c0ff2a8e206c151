"""A store: its place, and its tables as they are now."""

from __future__ import annotations

from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from otelprof.errors import EmptyStoreError, StoreError, UnavailableError
from otelprof.store.schema import PARTITION, SCHEMA_VERSION, TABLE_PROPERTIES, PolicyTable, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from arro3.core.types import ArrowSchemaExportable
    from deltalake import DeltaTable

AnyTable = Table | PolicyTable
_S3_SCHEMES: Final = frozenset({"s3", "s3a"})


def check_url(url: str) -> str:
    """A store's place: a folder, or a URL without credentials.

    Raises:
        ValueError: it has credentials, which would end up in logs.
    """
    parts = urlsplit(url)
    if parts.username or parts.password or parts.query:
        message = "a store's URL has no credentials: give them in the environment, or as storage_options"
        raise ValueError(message)
    if not url:
        message = "the URL of a store is empty: give a folder, or a URL like s3://bucket/otelprof"
        raise ValueError(message)
    return url


class Store:
    """The tables under one URL.

    Args:
        url: a folder, `file://`, `s3://`, `gs://`, `az://`.
        options: of the object store, as delta-rs has them (`aws_region`, `aws_endpoint`, ...); credentials
            come from the usual environment variables when they are not here.
    """

    def __init__(self, url: str, options: Mapping[str, str] | None = None) -> None:
        self.url = check_url(url).rstrip("/")
        self.options = dict(options or {})
        if urlsplit(url).scheme in _S3_SCHEMES:
            # Two writers must not both make commit 17; S3 and most that speak its protocol can tell.
            self.options.setdefault("aws_conditional_put", "etag")
        self._tables: dict[AnyTable, DeltaTable] = {}
        self._closed = Event()

    def close(self) -> None:
        """Let work that takes long end soon, with an error; from any thread."""
        self._closed.set()

    def check_open(self) -> None:
        """Go on with work that takes long.

        Raises:
            UnavailableError: nobody waits for it any more.
        """
        if self._closed.is_set():
            message = f"the work on {self.url} was given up"
            raise UnavailableError(message)

    def place(self, table: AnyTable) -> str:
        """Where a table is."""
        return f"{self.url}/{table.value}"

    def table(self, table: AnyTable) -> DeltaTable:
        """A table as it was when it was last refreshed.

        Raises:
            EmptyStoreError: it is not there.
            StoreError: another version of otelprof wrote it, or it is no table.
            UnavailableError: the store cannot be reached.
        """
        known = self._tables.get(table)
        if known is None:
            known = self._tables[table] = self.snapshot(table)
        return known

    def snapshot(self, table: AnyTable, *, at: datetime | None = None) -> DeltaTable:
        """A table as it is now, or as it was, of which the caller alone knows.

        Args:
            table: which.
            at: when; the first version, when the table is younger.

        Raises:
            EmptyStoreError: see `table`, as the others.
        """
        from deltalake import DeltaTable  # noqa: PLC0415 - heavy: only where a store is used
        from deltalake.exceptions import TableNotFoundError  # noqa: PLC0415 - as above

        with self.errors(table):
            try:
                opened = DeltaTable(self.place(table), storage_options=self.options)
            except TableNotFoundError as error:
                message = f"nothing is stored at {self.url} yet: there is no table {table.value}"
                raise EmptyStoreError(message) from error
            _check_version(table, opened.metadata().description)
            if at is not None:
                opened.load_as_version(at)
        return opened

    def refresh(self, *tables: AnyTable) -> None:
        """See what was committed since; in the order that is given, or that in which rows are removed.

        Raises:
            StoreError: see `table`.
            UnavailableError: the store cannot be reached.
        """
        for table in tables or reversed(list(Table)):
            if table in self._tables:
                with self.errors(table):
                    self._tables[table].update_incremental()
            else:
                self.table(table)

    def create(self, table: AnyTable, rows: ArrowSchemaExportable) -> DeltaTable:
        """Make a table with the columns of some rows, unless another writer was quicker.

        Raises:
            StoreError: see `table`.
            UnavailableError: the store cannot be reached.
        """
        from deltalake import DeltaTable  # noqa: PLC0415 - heavy

        with self.errors(table):
            DeltaTable.create(
                self.place(table),
                rows,
                mode="ignore",
                partition_by=PARTITION,
                name=table.value,
                description=table.description,
                configuration=TABLE_PROPERTIES,
                storage_options=self.options,
            )
        return self.table(table)

    def forget(self, table: AnyTable) -> None:
        """Open it anew when it is used next."""
        self._tables.pop(table, None)

    @contextmanager
    def errors(self, table: AnyTable) -> Iterator[None]:
        """Turn what delta-rs raises into this project's errors."""
        from deltalake.exceptions import CommitFailedError, DeltaError, DeltaProtocolError  # noqa: PLC0415 - heavy

        try:
            yield
        except CommitFailedError as error:
            self.forget(table)
            message = f"table {table.value} at {self.url} was changed by others meanwhile: {error}"
            raise UnavailableError(message) from error
        except DeltaProtocolError as error:
            message = f"table {table.value} at {self.url} cannot be read: {error}"
            raise StoreError(message) from error
        except (DeltaError, OSError) as error:
            self.forget(table)
            message = f"table {table.value} at {self.url} cannot be reached: {error}"
            raise UnavailableError(message) from error
        except Exception as error:
            # What a query meets on its way has no class of its own.
            if type(error) is not Exception:
                raise
            message = f"table {table.value} at {self.url} cannot be queried: {error}"
            raise UnavailableError(message) from error


def _check_version(table: AnyTable, description: str | None) -> None:
    word, _, version = (description or "").rpartition(" ")
    if word != f"otelprof {table.value}, schema" or not version.isdecimal():
        message = f"there is a table {table.value}, and it is not otelprof's: it says {description!r}"
        raise StoreError(message)
    if int(version) > SCHEMA_VERSION:
        known = SCHEMA_VERSION
        message = (
            f"table {table.value} has schema {version}, and this otelprof reads up to {known}: upgrade it"
        )
        raise StoreError(message)
