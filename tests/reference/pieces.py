"""What a split must come to: every Sample once, in order, in pieces that fit and stand alone."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from tests.reference.compare import on_the_wire
from tests.reference.conformance import violations
from tests.reference.meaning import ProfileMeaning, Reader, SampleMeaning
from tests.reference.tables import Tables, profiles_of
from tests.reference.validate import PROFILE_ID_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
        ExportProfilesServiceRequest,
    )
    from opentelemetry.proto.profiles.v1development.profiles_pb2 import Profile

    from otelprof._core import Profiles

NO_PAYLOAD = ("", b"")
BOUND_SLACK = 0.05


class Part(NamedTuple):
    """A Profile, or what one piece holds of it.

    Attributes:
        head: everything that it says besides its id, its payload and its samples.
        profile_id: of the part.
        payload: its format and its bytes.
        samples: in order.
    """

    head: ProfileMeaning
    profile_id: bytes
    payload: tuple[str, bytes]
    samples: list[SampleMeaning]


def parts(request: ExportProfilesServiceRequest) -> list[Part]:
    """The Profiles of a request, in order."""
    reader = Reader(Tables(request.dictionary))
    found = []
    for resource_profiles, scope_profiles, profile in profiles_of(request):
        head = reader.profile(without_samples(profile))._replace(
            resource=reader.resource(resource_profiles.resource),
            resource_schema_url=resource_profiles.schema_url,
            scope=reader.scope(scope_profiles.scope),
            scope_schema_url=scope_profiles.schema_url,
            profile_id=None,
            original_payload=NO_PAYLOAD,
        )
        payload = (profile.original_payload_format, profile.original_payload)
        samples = [reader.sample(sample) for sample in profile.samples]
        found.append(Part(head, profile.profile_id, payload, samples))
    return found


def without_samples(profile: Profile) -> Profile:
    """A copy of a Profile that holds no Sample."""
    copy = type(profile)()
    for field, value in profile.ListFields():
        if field.name == "samples":
            continue
        if field.is_repeated:
            getattr(copy, field.name).extend(value)
        elif field.message_type is not None:
            getattr(copy, field.name).CopyFrom(value)
        else:
            setattr(copy, field.name, value)
    return copy


def assert_split(whole: Profiles, max_bytes: int, *, duplicates: bool = False) -> list[bytes]:
    """The pieces of a split fit, are well formed, and together say what the whole says.

    Args:
        whole: what is split.
        max_bytes: what a piece may take.
        duplicates: whether the whole has no duplicates, so that the pieces may have none either.

    Returns:
        The pieces as they go on the wire.
    """
    pieces = whole.split(max_bytes)
    bodies = [piece.to_otlp() for piece in pieces]
    requests = [on_the_wire(piece) for piece in pieces]
    told = [parts(request) for request in requests]

    for piece, body, request, held in zip(pieces, bodies, requests, told, strict=True):
        counts = (len(held), sum(len(part.samples) for part in held))
        assert (piece.profile_count, piece.sample_count) == counts
        assert len(body) <= max_bytes or (counts[0] == 1 and counts[1] <= 1)
        assert not held or violations(request, duplicates=duplicates, orphans=True) == []
        assert held or len(bodies) == 1
        assert held or body == b""
    assert_whole(parts(on_the_wire(whole)), [part for held in told for part in held])
    return bodies


def assert_whole(whole: Sequence[Part], cut: Sequence[Part]) -> None:
    """The parts are those of the Profiles, in order; only the first of each has its id and its payload."""
    rest = list(cut)
    made = []
    for wanted in whole:
        first = rest.pop(0)
        samples = list(first.samples)
        assert (wanted.head, wanted.profile_id, wanted.payload) == first[:3]
        while len(samples) < len(wanted.samples):
            part = rest.pop(0)
            assert (wanted.head, NO_PAYLOAD) == (part.head, part.payload)
            assert samples, "a part of a Profile with Samples has none"
            assert part.samples, "a part of a Profile with Samples has none"
            samples += part.samples
            made.append(part.profile_id)
        assert wanted.samples == samples
    assert rest == []
    assert {PROFILE_ID_BYTES} >= {len(profile_id) for profile_id in made}
    assert bytes(PROFILE_ID_BYTES) not in made
    given = [part.profile_id for part in whole]
    if len(given) == len(set(given)):  # the parts of a Profile that was sent twice have one id twice
        assert len({*given, *made}) == len(given) + len(made)


def assert_not_wasteful(sizes: Sequence[int], max_bytes: int) -> None:
    """No piece could have taken in the next one, which greedy splitting never leaves undone.

    What two pieces share they hold twice, so together they are at least as large as if they were one, but for
    what is not known before a piece is full: how long its indices are, and its messages. That is bounded from
    above, and the bound is at most one part in twenty too high.
    """
    wasteful = [pair for pair in pairwise(sizes) if sum(pair) <= max_bytes * (1 - BOUND_SLACK)]
    assert wasteful == []
