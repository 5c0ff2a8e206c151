"""What `Profiles.decode` answers to what is not a good request: each bad input with its answer."""

from __future__ import annotations

import dataclasses

import pytest
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest,
)

from otelprof._core import Limits, Profiles
from otelprof.errors import InvalidRequestError, RequestTooLargeError
from tests.reference.compare import assert_agreement, on_the_wire, rejected, totals
from tests.reference.conformance import violations
from tests.reference.faults import BOUNDS, FAULTS, Fault, inject
from tests.reference.generate import START
from tests.reference.graft import Graft, example, nested
from tests.reference.meaning import difference, meaning
from tests.reference.tables import TABLES
from tests.reference.validate import WINDOW_TOLERANCE_NANOS, PlainBounds

SMALL = Limits(**dataclasses.asdict(BOUNDS))
FAULT_IDS = [fault.name for fault in FAULTS]


def official_reads(body: bytes) -> bool:
    """Whether the official parser takes a body for a request."""
    try:
        ExportProfilesServiceRequest.FromString(body)
    except DecodeError:
        return False
    return True


def test_empty() -> None:
    """An empty request is a success with nothing in it."""
    profiles = Profiles.decode(b"")

    assert (0, 0, 0) == (profiles.profile_count, profiles.sample_count, profiles.body_bytes)
    assert [] == list(profiles.rejections)
    assert [] == list(profiles.summary)
    assert profiles.to_otlp() == b""
    assert [] == profiles.fold()


def test_example() -> None:
    """The small request that these tests spoil is good."""
    request = example()
    profiles = Profiles.decode(request.SerializeToString(), SMALL)

    assert profiles.profile_count == 2
    assert_agreement(profiles, request, BOUNDS)


@pytest.mark.parametrize("fault", FAULTS, ids=FAULT_IDS)
def test_fault(fault: Fault) -> None:
    """A fault refuses the one Profile that reaches it, for its reason, and the other is delivered."""
    faulty = inject(fault, example())
    profiles = Profiles.decode(faulty.body, SMALL)

    assert [fault.reason] == list(rejected(profiles))
    assert_agreement(profiles, faulty.request, BOUNDS)


@pytest.mark.parametrize("fault", FAULTS, ids=FAULT_IDS)
def test_shared_fault(fault: Fault) -> None:
    """A fault in what several Profiles share refuses each of them."""
    faulty = inject(fault, example(), share=True)
    profiles = Profiles.decode(faulty.body, SMALL)

    assert_agreement(profiles, faulty.request, BOUNDS)


@pytest.mark.parametrize("fault", FAULTS, ids=FAULT_IDS)
def test_orphan_fault(fault: Fault) -> None:
    """A fault that no Profile reaches any more refuses nothing, and is not handed on."""
    faulty = inject(fault, example())
    request = ExportProfilesServiceRequest()
    request.CopyFrom(faulty.request)
    del request.resource_profiles[0]
    body = faulty.body[
        len(
            ExportProfilesServiceRequest(
                resource_profiles=faulty.request.resource_profiles[:1]
            ).SerializeToString()
        ) :
    ]
    profiles = Profiles.decode(body, SMALL)

    assert_agreement(profiles, request, BOUNDS)


@pytest.mark.parametrize("table", TABLES)
def test_no_table(table: str) -> None:
    """A table that is left out counts as holding its zero value: what names its entries is out of range."""
    request = example()
    request.dictionary.ClearField(table)  # type: ignore[arg-type]  # a name of a field, not a literal
    profiles = Profiles.decode(request.SerializeToString())

    assert {"index_out_of_range": (2, 2)} == rejected(profiles)


@pytest.mark.parametrize("table", TABLES)
def test_unused_table(table: str) -> None:
    """A table of which nothing is used may be left out; it is there in what is handed on."""
    request = ExportProfilesServiceRequest()
    request.resource_profiles.add().scope_profiles.add().profiles.add().samples.add(values=[1])
    for other in TABLES:
        if other == "string_table" != table:
            request.dictionary.string_table.append("")
        elif other != table:
            getattr(request.dictionary, other).add()
    profiles = Profiles.decode(request.SerializeToString())

    assert {} == rejected(profiles)
    assert [] == violations(on_the_wire(profiles), orphans=True)


def test_truncated() -> None:
    """A request that ends too early is refused, unless it ends between two of its outermost fields."""
    body = example().SerializeToString()
    for end in range(len(body)):
        part = body[:end]
        if official_reads(part):
            Profiles.decode(part)
        else:
            with pytest.raises(InvalidRequestError):
                Profiles.decode(part)


def test_every_bit() -> None:
    """With any one bit changed, a request is refused, or read as the official parser reads it."""
    body = example().SerializeToString()
    for place in range(len(body) * 8):
        changed = bytearray(body)
        changed[place // 8] ^= 1 << place % 8
        try:
            profiles = Profiles.decode(bytes(changed))
        except InvalidRequestError:
            continue
        if official_reads(bytes(changed)):
            request = ExportProfilesServiceRequest.FromString(bytes(changed))
            assert_agreement(profiles, request, PlainBounds())


def test_table_entries() -> None:
    """A table, or all samples together, may reach the limit; one more refuses the request whole."""
    for size, limit in ((8, 8), (9, 8)):
        tables = ExportProfilesServiceRequest()
        tables.dictionary.string_table.extend([""] * size)
        samples = example()
        samples.resource_profiles[1].scope_profiles[0].profiles[0].samples.extend(
            [samples.resource_profiles[0].scope_profiles[0].profiles[0].samples[0]] * (size - 2)
        )
        for request in (tables, samples):
            limits = Limits(max_table_entries=limit)
            if size <= limit:
                Profiles.decode(request.SerializeToString(), limits)
            else:
                with pytest.raises(RequestTooLargeError, match="max_table_entries"):
                    Profiles.decode(request.SerializeToString(), limits)


def test_body_bytes() -> None:
    """A body may reach the limit; one byte more refuses it."""
    body = example().SerializeToString()

    assert len(body) == Profiles.decode(body, Limits(max_body_bytes=len(body))).body_bytes
    with pytest.raises(RequestTooLargeError, match="max_body_bytes"):
        Profiles.decode(body, Limits(max_body_bytes=len(body) - 1))


def test_stack_depth() -> None:
    """A stack may reach the limit; one location more refuses the Profile."""
    for depth, refused in ((8, {}), (9, {"stack_too_deep": (1, 1)})):
        request = ExportProfilesServiceRequest()
        graft = Graft(request, 0)
        graft.stack.location_indices[:] = [graft.location_index] * depth
        profiles = Profiles.decode(request.SerializeToString(), Limits(max_stack_depth=8))

        assert refused == rejected(profiles)


def test_attribute_count() -> None:
    """An owner may have as many attributes as the limit says; one more refuses the Profile."""
    for count, refused in ((6, {}), (7, {"too_many_attributes": (1, 1)})):
        request = ExportProfilesServiceRequest()
        graft = Graft(request, 0)
        graft.sample.attribute_indices[:] = graft.more_attributes(count)
        profiles = Profiles.decode(request.SerializeToString(), Limits(max_attributes=6))

        assert refused == rejected(profiles)


def test_attribute_depth() -> None:
    """Values may stand in each other as deep as the limit says; one more refuses the Profile."""
    for containers, refused in ((5, {}), (6, {"attribute_too_deep": (1, 1)})):
        request = ExportProfilesServiceRequest()
        graft = Graft(request, 0)
        nested(graft.attribute.value, containers)
        profiles = Profiles.decode(request.SerializeToString(), Limits(max_attribute_depth=6))

        assert refused == rejected(profiles)


@pytest.mark.parametrize("depth", [90, 5_000])
def test_attribute_abyss(depth: int) -> None:
    """A value nested without end costs no stack: its Profile, or the request, is refused."""
    value = b"\x18\x01"  # int_value: 1
    for _ in range(depth):
        array = b"\x0a" + varint(len(value)) + value  # values
        value = b"\x2a" + varint(len(array)) + array  # array_value
    pair = b"\x0a\x01k\x12" + varint(len(value)) + value
    resource = b"\x0a" + varint(len(pair)) + pair
    request = example()
    tail = request.resource_profiles[0].SerializeToString()
    outer = b"\x0a" + varint(len(resource)) + resource + tail
    body = b"\x0a" + varint(len(outer)) + outer + request.SerializeToString()
    try:
        profiles = Profiles.decode(body)
    except InvalidRequestError:
        return

    assert {"attribute_too_deep": (1, 1)} == rejected(profiles)


def varint(number: int) -> bytes:
    """A number as the wire writes it."""
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*written, number])


def test_window_edges() -> None:
    """A timestamp may lie one hour outside its Profile's window; the window then holds it."""
    for edge in (START - WINDOW_TOLERANCE_NANOS, START + 10 + WINDOW_TOLERANCE_NANOS):
        request = ExportProfilesServiceRequest()
        graft = Graft(request, 0)
        graft.profile.time_unix_nano, graft.profile.duration_nano = START, 10
        graft.sample.timestamps_unix_nano.append(edge)
        profiles = Profiles.decode(request.SerializeToString())

        assert {} == rejected(profiles)
        assert_agreement(profiles, request, PlainBounds())


def test_sum_passes_through_overflow() -> None:
    """Values are summed exactly: a partial sum may leave the range if the sum does not."""
    request = ExportProfilesServiceRequest()
    Graft(request, 0).sample.values[:] = [2**63 - 1, 2**63 - 1, -(2**63), -(2**63), 5]
    profiles = Profiles.decode(request.SerializeToString())

    assert {} == rejected(profiles)
    assert [3] == on_the_wire(profiles).resource_profiles[0].scope_profiles[0].profiles[0].samples[0].values


def test_bad_zero_entry_of_nobody() -> None:
    """A first entry that is not the zero value is not handed on when no Profile that is left reaches it."""
    request = example()
    request.dictionary.function_table[0].system_name_strindex = 9
    sample = request.resource_profiles[0].scope_profiles[0].profiles[0].samples[0]
    sample.stack_index = len(request.dictionary.stack_table)
    request.dictionary.stack_table.add(location_indices=[len(request.dictionary.location_table)])
    request.dictionary.location_table.add().lines.add(line=1)
    profiles = Profiles.decode(request.SerializeToString())

    assert totals(rejected(profiles)) == (1, 1)
    assert_agreement(profiles, request, PlainBounds())


def test_nothing_left() -> None:
    """When every Profile is refused, nothing of the dictionary is handed on, whatever is wrong in it."""
    request = example()
    request.dictionary.function_table[0].system_name_strindex = 9
    request.dictionary.location_table[1].lines.add(line=1)
    profiles = Profiles.decode(request.SerializeToString())

    assert totals(rejected(profiles)) == (2, 2)
    assert profiles.to_otlp() == b""
    assert profiles.to_proto() == ExportProfilesServiceRequest()


def test_same_profile_twice() -> None:
    """Two Profiles alike in every byte get two ids, and the same ones every time."""
    request = example()
    request.resource_profiles[1].CopyFrom(request.resource_profiles[0])
    first = on_the_wire(Profiles.decode(request.SerializeToString()))
    second = on_the_wire(Profiles.decode(request.SerializeToString()))

    assert ([], []) == difference(meaning(first), meaning(second))
    assert len({told[0] for told in meaning(first)}) == 2


def test_rejections_are_counted_together() -> None:
    """Profiles refused for one reason stand in one row, with the first of them in its message."""
    faulty = inject(next(fault for fault in FAULTS if fault.reason == "empty_sample"), example(), share=True)
    profiles = Profiles.decode(faulty.body)
    (row,) = profiles.rejections

    assert ("empty_sample", 2, 4) == (row.reason, row.profile_count, row.sample_count)
    assert "resource_profiles[0].scope_profiles[0].profiles[0]" in row.message
