"""A sample with everything of its own, set into a valid request: where tests put what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest,
)

from tests.reference.tables import TABLES, profiles_of

if TYPE_CHECKING:
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue
    from opentelemetry.proto.profiles.v1development.profiles_pb2 import Sample


class Graft:
    """One sample, with everything that it can reach, in one Profile of a request.

    Args:
        request: is changed.
        target: which Profile gets the sample; counted round.
    """

    def __init__(self, request: ExportProfilesServiceRequest, target: int) -> None:
        self.request = request
        self.tables = request.dictionary
        if not any(True for _ in profiles_of(request)):
            request.resource_profiles.add().scope_profiles.add().profiles.add()
        found = list(profiles_of(request))
        self.resource_profiles, self.scope_profiles, self.profile = found[target % len(found)]
        self.string = self._entries()
        self.sample = self._sample()

    def _entries(self) -> int:
        tables = self.tables
        for table in TABLES:
            entries: Any = getattr(tables, table)
            if not entries:
                entries.append("") if table == "string_table" else entries.add()
        string = len(tables.string_table)
        tables.string_table.append("graft")
        self.attribute_index = len(tables.attribute_table)
        self.attribute = tables.attribute_table.add(key_strindex=string, unit_strindex=string)
        self.attribute.value.string_value_strindex = string
        self.mapping_index = len(tables.mapping_table)
        self.mapping = tables.mapping_table.add(filename_strindex=string, memory_limit=9)
        self.function_index = len(tables.function_table)
        self.function = tables.function_table.add(name_strindex=string)
        self.location_index = len(tables.location_table)
        self.location = tables.location_table.add(mapping_index=self.mapping_index, address=5)
        self.line = self.location.lines.add(function_index=self.function_index, line=3)
        self.stack = tables.stack_table.add(location_indices=[self.location_index])
        self.link = tables.link_table.add(trace_id=b"t" * 16, span_id=b"s" * 8)
        return string

    def _sample(self) -> Sample:
        return self.profile.samples.add(
            stack_index=len(self.tables.stack_table) - 1,
            link_index=len(self.tables.link_table) - 1,
            attribute_indices=[self.attribute_index],
            values=[7],
        )

    def share(self) -> None:
        """Put the sample in every other Profile as well."""
        for _, _, profile in profiles_of(self.request):
            if profile is not self.profile:
                profile.samples.add().CopyFrom(self.sample)

    def resource_value(self) -> AnyValue:
        """The value of a fresh attribute of the resource."""
        return self.resource_profiles.resource.attributes.add(key="fault").value

    def scope_value(self) -> AnyValue:
        """The value of a fresh attribute of the scope."""
        return self.scope_profiles.scope.attributes.add(key="fault").value

    def more_attributes(self, count: int) -> list[int]:
        """Fresh entries of the attribute table with a key each."""
        indices = range(len(self.tables.attribute_table), len(self.tables.attribute_table) + count)
        for index in indices:
            self.tables.attribute_table.add(key_strindex=len(self.tables.string_table))
            self.tables.string_table.append(f"key {index}")
        return list(indices)


def nested(value: AnyValue, depth: int) -> AnyValue:
    """Wrap arrays and key-value lists, in turn, around an integer; the innermost value."""
    for level in range(depth):
        value = value.kvlist_value.values.add(key="k").value if level % 2 else value.array_value.values.add()
    value.int_value = 1
    return value


def example() -> ExportProfilesServiceRequest:
    """A small valid request of two resources with one Profile each, which share every entry."""
    request = ExportProfilesServiceRequest()
    graft = Graft(request, 0)
    graft.profile.sample_type.type_strindex = graft.profile.period_type.type_strindex = graft.string
    graft.resource_value().string_value = "first"
    graft.scope_profiles.scope.name = "scope"
    second = request.resource_profiles.add()
    second.CopyFrom(request.resource_profiles[0])
    second.resource.attributes[0].value.string_value = "second"
    return request
