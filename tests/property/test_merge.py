"""The laws of a merge, on whatever can be sent: it means the sum, says it once, and always the same."""

from __future__ import annotations

import contextlib
import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest,
)

from otelprof._core import Limits, Merger, Profiles
from otelprof.errors import InvalidRequestError, RequestTooLargeError, UnsupportedEncodingError
from tests.reference.batches import batches
from tests.reference.compare import on_the_wire, rejected, rows
from tests.reference.faults import BOUNDS, Faulty, faulty_requests
from tests.reference.fold import fold, top_functions
from tests.reference.generate import mutated_bodies
from tests.reference.graft import example
from tests.reference.meaning import difference
from tests.reference.merged import combined_meaning, merge_violations, removed, table_sizes
from tests.reference.normal_form import expected
from tests.reference.summary import summary
from tests.reference.tables import TABLES, profiles_of
from tests.reference.validate import PlainBounds

SMALL = Limits(**dataclasses.asdict(BOUNDS))
REFUSALS = (InvalidRequestError, RequestTooLargeError, UnsupportedEncodingError)
HALF = settings(max_examples=settings().max_examples // 2)
"""For laws that take long to look at."""
Requests = list[ExportProfilesServiceRequest]


def decoded(requests: Requests) -> list[Profiles]:
    """What the core reads of requests."""
    return [Profiles.decode(request.SerializeToString()) for request in requests]


@given(batches())
def test_meaning(requests: Requests) -> None:
    """A merge means what its requests mean together, and says it without anything to spare."""
    handles = decoded(requests)
    merged = on_the_wire(Merger().merge(handles))
    wanted = [expected(request, PlainBounds()) for request in requests]

    assert [] == merge_violations(merged)
    assert ([], []) == difference(combined_meaning(map(on_the_wire, handles)), combined_meaning([merged]))
    assert ([], []) == difference(
        combined_meaning(wanted, with_ids=False), combined_meaning([merged], with_ids=False)
    )


@HALF
@given(batches())
def test_again(requests: Requests) -> None:
    """What was merged is merged to the same bytes again, and read without repair, rejection or change."""
    once = Merger().merge(decoded(requests))
    body = once.to_otlp()
    read = Profiles.decode(body)

    assert body == Merger().merge([once]).to_otlp()
    assert body == Merger().merge([read]).to_otlp()
    assert body == read.to_otlp()
    assert {} == read.repairs
    assert {} == rejected(read)


@HALF
@given(batches(), st.randoms(use_true_random=False))
def test_order(requests: Requests, random: object) -> None:
    """The order of the requests changes the order of what a merge says, and nothing else."""
    handles = decoded(requests)
    shuffled = list(handles)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis types it as a Random
    first, second = (on_the_wire(Merger().merge(way)) for way in (handles, shuffled))

    assert ([], []) == difference(combined_meaning([first]), combined_meaning([second]))
    assert table_sizes(first) == table_sizes(second)


@HALF
@given(batches(), batches())
def test_warm(earlier: Requests, requests: Requests) -> None:
    """What a Merger remembers of other requests changes no byte; the same requests give the same bytes."""
    handles = decoded(requests)
    warm = Merger()
    warm.merge(handles[:1])
    warm.merge(decoded(earlier))
    body = Merger().merge(handles).to_otlp()

    assert body == Merger().merge(decoded(requests)).to_otlp()
    assert body == warm.merge(handles).to_otlp()
    assert body == warm.merge(decoded(requests)).to_otlp()


@HALF
@given(batches())
def test_parts(requests: Requests) -> None:
    """A merge of merges means what a merge of all means, in tables of the same size."""
    handles = decoded(requests)
    halves = [Merger().merge(handles[:2]), Merger().merge(handles[2:])]
    whole, parts = (on_the_wire(Merger().merge(way)) for way in (handles, halves))

    assert ([], []) == difference(combined_meaning([whole]), combined_meaning([parts]))
    assert table_sizes(whole) == table_sizes(parts)


@given(batches())
def test_removed(requests: Requests) -> None:
    """A merge counts, for each table, the entries that nothing led to and those that were there already."""
    merged = Merger().merge(decoded(requests))
    again = Merger().merge([merged])
    wanted = removed(requests, on_the_wire(merged))

    assert wanted.orphans == by_table(merged.orphans_removed)
    assert wanted.duplicates == by_table(merged.duplicates_removed)
    assert not any((again.orphans_removed | again.duplicates_removed).values())


def by_table(counts: dict[str, int]) -> dict[str, int]:
    """Counts with a row for every table."""
    return {**dict.fromkeys(TABLES, 0), **counts}


@HALF
@given(batches())
def test_views(requests: Requests) -> None:
    """Every view of a merge shows what it hands on."""
    merged = Merger().merge(decoded(requests))
    want = on_the_wire(merged)

    assert summary(want) == rows(merged)
    assert fold(want) == merged.fold()
    assert top_functions(want, 100) == merged.top_functions(100)
    assert want == merged.to_proto()
    assert sum(1 for _ in profiles_of(want)) == merged.profile_count
    assert sum(len(profile.samples) for *_, profile in profiles_of(want)) == merged.sample_count
    assert {} == merged.repairs
    assert {} == rejected(merged)


@given(st.lists(faulty_requests(), max_size=3))
def test_refused(requests: list[Faulty]) -> None:
    """What was refused in a request is not in a merge; what only it led to counts as an orphan."""
    handles = [Profiles.decode(faulty.body, SMALL) for faulty in requests]
    merged = Merger().merge(handles)
    out = on_the_wire(merged)

    assert ([], []) == difference(combined_meaning(map(on_the_wire, handles)), combined_meaning([out]))
    assert [] == merge_violations(out)
    assert {} == rejected(merged)
    assert removed((faulty.request for faulty in requests), out, BOUNDS).orphans == by_table(
        merged.orphans_removed
    )


@HALF
@given(st.lists(mutated_bodies(), min_size=1, max_size=3))
def test_mutated(bodies: list[bytes]) -> None:
    """Whatever the core reads it merges to something well formed."""
    handles = []
    for body in bodies:
        with contextlib.suppress(*REFUSALS):
            handles.append(Profiles.decode(body))
    out = on_the_wire(Merger().merge(handles))

    assert [] == merge_violations(out)
    assert ([], []) == difference(combined_meaning(map(on_the_wire, handles)), combined_meaning([out]))


def test_nothing() -> None:
    """A merge of nothing, or of requests without Profiles, is empty."""
    orphan = ExportProfilesServiceRequest()
    orphan.dictionary.string_table.extend(["", "orphan"])
    nothing = [ExportProfilesServiceRequest(), orphan]
    merges = [Merger().merge([]), Merger().merge(decoded(nothing)), Merger().merge(decoded(nothing[:1]))]

    assert [b""] * 3 == [merged.to_otlp() for merged in merges]
    assert [0] * 3 == [merged.profile_count for merged in merges]
    assert [0] * 3 == [merged.sample_count for merged in merges]


@pytest.mark.parametrize(
    ("values", "sample_counts"),
    [
        ([2**63 - 1, 1, -5], {1}),
        ([-(2**63), -1, 1], {1}),
        ([1, 2, -3], {1}),
        ([2**63 - 1, 1], {2}),
        ([-(2**63), -1, -1], {2}),
        ([2**63 - 1, 2**63 - 1, 2**63 - 1], {3}),
        ([2**63 - 1, 1, -5, 10], {2, 3, 4}),
    ],
)
def test_overflow(values: list[int], sample_counts: set[int]) -> None:
    """Values of one identity become one Sample if it can hold their sum, and keep their sum if it cannot."""
    request = example()
    samples = request.resource_profiles[0].scope_profiles[0].profiles[0].samples
    samples[0].values[:] = values[:1]
    for value in values[1:]:
        samples.add().CopyFrom(samples[0])
        samples[-1].values[:] = [value]
    once = Merger().merge(decoded([request]))
    kept = on_the_wire(once).resource_profiles[0].scope_profiles[0].profiles[0].samples

    assert sum(values) == sum(value for sample in kept for value in sample.values)
    assert len(kept) in sample_counts
    assert once.to_otlp() == Merger().merge([once]).to_otlp()
