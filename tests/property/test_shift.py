"""Requests at another time, and where their bytes are: the core agrees with its slow twins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelprof._core import Profiles
from tests.recordings import name, recordings
from tests.reference.compare import on_the_wire
from tests.reference.conformance import violations
from tests.reference.generate import requests
from tests.reference.meaning import meaning
from tests.reference.shift import RANGE, shift, window
from tests.reference.table_bytes import table_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
        ExportProfilesServiceRequest,
    )

NANOS = st.one_of(
    st.integers(-(10**19), 10**19),
    st.integers(-100, 100),
    st.sampled_from([RANGE, -RANGE, RANGE - 1, 2**126]),
)


@given(requests(), NANOS)
def test_shifted(request: ExportProfilesServiceRequest, nanos: int) -> None:
    """All times move by the same, or nothing does when one would leave its range; nothing else changes."""
    profiles = Profiles.decode(request.SerializeToString())
    expected = on_the_wire(profiles)
    assert window(expected) == profiles.window
    try:
        shift(expected, nanos)
    except ValueError:
        with pytest.raises(ValueError, match="leaves the 64 bits of unix nanoseconds"):
            profiles.shifted(nanos)
        return
    shifted = profiles.shifted(nanos)
    assert meaning(expected) == meaning(on_the_wire(shifted))
    assert window(expected) == shifted.window
    assert violations(on_the_wire(profiles)) == violations(on_the_wire(shifted))


@given(requests())
def test_table_bytes(request: ExportProfilesServiceRequest) -> None:
    """Every byte that is written stands in one part."""
    profiles = Profiles.decode(request.SerializeToString())
    assert table_bytes(profiles.to_otlp()) == profiles.table_bytes
    assert len(profiles.to_otlp()) == sum(profiles.table_bytes.values())


@pytest.mark.parametrize("path", recordings(), ids=name)
def test_recording(path: Path) -> None:
    """So it is on recordings."""
    profiles = Profiles.decode(path.read_bytes())
    expected = on_the_wire(profiles)
    assert table_bytes(profiles.to_otlp()) == profiles.table_bytes
    shift(expected, 10**15)
    assert meaning(expected) == meaning(on_the_wire(profiles.shifted(10**15)))
