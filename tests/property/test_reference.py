"""The oracle, held against itself: what cannot be trusted cannot judge."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest,
)

from tests.recordings import name, parsed, recordings
from tests.reference.conformance import violations
from tests.reference.faults import BOUNDS, FAULTS, Fault, Faulty, Injection, faulty_requests, inject
from tests.reference.generate import requests
from tests.reference.meaning import meaning
from tests.reference.normal_form import expected
from tests.reference.permute import permuted
from tests.reference.validate import REASONS, PlainBounds, rejections

if TYPE_CHECKING:
    from pathlib import Path

DIFFERENCES: dict[str, Injection] = {
    "string": lambda graft: graft.tables.string_table.__setitem__(graft.string, "other"),
    "link": lambda graft: setattr(graft.link, "span_id", b"u" * 8),
    "no link": lambda graft: setattr(graft.sample, "link_index", 0),
    "frame": lambda graft: graft.stack.location_indices.append(graft.location_index),
    "no stack": lambda graft: setattr(graft.sample, "stack_index", 0),
    "address": lambda graft: setattr(graft.location, "address", 6),
    "mapping": lambda graft: setattr(graft.mapping, "file_offset", 1),
    "mapping attribute": lambda graft: graft.mapping.attribute_indices.append(graft.attribute_index),
    "location attribute": lambda graft: graft.location.attribute_indices.append(graft.attribute_index),
    "line": lambda graft: setattr(graft.line, "line", 4),
    "column": lambda graft: setattr(graft.line, "column", 4),
    "function": lambda graft: setattr(graft.function, "start_line", 4),
    "unit": lambda graft: setattr(graft.attribute, "unit_strindex", 0),
    "attribute kind int": lambda graft: setattr(graft.attribute.value, "int_value", 1),
    "attribute kind double": lambda graft: setattr(graft.attribute.value, "double_value", 1.0),
    "attribute kind bool": lambda graft: setattr(graft.attribute.value, "bool_value", True),
    "attribute kind bytes": lambda graft: setattr(graft.attribute.value, "bytes_value", b"graft"),
    "attribute kind array": lambda graft: graft.attribute.value.array_value.values.add(string_value="graft"),
    "value": lambda graft: graft.sample.values.append(1),
    "timestamp": lambda graft: graft.sample.timestamps_unix_nano.append(1),
    "profile attribute": lambda graft: graft.profile.attribute_indices.append(graft.attribute_index),
    "sample type": lambda graft: setattr(graft.profile.sample_type, "type_strindex", graft.string),
    "period type": lambda graft: setattr(graft.profile.period_type, "unit_strindex", graft.string),
    "resource": lambda graft: graft.resource_value(),
    "scope": lambda graft: graft.scope_value(),
    "sample": lambda graft: graft.profile.samples.append(graft.sample),
}


@pytest.mark.parametrize("path", recordings(), ids=name)
def test_recording(path: Path) -> None:
    """A recording is valid, and means the same with its tables shuffled."""
    request = parsed(path)
    shuffled = permuted(request, Random(path.name))  # noqa: S311 - not for secrets

    assert rejections(request, PlainBounds()) == {}
    assert meaning(request) == meaning(shuffled)


@given(requests(clean=True))
def test_clean(request: ExportProfilesServiceRequest) -> None:
    """A clean request obeys the SIG's rules and needs no repair."""
    assert violations(request) == []
    assert meaning(request, with_ids=False) == meaning(expected(request, BOUNDS), with_ids=False)


@given(requests(), st.randoms(use_true_random=False))
def test_valid(request: ExportProfilesServiceRequest, random: Random) -> None:
    """No Profile of a drawn request is refused; its normal form is stable, and independent of table order."""
    normal = expected(request, BOUNDS)

    assert rejections(request, BOUNDS) == {}
    assert meaning(normal) == meaning(expected(normal, BOUNDS))
    assert meaning(normal) == meaning(expected(permuted(request, random), BOUNDS))


@given(faulty_requests())
def test_fault(faulty: Faulty) -> None:
    """A fault refuses Profiles for its own reason and no other."""
    reasons = set(rejections(faulty.request, BOUNDS))

    if faulty.fault.reason == "missing_dictionary":  # then every index is out of range as well
        assert faulty.fault.reason in reasons
    else:
        assert {faulty.fault.reason} == reasons


def test_every_reason_has_a_fault() -> None:
    """There is a fault for every reason, and no two have one name."""
    assert set(REASONS) == {fault.reason for fault in FAULTS}
    assert len(FAULTS) == len({fault.name for fault in FAULTS})


@pytest.mark.parametrize("change", DIFFERENCES.values(), ids=DIFFERENCES.keys())
def test_difference(change: Any) -> None:
    """Every change that a consumer could see changes the meaning."""
    empty = ExportProfilesServiceRequest()
    plain = inject(Fault("nothing", "", lambda _: None), empty)
    changed = inject(Fault("something", "", change), empty)

    assert meaning(plain.request) != meaning(changed.request)


def test_kinds_differ() -> None:
    """The values 1, 1.0 and True, and text and bytes, are all different attributes."""
    kinds = [change for key, change in DIFFERENCES.items() if key.startswith("attribute kind")]
    meanings = {
        meaning(inject(Fault("kind", "", change), ExportProfilesServiceRequest()).request) for change in kinds
    }

    assert len(kinds) == len(meanings)
