"""The wire below the messages: types, numbers, merged and unknown fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import unknown_fields
from google.protobuf.descriptor import FieldDescriptor
from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest,
)
from opentelemetry.proto.profiles.v1development.profiles_pb2 import ProfilesDictionary

from otelprof._core import REVISIONS, Profiles
from otelprof.errors import InvalidRequestError, UnsupportedEncodingError
from tests.reference.compare import assert_agreement, on_the_wire, rejected
from tests.reference.generate import add_unknown
from tests.reference.graft import example
from tests.reference.tables import TABLES
from tests.reference.validate import PlainBounds

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor

VARINT, FIXED64, BYTES, GROUP, END_GROUP, FIXED32 = 0, 1, 2, 3, 4, 5
PAYLOADS = {VARINT: b"\x01", FIXED64: bytes(8), BYTES: b"\x00", GROUP: b"", END_GROUP: b"", FIXED32: bytes(4)}


def wire_type(field: FieldDescriptor) -> int:
    """How one value of a field stands on the wire."""
    if field.type in {FieldDescriptor.TYPE_FIXED64, FieldDescriptor.TYPE_DOUBLE}:
        return FIXED64
    if field.type in {
        FieldDescriptor.TYPE_STRING,
        FieldDescriptor.TYPE_BYTES,
        FieldDescriptor.TYPE_MESSAGE,
    }:
        return BYTES
    return VARINT


def tag(number: int, kind: int) -> bytes:
    """The tag of a field."""
    key = number << 3 | kind
    return bytes([key]) if key < 0x80 else bytes([key & 0x7F | 0x80, key >> 7])


def field_paths() -> dict[str, tuple[tuple[int, ...], FieldDescriptor]]:
    """Every known field of every message in a request, with the numbers of the fields that lead to it."""
    found: dict[str, tuple[tuple[int, ...], FieldDescriptor]] = {}
    pending: list[tuple[tuple[int, ...], Descriptor]] = [((), ExportProfilesServiceRequest.DESCRIPTOR)]
    seen = set()
    while pending:
        path, message = pending.pop(0)
        if message.full_name in seen:
            continue
        seen.add(message.full_name)
        for field in message.fields:
            found[f"{message.name}.{field.name}"] = (path, field)
            if field.message_type is not None:
                pending.append(((*path, field.number), field.message_type))
    return found


PATHS = field_paths()
WRONG = [
    (name, kind)
    for name, (_, field) in PATHS.items()
    for kind in PAYLOADS
    if kind != wire_type(field) and not (kind == BYTES and field.is_repeated)
]

# What one of these fields would be with a wrong wire type, it was in an older revision.
OLDER = {
    ("KeyValueAndUnit.key_strindex", BYTES),
    ("Profile.time_unix_nano", VARINT),
    ("Profile.time_unix_nano", BYTES),
    ("Profile.period_type", VARINT),
    ("Profile.period", BYTES),
    ("Profile.profile_id", VARINT),
    ("Profile.dropped_attributes_count", BYTES),
    ("Profile.original_payload_format", VARINT),
    ("Sample.link_index", BYTES),
    ("Sample.timestamps_unix_nano", VARINT),
}
# What a Profile of OTLP 1.5 had its tables in.
TOO_OLD = ("Profile.duration_nano", BYTES)


def test_paths() -> None:
    """Every message of a request is looked into."""
    assert {"AnyValue", "EntityRef", "KeyValue", "Line", "Link", "Mapping", "Profile", "Sample"} <= {
        name.partition(".")[0] for name in PATHS
    }


@pytest.mark.parametrize(("name", "kind"), WRONG, ids=[f"{name} as {kind}" for name, kind in WRONG])
def test_wrong_wire_type(name: str, kind: int) -> None:
    """A known field with a wrong wire type refuses the request, and the message names the field.

    Where an older revision has such a field, the request is one of that revision; which may be too old.
    """
    path, field = PATHS[name]
    body = tag(field.number, kind) + PAYLOADS[kind]
    for number in reversed(path):
        body = tag(number, BYTES) + bytes([len(body)]) + body

    if (name, kind) in OLDER:
        assert REVISIONS[-1] != Profiles.decode(body).revision
        return
    refusal = UnsupportedEncodingError if (name, kind) == TOO_OLD else InvalidRequestError
    with pytest.raises(refusal, match=field.name):
        Profiles.decode(body)


@pytest.mark.parametrize(
    "body",
    [
        b"\x0a",
        b"\x0a\x05",
        b"\x80",
        b"\x00\x00",
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x0a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
        b"\xf8\x01" + b"\xff" * 10 + b"\x01",
        b"\xff\xff\xff\xff\xff\x01\x00",
        b"\x0e\x00",
        b"\x0f\x00",
        b"\xa3\x06",
        b"\xa4\x06",
        b"\xa3\x06\xac\x06",
    ],
    ids=[
        "no length",
        "length past the end",
        "tag cut off",
        "field 0",
        "length of 2**64",
        "length of eleven bytes",
        "number of eleven bytes",
        "field number above 2**29",
        "wire type 6",
        "wire type 7",
        "group without an end",
        "end without a group",
        "end of another group",
    ],
)
def test_malformed(body: bytes) -> None:
    """What is not the wire form of anything refuses the request; the message says at which byte."""
    with pytest.raises(InvalidRequestError, match=r"byte \d+"):
        Profiles.decode(body)


def test_merged_messages() -> None:
    """A message that comes in parts is their merger, as the wire says: also the dictionary."""
    whole = example()
    first, second = ExportProfilesServiceRequest(), ExportProfilesServiceRequest()
    first.dictionary.SetInParent()
    for table in TABLES:
        entries: Any = getattr(whole.dictionary, table)
        getattr(first.dictionary, table).extend(entries[:1])
        getattr(second.dictionary, table).extend(entries[1:])
    body = second_last(first, whole, second)

    assert_agreement(Profiles.decode(body), ExportProfilesServiceRequest.FromString(body), PlainBounds())
    assert Profiles.decode(body).profile_count == 2


def second_last(
    first: ExportProfilesServiceRequest,
    whole: ExportProfilesServiceRequest,
    second: ExportProfilesServiceRequest,
) -> bytes:
    """One half of a dictionary, the resources, the other half."""
    resources = ExportProfilesServiceRequest(resource_profiles=whole.resource_profiles)
    return first.SerializeToString() + resources.SerializeToString() + second.SerializeToString()


@pytest.mark.parametrize(
    "sample",
    [
        b"\x20\x05\x20\x06" + b"\x29" + bytes(8) + b"\x29" + bytes(8),
        b"\x22\x01\x05\x22\x01\x06" + b"\x2a\x08" + bytes(8) + b"\x2a\x08" + bytes(8),
        b"\x20\x05\x22\x01\x06" + b"\x2a\x10" + bytes(16),
        b"\x22\x01\x05" + b"\x08\xff\xff\xff\xff\x0f\x08\x81\x80\x80\x80\x10",
        b"\x22\x01\x05" + b"\x08\x81\x80\x80\x80\x80\x80\x80\x80\x80\x00",
        b"\x22\x02\x85\x00" + b"\x12\x01\x01\x18\x01",
        b"\x22\x01\x05\x22\x00",
    ],
    ids=[
        "not packed",
        "packed in two",
        "both",
        "index of 33 bits, last one counts",
        "index with too many bytes",
        "value with too many bytes",
        "nothing, packed",
    ],
)
def test_numbers(sample: bytes) -> None:
    """Numbers are read as the official parser reads them, however they are packed."""
    request = example()
    profile = request.resource_profiles[0].scope_profiles[0].profiles[0]
    profile.samples.add().MergeFromString(sample)
    plain = ExportProfilesServiceRequest()
    plain.CopyFrom(request)
    del plain.resource_profiles[0].scope_profiles[0].profiles[0].samples[-1]
    tables = ExportProfilesServiceRequest(dictionary=plain.dictionary).SerializeToString()
    inner = (
        plain.resource_profiles[0].scope_profiles[0].profiles[0].SerializeToString()
        + b"\x12"
        + bytes([len(sample)])
        + sample
    )
    for _ in range(3):
        inner = (b"\x12" if _ < 2 else b"\x0a") + bytes([len(inner)]) + inner
    body = inner + tables

    assert_agreement(Profiles.decode(body), ExportProfilesServiceRequest.FromString(body), PlainBounds())


def test_last_kind_of_a_value_counts() -> None:
    """Of several kinds of one value the last counts; two parts of one array are one array."""
    for value in (
        b"\x18\x01\x0a\x01x",
        b"\x0a\x01x\x10\x01",
        b"\x2a\x04\x0a\x02\x18\x01\x2a\x04\x0a\x02\x18\x02",
    ):
        body = example_with_value(value)
        request = ExportProfilesServiceRequest.FromString(body)

        assert_agreement(Profiles.decode(body), request, PlainBounds())


def example_with_value(value: bytes) -> bytes:
    """The small request, its first resource with one attribute more."""
    pair = b"\x0a\x01k\x12" + bytes([len(value)]) + value
    resource = b"\x0a" + bytes([len(pair)]) + pair
    request = example()
    tail = request.resource_profiles[0].SerializeToString()
    outer = b"\x0a" + bytes([len(resource)]) + resource + tail
    del request.resource_profiles[0]
    return b"\x0a" + bytes([len(outer)]) + outer + request.SerializeToString()


def unknown_count(message: Any) -> int:
    """How many unknown fields a message holds, and all in it."""
    own = len(unknown_fields.UnknownFieldSet(message))
    for field, value in message.ListFields():
        if field.message_type is not None:
            own += sum(unknown_count(inner) for inner in (value if field.is_repeated else [value]))
    return own


def test_unknown_fields() -> None:
    """Unknown fields are handed on, or counted as dropped; none vanishes."""
    request = example()
    spread(request)
    put = unknown_count(request)
    profiles = Profiles.decode(request.SerializeToString())

    assert {} == rejected(profiles)
    assert put == unknown_count(on_the_wire(profiles)) + profiles.unknown_fields_dropped


def test_unknown_fields_in_what_did_not_change() -> None:
    """In a message that need not change, unknown fields are handed on."""
    request = example()
    for resource_profiles in request.resource_profiles:
        add_unknown(resource_profiles.resource)
        add_unknown(resource_profiles.scope_profiles[0].scope)
    profiles = Profiles.decode(request.SerializeToString())

    assert unknown_count(on_the_wire(profiles)) == 4
    assert profiles.unknown_fields_dropped == 0


def spread(message: Any) -> None:
    """Put an unknown field in a message, and in all in it but the zero values of tables."""
    if not isinstance(message, ProfilesDictionary):
        add_unknown(message)
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        inner = list(value) if field.is_repeated else [value]
        for item in inner[1:] if field.name.endswith("_table") else inner:
            spread(item)


@pytest.mark.parametrize(
    "field",
    [
        b"\xa0\x06\x01",
        b"\xa1\x06" + bytes(8),
        b"\xa2\x06\x02hi",
        b"\xa5\x06" + bytes(4),
        b"\xa3\x06\x08\x01\xa4\x06",
    ],
    ids=["varint", "fixed64", "bytes", "fixed32", "group"],
)
def test_unknown_wire_types(field: bytes) -> None:
    """An unknown field of any wire type is no reason to refuse anything."""
    request = example()
    body = request.SerializeToString() + field
    profiles = Profiles.decode(body)

    assert {} == rejected(profiles)
    assert_agreement(profiles, request, PlainBounds())
