"""Requests with one thing wrong, for every reason to refuse a Profile and every place where it can be.

A fault is put into a graft: a sample with a stack, a location, a function, a mapping, an attribute and a
link of its own, set into one Profile of a valid request, so that the rest of the request is known to be
right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from hypothesis import strategies as st
from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest,
)

from tests.reference.generate import START, requests
from tests.reference.graft import Graft, nested
from tests.reference.validate import NOT_UTF8, WINDOW_TOLERANCE_NANOS, PlainBounds

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue
    from opentelemetry.proto.profiles.v1development.profiles_pb2 import ValueType

BOUNDS: Final = PlainBounds(max_stack_depth=8, max_attributes=6, max_attribute_depth=6)
"""Limits that no drawn request reaches, and that a fault passes with a small request."""

BROKEN_UTF8: Final = b"\xff\xfe\xfd\xfc"


Injection: TypeAlias = Callable[[Graft], Any]


@dataclass(frozen=True)
class Fault:
    """One thing to do wrong.

    Attributes:
        name: the reason, and where.
        reason: for which a Profile that reaches it is refused.
        inject: puts it into a graft.
    """

    name: str
    reason: str
    inject: Injection


@dataclass(frozen=True)
class Faulty:
    """A request with one thing wrong.

    Attributes:
        fault: what.
        request: with `NOT_UTF8` where the body has bytes that are not UTF-8.
        body: as it goes on the wire.
    """

    fault: Fault
    request: ExportProfilesServiceRequest
    body: bytes


def wire(request: ExportProfilesServiceRequest) -> bytes:
    """A request on the wire, with bytes that are not UTF-8 where it says so."""
    return request.SerializeToString().replace(NOT_UTF8.encode(), BROKEN_UTF8)


def inject(
    fault: Fault, request: ExportProfilesServiceRequest, *, target: int = 0, share: bool = False
) -> Faulty:
    """A copy of a valid request with one thing wrong."""
    copy = ExportProfilesServiceRequest()
    copy.CopyFrom(request)
    graft = Graft(copy, target)
    fault.inject(graft)
    if share:
        graft.share()
    return Faulty(fault, copy, wire(copy))


@st.composite
def faulty_requests(draw: DrawFn) -> Faulty:
    """A valid request with one fault in one Profile, or in what several share."""
    request = draw(requests())
    fault = draw(st.sampled_from(FAULTS))
    return inject(fault, request, target=draw(st.integers(0, 3)), share=draw(st.booleans()))


def set_in_array(value: AnyValue, index: int) -> None:
    """A string by reference inside an array."""
    value.array_value.values.add().string_value_strindex = index


def set_in_list(value: AnyValue, index: int) -> None:
    """A key by reference inside a key-value list."""
    value.kvlist_value.values.add(key_strindex=index)


def set_first(indices: Any, index: int) -> None:
    """Put an index in front of a list of them."""
    indices[:] = [index, *indices]


def set_type(value_type: ValueType, index: int) -> None:
    """The type of a ValueType."""
    value_type.type_strindex = index


def set_unit(value_type: ValueType, index: int) -> None:
    """The unit of a ValueType."""
    value_type.unit_strindex = index


INDEX_FIELDS: Final[dict[str, tuple[str, Callable[[Graft, int], Any]]]] = {
    "Sample.stack_index": ("stack_table", lambda graft, bad: setattr(graft.sample, "stack_index", bad)),
    "Sample.link_index": ("link_table", lambda graft, bad: setattr(graft.sample, "link_index", bad)),
    "Sample.attribute_indices": (
        "attribute_table",
        lambda graft, bad: set_first(graft.sample.attribute_indices, bad),
    ),
    "Profile.attribute_indices": (
        "attribute_table",
        lambda graft, bad: set_first(graft.profile.attribute_indices, bad),
    ),
    "Profile.sample_type.type": ("string_table", lambda graft, bad: set_type(graft.profile.sample_type, bad)),
    "Profile.sample_type.unit": ("string_table", lambda graft, bad: set_unit(graft.profile.sample_type, bad)),
    "Profile.period_type.type": ("string_table", lambda graft, bad: set_type(graft.profile.period_type, bad)),
    "Profile.period_type.unit": ("string_table", lambda graft, bad: set_unit(graft.profile.period_type, bad)),
    "Stack.location_indices": (
        "location_table",
        lambda graft, bad: set_first(graft.stack.location_indices, bad),
    ),
    "Location.mapping_index": (
        "mapping_table",
        lambda graft, bad: setattr(graft.location, "mapping_index", bad),
    ),
    "Location.attribute_indices": (
        "attribute_table",
        lambda graft, bad: set_first(graft.location.attribute_indices, bad),
    ),
    "Line.function_index": ("function_table", lambda graft, bad: setattr(graft.line, "function_index", bad)),
    "Mapping.filename": ("string_table", lambda graft, bad: setattr(graft.mapping, "filename_strindex", bad)),
    "Mapping.attribute_indices": (
        "attribute_table",
        lambda graft, bad: set_first(graft.mapping.attribute_indices, bad),
    ),
    "Function.name": ("string_table", lambda graft, bad: setattr(graft.function, "name_strindex", bad)),
    "Function.system_name": (
        "string_table",
        lambda graft, bad: setattr(graft.function, "system_name_strindex", bad),
    ),
    "Function.filename": (
        "string_table",
        lambda graft, bad: setattr(graft.function, "filename_strindex", bad),
    ),
    "Attribute.key": ("string_table", lambda graft, bad: setattr(graft.attribute, "key_strindex", bad)),
    "Attribute.unit": ("string_table", lambda graft, bad: setattr(graft.attribute, "unit_strindex", bad)),
    "Attribute.value": (
        "string_table",
        lambda graft, bad: setattr(graft.attribute.value, "string_value_strindex", bad),
    ),
    "Attribute.value in array": ("string_table", lambda graft, bad: set_in_array(graft.attribute.value, bad)),
    "Attribute.key in list": ("string_table", lambda graft, bad: set_in_list(graft.attribute.value, bad)),
    "Resource key": (
        "string_table",
        lambda graft, bad: graft.resource_profiles.resource.attributes.add(key_strindex=bad),
    ),
    "Resource value in array": ("string_table", lambda graft, bad: set_in_array(graft.resource_value(), bad)),
    "Resource key in list": ("string_table", lambda graft, bad: set_in_list(graft.resource_value(), bad)),
    "Scope key": (
        "string_table",
        lambda graft, bad: graft.scope_profiles.scope.attributes.add(key_strindex=bad),
    ),
    "Scope value in array": ("string_table", lambda graft, bad: set_in_array(graft.scope_value(), bad)),
    "Scope key in list": ("string_table", lambda graft, bad: set_in_list(graft.scope_value(), bad)),
}
"""Every field that is an index: the table it leads to, and how to set it."""

TEXT_FIELDS: Final[dict[str, Injection]] = {
    "string_table": lambda graft: graft.tables.string_table.__setitem__(graft.string, f"a{NOT_UTF8}b"),
    "Attribute.string_value": lambda graft: setattr(graft.attribute.value, "string_value", NOT_UTF8),
    "Attribute.string_value in array": lambda graft: graft.attribute.value.array_value.values.add(
        string_value=NOT_UTF8
    ),
    "Attribute.key in list": lambda graft: graft.attribute.value.kvlist_value.values.add(key=NOT_UTF8),
    "Profile.original_payload_format": lambda graft: setattr(
        graft.profile, "original_payload_format", NOT_UTF8
    ),
    "ResourceProfiles.schema_url": lambda graft: setattr(graft.resource_profiles, "schema_url", NOT_UTF8),
    "ScopeProfiles.schema_url": lambda graft: setattr(graft.scope_profiles, "schema_url", NOT_UTF8),
    "Resource key": lambda graft: graft.resource_profiles.resource.attributes.add(key=NOT_UTF8),
    "Resource value": lambda graft: setattr(graft.resource_value(), "string_value", NOT_UTF8),
    "Scope name": lambda graft: setattr(graft.scope_profiles.scope, "name", NOT_UTF8),
    "Scope version": lambda graft: setattr(graft.scope_profiles.scope, "version", NOT_UTF8),
    "Scope key": lambda graft: graft.scope_profiles.scope.attributes.add(key=NOT_UTF8),
    "Scope value": lambda graft: setattr(graft.scope_value(), "string_value", NOT_UTF8),
    "EntityRef.schema_url": lambda graft: graft.resource_profiles.resource.entity_refs.add(
        schema_url=NOT_UTF8
    ),
    "EntityRef.type": lambda graft: graft.resource_profiles.resource.entity_refs.add(type=NOT_UTF8),
    "EntityRef.id_keys": lambda graft: graft.resource_profiles.resource.entity_refs.add(id_keys=[NOT_UTF8]),
    "EntityRef.description_keys": lambda graft: graft.resource_profiles.resource.entity_refs.add(
        description_keys=["ok", NOT_UTF8]
    ),
}
"""Every field that is text."""


def index_faults() -> list[Fault]:
    """Each index field with -1, the size of its table, and the largest number there is."""

    def past_end(table: str, setter: Callable[[Graft, int], Any]) -> Injection:
        return lambda graft: setter(graft, len(getattr(graft.tables, table)))

    def plain(bad: int, setter: Callable[[Graft, int], Any]) -> Injection:
        return lambda graft: setter(graft, bad)

    reason = "index_out_of_range"
    found = []
    for field, (table, setter) in INDEX_FIELDS.items():
        found += [
            Fault(f"{reason}: {field} -1", reason, plain(-1, setter)),
            Fault(f"{reason}: {field} len", reason, past_end(table, setter)),
            Fault(f"{reason}: {field} max", reason, plain(2**31 - 1, setter)),
        ]
    return found


def zero_stack(graft: Graft) -> None:
    """A first stack with a location, used by a sample."""
    graft.tables.stack_table[0].location_indices.append(graft.location_index)
    graft.sample.stack_index = 0


def zero_location(graft: Graft) -> None:
    """A first location with an address, used by a stack."""
    graft.tables.location_table[0].address = 1
    graft.stack.location_indices.append(0)


def zero_mapping(graft: Graft) -> None:
    """A first mapping with an offset, used by a location that names none."""
    graft.tables.mapping_table[0].file_offset = 1
    graft.location.mapping_index = 0


def zero_function(graft: Graft) -> None:
    """A first function with a line, used by a line that names none."""
    graft.tables.function_table[0].start_line = 1
    graft.line.function_index = 0


def zero_link(graft: Graft) -> None:
    """A first link with ids, used by a sample that names none."""
    graft.tables.link_table[0].trace_id, graft.tables.link_table[0].span_id = b"0" * 16, b"0" * 8
    graft.sample.link_index = 0


def zero_attribute(graft: Graft) -> None:
    """A first attribute with a value, even if it is 0, used by a sample."""
    graft.tables.attribute_table[0].value.int_value = 0
    graft.sample.attribute_indices.append(0)


def zero_attribute_unit(graft: Graft) -> None:
    """A first attribute with a unit, used by a location."""
    graft.tables.attribute_table[0].unit_strindex = graft.string
    graft.location.attribute_indices.append(0)


def zero_string(graft: Graft) -> None:
    """A first string with something in it."""
    graft.tables.string_table[0] = "x"


def same_key(indices: Any, graft: Graft) -> None:
    """Two attributes of one owner whose keys are the same text in two places."""
    graft.tables.attribute_table.add(key_strindex=len(graft.tables.string_table))
    graft.tables.string_table.append("graft")
    indices[:] = [graft.attribute_index, len(graft.tables.attribute_table) - 1]


def same_index(indices: Any, graft: Graft) -> None:
    """One attribute twice on one owner."""
    indices[:] = [graft.attribute_index, graft.attribute_index]


OWNERS: Final[dict[str, Callable[[Graft], Any]]] = {
    "Sample": lambda graft: graft.sample.attribute_indices,
    "Location": lambda graft: graft.location.attribute_indices,
    "Mapping": lambda graft: graft.mapping.attribute_indices,
    "Profile": lambda graft: graft.profile.attribute_indices,
}
"""The owners whose attributes are indices."""


def owner_faults() -> list[Fault]:
    """For each owner two attributes of one key, one attribute twice, and too many attributes."""
    duplicate, many = "duplicate_attribute_key", "too_many_attributes"

    def on(owner: Callable[[Graft], Any], change: Callable[[Any, Graft], None]) -> Injection:
        return lambda graft: change(owner(graft), graft)

    def fill(indices: Any, graft: Graft) -> None:
        indices[:] = graft.more_attributes(BOUNDS.max_attributes + 1)

    found = []
    for name, owner in OWNERS.items():
        found += [
            Fault(f"{duplicate}: {name}, same text", duplicate, on(owner, same_key)),
            Fault(f"{duplicate}: {name}, same index", duplicate, on(owner, same_index)),
            Fault(f"{many}: {name}", many, on(owner, fill)),
        ]
    return found


def fill_pairs(pairs: Any) -> None:
    """One attribute more than a resource or a scope may have."""
    for number in range(BOUNDS.max_attributes + 1):
        pairs.add(key=f"many {number}")


def set_observations(graft: Graft, values: list[int], timestamps: list[int]) -> None:
    """What the sample observed."""
    graft.sample.values[:] = values
    graft.sample.timestamps_unix_nano[:] = timestamps


def set_window(graft: Graft, timestamp: int) -> None:
    """A window of 10 ns, and a timestamp that belongs to the one sample in it."""
    del graft.profile.samples[:-1]
    graft.sample = graft.profile.samples[0]
    graft.profile.time_unix_nano, graft.profile.duration_nano = START, 10
    set_observations(graft, [], [timestamp])


def set_link(graft: Graft, trace_id_bytes: int, span_id_bytes: int) -> None:
    """A link with ids of some length."""
    graft.link.trace_id, graft.link.span_id = b"t" * trace_id_bytes, b"s" * span_id_bytes


def clear_tables(graft: Graft) -> None:
    """A dictionary that is there, with nothing in it."""
    graft.request.dictionary.Clear()
    graft.request.dictionary.SetInParent()


DEEP: Final = BOUNDS.max_attribute_depth + 3
"""Deeper than the limit, however the levels are counted."""

SINGLE_FAULTS: Final[dict[str, list[tuple[str, Injection]]]] = {
    "missing_dictionary": [
        ("absent", lambda graft: graft.request.ClearField("dictionary")),
        ("empty", clear_tables),
    ],
    "zero_entry": [
        ("stack", zero_stack),
        ("location", zero_location),
        ("mapping", zero_mapping),
        ("function", zero_function),
        ("link", zero_link),
        ("attribute", zero_attribute),
        ("attribute unit", zero_attribute_unit),
        ("string", zero_string),
    ],
    "too_many_attributes": [
        ("Resource", lambda graft: fill_pairs(graft.resource_profiles.resource.attributes)),
        ("Scope", lambda graft: fill_pairs(graft.scope_profiles.scope.attributes)),
    ],
    "attribute_too_deep": [
        ("Attribute", lambda graft: nested(graft.attribute.value, DEEP)),
        ("Resource", lambda graft: nested(graft.resource_value(), DEEP)),
        ("Scope", lambda graft: nested(graft.scope_value(), DEEP)),
    ],
    "stack_too_deep": [
        (
            "Stack",
            lambda graft: graft.stack.location_indices.extend(
                [graft.location_index] * BOUNDS.max_stack_depth
            ),
        )
    ],
    "empty_sample": [("Sample", lambda graft: set_observations(graft, [], []))],
    "values_timestamps_mismatch": [
        ("fewer values", lambda graft: set_observations(graft, [1], [START, START])),
        ("more values", lambda graft: set_observations(graft, [1, 2, 3], [START])),
    ],
    "value_overflow": [
        ("above", lambda graft: set_observations(graft, [2**63 - 1, 1], [])),
        ("below", lambda graft: set_observations(graft, [-(2**63), -1], [])),
    ],
    "timestamp_out_of_window": [
        ("before", lambda graft: set_window(graft, START - WINDOW_TOLERANCE_NANOS - 1)),
        ("after", lambda graft: set_window(graft, START + 10 + WINDOW_TOLERANCE_NANOS + 1)),
        ("epoch", lambda graft: set_window(graft, 0)),
    ],
}

LINK_LENGTHS: Final = ((16, 0), (0, 8), (15, 8), (17, 8), (16, 7), (16, 9), (8, 16), (32, 8), (1, 1))
PROFILE_ID_LENGTHS: Final = (1, 8, 15, 17, 32)


def length_faults() -> list[Fault]:
    """Ids of wrong lengths."""

    def with_link(lengths: tuple[int, int]) -> Injection:
        return lambda graft: set_link(graft, *lengths)

    def with_profile_id(length: int) -> Injection:
        return lambda graft: setattr(graft.profile, "profile_id", b"p" * length)

    links = [
        Fault(f"link_id_length: {lengths}", "link_id_length", with_link(lengths)) for lengths in LINK_LENGTHS
    ]
    profiles = [
        Fault(f"profile_id_length: {length}", "profile_id_length", with_profile_id(length))
        for length in PROFILE_ID_LENGTHS
    ]
    return links + profiles


FAULTS: Final = (
    *index_faults(),
    *(Fault(f"invalid_utf8: {field}", "invalid_utf8", setter) for field, setter in TEXT_FIELDS.items()),
    *owner_faults(),
    *length_faults(),
    *(
        Fault(f"{reason}: {where}", reason, injection)
        for reason, ways in SINGLE_FAULTS.items()
        for where, injection in ways
    ),
)
"""Every fault; the names are unique."""
