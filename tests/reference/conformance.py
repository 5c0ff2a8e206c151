"""The profiling SIG's rules for what goes on the wire.

`violations` names every place where a request breaks one. Entries count whether or not a Profile reaches
them.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tests.reference.meaning import Reader, link_meaning
from tests.reference.tables import SPAN_ID_BYTES, TABLES, TRACE_ID_BYTES, Tables, in_range, is_zero_attribute

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence

    from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
        ExportProfilesServiceRequest,
    )
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
    from opentelemetry.proto.profiles.v1development.profiles_pb2 import (
        Location,
        Profile,
        ProfilesDictionary,
        Sample,
        ValueType,
    )

TABLE_OF = {
    "mapping_index": "mapping_table",
    "location_indices": "location_table",
    "function_index": "function_table",
    "link_index": "link_table",
    "attribute_indices": "attribute_table",
    "stack_index": "stack_table",
}

Reference = tuple[str, int]
"""A table and an index into it."""


def violations(
    request: ExportProfilesServiceRequest, *, duplicates: bool = False, orphans: bool = False
) -> list[str]:
    """Where a request breaks the rules, in words; empty when it does not.

    Args:
        request: what is to go on the wire.
        duplicates: also entries of one table that mean the same.
        orphans: also entries that nothing live leads to.
    """
    dictionary = request.dictionary
    found = list(list_violations(request))
    found += zero_violations(dictionary)
    found += entry_violations(dictionary)
    sizes = {table: len(getattr(dictionary, table)) for table in TABLES}
    outside = [
        f"{where}: index {index} is outside {table} of {sizes[table]}"
        for where, (table, index) in all_references(request)
        if not 0 <= index < sizes[table]
    ]
    if outside:
        return found + outside  # what follows reads through the indices
    found += owner_violations(request)
    for where, profile in located_profiles(request):
        found += profile_violations(where, profile)
    if duplicates:
        found += duplicate_violations(dictionary)
    if orphans:
        found += orphan_violations(request)
    return found


def list_violations(request: ExportProfilesServiceRequest) -> Iterator[str]:
    """Lists that may not be empty."""
    if not request.resource_profiles:
        yield "resource_profiles is empty"
    for number, resource_profiles in enumerate(request.resource_profiles):
        if not resource_profiles.scope_profiles:
            yield f"resource_profiles[{number}]: scope_profiles is empty"
        for inner, scope_profiles in enumerate(resource_profiles.scope_profiles):
            if not scope_profiles.profiles:
                yield f"resource_profiles[{number}].scope_profiles[{inner}]: profiles is empty"


def zero_violations(dictionary: ProfilesDictionary) -> Iterator[str]:
    """Tables without the zero value in front."""
    for table in TABLES:
        entries = getattr(dictionary, table)
        if not entries:
            yield f"{table} is empty"
        elif table == "string_table":
            if entries[0]:
                yield f"string_table[0] is {entries[0]!r}"
        elif table == "attribute_table":
            if not is_zero_attribute(entries[0]):
                yield "attribute_table[0] is not the zero value"
        elif entries[0].ByteSize():
            yield f"{table}[0] is not the zero value"


def entry_violations(dictionary: ProfilesDictionary) -> Iterator[str]:
    """Entries with numbers or ids that cannot be."""
    for index, mapping in enumerate(dictionary.mapping_table):
        is_unset = not mapping.memory_start and not mapping.memory_limit
        if not is_unset and mapping.memory_start >= mapping.memory_limit:
            yield f"mapping_table[{index}]: memory range is empty or backwards"
    for index, location in enumerate(dictionary.location_table):
        if any(line.line < 0 or line.column < 0 for line in location.lines):
            yield f"location_table[{index}]: a line or a column is negative"
    for index, function in enumerate(dictionary.function_table):
        if function.start_line < 0:
            yield f"function_table[{index}]: start_line is negative"
    for index, link in enumerate(dictionary.link_table):
        lengths = (len(link.trace_id), len(link.span_id))
        if index and lengths != (TRACE_ID_BYTES, SPAN_ID_BYTES):
            yield f"link_table[{index}]: ids of {lengths} bytes"


def located_profiles(request: ExportProfilesServiceRequest) -> Iterator[tuple[str, Profile]]:
    """Every Profile with the path to it."""
    for number, resource_profiles in enumerate(request.resource_profiles):
        for inner, scope_profiles in enumerate(resource_profiles.scope_profiles):
            for index, profile in enumerate(scope_profiles.profiles):
                yield f"resource_profiles[{number}].scope_profiles[{inner}].profiles[{index}]", profile


def all_references(request: ExportProfilesServiceRequest) -> Iterator[tuple[str, Reference]]:
    """Every reference of a request with the place where it stands."""
    for reference in request_references(request):
        yield "resource_profiles", reference
    for table in TABLES:
        for index, entry in enumerate(getattr(request.dictionary, table)):
            for reference in entry_references(table, entry):
                yield f"{table}[{index}]", reference


def request_references(request: ExportProfilesServiceRequest) -> Iterator[Reference]:
    """What resources, scopes, Profiles and samples refer to."""
    for resource_profiles in request.resource_profiles:
        yield from key_value_references(resource_profiles.resource.attributes)
        for scope_profiles in resource_profiles.scope_profiles:
            yield from key_value_references(scope_profiles.scope.attributes)
            for profile in scope_profiles.profiles:
                yield from value_type_references(profile.sample_type)
                yield from value_type_references(profile.period_type)
                yield from index_references(profile)
                for sample in profile.samples:
                    yield from index_references(sample)


def value_type_references(value_type: ValueType) -> Iterator[Reference]:
    """The two strings of a ValueType."""
    yield "string_table", value_type.type_strindex
    yield "string_table", value_type.unit_strindex


def key_value_references(pairs: Iterable[KeyValue]) -> Iterator[Reference]:
    """What the attributes of a resource or a scope refer to."""
    for pair in pairs:
        if pair.key_strindex:
            yield "string_table", pair.key_strindex
        yield from any_value_references(pair.value)


def any_value_references(value: AnyValue) -> Iterator[Reference]:
    """What a value refers to."""
    kind = value.WhichOneof("value")
    if kind == "string_value_strindex":
        yield "string_table", value.string_value_strindex
    elif kind == "array_value":
        for item in value.array_value.values:
            yield from any_value_references(item)
    elif kind == "kvlist_value":
        yield from key_value_references(value.kvlist_value.values)


def index_references(message: object) -> Iterator[Reference]:
    """What a message refers to by fields named after a table, or after strings."""
    for field in getattr(message, "DESCRIPTOR").fields:  # noqa: B009 - object has no such attribute
        value = getattr(message, field.name)
        if field.name.endswith("_strindex"):
            yield "string_table", value
        elif field.name in TABLE_OF:
            for index in [value] if isinstance(value, int) else value:
                yield TABLE_OF[field.name], index


def entry_references(table: str, entry: object) -> Iterator[Reference]:
    """What an entry of a table refers to."""
    if table == "string_table":
        return
    yield from index_references(entry)
    for line in getattr(entry, "lines", ()):
        yield from index_references(line)
    if table == "attribute_table":
        yield from any_value_references(getattr(entry, "value"))  # noqa: B009 - only attributes have one


def owner_violations(request: ExportProfilesServiceRequest) -> Iterator[str]:
    """Owners with two attributes of one key."""
    dictionary = request.dictionary
    owners: list[tuple[str, Profile | Sample | Location | object]] = []
    for where, profile in located_profiles(request):
        owners.append((where, profile))
        owners += [(f"{where}.samples[{index}]", sample) for index, sample in enumerate(profile.samples)]
    owners += [(f"location_table[{index}]", entry) for index, entry in enumerate(dictionary.location_table)]
    owners += [(f"mapping_table[{index}]", entry) for index, entry in enumerate(dictionary.mapping_table)]
    for where, owner in owners:
        indices: Sequence[int] = getattr(owner, "attribute_indices")  # noqa: B009 - every owner has them
        keys = Counter(
            dictionary.string_table[dictionary.attribute_table[index].key_strindex] for index in indices
        )
        for key, count in keys.items():
            if count > 1:
                yield f"{where}: attribute {key!r} stands {count} times"


def profile_violations(where: str, profile: Profile) -> Iterator[str]:
    """What is wrong with the shape of a Profile's samples, and with their timestamps."""
    window = range(profile.time_unix_nano, profile.time_unix_nano + profile.duration_nano)
    shapes = set()
    for index, sample in enumerate(profile.samples):
        values, timestamps = len(sample.values), len(sample.timestamps_unix_nano)
        shapes.add((values > 0, timestamps > 0))
        if not values and not timestamps:
            yield f"{where}.samples[{index}]: neither values nor timestamps"
        if values and timestamps and values != timestamps:
            yield f"{where}.samples[{index}]: {values} values beside {timestamps} timestamps"
        if not timestamps and values > 1:
            yield f"{where}.samples[{index}]: {values} values without timestamps"
        if any(moment not in window for moment in sample.timestamps_unix_nano):
            yield f"{where}.samples[{index}]: a timestamp is outside the Profile's window"
    if len(shapes) > 1:
        yield f"{where}: samples of {len(shapes)} shapes"


def duplicate_violations(dictionary: ProfilesDictionary) -> Iterator[str]:
    """Entries of one table that mean the same."""
    tables = Tables(dictionary)
    reader = Reader(tables)
    resolved: dict[str, list[Hashable]] = {
        "mapping_table": [reader.mapping(entry) for entry in tables.mappings],
        "location_table": [reader.location(entry) for entry in tables.locations],
        "function_table": [reader.function(entry) for entry in tables.functions],
        "link_table": [link_meaning(entry) for entry in tables.links],
        "string_table": list(tables.strings),
        "attribute_table": [reader.attribute(index) for index in range(len(tables.attributes))],
        "stack_table": [reader.stack(index) for index in range(len(tables.stacks))],
    }
    for table, entries in resolved.items():
        first: dict[Hashable, int] = {}
        for index, entry in enumerate(entries):
            if first.setdefault(entry, index) != index:
                yield f"{table}[{index}] means the same as [{first[entry]}]"


def live_references(request: ExportProfilesServiceRequest) -> set[Reference]:
    """Everything that Profiles, samples, resources and scopes lead to, and what that leads to."""
    live: set[Reference] = set()
    pending = list(request_references(request))
    while pending:
        reference = pending.pop()
        if reference in live:
            continue
        live.add(reference)
        table, index = reference
        entries = getattr(request.dictionary, table)
        if in_range(entries, index):
            pending += entry_references(table, entries[index])
    return live


def orphan_violations(request: ExportProfilesServiceRequest) -> Iterator[str]:
    """Entries that no Profile, sample, resource or scope leads to; the zero values are never orphans."""
    live = live_references(request)
    for table in TABLES:
        for index in range(1, len(getattr(request.dictionary, table))):
            if (table, index) not in live:
                yield f"{table}[{index}] is an orphan"
