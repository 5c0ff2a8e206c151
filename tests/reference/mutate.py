"""Hostile input: what is right, changed where a reader relies on it; a million of them in a minute or so.

A body of protobuf is taken apart once, whatever message it is, into fields within fields. A mutation then
puts another value, tag, length or piece in the place of one, and sets the lengths around it right, most of
the time: so that it is read to the depth where the change is. Text, and what is compressed, changes as bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

MAX_DEPTH: Final = 8
# What indices, counts, lengths and values are compared with, and one beside it.
NUMBERS: Final = tuple(
    (value + beside) % 2**64
    for value in (0, 1, 7, 127, 128, 255, 4096, 2**14, 2**21, 2**31, 2**32, 2**56, 2**63, 2**64 - 1)
    for beside in (-1, 0, 1)
)
TEXTS: Final = (
    b"", b"\0", b"\xff\xfe", b"\xed\xa0\x80", b"\xc3", b"a;b", b"<script>", b"\x1b[31m", "🔥".encode(),
    b"x" * 300, b"service.name", b"trace_id", b"0" * 31 + b"1", b"process.command_line",
)  # fmt: skip
JSON_TOKENS: Final = (
    b"null", b"true", b"-1", b"1e999", b"-0", b"2147483648", b"18446744073709551616", b'"\\ud800"', b'"9" ',
    b"{}", b"[]", b"[[[[[[[[", b"}", b'"', b'{"":', b"0.5", b'"18446744073709551615"', b"NaN", b"\\u0000",
    b",", b":",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a message, by its places in the body.

    Attributes:
        tag: where its tag begins.
        value: where its value begins: a varint, or what stands behind a length.
        end: where it ends.
        lengths: where the lengths of all messages begin that it is in, and its own, the outermost first; with
            where each of them ends.
    """

    tag: int
    value: int
    end: int
    lengths: tuple[tuple[int, int], ...]
    is_varint: bool


def varint(value: int) -> bytes:
    """A varint."""
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def read_varint(body: bytes, at: int, end: int) -> tuple[int, int] | None:
    """A varint and where it ends; None when there is none."""
    value = shift = 0
    # What was changed before may have made the body shorter.
    end = min(end, len(body))
    while at < end and shift < 70:
        byte = body[at]
        value |= (byte & 127) << shift
        at += 1
        shift += 7
        if byte < 128:
            return value, at
    return None


def fields(body: bytes) -> list[Field]:
    """All fields of a message, and of what may be a message in it."""
    found: list[Field] = []
    _walk(body, 0, len(body), (), found)
    return found


def _walk(body: bytes, at: int, end: int, lengths: tuple[tuple[int, int], ...], found: list[Field]) -> bool:
    """Collect the fields of what may be a message; False, and none of them, when it is none."""
    start = len(found)
    while at < end:
        tag = read_varint(body, at, end)
        value = read_varint(body, tag[1], end) if tag is not None else None
        if tag is None or not tag[0] >> 3:
            break
        begin, kind = tag[1], tag[0] & 7
        if kind == 0 and value is not None:
            found.append(Field(at, begin, value[1], lengths, is_varint=True))
            at = value[1]
        elif kind == 1 and begin + 8 <= end:
            found.append(Field(at, begin, begin + 8, lengths, is_varint=False))
            at = begin + 8
        elif kind == 2 and value is not None and value[1] + value[0] <= end:
            begin, stop = value[1], value[1] + value[0]
            own = (*lengths, (tag[1], begin))
            found.append(Field(at, begin, stop, own, is_varint=False))
            if len(own) < MAX_DEPTH:
                _walk(body, begin, stop, own, found)
            at = stop
        else:
            break
    else:
        return True
    del found[start:]
    return False


class Mutator:
    """Makes hostile bodies of right ones.

    Args:
        bodies: protobuf.
        random: where everything is drawn from.
    """

    def __init__(self, bodies: Sequence[bytes], random: Random) -> None:
        self._all = [(body, found) for body in bodies if (found := fields(body))]
        self.random = random
        self._ways: tuple[Callable[[bytes, Field], bytes], ...] = (
            self._number, self._number, self._number, self._tag, self._remove, self._repeat, self._piece,
            self._text, self._length, self._cut, self._packed,
        )  # fmt: skip

    def mutated(self) -> bytes:
        """One of the bodies, changed once or more."""
        random = self.random
        body, found = random.choice(self._all)
        # From the end, so that the places before stay where they are.
        chosen = sorted((random.choice(found) for _ in range(random.choice((1, 1, 1, 2, 3)))), key=_place)
        before = len(body)
        for field in reversed(chosen):
            if field.end <= before:
                body = random.choice(self._ways)(body, field)
                before = field.tag
        return changed(body, random) if random.random() < 0.2 else body

    def _put(self, body: bytes, field: Field, begin: int, new: bytes, *, own: bool) -> bytes:
        """Put bytes where a field is from a place on, and set the lengths around it right."""
        lengths = field.lengths if own or field.is_varint else field.lengths[:-1]
        grown = len(new) - (field.end - begin)
        body = body[:begin] + new + body[field.end :]
        for at, stop in reversed(lengths):
            found = read_varint(body, at, stop)
            if found is None:
                break
            length = varint(max(found[0] + grown, 0))
            body = body[:at] + length + body[stop:]
            grown += len(length) - (stop - at)
        return body

    def _number(self, body: bytes, field: Field) -> bytes:
        if not field.is_varint:
            return self._packed(body, field)
        random = self.random
        new = varint(
            random.choice(NUMBERS) if random.random() < 0.7 else random.getrandbits(random.choice((3, 7, 32)))
        )
        return self._put(body, field, field.value, new, own=True)

    def _packed(self, body: bytes, field: Field) -> bytes:
        """Numbers where a message, a text or numbers were."""
        random = self.random
        if field.is_varint or not field.lengths:
            return self._tag(body, field)
        new = b"".join(varint(random.choice(NUMBERS)) for _ in range(random.choice((0, 1, 2, 30))))
        return self._put(body, field, field.value, new, own=True)

    def _tag(self, body: bytes, field: Field) -> bytes:
        number, kind = (
            self.random.choice((1, 2, 3, 4, 5, 6, 7, 8, 15, 16, 2**29 - 1)),
            self.random.randrange(8),
        )
        return self._put(
            body, field, field.tag, varint(number << 3 | kind) + body[field.value : field.end], own=False
        )

    def _remove(self, body: bytes, field: Field) -> bytes:
        return self._put(body, field, field.tag, b"", own=False)

    def _repeat(self, body: bytes, field: Field) -> bytes:
        times = self.random.choice((2, 2, 3, 40))
        return self._put(body, field, field.tag, body[field.tag : field.end] * times, own=False)

    def _piece(self, body: bytes, field: Field) -> bytes:
        """A field of the same or another body in the place of this one."""
        other, found = self.random.choice(self._all)
        piece = self.random.choice(found)
        return self._put(body, field, field.tag, other[piece.tag : piece.end], own=False)

    def _text(self, body: bytes, field: Field) -> bytes:
        if field.is_varint or not field.lengths:
            return self._number(body, field) if field.is_varint else self._tag(body, field)
        return self._put(body, field, field.value, self.random.choice(TEXTS), own=True)

    def _length(self, body: bytes, field: Field) -> bytes:
        """A length that is not true."""
        if not field.lengths:
            return self._tag(body, field)
        at, stop = self.random.choice(field.lengths)
        return body[:at] + varint(self.random.choice(NUMBERS)) + body[stop:]

    def _cut(self, body: bytes, field: Field) -> bytes:
        return body[: self.random.randint(field.tag, field.end)]


def _place(field: Field) -> int:
    return field.tag


def changed(body: bytes, random: Random) -> bytes:
    """Bytes with some of them flipped, cut, put in, or taken from another place."""
    place = random.randint(0, len(body))
    match random.randrange(5):
        case 0 | 1:
            byte = body[place : place + 1]
            return body[:place] + bytes(one ^ 1 << random.randrange(8) for one in byte) + body[place + 1 :]
        case 2:
            return body[:place] + random.randbytes(random.randint(1, 4)) + body[place:]
        case 3:
            start = random.randint(0, len(body))
            return body[:place] + body[start : start + random.randint(1, 64)] + body[place:]
        case _:
            return body[:place] + body[place + random.randint(1, 12) :]


def changed_text(text: bytes, tokens: Sequence[bytes], random: Random) -> bytes:
    """Text with some tokens put in, or bytes changed."""
    for _ in range(random.choice((1, 1, 2, 5))):
        place = random.randint(0, len(text))
        if random.random() < 0.6:
            text = text[:place] + random.choice(tokens) + text[place + random.choice((0, 0, 1, 4)) :]
        else:
            text = changed(text, random)
    return text
