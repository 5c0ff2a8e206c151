"""The core agrees with its slow twin on whatever can be sent."""

from __future__ import annotations

import dataclasses

from google.protobuf.message import DecodeError
from hypothesis import event, given
from hypothesis import strategies as st
from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest,
)

from otelprof._core import Limits, Profiles
from otelprof.errors import InvalidRequestError, RequestTooLargeError, UnsupportedEncodingError
from tests.reference.compare import (
    assert_agreement,
    assert_conformance,
    on_the_wire,
    rejected,
    rows,
)
from tests.reference.faults import BOUNDS, Faulty, faulty_requests, wire
from tests.reference.fold import fold, top_functions
from tests.reference.generate import mutated_bodies, requests
from tests.reference.meaning import difference, meaning
from tests.reference.normal_form import expected
from tests.reference.permute import permuted
from tests.reference.summary import service_versions, summary
from tests.reference.validate import PlainBounds

SMALL = Limits(**dataclasses.asdict(BOUNDS))
DEFAULT = PlainBounds()
REFUSALS = (InvalidRequestError, RequestTooLargeError, UnsupportedEncodingError)


@given(requests())
def test_valid(request: ExportProfilesServiceRequest) -> None:
    """A valid request is handed on with its meaning, repaired, well formed, without a rejection."""
    profiles = Profiles.decode(request.SerializeToString())

    assert rejected(profiles) == {}
    assert_agreement(profiles, request, DEFAULT)


@given(requests())
def test_again(request: ExportProfilesServiceRequest) -> None:
    """The same bytes give the same bytes; what was handed on is handed on unchanged, without a repair."""
    body = request.SerializeToString()
    first = Profiles.decode(body).to_otlp()
    again = Profiles.decode(first)

    assert first == Profiles.decode(body).to_otlp()
    assert first == again.to_otlp()
    assert again.repairs == {}
    assert again.unknown_fields_dropped == 0


@given(requests(), st.randoms(use_true_random=False))
def test_table_order(request: ExportProfilesServiceRequest, random: object) -> None:
    """The order of the tables changes nothing that a consumer could see."""
    shuffled = permuted(request, random)  # type: ignore[arg-type]  # hypothesis types it as a Random
    first = on_the_wire(Profiles.decode(request.SerializeToString()))
    second = on_the_wire(Profiles.decode(shuffled.SerializeToString()))

    assert difference(meaning(first, with_ids=False), meaning(second, with_ids=False)) == ([], [])


@given(requests())
def test_to_proto(request: ExportProfilesServiceRequest) -> None:
    """`to_proto` says the same as `to_otlp`."""
    profiles = Profiles.decode(request.SerializeToString())

    assert meaning(on_the_wire(profiles)) == meaning(profiles.to_proto())


@given(requests())
def test_summary(request: ExportProfilesServiceRequest) -> None:
    """The summary counts what is handed on."""
    profiles = Profiles.decode(request.SerializeToString())

    assert summary(expected(request, DEFAULT)) == rows(profiles)


@given(requests())
def test_service_versions(request: ExportProfilesServiceRequest) -> None:
    """Versions are told of the services that are handed on."""
    profiles = Profiles.decode(request.SerializeToString())

    assert service_versions(expected(request, DEFAULT)) == profiles.service_versions()


@given(requests(), st.sampled_from([None, "checkout", "unknown_service"]), st.sampled_from([None, "cpu", ""]))
def test_fold(request: ExportProfilesServiceRequest, service: str | None, sample_type: str | None) -> None:
    """Folded stacks and top functions are those of the slow twins, for every service and sample type."""
    profiles = Profiles.decode(request.SerializeToString())
    want = expected(request, DEFAULT)

    assert fold(want, service=service, sample_type=sample_type) == profiles.fold(
        service=service, sample_type=sample_type
    )
    names, frames, ends, values = profiles.stack_columns(service=service, sample_type=sample_type)
    assert {name for stack, _ in profiles.fold(service=service, sample_type=sample_type)
            for name in stack.split(";")} == set(names)  # fmt: skip
    assert len(ends) == len(values)
    assert max(memoryview(frames).cast("I"), default=-1) < len(names)
    for count in (0, 1, 100):
        assert top_functions(want, count, service=service, sample_type=sample_type) == profiles.top_functions(
            count, service=service, sample_type=sample_type
        )


@given(faulty_requests())
def test_fault(faulty: Faulty) -> None:
    """A fault refuses the Profiles that reach it, for its reason; the others are handed on."""
    profiles = Profiles.decode(faulty.body, SMALL)

    assert_agreement(profiles, faulty.request, BOUNDS)


@given(faulty_requests())
def test_fault_messages(faulty: Faulty) -> None:
    """A rejection says in words what is wrong."""
    profiles = Profiles.decode(faulty.body, SMALL)

    assert all(row.message for row in profiles.rejections)
    assert all(row.profile_count > 0 for row in profiles.rejections)


@given(mutated_bodies())
def test_mutated(body: bytes) -> None:
    """Whatever comes is refused whole, or read as the official parser reads it and handed on well formed."""
    try:
        profiles = Profiles.decode(body)
    except REFUSALS as error:
        event(type(error).__name__)
        return
    assert_conformance(on_the_wire(profiles))
    request = ExportProfilesServiceRequest()
    try:
        request.ParseFromString(body)
    except DecodeError:
        event("only the core reads it")
        return
    event("both read it")
    assert_agreement(profiles, request, DEFAULT)


@given(st.binary(max_size=64))
def test_noise(body: bytes) -> None:
    """Noise is refused, or says nothing."""
    try:
        profiles = Profiles.decode(body)
    except REFUSALS:
        return
    assert_conformance(on_the_wire(profiles))


@given(faulty_requests(), faulty_requests())
def test_foreign_dictionary(first: Faulty, second: Faulty) -> None:
    """With many faults at once the refused Profiles are the same, whichever reason is given first."""
    request = ExportProfilesServiceRequest()
    request.CopyFrom(first.request)
    request.resource_profiles.extend(second.request.resource_profiles)
    profiles = Profiles.decode(wire(request), SMALL)

    assert_agreement(profiles, request, BOUNDS)
