"""Requests of older OTLP revisions are told by their bytes, and nothing they say is lost in silence."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from otelprof._core import REVISIONS, Limits, Profiles
from otelprof.errors import AmbiguousRevisionError, RequestTooLargeError, UnsupportedEncodingError
from tests.recordings import name, old_requests, recordings
from tests.reference.build import START, Build, ambiguous
from tests.reference.compare import assert_agreement, on_the_wire, rejected
from tests.reference.old_schemas import request_class
from tests.reference.revisions import CURRENT, OLD, as_current, as_old, sayable
from tests.reference.tables import profiles_of
from tests.reference.validate import PlainBounds

if TYPE_CHECKING:
    from pathlib import Path

    from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
        ExportProfilesServiceRequest,
    )

LIMITS = PlainBounds()


def test_revisions() -> None:
    """The core names the revisions that the reference knows, oldest first."""
    assert (*OLD, CURRENT) == REVISIONS


@pytest.mark.parametrize("path", recordings(), ids=name)
def test_current_recordings(path: Path) -> None:
    """No recording of the current revision is taken for an older one."""
    profiles = Profiles.decode(path.read_bytes())
    assert (CURRENT, {}) == (profiles.revision, profiles.revision_fields_dropped)


def old_profiles(request: Any) -> list[Any]:
    """The Profiles of a message of an older revision."""
    return [profile for _, _, profile in profiles_of(request)]


def sums(body: bytes, revision: str) -> Counter[tuple[str, str]]:
    """The total of each sample type, added up over the wire as its own revision has it."""
    request = request_class(revision).FromString(body)
    strings = list(request.dictionary.string_table)
    found: Counter[tuple[str, str]] = Counter()
    for profile in old_profiles(request):
        types = profile.sample_type if revision == "1.7" else [profile.sample_type]
        for nth, sample_type in enumerate(types):
            key = (strings[sample_type.type_strindex], strings[sample_type.unit_strindex])
            for sample in profile.samples:
                found[key] += sample.values[nth] if sample.values else len(sample.timestamps_unix_nano)
    return found


@pytest.mark.parametrize(
    ("recording", "revision", "total"),
    [
        ("ap41-burn-cpu", "1.7", {("perf_events", "count"): 207, ("perf_events", "ns"): 2_073_846_654}),
        ("ap41-burn-alloc", "1.7", {("noop", "count"): 963, ("noop", "total"): 504_888_381}),
        ("ap44-burn-cpu", "1.9", {("perf_events", "count"): 192}),
        ("sig-profiling-profile", "1.8", {("samples", "count"): 189}),
        ("sig-profiling-k8s", "1.8", {("samples", "count"): 165}),
    ],
)
def test_old_recordings(recording: str, revision: str, total: dict[tuple[str, str], int]) -> None:
    """An older profiler's requests mean what the slow twin says, and their totals are those on its wire."""
    bodies = old_requests(recording)
    found: Counter[tuple[str, str]] = Counter()
    wire: Counter[tuple[str, str]] = Counter()
    for body in bodies:
        profiles = Profiles.decode(body)
        assert revision == profiles.revision
        assert {} == rejected(profiles)
        assert_agreement(profiles, as_current(body, revision), LIMITS)
        wire += sums(body, revision)
        for row in profiles.summary:
            found[row.sample_type, row.unit] += row.value
    assert wire == found
    assert not bodies or total == found  # two of them stand only beside the repository


def built(*values: int, samples: int = 1, **sample: Any) -> ExportProfilesServiceRequest:
    """A request of one Profile, its Samples alike, as `Build.sample` makes them."""
    build = Build()
    profile = build.profile(build.scope({"service.name": "checkout"}))
    for _ in range(samples):
        build.sample(profile, *values, **sample)
    return build.request


def two_services(*values: int) -> ExportProfilesServiceRequest:
    """A request of two Resources, each with a Profile of two Samples."""
    build = Build()
    for service in ("checkout", "cart"):
        profile = build.profile(build.scope({"service.name": service}))
        for stack in ("main", "work"):
            build.sample(profile, *values, stack=stack)
    return build.request


def old_request(revision: str, request: ExportProfilesServiceRequest) -> Any:
    """The message of an older revision, to change it."""
    return request_class(revision).FromString(as_old(sayable(request, revision), revision))


@pytest.mark.parametrize("revision", OLD)
def test_values_links_and_attributes(revision: str) -> None:
    """What a Sample of an older revision has is where the current one has it."""
    request = built(7_000_000, attributes={"thread.name": "main"}, link=(b"t" * 16, b"s" * 8))
    ((_, _, profile),) = profiles_of(request)
    profile.profile_id = b"p" * 16  # without it 1.8 and 1.9 say the same
    profiles = Profiles.decode(as_old(sayable(request, revision), revision))
    (row,) = profiles.summary
    assert (revision, 7_000_000, 1) == (profiles.revision, row.value, row.linked_sample_count)
    assert_agreement(profiles, request, LIMITS)


def test_what_is_left_out_is_counted() -> None:
    """Fields that the current revision cannot say are counted by name."""
    old = old_request("1.7", built(5))
    (profile,) = old_profiles(old)
    profile.sample_type[0].aggregation_temporality = 2
    profile.comment_strindices.extend([0, 1])
    profile.default_sample_type_index = 1
    old.dictionary.location_table[1].is_folded = True
    mapping = old.dictionary.mapping_table.add(has_functions=True, has_filenames=True)
    mapping.memory_limit = 1
    old.dictionary.attribute_units.add(attribute_key_strindex=1, unit_strindex=2)
    profile.samples[0].timestamps_unix_nano.extend([START, START + 1])
    profiles = Profiles.decode(old.SerializeToString())
    assert {
        "aggregation_temporality": 1,
        "comment_strindices": 2,
        "default_sample_type_index": 1,
        "is_folded": 1,
        "mapping_has": 2,
        "attribute_units": 1,
        "timestamps_unix_nano": 1,
    } == profiles.revision_fields_dropped
    assert [5] == [row.value for row in profiles.summary]


@pytest.mark.parametrize(
    ("values", "times", "expected"),
    [
        ([3], 1, ([3], 1)),
        ([1], 3, ([1, 1, 1], 3)),
        ([3], 3, ([1, 1, 1], 3)),
        ([5], 3, ([5], 0)),
        ([5, 6, 7], 3, ([5, 6, 7], 3)),
        ([], 3, ([], 3)),
        ([5], 0, ([5], 0)),
    ],
)
def test_values_and_timestamps_of_1_7(values: list[int], times: int, expected: tuple[list[int], int]) -> None:
    """One value beside several timestamps is one for each, or stays the total without them."""
    old = old_request("1.7", built(9))
    (profile,) = old_profiles(old)
    profile.samples[0].values[:] = values
    profile.samples[0].timestamps_unix_nano.extend(START + nth for nth in range(times))
    ((_, _, decoded),) = profiles_of(on_the_wire(Profiles.decode(old.SerializeToString())))
    (sample,) = decoded.samples
    assert expected == (list(sample.values), len(sample.timestamps_unix_nano))


def test_several_sample_types() -> None:
    """A Profile of several sample types becomes one for each, each with an id; the payload stays once."""
    old = old_request("1.7", built(5, samples=2))
    (profile,) = old_profiles(old)
    profile.profile_id, profile.original_payload_format, profile.original_payload = b"p" * 16, "jfr", b"1234"
    old.dictionary.string_table.append("nanoseconds")
    profile.sample_type.add(unit_strindex=len(old.dictionary.string_table) - 1)
    for sample in profile.samples:
        sample.values.append(50)
    body = old.SerializeToString()
    profiles = Profiles.decode(body)
    first, second = [decoded for _, _, decoded in profiles_of(on_the_wire(profiles))]
    assert [10, 100] == [row.value for row in profiles.summary]
    assert (b"p" * 16, b"1234", b"") == (first.profile_id, first.original_payload, second.original_payload)
    assert (16, False) == (len(second.profile_id), second.profile_id == first.profile_id)
    assert on_the_wire(profiles) == on_the_wire(Profiles.decode(body))


def test_units_join_their_attributes() -> None:
    """In 1.7 a unit belongs to a key; every attribute of that key gets it."""
    old = old_request("1.7", built(5, attributes={"bytes": 4096}))
    old.dictionary.string_table.extend(["bytes", "By"])
    size = len(old.dictionary.string_table)
    old.dictionary.attribute_units.add(attribute_key_strindex=size - 2, unit_strindex=size - 1)
    tables = on_the_wire(Profiles.decode(old.SerializeToString())).dictionary
    assert ("bytes", "By") == (
        tables.string_table[tables.attribute_table[-1].key_strindex],
        tables.string_table[tables.attribute_table[-1].unit_strindex],
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"locations_start_index": 99}, "index_out_of_range"),
        ({"locations_length": -1}, "index_out_of_range"),
        ({"locations_start_index": 2**31 - 1, "locations_length": 2**31 - 1}, "index_out_of_range"),
        ({"link_index": -1}, "index_out_of_range"),
        ({"link_index": 2**31 - 1}, "index_out_of_range"),
        ({"values": [1, 2, 3]}, "values_types_mismatch"),
        ({"attribute_indices": [2**31 - 1]}, "index_out_of_range"),
    ],
)
def test_a_bad_profile_of_1_7(change: dict[str, Any], reason: str) -> None:
    """One bad Profile of an older revision is refused with its Samples; its neighbour is delivered."""
    old = old_request("1.7", two_services(5))
    sample = old.resource_profiles[0].scope_profiles[0].profiles[0].samples[0]
    for field, value in change.items():
        if isinstance(value, list):
            getattr(sample, field)[:] = value
        else:
            setattr(sample, field, value)
    profiles = Profiles.decode(old.SerializeToString())
    assert {reason: (1, 2)} == rejected(profiles)
    assert ["cart"] == [row.service for row in profiles.summary]


def test_a_bad_profile_of_1_9() -> None:
    """A bad Profile hides the revision of its neighbours as little as it takes them with it."""
    old = old_request("1.9", two_services(5_000_000))
    old.resource_profiles[0].scope_profiles[0].profiles[0].samples[0].stack_index = 99
    profiles = Profiles.decode(old.SerializeToString())
    assert ("1.9", {"index_out_of_range": (1, 2)}) == (profiles.revision, rejected(profiles))
    assert [("cart", 10_000_000)] == [(row.service, row.value) for row in profiles.summary]


def test_two_meanings_are_refused() -> None:
    """Bytes that are whole in two revisions, with different meanings, are refused, and both are named."""
    with pytest.raises(AmbiguousRevisionError, match=r"OTLP 1\.10 and as OTLP 1\.9"):
        Profiles.decode(ambiguous().SerializeToString())


def test_the_current_revision_can_be_told() -> None:
    """Who knows that a body is of the current revision has it read as that, whatever it looks like."""
    request = ambiguous()
    profiles = Profiles.decode(request.SerializeToString(), detect_revision=False)
    assert CURRENT == profiles.revision
    assert_agreement(profiles, request, LIMITS)
    old = as_old(sayable(built(5_000_000), "1.9"), "1.9")
    assert ("1.9", CURRENT) == (
        Profiles.decode(old).revision,
        Profiles.decode(old, detect_revision=False).revision,
    )


def test_what_was_written_reads_as_it_is() -> None:
    """What `to_otlp` wrote of an ambiguous request comes back byte for byte when its revision is told."""
    body = Profiles.decode(ambiguous().SerializeToString(), detect_revision=False).to_otlp()
    with pytest.raises(AmbiguousRevisionError):
        Profiles.decode(body)
    assert body == Profiles.decode(body, detect_revision=False).to_otlp()


def test_an_attribute_that_only_samples_have_tells() -> None:
    """An attribute that nobody has when it is taken for a value is an attribute."""
    request = built(moments=[0], attributes={"thread.name": "main"})
    profiles = Profiles.decode(request.SerializeToString())
    assert CURRENT == profiles.revision
    assert_agreement(profiles, request, LIMITS)


def test_a_reference_tells() -> None:
    """A string by reference is of the current revision, whatever else the bytes could say."""
    request = built(moments=[0], attributes={"thread.name": "main"})
    ((group, _, profile),) = profiles_of(request)
    profile.attribute_indices.extend(profile.samples[0].attribute_indices)
    group.resource.attributes.add(key="host.name").value.string_value_strindex = 1
    assert CURRENT == Profiles.decode(request.SerializeToString()).revision


def test_what_says_the_same_is_current() -> None:
    """Samples of timestamps alone say the same in 1.9 and today: the request is one of today, unchanged."""
    request = built(samples=2, moments=[0])
    body = as_old(sayable(request, "1.9"), "1.9")
    assert (CURRENT, body) == (Profiles.decode(body).revision, request.SerializeToString())


def test_links_of_timestamps() -> None:
    """A Link of 1.9 that could be a value today is a Link: as a value, nobody would have it."""
    request = built(moments=[0], samples=2, link=(b"t" * 16, b"s" * 8))
    ((_, _, profile),) = profiles_of(request)
    profile.samples.add(stack_index=1, timestamps_unix_nano=[START, START + 1])
    profiles = Profiles.decode(as_old(sayable(request, "1.9"), "1.9"))
    assert "1.9" == profiles.revision
    assert_agreement(profiles, request, LIMITS)


def test_tables_inside_of_profiles() -> None:
    """OTLP 1.5 and older had its tables in each Profile: the refusal says so."""
    profile = b"\x1a\x00" + b"\x22\x02\x08\x01" + b"\x52\x00" + b"\x58\x01"
    scope = b"\x12" + bytes([len(profile)]) + profile
    group = b"\x12" + bytes([len(scope)]) + scope
    with pytest.raises(UnsupportedEncodingError, match=r"OTLP 1\.5 or older"):
        Profiles.decode(b"\x0a" + bytes([len(group)]) + group)


def test_overlapping_slices_are_bounded() -> None:
    """A short body of 1.7 whose slices overlap may stand for a long one, up to the limit of a body."""
    old = old_request("1.7", built(5))
    (profile,) = old_profiles(old)
    profile.location_indices.extend([1] * 4000)
    for start in range(2000):
        profile.samples.add(locations_start_index=start, locations_length=2000 - start % 7, values=[1])
        profile.location_indices[start] = start % 3
    body = old.SerializeToString()
    assert len(body) < 40_000
    with pytest.raises(RequestTooLargeError, match="100000 bytes"):
        Profiles.decode(body, Limits(max_body_bytes=100_000))
