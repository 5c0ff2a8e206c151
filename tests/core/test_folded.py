"""`Profiles.from_folded`: a line is a stack and its value."""

from __future__ import annotations

import gzip
import re

import pytest

from otelprof._core import Limits, Profiles
from otelprof.errors import InvalidRequestError, RequestTooLargeError
from tests.reference.compare import on_the_wire
from tests.reference.conformance import violations

TEXT = b"main;serve;read 12\nmain;serve 3\r\n\nmain;a name with spaces;\xc3\xa9 -4\n"


def test_stacks() -> None:
    """Each line is a Sample of its stack; frames may hold spaces, values may be negative."""
    profiles = Profiles.from_folded(TEXT)

    assert [
        ("main;serve;read", 12),
        ("main;serve", 3),
        ("main;a name with spaces;é", -4),
    ] == profiles.fold()
    assert [] == violations(on_the_wire(profiles), duplicates=True, orphans=True)


def test_there_and_back() -> None:
    """What was folded reads as what it was folded from."""
    folded = Profiles.from_folded(TEXT).fold()
    text = "\n".join(f"{stack} {value}" for stack, value in folded)

    assert folded == Profiles.from_folded(gzip.compress(text.encode())).fold()


def test_type_and_resource() -> None:
    """Sample type and Resource are the caller's to say, and part of what the profile id is made of."""
    plain = Profiles.from_folded(TEXT)
    named = Profiles.from_folded(TEXT, sample_type=("wall", "ns"), resource=[("service.name", "shop")])
    (row,) = named.summary

    assert ("shop", "wall", "ns", 3, 11) == (
        row.service,
        row.sample_type,
        row.unit,
        row.sample_count,
        row.value,
    )
    assert ("unknown_service", "samples", "count") == (
        plain.summary[0].service,
        plain.summary[0].sample_type,
        plain.summary[0].unit,
    )
    ids = {
        on_the_wire(p).resource_profiles[0].scope_profiles[0].profiles[0].profile_id
        for p in (plain, named, Profiles.from_folded(TEXT))
    }
    assert 2 == len(ids)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"main;serve", "no value"),
        (b"main serve", 'the value is "serve"'),
        (b"main 1.5", 'the value is "1.5"'),
        (b"main 9223372036854775808", "an integer of 64 bits"),
        (b"main;;read 1", "frame 2 from the leaf has no name"),
        (b" 1", "frame 1 from the leaf has no name"),
        (b"\xff 1", "not UTF-8"),
    ],
)
def test_bad_line(line: bytes, says: str) -> None:
    """A line that is none is refused by its number, blank ones counted."""
    with pytest.raises(InvalidRequestError, match=re.escape("line 3: ") + ".*" + re.escape(says)):
        Profiles.from_folded(b"main 1\n\n" + line)


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        (Limits(max_stack_depth=2), "2 frames in one stack"),
        (Limits(max_table_entries=2), "2 "),
        (Limits(max_body_bytes=7), "7 bytes"),
    ],
)
def test_limits(limits: Limits, says: str) -> None:
    """A text over a limit is refused, and the limit named."""
    with pytest.raises(RequestTooLargeError, match=says):
        Profiles.from_folded(TEXT, limits)


@pytest.mark.parametrize("pairs", [[("", "x")], [("a", "1"), ("a", "2")]])
def test_bad_resource(pairs: list[tuple[str, str]]) -> None:
    """A Resource has no attribute twice, and none without a key."""
    with pytest.raises(InvalidRequestError, match="resource"):
        Profiles.from_folded(TEXT, resource=pairs)
