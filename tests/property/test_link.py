"""The laws of linkage: ids in attributes become a Link, what is linked stays, and all is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otelprof._core import LINK_STATES, Profiles
from tests.recordings import OWN, name, recordings
from tests.reference.build import Build, Plain
from tests.reference.compare import assert_conformance, on_the_wire
from tests.reference.generate import requests
from tests.reference.linkage import DEFAULT_NAMES, Coverage, linked
from tests.reference.meaning import difference, meaning
from tests.reference.selected import assert_read_again, totals

if TYPE_CHECKING:
    from pathlib import Path

    from hypothesis.strategies import DrawFn
    from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
        ExportProfilesServiceRequest,
    )

    from otelprof._core import Linked

FEWER = settings(max_examples=settings().max_examples // 2)
"""For laws that take long to look at."""
RECORDINGS = [path for path in recordings() if OWN in path.parents]
TRACE, SPAN = b"T" * 16, b"S" * 8
TRACE_TEXTS = [TRACE.hex(), TRACE.hex().upper(), "0123456789abcdef" * 2, "0" * 32]
SPAN_TEXTS = [SPAN.hex(), "0" * 16, "0", "7", "007", "18446744073709551615", "18446744073709551616", "1" * 16]
ODD: list[Plain | None] = ["", "x", "+5", "-5", " 7", "0x7", "\u0667", b"", b"x", True, 1.5, None]
ODD += [-(2**63), 0, 7]
VALUES: st.SearchStrategy[Plain | None] = st.sampled_from(
    [*TRACE_TEXTS, *SPAN_TEXTS, *ODD, TRACE, SPAN, bytes(16), bytes(8)]
)
TRACE_VALUES: st.SearchStrategy[Plain | None] = st.one_of(st.sampled_from([*TRACE_TEXTS, TRACE]), VALUES)
SPAN_VALUES: st.SearchStrategy[Plain | None] = st.one_of(st.sampled_from([*SPAN_TEXTS, SPAN, 7]), VALUES)
LINKS = st.sampled_from([None, None, (TRACE, SPAN), (TRACE, bytes(8)), (bytes(16), SPAN)])


@st.composite
def labelled_requests(draw: DrawFn) -> ExportProfilesServiceRequest:
    """A request whose Samples have ids in their Links, in their attributes, or in both."""
    build = Build()
    for service in draw(st.sampled_from([("checkout",), ("checkout", "cart")])):
        profile = build.profile(
            build.scope({"service.name": service}), sample_type=draw(st.sampled_from(["cpu", ""]))
        )
        for _ in range(draw(st.integers(0, 4))):
            attributes: dict[str, Plain | None] = {"thread": 1}
            for key in draw(st.lists(st.sampled_from(DEFAULT_NAMES), max_size=3, unique=True)):
                attributes[key] = draw(TRACE_VALUES if "trace" in key else SPAN_VALUES)
            build.sample(profile, draw(st.integers(-3, 9)), link=draw(LINKS), attributes=attributes)
    return build.request


NAMES = st.one_of(
    st.just(DEFAULT_NAMES),
    st.just(()),
    st.lists(st.sampled_from(DEFAULT_NAMES), unique=True).map(tuple),
)


def coverage_of(found: Linked) -> Coverage:
    """The rows of a coverage; there is one for each of its keys."""
    rows = {
        (row.service, row.sample_type, row.state): (row.sample_count, row.value) for row in found.coverage
    }
    assert len(rows) == len(found.coverage)
    return rows


def assert_linked(profiles: Profiles, names: tuple[str, ...]) -> None:
    """The core finds the links that the reference finds, and counts them alike."""
    found = profiles.link(names)
    wanted = linked(on_the_wire(profiles), names)
    out = on_the_wire(found.profiles)

    assert ([], []) == difference(meaning(wanted.request), meaning(out))
    assert wanted.coverage == coverage_of(found)
    assert wanted.conflict_count == found.conflict_count
    assert_conformance(out)
    assert_read_again(found.profiles)


@given(labelled_requests(), NAMES)
def test_labelled(request: ExportProfilesServiceRequest, names: tuple[str, ...]) -> None:
    """Two ids in attributes become a Link and are gone, a Link that is there stays, and each is counted."""
    assert_linked(Profiles.decode(request.SerializeToString()), names)


@given(requests(), st.lists(st.sampled_from(["main", "cpu", "a;b", "", "trace"]), unique=True).map(tuple))
def test_anything(request: ExportProfilesServiceRequest, names: tuple[str, ...]) -> None:
    """Whatever is sent, links are found as the reference finds them."""
    assert_linked(Profiles.decode(request.SerializeToString()), names)


@pytest.mark.parametrize("path", RECORDINGS, ids=name)
def test_recording(path: Path) -> None:
    """The links of a recording are those that the reference finds."""
    assert_linked(Profiles.decode(path.read_bytes()), DEFAULT_NAMES)


def test_recorded_labels() -> None:
    """The recordings with a Go service have ids in attributes, and all of them become Links."""
    states = [
        row.state
        for path in RECORDINGS
        if path.parent.name == "ebpf-linked"
        for row in Profiles.decode(path.read_bytes()).link(DEFAULT_NAMES).coverage
    ]

    assert {"linked", "recovered", "missing"} == set(states)


@FEWER
@given(st.one_of(labelled_requests(), requests()), NAMES)
def test_twice(request: ExportProfilesServiceRequest, names: tuple[str, ...]) -> None:
    """Linking twice is linking once: the same bytes, and what was recovered is linked."""
    once = Profiles.decode(request.SerializeToString()).link(names)
    twice = once.profiles.link(names)
    merged: Coverage = {}
    for (service, sample_type, state), (count, value) in coverage_of(once).items():
        key = (service, sample_type, "linked" if state == "recovered" else state)
        before = merged.get(key, (0, 0))
        merged[key] = (before[0] + count, before[1] + value)

    assert once.profiles.to_otlp() == twice.profiles.to_otlp()
    assert merged == coverage_of(twice)


@FEWER
@given(st.one_of(labelled_requests(), requests()), NAMES)
def test_totals(request: ExportProfilesServiceRequest, names: tuple[str, ...]) -> None:
    """Linking changes no total, and coverage adds up to the Samples and the values of the request."""
    profiles = Profiles.decode(request.SerializeToString())
    found = profiles.link(names)

    assert totals(on_the_wire(profiles)) == totals(on_the_wire(found.profiles))
    assert profiles.sample_count == sum(row.sample_count for row in found.coverage)
    assert sum(row.value for row in profiles.summary) == sum(row.value for row in found.coverage)
    assert {row.state for row in found.coverage} <= set(LINK_STATES)
    assert all(row.sample_count for row in found.coverage)


@FEWER
@given(st.one_of(labelled_requests(), requests()))
def test_looking(request: ExportProfilesServiceRequest) -> None:
    """Without names nothing changes, byte for byte."""
    profiles = Profiles.decode(request.SerializeToString())

    assert profiles.to_otlp() == profiles.link(()).profiles.to_otlp()


@FEWER
@given(labelled_requests(), st.randoms(use_true_random=False))
def test_attribute_order(request: ExportProfilesServiceRequest, random: object) -> None:
    """The order of a Sample's attributes says nothing: it changes no Link and no count."""
    profiles = Profiles.decode(request.SerializeToString())
    shuffled = type(request)()
    shuffled.CopyFrom(request)
    for resource_profiles in shuffled.resource_profiles:
        for sample in resource_profiles.scope_profiles[0].profiles[0].samples:
            indices = list(sample.attribute_indices)
            random.shuffle(indices)  # type: ignore[attr-defined]  # hypothesis types it as a Random
            sample.attribute_indices[:] = indices
    first = profiles.link(DEFAULT_NAMES)
    second = Profiles.decode(shuffled.SerializeToString()).link(DEFAULT_NAMES)
    told = [meaning(on_the_wire(found.profiles), with_ids=False) for found in (first, second)]

    assert ([], []) == difference(*told)
    assert coverage_of(first) == coverage_of(second)


@pytest.mark.parametrize(
    ("link", "state"),
    [((TRACE, bytes(8)), "no_span_id"), ((bytes(16), SPAN), "no_trace_id"), (None, "missing")],
)
def test_half_a_link(link: tuple[bytes, bytes] | None, state: str) -> None:
    """A Link with one id says which one is missing."""
    build = Build()
    build.sample(build.profile(build.scope()), 1, link=link)
    found = Profiles.decode(build.body).link(DEFAULT_NAMES)

    assert [state] == [row.state for row in found.coverage]
