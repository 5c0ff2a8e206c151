"""The oracle of merge and split, held against itself: it sees what is wrong, and lets pass what is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest,
)

from tests.reference.batches import RANDOMS, batches, reworded
from tests.reference.generate import requests
from tests.reference.graft import example
from tests.reference.meaning import meaning
from tests.reference.merged import combined_meaning, merge_violations, removed
from tests.reference.pieces import assert_whole, parts, without_samples
from tests.reference.tables import TABLES, profiles_of
from tests.reference.validate import PlainBounds, rejections

if TYPE_CHECKING:
    from random import Random

Change = Callable[[Any], Any]


def duplicate(table: str) -> Change:
    """Repeat the last entry of a table, so that something refers to each of the two."""

    def change(request: Any) -> None:
        entries = getattr(request.dictionary, table)
        entries.append(entries[-1])
        place = len(entries) - 1
        tables = request.dictionary
        sample = request.resource_profiles[1].scope_profiles[0].profiles[0].samples[0]
        holders: dict[str, Change] = {
            "stack_table": lambda at: setattr(sample, "stack_index", at),
            "link_table": lambda at: setattr(sample, "link_index", at),
            "attribute_table": lambda at: sample.attribute_indices.__setitem__(0, at),
            "location_table": tables.stack_table[1].location_indices.append,
            "function_table": lambda at: tables.location_table[1].lines.add(function_index=at),
            "mapping_table": lambda at: (
                tables.location_table.add(mapping_index=at),
                tables.stack_table[1].location_indices.append(2),
            ),
            "string_table": lambda at: setattr(tables.function_table[1], "filename_strindex", at),
        }
        holders[table](place)

    return change


def as_first(request: Any) -> None:
    """Give the second resource the value of the first."""
    request.resource_profiles[1].resource.CopyFrom(request.resource_profiles[0].resource)


def as_first_by_reference(request: Any) -> None:
    """Give the second resource the value of the first, in other words."""
    as_first(request)
    request.dictionary.string_table.append("first")
    request.resource_profiles[1].resource.attributes[0].value.string_value_strindex = 2


def same_scope(request: Any) -> None:
    """Put a second scope of the same value in a resource."""
    scopes = request.resource_profiles[0].scope_profiles
    scopes.add().CopyFrom(scopes[0])


def same_identity(request: Any) -> None:
    """Put a second Sample of the same identity in a Profile."""
    samples = request.resource_profiles[0].scope_profiles[0].profiles[0].samples
    samples.add().CopyFrom(samples[0])


def seldom_first(request: Any) -> None:
    """Put an entry in front that is used once, before one that is used twice."""
    links = request.dictionary.link_table
    links.add().CopyFrom(links[1])
    links[1].span_id = b"seldom.."
    profiles = [profile for *_, profile in profiles_of(request)]
    profiles[0].samples[0].link_index = profiles[1].samples[0].link_index = 2
    profiles[1].samples.add(stack_index=1, link_index=1, values=[1])


WRONG: dict[str, tuple[Change, str]] = {
    **{f"duplicate in {table}": (duplicate(table), f"{table}[2] means the same as [1]") for table in TABLES},
    "orphan": (lambda request: request.dictionary.string_table.append("x"), "string_table[2] is an orphan"),
    "resource": (as_first, "resource_profiles[1] means the same as [0]"),
    "resource by reference": (as_first_by_reference, "resource_profiles[1] means the same as [0]"),
    "scope": (same_scope, "resource_profiles[0].scope_profiles[1] means the same as [0]"),
    "identity": (
        same_identity,
        "resource_profiles[0].scope_profiles[0].profiles[0]: samples [0, 1] have one identity",
    ),
    "order": (seldom_first, "link_table[2] is used 2 times, and the entry before it 1 times"),
}


@pytest.mark.parametrize(("change", "words"), WRONG.values(), ids=WRONG.keys())
def test_wrong(change: Change, words: str) -> None:
    """Whatever a merge can leave undone is named, and what is as it must be is not."""
    request = example()
    assert [] == merge_violations(request)

    change(request)
    assert words in merge_violations(request)


@given(requests(), RANDOMS)
def test_reworded(request: ExportProfilesServiceRequest, random: Random) -> None:
    """A reworded request is valid, and means the same."""
    other = reworded(request, random)

    assert {} == rejections(other, PlainBounds())
    assert meaning(request) == meaning(other)


@given(batches())
def test_batches(batch: list[ExportProfilesServiceRequest]) -> None:
    """Every request of a batch is valid; a batch means what its requests mean, one by one."""
    counted = sum(count for request in batch for _, count in combined_meaning([request]))

    assert [{}] * len(batch) == [rejections(request, PlainBounds()) for request in batch]
    assert counted == sum(count for _, count in combined_meaning(batch))


@pytest.mark.parametrize(
    ("first", "second", "is_same"),
    [
        ([([5], [])], [([2], []), ([3], [])], True),
        ([([5], [])], [([2], []), ([2], [])], False),
        ([([], [7, 7, 8])], [([], [7, 8]), ([], [7])], True),
        ([([], [7, 8])], [([], [7]), ([], [7])], False),
        ([([1, 2], [7, 8])], [([2], [8]), ([1], [7])], True),
        ([([1, 2], [7, 8])], [([1], [8]), ([2], [7])], False),
        ([([2], [7])], [([1], [7]), ([1], [7])], False),
    ],
)
def test_shapes(first: Any, second: Any, is_same: bool) -> None:  # noqa: FBT001 - the expectation
    """Samples of one identity mean their sum, their timestamps, or their pairs, whatever the shape is."""
    told = []
    for observations in (first, second):
        request = example()
        samples = request.resource_profiles[0].scope_profiles[0].profiles[0].samples
        pattern = samples.pop()
        for values, timestamps in observations:
            samples.add().CopyFrom(pattern)
            samples[-1].values[:] = values
            samples[-1].timestamps_unix_nano[:] = timestamps
        told.append(combined_meaning([request]))

    assert is_same == (told[0] == told[1])


def test_removed() -> None:
    """Of two requests that say the same, one half is removed as duplicates, and what is unused as orphans."""
    request, merged = example(), example()
    request.dictionary.mapping_table.add()
    left_out = removed([request, request], merged)

    assert {table: 2 if table == "mapping_table" else 0 for table in TABLES} == left_out.orphans
    assert dict.fromkeys(TABLES, 1) == left_out.duplicates


def cut_in_two() -> tuple[list[Any], list[Any]]:
    """A Profile of two samples, whole and cut, as `parts` tells them."""
    whole = example()
    del whole.resource_profiles[1]
    profile = whole.resource_profiles[0].scope_profiles[0].profiles[0]
    profile.profile_id, profile.original_payload = b"1" * 16, b"payload"
    profile.samples.add(values=[1])
    second = without_samples(profile)
    second.samples.append(profile.samples[1])
    second.profile_id, second.original_payload = b"2" * 16, b""
    cut = ExportProfilesServiceRequest()
    cut.CopyFrom(whole)
    profiles = cut.resource_profiles[0].scope_profiles[0].profiles
    del profiles[0].samples[1]
    profiles.append(second)
    return parts(whole), parts(cut)


def test_cut() -> None:
    """A Profile that was cut as it must be passes."""
    assert_whole(*cut_in_two())


@pytest.mark.parametrize(
    "change",
    [
        lambda cut: cut.pop(),
        lambda cut: cut.reverse(),
        lambda cut: cut.append(cut[1]),
        lambda cut: cut[0].samples.append(cut[1].samples[0]),
        lambda cut: cut.__setitem__(1, cut[1]._replace(profile_id=cut[0].profile_id)),
        lambda cut: cut.__setitem__(1, cut[1]._replace(profile_id=bytes(16))),
        lambda cut: cut.__setitem__(1, cut[1]._replace(profile_id=b"short")),
        lambda cut: cut.__setitem__(1, cut[1]._replace(payload=cut[0].payload)),
        lambda cut: cut.__setitem__(0, cut[0]._replace(payload=cut[1].payload)),
        lambda cut: cut.__setitem__(1, cut[1]._replace(head=cut[1].head._replace(period=7))),
        lambda cut: cut.insert(1, cut[1]._replace(samples=[])),
    ],
    ids=[
        "lost",
        "order",
        "twice",
        "in both",
        "id",
        "zero id",
        "short id",
        "payload",
        "no payload",
        "head",
        "empty",
    ],
)
def test_cut_badly(change: Change) -> None:
    """Whatever can be wrong with the parts of a Profile is seen."""
    whole, cut = cut_in_two()
    change(cut)

    with pytest.raises((AssertionError, IndexError)):
        assert_whole(whole, cut)
