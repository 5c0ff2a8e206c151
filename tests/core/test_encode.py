"""What does not change is passed on as it stands, table by table, and nothing else is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest,
)

from otelprof._core import Profiles, Rule
from tests.reference.build import Build
from tests.reference.meaning import meaning

if TYPE_CHECKING:
    from collections.abc import Callable

TRACE_ID, SPAN_ID = b"t" * 16, b"s" * 8


def orphan_link(build: Build) -> None:
    """A Link that no Sample has."""
    build.link(TRACE_ID, SPAN_ID)


def orphan_location(build: Build) -> None:
    """A Location that no Stack holds, in front of the others."""
    build.request.dictionary.location_table.add(address=1)


@pytest.mark.parametrize(
    ("add_orphan", "stack"),
    [(orphan_link, b"\x3a\x02\x08\x01"), (orphan_location, b"\x3a\x03\x0a\x01\x01")],
)
def test_tables(add_orphan: Callable[[Build], None], stack: bytes) -> None:
    """A table is passed on while its entries and what they refer to keep their indices; others may go.

    The Stack comes unpacked, which is right and not how the core writes.
    """
    build = Build()
    add_orphan(build)
    build.sample(build.profile(build.scope(), b"p" * 16), 1)
    tables = build.request.dictionary
    (location,) = tables.stack_table[1].location_indices
    sent = ExportProfilesServiceRequest(resource_profiles=build.request.resource_profiles).SerializeToString()
    del tables.stack_table[:]
    dictionary = tables.SerializeToString() + b"\x3a\x00\x3a\x02\x08" + bytes([location])
    sent += b"\x12" + bytes([len(dictionary)]) + dictionary

    written = Profiles.decode(sent).to_otlp()

    assert written.endswith(b"\x3a\x00" + stack)
    assert meaning(ExportProfilesServiceRequest.FromString(sent)) == meaning(
        ExportProfilesServiceRequest.FromString(written)
    )


@pytest.mark.parametrize(("threshold", "bound"), [(-1, 0), (2**56, 0), (2**64, 0), (0, -1), (0, 2**64)])
def test_numbers_of_a_rule(threshold: int, bound: int) -> None:
    """A threshold or bound that is none is refused by its value, on both ends."""
    with pytest.raises(ValueError, match="is allowed"):
        Rule("sample", threshold=threshold, bound=bound)
