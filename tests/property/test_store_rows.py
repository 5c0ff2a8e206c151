"""A request that becomes rows of the store's tables and comes back says all that the store keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given, reject

from otelprof._core import Profiles, WrittenSymbols
from otelprof.errors import AmbiguousRevisionError, InvalidRequestError, RequestTooLargeError
from otelprof.testing.contract import small_profiles
from tests.recordings import name, recordings
from tests.reference.compare import on_the_wire
from tests.reference.generate import requests
from tests.reference.store import stored

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
        ExportProfilesServiceRequest,
    )
    from opentelemetry.proto.profiles.v1development.profiles_pb2 import Profile

NOW: Final = 1_700_000_000_123_456_789


def decoded(request: ExportProfilesServiceRequest) -> Profiles:
    """A generated request; one that two revisions read differently is no example."""
    try:
        return Profiles.decode(request.SerializeToString())
    except AmbiguousRevisionError:
        reject()


def through_tables(profiles: Profiles) -> Profiles:
    """A request as rows, and those as a request again."""
    tables = profiles.to_tables(WrittenSymbols(max_symbols=1_000_000), now_unix_nano=NOW)
    return Profiles.from_tables(tables.samples, tables.stacks, tables.frames, tables.labels)


@given(requests())
def test_there_and_back(request: ExportProfilesServiceRequest) -> None:
    """What was stored and read again says what the slow twin says of the request, and nothing else."""
    profiles = decoded(request)
    again = through_tables(profiles)
    assert stored(on_the_wire(profiles), NOW) == stored(on_the_wire(again), NOW)


@pytest.mark.parametrize("path", recordings(), ids=name)
def test_a_recording_there_and_back(path: Path) -> None:
    """So does every recording."""
    profiles = Profiles.decode(path.read_bytes())
    again = through_tables(profiles)
    assert stored(on_the_wire(profiles), NOW) == stored(on_the_wire(again), NOW)
    assert through_tables(again).fold() == again.fold()


@given(requests())
def test_a_symbol_is_written_once(request: ExportProfilesServiceRequest) -> None:
    """What a writer has written comes in no later request of the same day; the samples still do."""
    profiles = decoded(request)
    written = WrittenSymbols(max_symbols=1_000_000)
    first = profiles.to_tables(written, now_unix_nano=NOW)
    again = profiles.to_tables(written, now_unix_nano=NOW)
    # Until it says so: what a failed request held must be written by the next.
    assert len(first.stacks) == len(again.stacks)
    written.remember(first)
    later = profiles.to_tables(written, now_unix_nano=NOW)
    assert [0, 0, 0] == [len(later.stacks), len(later.frames), len(later.labels)]
    assert len(first.samples) == len(later.samples)
    if len(first.samples):
        assert len(first.stacks) > 0
        assert len(first.labels) > 0


def test_rows_that_refer_to_nothing_are_refused() -> None:
    """A sample whose stack is not there is an error, and not a sample without a stack."""
    profiles = Profiles.from_folded(b"main;work 7\n")
    written = WrittenSymbols(max_symbols=10)
    tables = profiles.to_tables(written, now_unix_nano=NOW)
    written.remember(tables)
    later = profiles.to_tables(written, now_unix_nano=NOW)
    with pytest.raises(InvalidRequestError, match="is not in stacks"):
        Profiles.from_tables(tables.samples, later.stacks, tables.frames, tables.labels)
    with pytest.raises(InvalidRequestError, match="is not in frames"):
        Profiles.from_tables(tables.samples, tables.stacks, later.frames, tables.labels)


DAY: Final = 86_400 * 10**9


def test_days_of_one_request() -> None:
    """Each day is a file of every table: of a hundred days at most, the others count as now."""
    message = build_request(10**6)
    for day in range(1, 201):
        profile = message.resource_profiles[0].scope_profiles[0].profiles.add()
        profile.CopyFrom(message.resource_profiles[0].scope_profiles[0].profiles[0])
        profile.profile_id = day.to_bytes(16)
        profile.time_unix_nano = day * DAY
    again = through_tables(Profiles.decode(message.SerializeToString()))
    starts = [one.time_unix_nano for one in profiles_in(again)]
    assert {*(day * DAY for day in range(1, 100)), 10**6, NOW // 1000 * 1000} == set(starts)
    assert again.fold() == Profiles.decode(message.SerializeToString()).fold()


def test_rows_that_repeat_too_much() -> None:
    """A resource is repeated in each set of labels: a request that grows a thousand times is refused."""
    message = build_request(NOW)
    attribute = message.resource_profiles[0].resource.attributes.add(key="hostile")
    attribute.value.string_value = "x" * 1_000_000
    tables = message.dictionary
    key, samples = (
        len(tables.string_table),
        message.resource_profiles[0].scope_profiles[0].profiles[0].samples,
    )
    tables.string_table.append("thread.id")
    for number in range(2_000):
        tables.attribute_table.add(key_strindex=key).value.int_value = number
        sample = samples.add()
        sample.CopyFrom(samples[0])
        sample.attribute_indices.append(len(tables.attribute_table) - 1)
    profiles = Profiles.decode(message.SerializeToString())
    with pytest.raises(RequestTooLargeError, match="take more than 1073741824 bytes"):
        through_tables(profiles)


def build_request(start: int) -> ExportProfilesServiceRequest:
    """One Profile with one Sample."""
    message = on_the_wire(small_profiles())
    message.resource_profiles[0].scope_profiles[0].profiles[0].time_unix_nano = start
    return message


def profiles_in(profiles: Profiles) -> Iterable[Profile]:
    """All of them."""
    return (
        one for group in on_the_wire(profiles).resource_profiles for one in group.scope_profiles[0].profiles
    )


def test_few_symbols_are_remembered() -> None:
    """A writer's memory of symbols is bounded: more are forgotten, and written again."""
    written = WrittenSymbols(max_symbols=8)
    for number in range(50):
        profiles = Profiles.from_folded(f"main;work{number} 7\n".encode())
        written.remember(profiles.to_tables(written, now_unix_nano=NOW))
        assert len(written) <= 8
