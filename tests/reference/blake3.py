"""BLAKE3 of at most one block, from its specification: what decides by profile."""

from __future__ import annotations

import struct
from typing import Final

_IV: Final = (
    0x6A09E667,
    0xBB67AE85,
    0x3C6EF372,
    0xA54FF53A,
    0x510E527F,
    0x9B05688C,
    0x1F83D9AB,
    0x5BE0CD19,
)
_ORDER: Final = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
_COLUMNS: Final = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15))
_DIAGONALS: Final = ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))
_BLOCK_BYTES: Final = 64
_ROUNDS: Final = 7
_START_END_ROOT: Final = 0b1011
_MASK: Final = 2**32 - 1


def blake3(data: bytes) -> bytes:
    """The first 32 bytes of the hash of at most 64 bytes."""
    assert len(data) <= _BLOCK_BYTES
    words = list(struct.unpack("<16I", data.ljust(_BLOCK_BYTES, b"\0")))
    state = [*_IV, *_IV[:4], 0, 0, len(data), _START_END_ROOT]
    for _ in range(_ROUNDS):
        for place, cells in enumerate((*_COLUMNS, *_DIAGONALS)):
            _mix(state, cells, words[2 * place], words[2 * place + 1])
        words = [words[index] for index in _ORDER]
    return struct.pack("<8I", *(state[index] ^ state[index + 8] for index in range(8)))


def _mix(state: list[int], cells: tuple[int, int, int, int], first: int, second: int) -> None:
    a, b, c, d = cells
    for word, turn, other in ((first, 16, 12), (second, 8, 7)):
        state[a] = (state[a] + state[b] + word) & _MASK
        state[d] = _rotated(state[d] ^ state[a], turn)
        state[c] = (state[c] + state[d]) & _MASK
        state[b] = _rotated(state[b] ^ state[c], other)


def _rotated(word: int, turn: int) -> int:
    return (word >> turn | word << (32 - turn)) & _MASK
