"""A request that becomes rows of the store's tables and comes back says all that the store keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given

from otelprof._core import Profiles, WrittenSymbols
from otelprof.errors import InvalidRequestError
from tests.recordings import name, recordings
from tests.reference.compare import on_the_wire
from tests.reference.generate import requests
from tests.reference.store import stored

if TYPE_CHECKING:
    from pathlib import Path

    from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
        ExportProfilesServiceRequest,
    )

NOW: Final = 1_700_000_000_123_456_789


def through_tables(profiles: Profiles) -> Profiles:
    """A request as rows, and those as a request again."""
    tables = profiles.to_tables(WrittenSymbols(max_symbols=1_000_000), now_unix_nano=NOW)
    return Profiles.from_tables(tables.samples, tables.stacks, tables.frames, tables.labels)


@given(requests())
def test_there_and_back(request: ExportProfilesServiceRequest) -> None:
    """What was stored and read again says what the slow twin says of the request, and nothing else."""
    profiles = Profiles.decode(request.SerializeToString())
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
    profiles = Profiles.decode(request.SerializeToString())
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


def test_few_symbols_are_remembered() -> None:
    """A writer's memory of symbols is bounded: more are forgotten, and written again."""
    written = WrittenSymbols(max_symbols=8)
    for number in range(50):
        profiles = Profiles.from_folded(f"main;work{number} 7\n".encode())
        written.remember(profiles.to_tables(written, now_unix_nano=NOW))
        assert len(written) <= 8
