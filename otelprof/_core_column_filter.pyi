"""What a file does not hold: a part of the stub of `otelprof._core`, where all of it is at run time."""

from typing import final

@final
class ColumnFilter:
    """Which values one column of a Parquet file does not hold: its Bloom filters, one for each row group."""

    @staticmethod
    def read(tail: bytes, file_bytes: int, column: str) -> ColumnFilter | int:
        """Read it from the end of a file.

        Args:
            tail: the last bytes of the file.
            file_bytes: how long the file is.
            column: its name.

        Returns:
            How many bytes at the end are wanted, when these are too few.

        Raises:
            InvalidRequestError: this is no end of a Parquet file, or it cannot be.
        """

    def may_hold(self, value: str) -> bool:
        """Whether the file may hold a text; False is certain. True where a row group has no filter."""

    @property
    def size_bytes(self) -> int:
        """How much memory the filters take."""
