"""OTLP/JSON: every field, every way to write it, and what is no request."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest
import zstandard
from google.protobuf.descriptor import FieldDescriptor
from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest,
)
from opentelemetry.proto.profiles.v1development.profiles_pb2 import Profile, ProfilesDictionary

from otelprof._core import Limits, Profiles
from otelprof.errors import InvalidRequestError, RequestTooLargeError
from tests.recordings import OWN, SHARED, parsed
from tests.reference.compare import on_the_wire
from tests.reference.meaning import difference, meaning
from tests.reference.otlp_json import from_json, to_json, with_numbers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from google.protobuf.message import Message

# The same request as JSON and as protobuf, over HTTP and over gRPC.
TWINS = [
    (OWN / "collector-http/00000.json", OWN / "collector-grpc/00002.otlp"),
    (SHARED / "collector-http-json/00003.json", SHARED / "collector-http-proto/00005.otlp"),
    (SHARED / "collector-http-json/00003.json", SHARED / "collector-grpc/00004.otlp"),
    (SHARED / "collector-http-json/00006.json", SHARED / "collector-http-proto/00007.otlp"),
    (SHARED / "collector-http-json/00006.json", SHARED / "collector-grpc/00008.otlp"),
]
PROFILE = "resourceProfiles[0].scopeProfiles[0].profiles[0]"
TYPES = FieldDescriptor


def profile(**fields: Any) -> bytes:
    """A request with one Profile of these fields."""
    scope = {"profiles": [fields]}
    return json.dumps({"resourceProfiles": [{"scopeProfiles": [scope]}], "dictionary": {}}).encode()


def read_back(text: bytes) -> Any:
    """The only Profile of a request, as the official classes read it."""
    return on_the_wire(Profiles.from_json(text)).resource_profiles[0].scope_profiles[0].profiles[0]


@pytest.mark.parametrize(
    ("text", "twin"), [twin for twin in TWINS if twin[0].exists()], ids=lambda path: path.name
)
def test_recordings(text: Path, twin: Path) -> None:
    """What a collector sent as JSON means what it sent as protobuf, read by us and written by us."""
    read = Profiles.from_json(text.read_bytes())
    expected = meaning(parsed(twin), with_ids=False)
    assert ([], []) == difference(expected, meaning(on_the_wire(read), with_ids=False))
    assert ([], []) == difference(expected, meaning(from_json(read.to_json()), with_ids=False))


def values(field: Any) -> list[Any]:
    """Values of a field's type, at both ends."""
    of_type: dict[int, list[Any]] = {
        TYPES.TYPE_STRING: ["", 'é\n"\\\u2028🔥'],
        TYPES.TYPE_BYTES: [b"", bytes(range(256))],
        TYPES.TYPE_BOOL: [False, True],
        TYPES.TYPE_INT32: [0, -(2**31), 2**31 - 1],
        TYPES.TYPE_UINT32: [0, 2**32 - 1],
        TYPES.TYPE_INT64: [0, -(2**63), 2**63 - 1],
        TYPES.TYPE_UINT64: [0, 2**64 - 1],
        TYPES.TYPE_FIXED64: [0, 2**64 - 1],
        TYPES.TYPE_DOUBLE: [0.0, -0.0, 1e-310, 1.7976931348623157e308, float("inf"), float("-inf")],
    }
    return of_type[field.type]


def fill(message: Message, seen: tuple[object, ...] = ()) -> Iterator[None]:
    """Set one field after the other, in this message and in those in it, to one value after the other."""
    for field in message.DESCRIPTOR.fields:
        if field.message_type is not None:
            if seen.count(field.message_type) > 1:
                continue
            child = getattr(message, field.name)
            inner = child.add() if hasattr(child, "add") else child
            inner.SetInParent()
            yield
            yield from fill(inner, (*seen, field.message_type))
        elif hasattr(getattr(message, field.name), "append"):
            getattr(message, field.name).extend(values(field))
            yield
        else:
            for value in values(field):
                setattr(message, field.name, value)
                yield
        message.ClearField(field.name)


def test_every_field() -> None:
    """Each field of each message is read and written, at both ends of its range."""
    request = ExportProfilesServiceRequest()
    count = 0
    for _ in fill(request):
        count += 1
        body = request.SerializeToString()
        from_proto = Profiles.decode(body)
        for snake_case in (False, True):
            text = json.dumps(to_json(request, snake_case=snake_case)).encode()
            assert from_proto.body_bytes == Profiles.from_json(text).body_bytes
            assert from_proto.to_otlp() == Profiles.from_json(text).to_otlp()
        assert on_the_wire(from_proto) == from_json(from_proto.to_json())
    assert count > 100


def test_integers_are_texts_or_numbers() -> None:
    """64-bit integers may stand in quotes or not; ids in either case; both mean the same."""
    text = (OWN / "collector-http/00000.json").read_bytes()
    numbers = json.dumps(with_numbers(json.loads(text)["resourceProfiles"][0]["scopeProfiles"])).encode()
    quoted = json.dumps(json.loads(text)["resourceProfiles"][0]["scopeProfiles"]).encode()
    one, other = (b'{"resourceProfiles":[{"scopeProfiles":' + part + b"}]}" for part in (numbers, quoted))
    assert numbers != quoted
    assert Profiles.from_json(one).to_otlp() == Profiles.from_json(other).to_otlp()
    ids = [profile(profileId=case * 16) for case in ("aB", "Ab", "AB", "ab")]
    assert {bytes([0xAB]) * 16} == {read_back(text).profile_id for text in ids}


@pytest.mark.parametrize(
    ("written", "period"),
    [
        (5, 5),
        ("5", 5),
        (-5, -5),
        ("-5", -5),
        (5.0, 5),
        (5e3, 5000),
        (None, 0),
        ("9223372036854775807", 2**63 - 1),
    ],
)
def test_ways_to_write_an_integer(written: Any, period: int) -> None:
    """What protobuf's JSON mapping allows, and null, which is the default."""
    assert period == read_back(profile(period=written)).period


@pytest.mark.parametrize("text", ["/-8=", "_-8=", "/-8", "_-8", "/+8=", "/+8"])
def test_ways_to_write_bytes(text: str) -> None:
    """Base 64 of either alphabet, padded or not; a mixture of both alphabets is neither."""
    body = profile(originalPayload=text, originalPayloadFormat="x")
    if "/" in text and "-" in text:
        with pytest.raises(InvalidRequestError, match="expected a string in base 64"):
            Profiles.from_json(body)
    else:
        assert b"\xff\xef" == read_back(body).original_payload


def test_unknown_names_are_stepped_over() -> None:
    """A name of a later revision is ignored, whatever it holds, and counted."""
    plain, more = profile(period=5), profile(period=5, later={"deep": [[{"profiles": [None]}]]}, x=1)
    read = Profiles.from_json(more)
    assert Profiles.from_json(plain).to_otlp() == read.to_otlp()
    assert 2 == read.unknown_fields_dropped


def field(number: int, message: bytes) -> bytes:
    """A field that holds a message of less than 128 bytes."""
    return bytes([number << 3 | 2, len(message)]) + message


def test_parts_of_a_message_are_one() -> None:
    """What stands in two parts on the wire, and is passed on so, is one in JSON; the last number counts."""
    tables: dict[str, Any] = {
        "string_table": ["", "cpu", "ns"],
        "mapping_table": [{}],
        "location_table": [{}],
    }
    tables |= {"function_table": [{}], "link_table": [{}], "attribute_table": [{}], "stack_table": [{}]}
    dictionary = ExportProfilesServiceRequest(dictionary=ProfilesDictionary(**tables)).SerializeToString()
    ids = Profile(profile_id=b"0123456789abcdef", period=1).SerializeToString()
    types = field(1, b"\x08\x01") + field(1, b"\x10\x02") + Profile(period=7).SerializeToString()
    body = field(1, field(2, field(2, ids + types))) + dictionary
    profiles = Profiles.decode(body)
    assert body == profiles.to_otlp()
    assert ExportProfilesServiceRequest.FromString(body) == from_json(profiles.to_json())


def test_compressed() -> None:
    """A compressed text is inflated, within the limit."""
    text = (OWN / "collector-http/00000.json").read_bytes()
    plain = Profiles.from_json(text).to_otlp()
    for packed in (gzip.compress(text), zstandard.compress(text)):
        assert plain == Profiles.from_json(packed).to_otlp()
        with pytest.raises(RequestTooLargeError, match="more than 20000 bytes when inflated"):
            Profiles.from_json(packed, Limits(max_body_bytes=20_000))


def test_what_it_becomes_is_bounded() -> None:
    """A short text that becomes a long message is over the limit as well."""
    text = b'{"resourceProfiles":[{"scopeProfiles":[{"profiles":[{"samples":[{"values":[' + b"-1," * 999
    text += b"-1]}]}]}]}]}"
    assert Profiles.from_json(text).body_bytes > 10_000
    with pytest.raises(RequestTooLargeError, match="more than 5000 bytes"):
        Profiles.from_json(text, Limits(max_body_bytes=5000))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "byte 0, in ExportProfilesServiceRequest: EOF"),
        (b"[]", "invalid type: sequence, expected an object with the fields of ExportProfilesServiceRequest"),
        (b"\xef\xbb\xbf{}", "expected value"),
        (b"{} {}", "byte 4, in ExportProfilesServiceRequest: trailing characters"),
        (b'{"dictionary":{}\n,\n"dictionary":null}', "byte 31, .*dictionary: the field is there twice"),
        (b'{"resourceProfiles":[],"resource_profiles":[]}', "resourceProfiles: the field is there twice"),
        (b'{"resourceProfiles":{}}', "resourceProfiles: invalid type: map, expected a list"),
        (b'{"resourceProfiles":[null]}', r"resourceProfiles\[0\]: invalid type: null, expected an object"),
        (b'{"dictionary":[]}', "dictionary: invalid type: sequence, expected an object"),
        (b'{"dictionary":{"stringTable":["",1]}}', r"stringTable\[1\]: .* expected a string"),
        (b'{"dictionary":{"stringTable":["\xff"]}}', r"stringTable\[0\]: invalid unicode code point"),
        (b'{"dictionary":{"stringTable":["\\ud800"]}}', r"stringTable\[0\]: "),
        (b'{"dictionary":{"linkTable":[{"traceId":"0g"}]}}', "traceId: .* expected a string in hexadecimal"),
        (b'{"dictionary":{"linkTable":[{"spanId":"000"}]}}', "spanId: .* expected a string in hexadecimal"),
        (
            b'{"dictionary":{"attributeTable":[{"value":{"intValue":1,"stringValue":""}}]}}',
            r"attributeTable\[0\].value.stringValue: another value of this AnyValue is set",
        ),
        (b'{"dictionary":{"attributeTable":[{"value":{"boolValue":"true"}}]}}', "expected true or false"),
        (b'{"dictionary":{"attributeTable":[{"value":{"doubleValue":"1x"}}]}}', "expected a number"),
        (b'{"dictionary":{"attributeTable":[{"value":{"doubleValue":1e999}}]}}', "number out of range"),
        (b'{"a":' * 200 + b"1" + b"}" * 199, "EOF"),
    ],
)
def test_what_is_no_request(text: bytes, message: str) -> None:
    """A text that is not a request is refused whole; the error says where, and what is wrong."""
    with pytest.raises(InvalidRequestError, match=message):
        Profiles.from_json(text)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("period", 2**63),
        ("period", -(2**63) - 1),
        ("period", str(2**63)),
        ("period", 0.5),
        ("period", 1e18),
        ("period", True),
        ("period", ""),
        ("period", "+1"),
        ("period", " 1"),
        ("period", "1.0"),
        ("period", "0x1"),
        ("period", "1_0"),
        ("period", []),
        ("durationNano", -1),
        ("durationNano", 2**64),
        ("timeUnixNano", "-1"),
        ("droppedAttributesCount", 2**32),
        ("attributeIndices", [2**31]),
        ("attributeIndices", [-(2**31) - 1]),
        ("attributeIndices", 1),
        ("attributeIndices", "1"),
    ],
)
def test_numbers_out_of_range(field: str, value: Any) -> None:
    """A number that the field cannot hold, or that is none, is never made to fit."""
    with pytest.raises(InvalidRequestError, match=rf"{field}(\[0\])?: invalid (type|value): .*expected an? "):
        Profiles.from_json(profile(**{field: value}))


def test_deep_nesting_is_refused_or_stepped_over() -> None:
    """Attributes that nest without end are refused; under a name that nobody knows they are nothing."""
    deep = b'{"arrayValue":{"values":[' * 1000 + b"{}" + b"]}}" * 1000
    attribute = b'{"dictionary":{"attributeTable":[{"value":' + deep + b"}]}}"
    with pytest.raises(InvalidRequestError, match="recursion limit exceeded"):
        Profiles.from_json(attribute)
    assert 1 == Profiles.from_json(b'{"later":' + deep + b"}").unknown_fields_dropped


def test_an_error_is_short() -> None:
    """A megabyte of text does not come back in the error."""
    with pytest.raises(InvalidRequestError) as caught:
        Profiles.from_json(profile(period="x" * (1 << 20)))
    assert len(str(caught.value)) < 500
    assert f"{PROFILE}.period" in str(caught.value)
