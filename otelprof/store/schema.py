"""The tables of a store: their names, their order, and how their columns are encoded.

The columns themselves are made by the core (`Profiles.to_tables`), and told in `docs/storage.md`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from deltalake import WriterProperties

SCHEMA_VERSION: Final = 1
"""Of the columns; it stands in each table's description, and a reader refuses a later one."""
PARTITION: Final = ["date"]
TABLE_PROPERTIES: Final = {
    # Commits come each minute, and a month of them is the default; maintenance looks back a week at most.
    "delta.logRetentionDuration": "interval 8 days",
    # Who opens a table reads each commit since the last checkpoint, twice. The default is 100.
    "delta.checkpointInterval": "20",
}
_ZSTD_LEVEL: Final = 9
_ROWS_PER_GROUP: Final = 1 << 17
"""About what one service makes in an hour: windows and stacks of few services take few bits each."""
_FALSE_POSITIVES: Final = 0.01


class Table(StrEnum):
    """A table, by the name of its folder.

    In this order they are written: a row never comes before what it refers to. What is removed goes in the
    opposite order.
    """

    FRAMES = "frames"
    STACKS = "stacks"
    LABELS = "labels"
    SAMPLES = "samples"

    @property
    def description(self) -> str:
        """What a table says of itself."""
        return f"otelprof {self.value}, schema {SCHEMA_VERSION}"

    @property
    def id_column(self) -> str | None:
        """The content id of a symbol table; None for samples."""
        return _ID_COLUMN.get(self)


class PolicyTable(StrEnum):
    """The table that no other one refers to; it has no samples, and stays when they go."""

    POLICY = "policy"

    @property
    def description(self) -> str:
        """What the table says of itself."""
        return f"otelprof {self.value}, schema {SCHEMA_VERSION}"


_ID_COLUMN: Final = {Table.FRAMES: "location_id", Table.STACKS: "stack_id", Table.LABELS: "labels_id"}


def writer_properties(table: Table | PolicyTable, *, traces: int = 0) -> WriterProperties:
    """How a file of a table is written.

    Args:
        table: the table.
        traces: how many traces it will hold at most, for the filter by which a reader skips it; 0 for a file
            in the order of traces, which a reader skips by its bounds.
    """
    from deltalake import BloomFilterProperties, ColumnProperties, WriterProperties  # noqa: PLC0415 - heavy

    columns: dict[str, ColumnProperties] = {}
    if table is Table.SAMPLES:
        # In the order of traces an id starts as the one before it, or is the same.
        has_filter = BloomFilterProperties(set_bloom_filter_enabled=True, fpp=_FALSE_POSITIVES, ndv=traces)
        columns["trace_id"] = ColumnProperties(
            dictionary_enabled=False,
            encoding="DELTA_BYTE_ARRAY",
            statistics_enabled="PAGE",
            bloom_filter_properties=has_filter if traces else None,
        )
        columns["span_id"] = ColumnProperties(dictionary_enabled=False, encoding="DELTA_BYTE_ARRAY")
    return WriterProperties(
        compression="ZSTD",
        compression_level=_ZSTD_LEVEL,
        max_row_group_size=_ROWS_PER_GROUP,
        column_properties=columns,
    )
