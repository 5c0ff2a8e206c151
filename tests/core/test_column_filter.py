"""What a Parquet file does not hold, read from its end."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import pytest
from arro3.core import Array, DataType, Field, Schema, Table
from deltalake import BloomFilterProperties, ColumnProperties, WriterProperties, write_deltalake
from hypothesis import given
from hypothesis import strategies as st

from otelprof._core import ColumnFilter
from otelprof.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

HELD: Final = [f"value {number}" for number in range(400)]
NOT_HELD: Final = [f"other {number}" for number in range(400)]
ROWS_PER_GROUP: Final = 100


def parquet(values: Sequence[str | None], *, has_filter: bool = True) -> bytes:
    """A file with one column `id`, of several row groups."""
    bloom = BloomFilterProperties(set_bloom_filter_enabled=True, fpp=0.001, ndv=ROWS_PER_GROUP)
    properties = WriterProperties(
        max_row_group_size=ROWS_PER_GROUP,
        column_properties={"id": ColumnProperties(bloom_filter_properties=bloom if has_filter else None)},
    )
    rows = Table.from_arrays(
        [Array(values, DataType.string())], schema=Schema([Field("id", DataType.string(), nullable=True)])
    )
    with TemporaryDirectory() as folder:
        write_deltalake(folder, rows, writer_properties=properties)
        (path,) = Path(folder).glob("*.parquet")
        return path.read_bytes()


FILE: Final = parquet(HELD)


def whole(body: bytes, column: str = "id") -> ColumnFilter:
    """The filter of a file that is there as a whole."""
    found = ColumnFilter.read(body, len(body), column)
    assert isinstance(found, ColumnFilter)
    return found


def test_every_value_of_every_row_group_may_be_held() -> None:
    """No value that is there is denied, whichever row group it is in."""
    found = whole(FILE)
    assert [value for value in HELD if not found.may_hold(value)] == []


def test_others_are_mostly_denied() -> None:
    """A value that is not there is denied but for a few."""
    found = whole(FILE)
    assert sum(found.may_hold(value) for value in NOT_HELD) < 20
    assert found.size_bytes >= 4 * ROWS_PER_GROUP


def test_a_column_without_filter_may_hold_everything() -> None:
    """So may a column that is not there: it is left to who reads it."""
    assert whole(parquet(HELD, has_filter=False)).may_hold("other")
    assert whole(FILE, "another column").may_hold("other")


@given(st.integers(0, len(FILE)))
def test_too_few_bytes(length: int) -> None:
    """Whatever part of the end is there, the answer is the filter, or how many more bytes tell it."""
    steps = 0
    found = ColumnFilter.read(FILE[len(FILE) - length :], len(FILE), "id")
    while isinstance(found, int):
        assert length < found <= len(FILE)
        length, steps = found, steps + 1
        found = ColumnFilter.read(FILE[-length:], len(FILE), "id")
    assert steps <= 3
    assert [found.may_hold(value) for value in (*HELD, *NOT_HELD)] == [
        whole(FILE).may_hold(value) for value in (*HELD, *NOT_HELD)
    ]


@pytest.mark.parametrize("body", [b"", b"PAR1", bytes(100), FILE[:-1], b"\xff" * 4 + b"PAR1"])
def test_what_is_no_parquet_file(body: bytes) -> None:
    """It is refused."""
    with pytest.raises(InvalidRequestError, match="invalid Parquet file"):
        ColumnFilter.read(body, len(body), "id")


def test_more_bytes_than_the_file_has() -> None:
    """They cannot be its end."""
    with pytest.raises(InvalidRequestError, match="bytes at the end of a file of 8"):
        ColumnFilter.read(FILE, 8, "id")


@given(st.lists(st.tuples(st.integers(1, 2_000), st.integers(0, 255)), min_size=1, max_size=8))
def test_a_damaged_end(changes: list[tuple[int, int]]) -> None:
    """Whatever the last bytes say, the answer is a filter, a length within the file, or a refusal."""
    body = bytearray(FILE)
    for place, byte in changes:
        body[-place] = byte
    try:
        found = ColumnFilter.read(bytes(body[-3_000:]), len(body), "id")
    except InvalidRequestError:
        return
    if isinstance(found, int):
        assert 3_000 < found <= len(body)
    else:
        found.may_hold("other")
