"""The slow twins of the core's arithmetic over stacks, on lists; and of what a protobuf message holds."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Stack = list[int]
_LENGTH_DELIMITED: Final = 2
_FIXED: Final = {1: 8, 5: 4}


def columns(stacks: Sequence[Stack]) -> tuple[bytes, bytes]:
    """Frames and ends as the core has them."""
    frames = [frame for stack in stacks for frame in stack]
    ends = [sum(map(len, stacks[: at + 1])) for at in range(len(stacks))]
    return struct.pack(f"<{len(frames)}I", *frames), struct.pack(f"<{len(ends)}Q", *ends)


def stacks_of(frames: bytes, ends: bytes) -> list[Stack]:
    """What columns hold."""
    places = numbers(frames)
    bounds = [0, *struct.unpack(f"<{len(ends) // 8}Q", ends)]
    return [places[start:end] for start, end in pairwise(bounds)]


def numbers(column: bytes) -> list[int]:
    """The numbers of 32 bits in a column."""
    return list(struct.unpack(f"<{len(column) // 4}I", column))


def distinct(stacks: Sequence[Stack]) -> list[Stack]:
    """The functions of each stack, each once."""
    return [list(dict.fromkeys(stack)) for stack in stacks]


def joint(
    stacks: Sequence[Stack], weights: Sequence[float], rows: Mapping[int, int], count: int
) -> list[list[float]]:
    """What stacks weigh that both of two functions are in."""
    found = [[0.0] * count for _ in range(count)]
    for stack, weight in zip(stacks, weights, strict=True):
        there = {rows[frame] for frame in stack if frame in rows}
        for one in there:
            for other in there:
                found[one][other] += weight
    return found


@dataclass
class Merged:
    """Stacks of several runs, each once; and for each that came which of them it is."""

    stacks: list[Stack]
    which: list[int]


def merged(runs: Sequence[Sequence[Stack]], places: Mapping[int, int], rest: int) -> Merged:
    """Stacks under new places; functions without one are left out."""
    left = [[places[frame] for frame in stack if frame in places] or [rest] for run in runs for stack in run]
    known = list(dict.fromkeys(map(tuple, left)))
    return Merged([list(one) for one in known], [known.index(tuple(one)) for one in left])


def length_delimited_fields(body: bytes) -> list[int] | None:
    """The numbers of a message's length-delimited fields; None when it is none, or has groups."""
    fields: set[int] = set()
    at = 0
    while at < len(body):
        key, at = _varint(body, at)
        number, wire = key >> 3, key & 7
        if not 0 < number < 1 << 29:
            return None
        if wire == 0:
            _, at = _varint(body, at)
        elif wire == _LENGTH_DELIMITED:
            length, at = _varint(body, at)
            at += length
            fields.add(number)
        else:
            at += _FIXED.get(wire, len(body) + 1)
    return sorted(fields) if at == len(body) else None


def _varint(body: bytes, at: int) -> tuple[int, int]:
    """A varint and where it ends; past the end of the body when it is none."""
    value = 0
    for place, byte in enumerate(body[at : at + 10]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 1 << 7:
            return value if value < 1 << 64 else 0, at + place + 1 if value < 1 << 64 else len(body) + 1
    return 1 << 3, len(body) + 1
