"""The core's arithmetic over stacks against its slow twin, and columns that are none."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelprof._core import distinct_frames, joint_weights, length_delimited_fields, merge_stacks
from tests.reference import stacks as slow

if TYPE_CHECKING:
    from collections.abc import Callable

LEFT_OUT = 2**32 - 1
FIELDS = [
    b"\x0a\x01a",
    b"\x32\x00",
    b"\x08\x01",
    b"\x0d\0\0\0\0",
    b"\x09" + bytes(8),
    b"\x0b\x0c",  # a group
    b"\x80\x80\x01\x00",
    b"\x02",  # no field number
]
FUNCTIONS = 6
STACKS = st.lists(st.lists(st.integers(0, FUNCTIONS - 1), max_size=8), max_size=12)
WANTED = st.lists(st.booleans(), min_size=FUNCTIONS, max_size=FUNCTIONS)


def rows_of(wanted: list[bool]) -> tuple[dict[int, int], bytes]:
    """New places of the functions that are wanted, as a mapping and as a column."""
    chosen = [function for function, is_wanted in enumerate(wanted) if is_wanted]
    rows = {function: row for row, function in enumerate(chosen)}
    column = [rows.get(function, LEFT_OUT) for function in range(FUNCTIONS)]
    return rows, struct.pack(f"<{FUNCTIONS}I", *column)


@given(STACKS)
def test_distinct_frames(stacks: list[list[int]]) -> None:
    """Recursion counts once, and the order stays."""
    assert slow.distinct(stacks) == slow.stacks_of(*distinct_frames(*slow.columns(stacks), FUNCTIONS))


@given(STACKS, WANTED, st.data())
def test_joint_weights(stacks: list[list[int]], wanted: list[bool], data: st.DataObject) -> None:
    """What weighs on two functions is what weighs on the stacks that both are in."""
    weights = [float(data.draw(st.integers(0, 1000))) for _ in stacks]
    rows, column = rows_of(wanted)
    count = len(rows)

    found = joint_weights(*slow.columns(stacks), struct.pack(f"<{len(weights)}d", *weights), column, count)
    flat = [value for row in slow.joint(stacks, weights, rows, count) for value in row]
    assert flat == list(struct.unpack(f"<{count * count}d", found))


@given(st.lists(STACKS, max_size=4), WANTED)
def test_merge_stacks(runs: list[list[list[int]]], wanted: list[bool]) -> None:
    """Stacks that are the same without what is left out are one, and each knows which it is."""
    rows, column = rows_of(wanted)
    rest = len(rows)
    want = slow.merged(runs, rows, rest)

    frames, ends, which = merge_stacks([slow.columns(run) for run in runs], column, rest + 1, rest)

    assert want.stacks == slow.stacks_of(frames, ends)
    assert want.which == slow.numbers(which)


@given(st.binary(max_size=40) | st.lists(st.sampled_from(FIELDS), max_size=8).map(b"".join))
def test_length_delimited_fields(body: bytes) -> None:
    """What a message holds is told, and that bytes are none."""
    assert slow.length_delimited_fields(body) == length_delimited_fields(body)


ONE = slow.columns([[0, 1], [2]])
PLACES = struct.pack("<3I", 0, LEFT_OUT, 1)


@pytest.mark.parametrize(
    "call",
    [
        lambda: distinct_frames(ONE[0], ONE[1], 2),
        lambda: distinct_frames(ONE[0][:-1], ONE[1], 3),
        lambda: distinct_frames(ONE[0], struct.pack("<2Q", 2, 1), 3),
        lambda: distinct_frames(ONE[0], struct.pack("<Q", 2**64 - 1), 3),
        lambda: distinct_frames(struct.pack("<i", -1), struct.pack("<Q", 1), 3),
        lambda: joint_weights(*ONE, b"", PLACES, 2),
        lambda: joint_weights(*ONE, bytes(16), PLACES, 1),
        lambda: joint_weights(*ONE, bytes(16), PLACES[:-4], 2),
        lambda: merge_stacks([ONE], PLACES, 1, 1),
        lambda: merge_stacks([ONE], PLACES[:-4], 2, 2),
    ],
)
def test_columns_that_are_none(call: Callable[[], Any]) -> None:
    """Whatever is out of range is refused, and nothing is read behind a column's end."""
    with pytest.raises(ValueError, match=r"there are|bytes|ends"):
        call()
