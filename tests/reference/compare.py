"""One question for every test of the core: is what it hands on what the reference expects?"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest,
)

from tests.reference.conformance import violations
from tests.reference.meaning import difference, meaning
from tests.reference.normal_form import expected
from tests.reference.summary import Row
from tests.reference.tables import profiles_of
from tests.reference.validate import PROFILE_ID_BYTES, Bounds, kinds, rejections

if TYPE_CHECKING:
    from otelprof._core import Profiles


def on_the_wire(profiles: Profiles) -> ExportProfilesServiceRequest:
    """What a handle hands on, as the official classes read it."""
    return ExportProfilesServiceRequest.FromString(profiles.to_otlp())


def rejected(profiles: Profiles) -> dict[str, tuple[int, int]]:
    """For each reason, how many Profiles the core refused, and how many samples they hold."""
    return {row.reason: (row.profile_count, row.sample_count) for row in profiles.rejections}


def rows(profiles: Profiles) -> list[Row]:
    """The summary of a handle as rows that can be compared."""
    return [
        Row(
            row.service,
            row.sample_type,
            row.unit,
            row.profile_count,
            row.sample_count,
            row.linked_sample_count,
            row.value,
            row.linked_value,
        )
        for row in profiles.summary
    ]


def totals(refused: dict[str, tuple[int, int]]) -> tuple[int, int]:
    """All refused Profiles and their samples, whatever the reasons."""
    return sum(profiles for profiles, _ in refused.values()), sum(samples for _, samples in refused.values())


def assert_agreement(profiles: Profiles, request: ExportProfilesServiceRequest, limits: Bounds) -> None:
    """The core refuses what the reference refuses, and hands on what the reference expects, well formed."""
    want = expected(request, limits)
    out = on_the_wire(profiles)
    wanted_refusals, actual_refusals = rejections(request, limits), rejected(profiles)

    assert totals(wanted_refusals) == totals(actual_refusals)
    if len(kinds(request, limits)) == 1:  # of several the core may find another one first
        assert wanted_refusals == actual_refusals
    assert difference(meaning(want, with_ids=False), meaning(out, with_ids=False)) == ([], [])
    assert_ids(want, out)
    assert_conformance(out)
    assert sum(1 for _ in profiles_of(out)) == profiles.profile_count
    assert sum(len(profile.samples) for _, _, profile in profiles_of(out)) == profiles.sample_count


def assert_conformance(out: ExportProfilesServiceRequest) -> None:
    """What is handed on obeys the SIG's rules, and has no orphans; nothing at all is an empty request."""
    if out.resource_profiles:
        assert violations(out, orphans=True) == []
    else:
        assert out.SerializeToString() == b""


def assert_ids(want: ExportProfilesServiceRequest, out: ExportProfilesServiceRequest) -> None:
    """Given ids stay with their Profiles; the others are made: of full length, not zero, no two the same."""
    given = meaning(want)
    stayed = meaning(out)
    lost = [told for told in difference(given, stayed)[0] if getattr(told, "profile_id")]  # noqa: B009
    ids = [profile.profile_id for _, _, profile in profiles_of(out)]
    given_ids = [profile.profile_id for _, _, profile in profiles_of(want) if profile.profile_id]
    made = Counter(ids) - Counter(given_ids)

    assert lost == []
    assert {PROFILE_ID_BYTES} >= {len(profile_id) for profile_id in ids}
    assert bytes(PROFILE_ID_BYTES) not in ids
    assert len(ids) - len(given_ids) == len(made)
    assert not set(made) & set(given_ids)
