"""The rows of a store: a part of the stub of `otelprof._core`, where all of it is at run time."""

from typing import Protocol, final

class ArrowRows(Protocol):
    """Rows in Arrow's memory layout, as any engine hands them out (Arrow PyCapsule interface).

    One batch has `__arrow_c_array__`, a stream of several `__arrow_c_stream__`.
    """

    def __arrow_c_schema__(self) -> object:
        """Their columns."""

@final
class WrittenSymbols:
    """Which rows of the symbol tables a writer has written; safe across threads.

    Args:
        max_symbols: how many it remembers, about 40 bytes each; those that were not used for long go first.
    """

    def __new__(cls, *, max_symbols: int) -> WrittenSymbols: ...
    def remember(self, tables: Tables) -> None:
        """All that these rows refer to is in the tables now."""

    def __len__(self) -> int: ...

@final
class TableRows:
    """Rows of one table, shared with Arrow's PyCapsule interface."""

    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]: ...
    def __arrow_c_schema__(self) -> object: ...
    def __len__(self) -> int: ...
    @property
    def memory_bytes(self) -> int: ...

@final
class Tables:
    """The rows that a request adds to the tables of a store (`docs/storage.md`)."""

    @property
    def samples(self) -> TableRows:
        """In the order of traces."""
    @property
    def stacks(self) -> TableRows:
        """Those that were not written before."""
    @property
    def frames(self) -> TableRows:
        """Those that were not written before."""
    @property
    def labels(self) -> TableRows:
        """Those that were not written before."""
    @property
    def trace_count(self) -> int:
        """How many traces `samples` holds."""
