"""What a request says, apart from how it says it.

Two requests with equal meanings tell a consumer the same: table order, orphans and duplicates are gone, and
every index is replaced by what it names. Profiles and samples are bags, because their order says nothing;
lists whose order is content (a stack, the lines of a location, values beside their timestamps) stay lists.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Hashable
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from tests.reference.tables import Tables, at, is_empty_link, profiles_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
        ExportProfilesServiceRequest,
    )
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
    from opentelemetry.proto.profiles.v1development.profiles_pb2 import (
        Function,
        Link,
        Location,
        Mapping,
        Profile,
        Sample,
        ValueType,
    )
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource

Bag: TypeAlias = frozenset[tuple[Hashable, int]]
Meaning: TypeAlias = Bag


class FunctionMeaning(NamedTuple):
    """A Function with its strings."""

    name: str
    system_name: str
    filename: str
    start_line: int


class LineMeaning(NamedTuple):
    """A Line with its Function."""

    function: FunctionMeaning
    line: int
    column: int


class MappingMeaning(NamedTuple):
    """A Mapping with its strings and attributes."""

    memory_start: int
    memory_limit: int
    file_offset: int
    filename: str
    attributes: Bag


class LocationMeaning(NamedTuple):
    """A Location with everything that it refers to."""

    mapping: MappingMeaning
    address: int
    lines: tuple[LineMeaning, ...]
    attributes: Bag


class SampleMeaning(NamedTuple):
    """A Sample with its stack, leaf first."""

    stack: tuple[LocationMeaning, ...]
    attributes: Bag
    link: tuple[bytes, bytes] | None
    values: tuple[int, ...]
    timestamps: tuple[int, ...]


class ProfileMeaning(NamedTuple):
    """A Profile with its resource, its scope and its samples."""

    resource: Hashable
    resource_schema_url: str
    scope: Hashable
    scope_schema_url: str
    sample_type: tuple[str, str]
    period_type: tuple[str, str]
    period: int
    time_unix_nano: int
    duration_nano: int
    profile_id: bytes | None
    dropped_attributes_count: int
    original_payload: tuple[str, bytes]
    attributes: Bag
    samples: Bag


def bag(items: Iterable[Hashable]) -> Bag:
    """A multiset that can be compared and hashed."""
    return frozenset(Counter(items).items())


def meaning(request: ExportProfilesServiceRequest, *, with_ids: bool = True) -> Meaning:
    """The bag of the Profiles of a request, each a `ProfileMeaning`.

    Args:
        request: valid; see `validate.rejections`.
        with_ids: whether `profile_id` is part of the meaning.

    Raises:
        IndexError: an index that a Profile reaches names nothing.
    """
    reader = Reader(Tables(request.dictionary))
    found = []
    for resource_profiles, scope_profiles, profile in profiles_of(request):
        told = reader.profile(profile)
        found.append(
            told._replace(
                resource=reader.resource(resource_profiles.resource),
                resource_schema_url=resource_profiles.schema_url,
                scope=reader.scope(scope_profiles.scope),
                scope_schema_url=scope_profiles.schema_url,
                profile_id=told.profile_id if with_ids else None,
            )
        )
    return bag(found)


def difference(first: Meaning, second: Meaning) -> tuple[list[Hashable], list[Hashable]]:
    """What only one of two meanings says: short enough to read when they should be equal."""
    return list((Counter(dict(first)) - Counter(dict(second))).elements()), list(
        (Counter(dict(second)) - Counter(dict(first))).elements()
    )


class Reader:
    """Replaces every index by what it names."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._locations: dict[int, LocationMeaning] = {}
        self._attributes: dict[int, Hashable] = {}

    def string(self, index: int) -> str:
        """An entry of the string table."""
        return at(self._tables.strings, index)

    def any_value(self, value: AnyValue) -> Hashable:
        """A value with its kind, so that 1, 1.0 and True differ; a double by its bits: NaN equals itself."""
        kind = value.WhichOneof("value")
        if kind is None:
            return None
        if kind == "string_value_strindex":
            return ("string_value", self.string(value.string_value_strindex))
        if kind == "double_value":
            return (kind, struct.pack("<d", value.double_value))
        if kind == "array_value":
            return (kind, tuple(self.any_value(item) for item in value.array_value.values))
        if kind == "kvlist_value":
            return (kind, tuple(self.key_value(item) for item in value.kvlist_value.values))
        plain: Hashable = getattr(value, kind)
        return (kind, plain)

    def key_value(self, pair: KeyValue) -> tuple[str, Hashable]:
        """An attribute of a resource or a scope; a key by reference counts when there is one."""
        key = self.string(pair.key_strindex) if pair.key_strindex else pair.key
        return key, self.any_value(pair.value)

    def attribute(self, index: int) -> Hashable:
        """An entry of the attribute table as (key, value, unit)."""
        if index not in self._attributes:
            entry = at(self._tables.attributes, index)
            self._attributes[index] = (
                self.string(entry.key_strindex),
                self.any_value(entry.value),
                self.string(entry.unit_strindex),
            )
        return self._attributes[index]

    def attributes(self, indices: Iterable[int]) -> Bag:
        """What a list of attribute indices names."""
        return bag(self.attribute(index) for index in indices)

    def resource(self, resource: Resource) -> Hashable:
        """A Resource with its attributes and entity references."""
        entities = bag(
            (entity.schema_url, entity.type, tuple(entity.id_keys), tuple(entity.description_keys))
            for entity in resource.entity_refs
        )
        attributes = bag(self.key_value(pair) for pair in resource.attributes)
        return (attributes, resource.dropped_attributes_count, entities)

    def scope(self, scope: InstrumentationScope) -> Hashable:
        """An InstrumentationScope with its attributes."""
        attributes = bag(self.key_value(pair) for pair in scope.attributes)
        return (scope.name, scope.version, attributes, scope.dropped_attributes_count)

    def value_type(self, value_type: ValueType) -> tuple[str, str]:
        """A ValueType as (type, unit)."""
        return self.string(value_type.type_strindex), self.string(value_type.unit_strindex)

    def mapping(self, mapping: Mapping) -> MappingMeaning:
        """A Mapping with its strings and attributes."""
        return MappingMeaning(
            mapping.memory_start,
            mapping.memory_limit,
            mapping.file_offset,
            self.string(mapping.filename_strindex),
            self.attributes(mapping.attribute_indices),
        )

    def function(self, function: Function) -> FunctionMeaning:
        """A Function with its strings."""
        return FunctionMeaning(
            self.string(function.name_strindex),
            self.string(function.system_name_strindex),
            self.string(function.filename_strindex),
            function.start_line,
        )

    def location(self, location: Location) -> LocationMeaning:
        """A Location with everything that it refers to."""
        lines = tuple(
            LineMeaning(
                self.function(at(self._tables.functions, line.function_index)), line.line, line.column
            )
            for line in location.lines
        )
        return LocationMeaning(
            self.mapping(at(self._tables.mappings, location.mapping_index)),
            location.address,
            lines,
            self.attributes(location.attribute_indices),
        )

    def stack(self, index: int) -> tuple[LocationMeaning, ...]:
        """The locations of an entry of the stack table, leaf first."""
        indices = at(self._tables.stacks, index).location_indices
        for number in indices:
            if number not in self._locations:
                self._locations[number] = self.location(at(self._tables.locations, number))
        return tuple(self._locations[number] for number in indices)

    def sample(self, sample: Sample) -> SampleMeaning:
        """A Sample with everything that it refers to."""
        return SampleMeaning(
            self.stack(sample.stack_index),
            self.attributes(sample.attribute_indices),
            link_meaning(at(self._tables.links, sample.link_index)),
            tuple(sample.values),
            tuple(sample.timestamps_unix_nano),
        )

    def profile(self, profile: Profile) -> ProfileMeaning:
        """A Profile without what it stands in."""
        return ProfileMeaning(
            resource=None,
            resource_schema_url="",
            scope=None,
            scope_schema_url="",
            sample_type=self.value_type(profile.sample_type),
            period_type=self.value_type(profile.period_type),
            period=profile.period,
            time_unix_nano=profile.time_unix_nano,
            duration_nano=profile.duration_nano,
            profile_id=profile.profile_id,
            dropped_attributes_count=profile.dropped_attributes_count,
            original_payload=(profile.original_payload_format, profile.original_payload),
            attributes=self.attributes(profile.attribute_indices),
            samples=bag(self.sample(sample) for sample in profile.samples),
        )


def link_meaning(link: Link) -> tuple[bytes, bytes] | None:
    """The ids of a Link, or None when it says nothing."""
    return None if is_empty_link(link) else (link.trace_id, link.span_id)
