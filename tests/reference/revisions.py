"""Requests of older OTLP revisions: written from today's, and read into today's, slowly.

`as_old` is a sender of that revision; `as_current` is what its request means today, the twin of the core's
translation; `sayable` is a request without what the revision cannot say, so that nothing is lost on the way.
"""

from __future__ import annotations

from typing import Any, Final

from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.profiles.v1development.profiles_pb2 import Profile, Sample

from tests.reference.old_schemas import SCHEMAS, request_class
from tests.reference.tables import profiles_of

CURRENT: Final = "1.10"
OLD: Final = tuple(SCHEMAS)


def copy_fields(source: Any, target: Any, *, leave: tuple[str, ...] = ()) -> None:
    """Copy what both of two messages have by name, messages inside of them alike.

    Args:
        source: a message of any revision.
        target: a message of another, empty.
        leave: names of fields that are not copied.
    """
    known = target.DESCRIPTOR.fields_by_name
    for field, value in source.ListFields():
        if field.name not in known or field.name in leave:
            continue
        if field.message_type is None:
            if field.is_repeated:
                getattr(target, field.name).extend(value)
            else:
                setattr(target, field.name, value)
        elif field.message_type.full_name.startswith("opentelemetry.proto.common"):
            _copy_foreign(value, getattr(target, field.name), is_repeated=field.is_repeated)
        elif field.is_repeated:
            for item in value:
                copy_fields(item, getattr(target, field.name).add())
        else:
            getattr(target, field.name).SetInParent()
            copy_fields(value, getattr(target, field.name))


def _copy_foreign(value: Any, target: Any, *, is_repeated: bool) -> None:
    for item, copy in ((item, target.add()) for item in value) if is_repeated else [(value, target)]:
        copy.SetInParent()
        copy.MergeFromString(item.SerializeToString())


def sayable(request: ExportProfilesServiceRequest, revision: str) -> ExportProfilesServiceRequest:
    """A request that the revision can say: without references and unknown fields, in 1.7 a unit by key.

    Nor with what says nothing in a Profile, and moved to another number: an attribute 0, or the format of a
    payload that is not there.
    """
    result = ExportProfilesServiceRequest()
    result.CopyFrom(request)
    result.DiscardUnknownFields()
    strings = list(result.dictionary.string_table) or [""]
    for group in result.resource_profiles:
        _inline(group.resource.attributes, strings)
        for scope in group.scope_profiles:
            _inline(scope.scope.attributes, strings)
    units: dict[str, int] = {}
    for attribute in result.dictionary.attribute_table:
        _inline_value(attribute.value, strings)
        if revision == "1.7":
            key = strings[attribute.key_strindex]
            attribute.unit_strindex = units.setdefault(key, attribute.unit_strindex)
    for _, _, profile in profiles_of(result):
        told = [index for index in profile.attribute_indices if index]
        profile.attribute_indices[:] = told
        if not profile.original_payload:
            profile.ClearField("original_payload_format")
        for sample in profile.samples:
            if revision == "1.7" and not sample.values:
                sample.values.extend([1] * len(sample.timestamps_unix_nano))
    return result


def _inline(pairs: Any, strings: list[str]) -> None:
    for pair in pairs:
        if pair.key_strindex:
            pair.key, pair.key_strindex = strings[pair.key_strindex], 0
        _inline_value(pair.value, strings)


def _inline_value(value: AnyValue, strings: list[str]) -> None:
    match value.WhichOneof("value"):
        case "string_value_strindex":
            value.string_value = strings[value.string_value_strindex]
        case "array_value":
            for item in value.array_value.values:
                _inline_value(item, strings)
        case "kvlist_value":
            _inline(value.kvlist_value.values, strings)


def as_old(request: ExportProfilesServiceRequest, revision: str) -> bytes:
    """A sayable request as a sender of a revision writes it."""
    if revision == CURRENT:
        return request.SerializeToString()
    old = request_class(revision)()
    if revision != "1.7":
        copy_fields(request, old)
        return bytes(old.SerializeToString())
    copy_fields(request, old, leave=("resource_profiles", "dictionary"))
    if request.HasField("dictionary"):
        _tables_as_1_7(request, old.dictionary)
    stacks = [list(stack.location_indices) for stack in request.dictionary.stack_table] or [[]]
    for group in request.resource_profiles:
        old_group = old.resource_profiles.add()
        copy_fields(group, old_group, leave=("scope_profiles",))
        for scope in group.scope_profiles:
            old_scope = old_group.scope_profiles.add()
            copy_fields(scope, old_scope, leave=("profiles",))
            for profile in scope.profiles:
                _profile_as_1_7(profile, stacks, old_scope.profiles.add())
    return bytes(old.SerializeToString())


def _tables_as_1_7(request: ExportProfilesServiceRequest, old: Any) -> None:
    tables = request.dictionary
    copy_fields(tables, old, leave=("attribute_table", "stack_table"))
    strings = list(tables.string_table) or [""]
    old.SetInParent()
    units: dict[str, tuple[int, int]] = {}
    for attribute in tables.attribute_table:
        key = strings[attribute.key_strindex]
        pair = KeyValue(key=key)
        if attribute.HasField("value"):
            pair.value.CopyFrom(attribute.value)
        old.attribute_table.add().MergeFromString(pair.SerializeToString())
        if attribute.unit_strindex:
            units.setdefault(key, (attribute.key_strindex, attribute.unit_strindex))
    for key_index, unit in units.values():
        old.attribute_units.add(attribute_key_strindex=key_index, unit_strindex=unit)


def _profile_as_1_7(profile: Profile, stacks: list[list[int]], old: Any) -> None:
    copy_fields(profile, old, leave=("sample_type", "samples"))
    if profile.HasField("sample_type"):
        copy_fields(profile.sample_type, old.sample_type.add())
    for sample in profile.samples:
        old_sample = old.samples.add(locations_start_index=len(old.location_indices))
        copy_fields(sample, old_sample)
        old_sample.locations_length = len(stacks[sample.stack_index])
        old.location_indices.extend(stacks[sample.stack_index])


def as_current(body: bytes, revision: str) -> ExportProfilesServiceRequest:
    """What a request of an older revision means, as one of today.

    A Profile of several sample types is several Profiles, and only the first has the id and the payload.
    """
    if revision == CURRENT:
        return ExportProfilesServiceRequest.FromString(body)
    old = request_class(revision).FromString(body)
    result = ExportProfilesServiceRequest()
    if revision != "1.7":
        copy_fields(old, result)
        return result
    copy_fields(old, result, leave=("resource_profiles", "dictionary"))
    reader = _From17(old, result)
    for old_group in old.resource_profiles:
        group = result.resource_profiles.add()
        copy_fields(old_group, group, leave=("scope_profiles",))
        for old_scope in old_group.scope_profiles:
            scope = group.scope_profiles.add()
            copy_fields(old_scope, scope, leave=("profiles",))
            for old_profile in old_scope.profiles:
                scope.profiles.extend(reader.profiles(old_profile))
    return result


class _From17:
    """Makes tables in which entry 0 is the zero value, and Profiles that refer to them."""

    def __init__(self, old: Any, result: ExportProfilesServiceRequest) -> None:
        self._tables = result.dictionary
        self._functions = len(old.dictionary.function_table)
        tables, strings = self._tables, list(old.dictionary.string_table)
        # Only a string table that breaks the rule of its time (entry 0 is "") moves.
        self._by = 1 if strings and strings[0] else 0
        tables.string_table.extend([""] * (self._by or not strings) + strings)
        for entries in (
            tables.mapping_table,
            tables.location_table,
            tables.function_table,
            tables.link_table,
            tables.attribute_table,
            tables.stack_table,
        ):
            entries.add()
        self._read(old.dictionary)

    def _read(self, old: Any) -> None:
        tables, strings = self._tables, list(self._tables.string_table)
        units: dict[str, int] = {}
        for unit in old.attribute_units:
            key = strings[unit.attribute_key_strindex + self._by]
            units.setdefault(key, unit.unit_strindex + self._by)
        for pair in old.attribute_table:
            tables.string_table.append(pair.key)
            entry = tables.attribute_table.add(key_strindex=len(tables.string_table) - 1)
            if pair.HasField("value"):
                entry.value.MergeFromString(pair.value.SerializeToString())
            entry.unit_strindex = units.get(pair.key, 0)
        for old_link in old.link_table:
            copy_fields(old_link, tables.link_table.add())
        self._read_frames(old)

    def _read_frames(self, old: Any) -> None:
        tables = self._tables
        for old_mapping in old.mapping_table:
            mapping = tables.mapping_table.add()
            copy_fields(old_mapping, mapping, leave=("attribute_indices", "filename_strindex"))
            mapping.filename_strindex = self._string(old_mapping.filename_strindex)
            mapping.attribute_indices.extend(index + 1 for index in old_mapping.attribute_indices)
        for old_function in old.function_table:
            function = tables.function_table.add(start_line=old_function.start_line)
            for name in ("name_strindex", "system_name_strindex", "filename_strindex"):
                setattr(function, name, self._string(getattr(old_function, name)))
        for old_location in old.location_table:
            location = tables.location_table.add(address=old_location.address)
            if old_location.HasField("mapping_index"):
                location.mapping_index = old_location.mapping_index + 1
            for old_line in old_location.lines:
                line = location.lines.add(line=old_line.line, column=old_line.column)
                line.function_index = old_line.function_index + 1 if self._functions else 0
            location.attribute_indices.extend(index + 1 for index in old_location.attribute_indices)

    def _string(self, index: int) -> int:
        # A class cannot tell an explicit 0 from none; nothing here depends on it unless entry 0 is something.
        return index + self._by if index else 0

    def profiles(self, old: Any) -> list[Profile]:
        """The Profiles of one, each of one sample type."""
        made = []
        for nth in range(max(len(old.sample_type), 1)):
            profile = Profile()
            copy_fields(old, profile, leave=("sample_type", "period_type", "samples", "attribute_indices"))
            for name, value_type in (
                ("sample_type", old.sample_type[nth : nth + 1]),
                ("period_type", [old.period_type]),
            ):
                for told in value_type if name == "sample_type" or old.HasField("period_type") else []:
                    # Names of a sample type are written even when they are entry 0.
                    getattr(profile, name).type_strindex = told.type_strindex + self._by
                    getattr(profile, name).unit_strindex = told.unit_strindex + self._by
                    getattr(profile, name).SetInParent()
            profile.attribute_indices.extend(index + 1 for index in old.attribute_indices)
            if nth:
                profile.profile_id = profile.original_payload = b""
                profile.original_payload_format = ""
            profile.samples.extend(self._sample(sample, old, nth) for sample in old.samples)
            made.append(profile)
        return made

    def _sample(self, old: Any, owner: Any, nth: int) -> Sample:
        start, times = old.locations_start_index, list(old.timestamps_unix_nano)
        stack = self._tables.stack_table.add()
        locations = owner.location_indices[start : start + old.locations_length]
        stack.location_indices.extend(index + 1 for index in locations)
        sample = Sample(stack_index=len(self._tables.stack_table) - 1)
        sample.attribute_indices.extend(index + 1 for index in old.attribute_indices)
        if old.HasField("link_index"):
            sample.link_index = old.link_index + 1
        values = list(old.values)
        if len(owner.sample_type) > 1 or len(values) != len(times):
            values = values[nth : nth + 1]
            if len(times) > 1 and values and values[0] in {1, len(times)}:
                values = [1] * len(times)
            elif len(times) > 1 and values:
                times = []
        sample.values.extend(values)
        sample.timestamps_unix_nano.extend(times)
        return sample
