"""The slow twin of `Profiles.table_bytes`: on the bytes, since one message can be written in several ways."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.reference.tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator

_FIXED_BYTES = {1: 8, 5: 4}
_LENGTH_DELIMITED = 2


def table_bytes(body: bytes) -> dict[str, int]:
    """How the bytes of a request divide."""
    found = dict.fromkeys((*TABLES, "samples"), 0)
    for number, message, _ in fields(body):
        if number == 2:
            for table, _, size in fields(message):
                if table <= len(TABLES):
                    found[TABLES[table - 1]] += size
        if number == 1:
            for _, scope_profiles, _ in numbered(message, 2):
                for _, profile, _ in numbered(scope_profiles, 2):
                    found["samples"] += sum(size for _, _, size in numbered(profile, 2))
    found["other"] = len(body) - sum(found.values())
    return found


def numbered(message: bytes, wanted: int) -> Iterator[tuple[int, bytes, int]]:
    """The length-delimited fields of one number."""
    return (field for field in fields(message) if field[0] == wanted)


def fields(message: bytes) -> Iterator[tuple[int, bytes, int]]:
    """The length-delimited fields of a message: number, content, and size with key and length."""
    at = 0
    while at < len(message):
        start = at
        key, at = varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == _LENGTH_DELIMITED:
            length, at = varint(message, at)
            yield number, message[at : at + length], at + length - start
            at += length
        elif wire:
            at += _FIXED_BYTES[wire]
        else:
            _, at = varint(message, at)


def varint(message: bytes, at: int) -> tuple[int, int]:
    """A varint, and where it ends."""
    value = shift = 0
    while True:
        value |= (message[at] & 0x7F) << shift
        shift += 7
        at += 1
        if message[at - 1] < 0x80:
            return value, at
