"""Requests that are right, small, and as varied as the wire allows.

`requests()` draws what a careful or a careless sender may send and the core must accept: all shapes of
samples, orphans, duplicates, missing tables, repairable numbers. `requests(clean=True)` draws only what
needs no repair, so that the SIG's rules hold for it as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from hypothesis import assume
from hypothesis import strategies as st
from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.profiles.v1development.profiles_pb2 import (
    Function,
    KeyValueAndUnit,
    Line,
    Link,
    Location,
    Mapping,
    Profile,
    ProfilesDictionary,
    ResourceProfiles,
    Sample,
    ScopeProfiles,
    Stack,
    ValueType,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from otelprof._core import Profiles
from otelprof.errors import AmbiguousRevisionError
from tests.reference.tables import SPAN_ID_BYTES, TABLES, TRACE_ID_BYTES, profiles_of
from tests.reference.validate import NOT_UTF8, WINDOW_TOLERANCE_NANOS

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy

MAX_ENTRIES: Final = 7  # besides the zero value
UNKNOWN_FIELD: Final = b"\xa2\x06\x03new"  # field 100, three bytes: what a later revision may add

INT64: Final = st.one_of(
    st.integers(-3, 200),
    st.sampled_from([-(2**63), -(2**31), 2**31, 2**63 - 1]),
    st.integers(-(2**63), 2**63 - 1),
)
UINT64: Final = st.one_of(st.integers(0, 200), st.sampled_from([2**32, 2**63, 2**64 - 1]))
UINT32: Final = st.sampled_from([0, 0, 1, 2**32 - 1])
TEXT: Final = st.one_of(
    st.sampled_from(
        ["main", "a;b", "cpu", "nanoseconds", "count", "/usr/lib/libc.so.6", "é", "日本", "🔥\n", "\0"]
    ),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters=NOT_UTF8), max_size=5),
)
TRACE_IDS: Final = st.binary(min_size=TRACE_ID_BYTES, max_size=TRACE_ID_BYTES)
SPAN_IDS: Final = st.binary(min_size=SPAN_ID_BYTES, max_size=SPAN_ID_BYTES)
COIN: Final = st.booleans()
NUMBER: Final = st.integers(0, 99)
ANY_NUMBER: Final = st.integers(-2, 99)
STRINGS: Final = st.lists(TEXT, max_size=MAX_ENTRIES)
SERVICES: Final = st.sampled_from([None, "checkout", "cart", ""])
VERSIONS: Final = st.sampled_from([None, "1.2", "1.3", ""])
PROFILE_IDS: Final = st.uuids().map(lambda made: made.bytes) | st.just(bytes(16))
PAYLOADS: Final = st.binary(max_size=3)
START: Final = 1_790_000_000_000_000_000  # nanoseconds since the epoch, in 2026


@dataclass
class Ways:
    """How a request is drawn: where its strings are, and whether it may need repairs."""

    draw: DrawFn
    clean: bool
    strings: list[str]

    def index(self, size: int) -> int:
        """An index into a table of some size; of an empty table, its implied zero value."""
        return self.draw(index_below(size))

    def strindex(self) -> int:
        """An index into the string table."""
        return self.index(len(self.strings))

    def chance(self) -> bool:
        """A coin."""
        return self.draw(COIN)

    def number(self) -> int:
        """A line or a column."""
        return self.draw(NUMBER if self.clean else ANY_NUMBER)

    def count(self, most: int) -> int:
        """How many of something there are; at least one when a list may not be empty."""
        return self.draw(between(1 if self.clean else 0, most))


@cache
def between(first: int, last: int) -> SearchStrategy[int]:
    """Integers, with both ends; made once, because making a strategy costs more than drawing from it."""
    return st.integers(first, last)


def index_below(size: int) -> SearchStrategy[int]:
    """Indices into a table of some size; into an empty one, that of its implied zero value."""
    return between(0, max(size - 1, 0))


def is_ambiguous(request: ExportProfilesServiceRequest) -> bool:
    """Whether two revisions read it with different meanings: its sender is told to say it otherwise."""
    try:
        Profiles.decode(request.SerializeToString())
    except AmbiguousRevisionError:
        return True
    return False


@st.composite
def requests(draw: DrawFn, *, clean: bool = False) -> ExportProfilesServiceRequest:
    """A request of which no Profile is to be refused.

    Args:
        draw: of hypothesis.
        clean: whether it obeys the SIG's rules without a repair.
    """
    strings = draw(STRINGS)
    if strings or clean or draw(COIN):
        strings.insert(0, "")
    ways = Ways(draw, clean, strings)
    request = ExportProfilesServiceRequest(dictionary=dictionary(ways))
    for _ in range(ways.count(3)):
        request.resource_profiles.append(resource_profiles(ways, request.dictionary))
    has_samples = any(profile.samples for _, _, profile in profiles_of(request))
    if has_samples and not any(len(getattr(request.dictionary, table)) for table in TABLES):
        request.dictionary.string_table.append("")
    if not request.dictionary.ByteSize() and ways.chance():
        request.ClearField("dictionary")
    assume(not is_ambiguous(request))
    return request


def dictionary(ways: Ways) -> ProfilesDictionary:
    """Seven tables whose entries refer only to entries that are there."""
    result = ProfilesDictionary(string_table=ways.strings)
    for _ in range(table_size(ways)):
        result.attribute_table.append(attribute(ways, first=not result.attribute_table))
    for _ in range(table_size(ways)):
        result.mapping_table.append(mapping(ways, result) if result.mapping_table else Mapping())
    for _ in range(table_size(ways)):
        result.function_table.append(function(ways) if result.function_table else Function())
    for _ in range(table_size(ways)):
        result.location_table.append(location(ways, result) if result.location_table else Location())
    for _ in range(table_size(ways)):
        result.stack_table.append(stack(ways, result) if result.stack_table else Stack())
    for _ in range(table_size(ways)):
        result.link_table.append(link(ways, first=not result.link_table))
    for table in ("mapping_table", "location_table", "stack_table"):
        duplicate_an_entry(ways, getattr(result, table))
    return result


def table_size(ways: Ways) -> int:
    """How many entries a table has, its zero value included."""
    return ways.count(MAX_ENTRIES + 1)


def duplicate_an_entry(ways: Ways, entries: list[object]) -> None:
    """Sometimes repeat an entry, and sometimes put a field in it that nobody knows."""
    if len(entries) > 1 and ways.chance():
        entries.append(entries[ways.draw(between(1, len(entries) - 1))])
    if len(entries) > 1 and ways.chance():
        add_unknown(entries[-1])


def add_unknown(message: object) -> None:
    """Put a field in a message that nobody knows."""
    getattr(message, "MergeFromString")(UNKNOWN_FIELD)  # noqa: B009 - of any message


def attribute(ways: Ways, *, first: bool) -> KeyValueAndUnit:
    """An entry of the attribute table; the first is the zero value, with or without an empty value."""
    if first:
        return KeyValueAndUnit(value=AnyValue()) if ways.chance() else KeyValueAndUnit()
    result = KeyValueAndUnit(key_strindex=ways.strindex(), unit_strindex=ways.strindex())
    if ways.chance():
        result.value.CopyFrom(ways.draw(any_values(len(ways.strings))))
    return result


@cache
def any_values(string_count: int) -> SearchStrategy[AnyValue]:
    """Values of every kind, nested, with references into a string table of some size."""
    strindex = index_below(string_count)
    leaves = st.one_of(
        st.builds(AnyValue),
        st.builds(AnyValue, string_value=TEXT),
        st.builds(AnyValue, bool_value=st.booleans()),
        st.builds(AnyValue, int_value=INT64),
        st.builds(
            AnyValue, double_value=st.sampled_from([0.0, -0.0, 1.0, float("nan"), float("-inf"), 1e-310])
        ),
        st.builds(AnyValue, bytes_value=st.binary(max_size=3)),
        st.builds(AnyValue, string_value_strindex=strindex),
    )
    return st.recursive(leaves, lambda children: containers(children, string_count), max_leaves=4)


def containers(children: SearchStrategy[AnyValue], string_count: int) -> SearchStrategy[AnyValue]:
    """Arrays and key-value lists of values."""
    pairs = st.builds(key_value, TEXT, index_below(string_count), children)
    arrays = st.builds(ArrayValue, values=st.lists(children, max_size=3))
    lists = st.builds(KeyValueList, values=st.lists(pairs, max_size=3))
    return st.one_of(st.builds(AnyValue, array_value=arrays), st.builds(AnyValue, kvlist_value=lists))


def key_value(key: str, key_strindex: int, value: AnyValue) -> KeyValue:
    """An attribute with a key, or with a reference to one when the index is even; never with both."""
    if key_strindex and key_strindex % 2 == 0:
        return KeyValue(key_strindex=key_strindex, value=value)
    return KeyValue(key=key, value=value)


def attribute_indices(ways: Ways, tables: ProfilesDictionary) -> list[int]:
    """Attributes of one owner: some entries with different keys."""
    keys = [
        tables.string_table[entry.key_strindex] if ways.strings else "" for entry in tables.attribute_table
    ]
    chosen: dict[str, int] = {}
    for _ in range(ways.draw(between(0, 3))):
        index = ways.index(len(keys))
        chosen.setdefault(keys[index] if keys else "", index)
    return list(chosen.values())


def mapping(ways: Ways, tables: ProfilesDictionary) -> Mapping:
    """An entry of the mapping table."""
    start, limit = ways.draw(UINT64), ways.draw(UINT64)
    if ways.clean and start >= limit:
        start = limit = 0
    return Mapping(
        memory_start=start,
        memory_limit=limit,
        file_offset=ways.draw(UINT64),
        filename_strindex=ways.strindex(),
        attribute_indices=attribute_indices(ways, tables),
    )


def function(ways: Ways) -> Function:
    """An entry of the function table."""
    return Function(
        name_strindex=ways.strindex(),
        system_name_strindex=ways.strindex(),
        filename_strindex=ways.strindex(),
        start_line=ways.number(),
    )


def location(ways: Ways, tables: ProfilesDictionary) -> Location:
    """An entry of the location table."""
    lines = [
        Line(function_index=ways.index(len(tables.function_table)), line=ways.number(), column=ways.number())
        for _ in range(ways.draw(between(0, 2)))
    ]
    return Location(
        mapping_index=ways.index(len(tables.mapping_table)),
        address=ways.draw(UINT64),
        lines=lines,
        attribute_indices=attribute_indices(ways, tables),
    )


def stack(ways: Ways, tables: ProfilesDictionary) -> Stack:
    """An entry of the stack table; it may be empty."""
    count = ways.draw(between(0, 5))
    return Stack(location_indices=[ways.index(len(tables.location_table)) for _ in range(count)])


def link(ways: Ways, *, first: bool) -> Link:
    """An entry of the link table; the first says nothing, in either of two ways."""
    full = Link(trace_id=bytes(TRACE_ID_BYTES), span_id=bytes(SPAN_ID_BYTES))
    if first:
        return full if ways.chance() and not ways.clean else Link()
    if ways.chance():
        return Link(trace_id=ways.draw(TRACE_IDS), span_id=ways.draw(SPAN_IDS))
    choices = [
        full,
        Link(trace_id=full.trace_id, span_id=b"12345678"),
        Link(trace_id=b"1" * 16, span_id=full.span_id),
    ]
    return ways.draw(st.sampled_from(choices if ways.clean else [*choices, Link()]))


def resource_profiles(ways: Ways, tables: ProfilesDictionary) -> ResourceProfiles:
    """A resource with its scopes."""
    result = ResourceProfiles(schema_url=ways.draw(TEXT))
    if ways.chance():
        result.resource.CopyFrom(resource(ways))
    for _ in range(ways.count(2)):
        scope = ScopeProfiles(schema_url=ways.draw(TEXT))
        if ways.chance():
            scope.scope.name, scope.scope.version = ways.draw(TEXT), ways.draw(TEXT)
            scope.scope.dropped_attributes_count = ways.draw(UINT32)
            scope.scope.attributes.extend(key_values(ways))
        for _ in range(ways.count(2)):
            scope.profiles.append(profile(ways, tables))
        result.scope_profiles.append(scope)
    return result


def resource(ways: Ways) -> Resource:
    """A Resource, sometimes with name and version of a service, in either way to write a string."""
    result = Resource(dropped_attributes_count=ways.draw(UINT32), attributes=key_values(ways))
    name = ways.draw(SERVICES)
    if name is not None:
        result.attributes.add(key="service.name", value=AnyValue(string_value=name))
    elif ways.chance():
        result.attributes.add(key="service.name", value=AnyValue(string_value_strindex=ways.strindex()))
    version = ways.draw(VERSIONS)
    if version is not None:
        result.attributes.add(key="service.version", value=AnyValue(string_value=version))
    elif ways.chance():
        result.attributes.add(key="service.version", value=AnyValue(string_value_strindex=ways.strindex()))
    if ways.chance():
        entity = result.entity_refs.add(schema_url=ways.draw(TEXT), type=ways.draw(TEXT))
        entity.id_keys.append("service.name")
        entity.description_keys.append(ways.draw(TEXT))
    if ways.chance():
        add_unknown(result)
    return result


def key_values(ways: Ways) -> list[KeyValue]:
    """Attributes of a resource or a scope."""
    values = any_values(len(ways.strings))
    return [key_value(ways.draw(TEXT), ways.strindex(), ways.draw(values)) for _ in range(ways.index(3))]


def profile(ways: Ways, tables: ProfilesDictionary) -> Profile:
    """A Profile with samples of one shape or, when it need not be clean, of any."""
    result = Profile(
        time_unix_nano=ways.draw(st.sampled_from([0, START])),
        duration_nano=ways.draw(st.sampled_from([0, 10, 10**10])),
        period=ways.draw(INT64),
        dropped_attributes_count=ways.draw(UINT32),
        attribute_indices=attribute_indices(ways, tables),
    )
    if ways.chance():
        result.sample_type.CopyFrom(ValueType(type_strindex=ways.strindex(), unit_strindex=ways.strindex()))
    if ways.chance():
        result.period_type.CopyFrom(ValueType(type_strindex=ways.strindex(), unit_strindex=ways.strindex()))
    if ways.chance():
        result.profile_id = ways.draw(PROFILE_IDS)
    if ways.chance():
        result.original_payload_format, result.original_payload = "pprof", ways.draw(PAYLOADS)
    if ways.clean and not result.duration_nano:
        result.duration_nano = 1
    shape = ways.draw(SHAPES)
    for _ in range(ways.draw(between(0, 4))):
        shape = shape if ways.clean else ways.draw(SHAPES)
        result.samples.append(sample(ways, tables, result, shape))
    if ways.chance():
        add_unknown(result)
    return result


SHAPES: Final = st.sampled_from(["values", "timestamps", "both"])


def sample(ways: Ways, tables: ProfilesDictionary, owner: Profile, shape: str) -> Sample:
    """A Sample of one shape."""
    result = Sample(
        stack_index=ways.index(len(tables.stack_table)),
        link_index=ways.index(len(tables.link_table)),
        attribute_indices=attribute_indices(ways, tables),
    )
    if shape == "values":
        result.values.append(ways.draw(INT64))
        if not ways.clean and ways.chance():
            result.values[:] = ways.draw(st.sampled_from([[1, 2, 3], [2**63 - 1, 1, -1], [0, 0], [5, -5]]))
        return result
    count = ways.draw(between(1, 3))
    result.timestamps_unix_nano.extend(timestamp(ways, owner) for _ in range(count))
    if shape == "both":
        result.values.extend(ways.draw(INT64) for _ in range(count))
    return result


def timestamp(ways: Ways, owner: Profile) -> int:
    """A moment in a Profile's window or, when it need not be clean, up to the tolerance outside."""
    first, last = owner.time_unix_nano, owner.time_unix_nano + max(owner.duration_nano - 1, 0)
    if not ways.clean:
        if first == 0 and owner.duration_nano == 0:
            return ways.draw(st.sampled_from([0, START, START + 1, 2**63]))
        edges = [
            first - WINDOW_TOLERANCE_NANOS,
            first - 1,
            last + 2,
            first + owner.duration_nano + WINDOW_TOLERANCE_NANOS,
        ]
        return max(ways.draw(st.sampled_from([first, last, *edges])), 0)
    return ways.draw(st.integers(first, last))


@st.composite
def mutated_bodies(draw: DrawFn) -> bytes:
    """The bytes of a valid request with some of them cut, changed, inserted, or taken from another place."""
    body = draw(requests()).SerializeToString()
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 4]))):
        place = draw(st.integers(0, len(body)))
        kind = draw(st.sampled_from(["flip", "flip", "insert", "splice", "remove", "truncate"]))
        head, tail = body[:place], body[place:]
        if kind == "flip":
            flipped = bytes(byte ^ (1 << draw(st.integers(0, 7))) for byte in tail[:1])
            body = head + flipped + tail[1:]
        elif kind == "insert":
            body = head + draw(st.binary(min_size=1, max_size=4)) + tail
        elif kind == "splice":
            start = draw(st.integers(0, len(body)))
            body = head + body[start : start + draw(st.integers(1, 12))] + tail
        elif kind == "remove":
            body = head + tail[draw(st.integers(1, 12)) :]
        else:
            body = head
    return body
