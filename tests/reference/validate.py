"""Which Profiles of a request are refused, and why: the specification of the core's validation.

A Profile is refused alone, for the first reason of `REASONS` that applies to it. Only what it reaches
counts: a bad entry of a table that no sample leads to never refuses anything.

The official parser cannot hold invalid UTF-8, so a request that is to have some carries `NOT_UTF8` in its
place; `faults.wire` puts bytes that are not UTF-8 there when it serializes the request.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from tests.reference.tables import (
    SPAN_ID_BYTES,
    TABLES,
    TRACE_ID_BYTES,
    Tables,
    in_range,
    is_empty_link,
    is_zero_attribute,
    profiles_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
        ExportProfilesServiceRequest,
    )
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
    from opentelemetry.proto.profiles.v1development.profiles_pb2 import (
        Location,
        Mapping,
        Profile,
        ProfilesDictionary,
        ResourceProfiles,
        Sample,
        ScopeProfiles,
        ValueType,
    )

NOT_UTF8: Final = "\U000f0bad"

REASONS: Final = (
    "missing_dictionary",
    "profile_id_length",
    "index_out_of_range",
    "zero_entry",
    "invalid_utf8",
    "link_id_length",
    "duplicate_attribute_key",
    "too_many_attributes",
    "attribute_too_deep",
    "stack_too_deep",
    "empty_sample",
    "values_timestamps_mismatch",
    "value_overflow",
    "timestamp_out_of_window",
)

PROFILE_ID_BYTES: Final = 16
INT64: Final = range(-(2**63), 2**63)
WINDOW_TOLERANCE_NANOS: Final = (
    3600 * 10**9
)  # clocks of profiler and kernel differ, but not by more than this

Refused: TypeAlias = "dict[str, tuple[int, int]]"


class Bounds(Protocol):
    """The part of `otelprof._core.Limits` that refuses single Profiles."""

    @property
    def max_stack_depth(self) -> int:
        """Locations of one Stack."""

    @property
    def max_attributes(self) -> int:
        """Attributes of one owner."""

    @property
    def max_attribute_depth(self) -> int:
        """Values within each other: one that holds no other is one deep."""


@dataclass(frozen=True)
class PlainBounds:
    """Bounds for when the core is not there; the defaults are the core's."""

    max_stack_depth: int = 4096
    max_attributes: int = 256
    max_attribute_depth: int = 16


def rejections(request: ExportProfilesServiceRequest, limits: Bounds) -> Refused:
    """For each reason, how many Profiles are refused for it, and how many samples they hold."""
    refused_profiles: Counter[str] = Counter()
    refused_samples: Counter[str] = Counter()
    judge = Judge(request.dictionary, limits)
    for resource_profiles, scope_profiles, profile in profiles_of(request):
        reason = judge.refusal(resource_profiles, scope_profiles, profile)
        if reason is not None:
            refused_profiles[reason] += 1
            refused_samples[reason] += len(profile.samples)
    return {reason: (count, refused_samples[reason]) for reason, count in refused_profiles.items()}


def kinds(request: ExportProfilesServiceRequest, limits: Bounds) -> set[str]:
    """Every reason that applies to any Profile, whether or not it is the first."""
    judge = Judge(request.dictionary, limits)
    return {reason for found in profiles_of(request) for reason in judge.faults(*found)}


class Judge:
    """Says of each Profile of one request why it is refused, if it is."""

    def __init__(self, dictionary: ProfilesDictionary, limits: Bounds) -> None:
        self._missing = not any(len(getattr(dictionary, table)) for table in TABLES)
        self._tables = Tables(dictionary)
        self._limits = limits

    def refusal(
        self, resource_profiles: ResourceProfiles, scope_profiles: ScopeProfiles, profile: Profile
    ) -> str | None:
        """The first reason of `REASONS` for which a Profile is refused, or None."""
        found = self.faults(resource_profiles, scope_profiles, profile)
        return next((reason for reason in REASONS if reason in found), None)

    def faults(
        self, resource_profiles: ResourceProfiles, scope_profiles: ScopeProfiles, profile: Profile
    ) -> set[str]:
        """Everything that is wrong with a Profile."""
        found: set[str] = set()
        if self._missing and profile.samples:
            found.add("missing_dictionary")
        reached = Reached(self._tables, self._limits, found)
        reached.surroundings(resource_profiles, scope_profiles)
        reached.profile(profile)
        for sample in profile.samples:
            found.update(observation_faults(sample, profile))
        return found


def observation_faults(sample: Sample, profile: Profile) -> set[str]:
    """What is wrong with the values and timestamps of one Sample."""
    found: set[str] = set()
    values, timestamps = sample.values, sample.timestamps_unix_nano
    if not values and not timestamps:
        found.add("empty_sample")
    if values and timestamps and len(values) != len(timestamps):
        found.add("values_timestamps_mismatch")
    if not timestamps and sum(values) not in INT64:
        found.add("value_overflow")
    if profile.time_unix_nano or profile.duration_nano:
        first = profile.time_unix_nano - WINDOW_TOLERANCE_NANOS
        last = profile.time_unix_nano + profile.duration_nano + WINDOW_TOLERANCE_NANOS
        if any(not first <= timestamp <= last for timestamp in timestamps):
            found.add("timestamp_out_of_window")
    return found


class Reached:
    """Walks everything that one Profile reaches, and notes what is wrong with it."""

    def __init__(self, tables: Tables, limits: Bounds, found: set[str]) -> None:
        self._tables = tables
        self._limits = limits
        self._found = found
        self._seen: set[tuple[str, int]] = set()

    def _enter(self, table: str, entries: Sequence[object], index: int) -> bool:
        """Whether an entry exists and was not walked before."""
        if not in_range(entries, index):
            self._found.add("index_out_of_range")
            return False
        if (table, index) in self._seen:
            return False
        self._seen.add((table, index))
        return True

    def text(self, text: str) -> None:
        """A string, wherever it stands."""
        if NOT_UTF8 in text:
            self._found.add("invalid_utf8")

    def string(self, index: int) -> None:
        """A reference into the string table."""
        if self._enter("string", self._tables.strings, index):
            text = self._tables.strings[index]
            if index == 0 and text:
                self._found.add("zero_entry")
            self.text(text)

    def surroundings(self, resource_profiles: ResourceProfiles, scope_profiles: ScopeProfiles) -> None:
        """The resource and the scope that a Profile stands in."""
        resource, scope = resource_profiles.resource, scope_profiles.scope
        for text in (resource_profiles.schema_url, scope_profiles.schema_url, scope.name, scope.version):
            self.text(text)
        for entity in resource.entity_refs:
            for text in (entity.schema_url, entity.type, *entity.id_keys, *entity.description_keys):
                self.text(text)
        for pairs in (resource.attributes, scope.attributes):
            if len(pairs) > self._limits.max_attributes:
                self._found.add("too_many_attributes")
            self.key_values(pairs, depth=1)

    def profile(self, profile: Profile) -> None:
        """A Profile and its samples."""
        if len(profile.profile_id) not in {0, PROFILE_ID_BYTES}:
            self._found.add("profile_id_length")
        self.text(profile.original_payload_format)
        self.value_type(profile.sample_type)
        self.value_type(profile.period_type)
        self.attributes(profile.attribute_indices)
        for sample in profile.samples:
            self.stack(sample.stack_index)
            self.link(sample.link_index)
            self.attributes(sample.attribute_indices)

    def value_type(self, value_type: ValueType) -> None:
        """A ValueType; one that is absent names the empty string, twice."""
        self.string(value_type.type_strindex)
        self.string(value_type.unit_strindex)

    def key_values(self, pairs: Iterable[KeyValue], depth: int) -> None:
        """Attributes of a resource or a scope, or the entries of a key-value list."""
        for pair in pairs:
            self.text(pair.key)
            if pair.key_strindex:
                self.string(pair.key_strindex)
            if pair.HasField("value"):
                self.any_value(pair.value, depth)

    def any_value(self, value: AnyValue, depth: int) -> None:
        """A value; `depth` counts it, and the arrays and key-value lists around it."""
        kind = value.WhichOneof("value")
        if depth > self._limits.max_attribute_depth:
            self._found.add("attribute_too_deep")
        if kind == "string_value":
            self.text(value.string_value)
        elif kind == "string_value_strindex":
            self.string(value.string_value_strindex)
        elif kind == "array_value":
            for item in value.array_value.values:
                self.any_value(item, depth + 1)
        elif kind == "kvlist_value":
            self.key_values(value.kvlist_value.values, depth + 1)

    def attributes(self, indices: Sequence[int]) -> None:
        """The attributes of one owner."""
        if len(indices) > self._limits.max_attributes:
            self._found.add("too_many_attributes")
        keys = []
        for index in indices:
            self.attribute(index)
            if in_range(self._tables.attributes, index):
                key_index = self._tables.attributes[index].key_strindex
                if in_range(self._tables.strings, key_index):
                    keys.append(self._tables.strings[key_index])
        if len(keys) != len(set(keys)):
            self._found.add("duplicate_attribute_key")

    def attribute(self, index: int) -> None:
        """A reference into the attribute table."""
        if not self._enter("attribute", self._tables.attributes, index):
            return
        attribute = self._tables.attributes[index]
        if index == 0 and not is_zero_attribute(attribute):
            self._found.add("zero_entry")
        self.string(attribute.key_strindex)
        self.string(attribute.unit_strindex)
        self.any_value(attribute.value, depth=1)

    def link(self, index: int) -> None:
        """A reference into the link table."""
        if not self._enter("link", self._tables.links, index):
            return
        link = self._tables.links[index]
        if is_empty_link(link):
            return
        if index == 0:
            self._found.add("zero_entry")
        elif (len(link.trace_id), len(link.span_id)) != (TRACE_ID_BYTES, SPAN_ID_BYTES):
            self._found.add("link_id_length")

    def stack(self, index: int) -> None:
        """A reference into the stack table."""
        if not self._enter("stack", self._tables.stacks, index):
            return
        stack = self._tables.stacks[index]
        if index == 0 and stack.ListFields():
            self._found.add("zero_entry")
        if len(stack.location_indices) > self._limits.max_stack_depth:
            self._found.add("stack_too_deep")
        for location_index in stack.location_indices:
            if self._enter("location", self._tables.locations, location_index):
                self.location(location_index, self._tables.locations[location_index])

    def location(self, index: int, location: Location) -> None:
        """An entry of the location table."""
        if index == 0 and location.ListFields():
            self._found.add("zero_entry")
        if self._enter("mapping", self._tables.mappings, location.mapping_index):
            self.mapping(location.mapping_index, self._tables.mappings[location.mapping_index])
        self.attributes(location.attribute_indices)
        for line in location.lines:
            self.function(line.function_index)

    def mapping(self, index: int, mapping: Mapping) -> None:
        """An entry of the mapping table."""
        if index == 0 and mapping.ListFields():
            self._found.add("zero_entry")
        self.string(mapping.filename_strindex)
        self.attributes(mapping.attribute_indices)

    def function(self, index: int) -> None:
        """A reference into the function table."""
        if not self._enter("function", self._tables.functions, index):
            return
        function = self._tables.functions[index]
        if index == 0 and function.ListFields():
            self._found.add("zero_entry")
        self.string(function.name_strindex)
        self.string(function.system_name_strindex)
        self.string(function.filename_strindex)
