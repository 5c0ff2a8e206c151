"""The laws of a split, on whatever can be sent: nothing is lost, and every piece that can fit does."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from otelprof._core import Limits, Merger, Profiles
from otelprof.errors import AmbiguousRevisionError
from tests.reference.batches import batches
from tests.reference.compare import on_the_wire, rejected, rows
from tests.reference.faults import BOUNDS, Faulty, faulty_requests
from tests.reference.fold import fold
from tests.reference.generate import requests
from tests.reference.graft import example
from tests.reference.pieces import assert_split
from tests.reference.summary import summary

if TYPE_CHECKING:
    from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
        ExportProfilesServiceRequest,
    )

SMALL = Limits(**dataclasses.asdict(BOUNDS))
HALF = settings(max_examples=settings().max_examples // 2)
"""For laws that take long to look at."""
SHARES = st.floats(0, 1)
"""Of the size of the whole, which a piece may take."""


def limit(whole: Profiles, share: float) -> int:
    """A share of the size of a whole in bytes, at least 1."""
    return max(int(len(whole.to_otlp()) * share), 1)


@given(requests(), SHARES)
def test_request(request: ExportProfilesServiceRequest, share: float) -> None:
    """The pieces of a request fit, are well formed, and together say what the request says."""
    whole = Profiles.decode(request.SerializeToString())

    assert_split(whole, limit(whole, share))


@given(batches(), SHARES)
def test_merged(batch: list[ExportProfilesServiceRequest], share: float) -> None:
    """The pieces of a merge lose nothing, and have no duplicates, as the merge has none."""
    whole = Merger().merge([Profiles.decode(request.SerializeToString()) for request in batch])

    assert_split(whole, limit(whole, share), duplicates=True)


@HALF
@given(requests(), SHARES)
def test_again(request: ExportProfilesServiceRequest, share: float) -> None:
    """The same split gives the same bytes; pieces need no repair, and those that fit are not split again.

    A piece of a few Samples that two revisions read differently cannot be read again, and tells nothing here.
    """
    body = request.SerializeToString()
    whole = Profiles.decode(body)
    max_bytes = limit(whole, share)
    pieces = [piece.to_otlp() for piece in whole.split(max_bytes)]
    try:
        read = [Profiles.decode(piece) for piece in pieces]
    except AmbiguousRevisionError:
        reject()

    assert pieces == [piece.to_otlp() for piece in Profiles.decode(body).split(max_bytes)]
    assert pieces == [piece.to_otlp() for piece in read]
    assert [({}, {})] * len(read) == [(piece.repairs, rejected(piece)) for piece in read]
    assert pieces == [again.to_otlp() for piece in read for again in piece.split(max_bytes)]


@given(requests(), st.integers(0, 100))
def test_fits(request: ExportProfilesServiceRequest, room: int) -> None:
    """What fits comes back as one piece with the same bytes."""
    whole = Profiles.decode(request.SerializeToString())
    body = whole.to_otlp()

    assert [body] == [piece.to_otlp() for piece in whole.split(max(len(body) + room, 1))]


@HALF
@given(requests(), SHARES)
def test_views(request: ExportProfilesServiceRequest, share: float) -> None:
    """Every view of a piece shows what it hands on."""
    whole = Profiles.decode(request.SerializeToString())
    for piece in whole.split(limit(whole, share)):
        want = on_the_wire(piece)

        assert summary(want) == rows(piece)
        assert fold(want) == piece.fold()
        assert want == piece.to_proto()


@given(faulty_requests(), SHARES)
def test_refused(faulty: Faulty, share: float) -> None:
    """What was refused in a request is in none of its pieces."""
    whole = Profiles.decode(faulty.body, SMALL)

    assert_split(whole, limit(whole, share))


def test_every_limit() -> None:
    """A small request is split well at every limit up to its size, and never into more by a higher one."""
    first = example()
    for number in range(6):
        profile = first.resource_profiles[number % 2].scope_profiles[0].profiles[0]
        profile.samples.add(values=[number], attribute_indices=[number % 2])
    first.resource_profiles[0].scope_profiles[0].profiles[0].original_payload_format = "pprof"
    first.resource_profiles[0].scope_profiles[0].profiles[0].original_payload = b"payload" * 9
    whole = Merger().merge([Profiles.decode(first.SerializeToString())])
    size = len(whole.to_otlp())
    counts = [len(assert_split(whole, max_bytes, duplicates=True)) for max_bytes in range(1, size + 2)]

    assert whole.sample_count == counts[0]
    assert 1 == counts[-1]
    assert sorted(counts, reverse=True) == counts


@pytest.mark.parametrize("max_bytes", [0, -1, -(2**63)])
def test_no_limit(max_bytes: int) -> None:
    """A limit below one byte is refused."""
    with pytest.raises(ValueError, match="max_bytes"):
        Profiles.decode(example().SerializeToString()).split(max_bytes)
