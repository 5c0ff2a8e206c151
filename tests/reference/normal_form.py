"""The request that the core should hand on for one that it was given: repaired, the refused Profiles gone.

What it means counts, not how it is laid out; compare with `meaning`. A Profile whose id the core has to
make has an empty one here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest,
)
from opentelemetry.proto.profiles.v1development.profiles_pb2 import Profile, ProfilesDictionary

from tests.reference.validate import PROFILE_ID_BYTES, Bounds, Judge

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.proto.profiles.v1development.profiles_pb2 import Sample

LEFT_OUT_OF_SECOND: Final = ("profile_id", "original_payload", "original_payload_format")
NO_ID: Final = bytes(PROFILE_ID_BYTES)


def expected(request: ExportProfilesServiceRequest, limits: Bounds) -> ExportProfilesServiceRequest:
    """What is handed on; the order of what is kept stays."""
    judge = Judge(request.dictionary, limits)
    result = ExportProfilesServiceRequest()
    result.dictionary.CopyFrom(repaired_dictionary(request.dictionary))
    for resource_profiles in request.resource_profiles:
        kept_resource = result.resource_profiles.add()
        kept_resource.CopyFrom(resource_profiles)
        del kept_resource.scope_profiles[:]
        for scope_profiles in resource_profiles.scope_profiles:
            kept_scope = kept_resource.scope_profiles.add()
            kept_scope.CopyFrom(scope_profiles)
            del kept_scope.profiles[:]
            for profile in scope_profiles.profiles:
                if judge.refusal(resource_profiles, scope_profiles, profile) is None:
                    kept_scope.profiles.extend(repaired_profiles(profile))
            if not kept_scope.profiles:
                del kept_resource.scope_profiles[-1]
        if not kept_resource.scope_profiles:
            del result.resource_profiles[-1]
    return result


def repaired_dictionary(dictionary: ProfilesDictionary) -> ProfilesDictionary:
    """A dictionary without impossible numbers."""
    repaired = ProfilesDictionary()
    repaired.CopyFrom(dictionary)
    for location in repaired.location_table:
        for line in location.lines:
            line.line = max(line.line, 0)
            line.column = max(line.column, 0)
    for function in repaired.function_table:
        function.start_line = max(function.start_line, 0)
    for mapping in repaired.mapping_table:
        if mapping.memory_start >= mapping.memory_limit:
            mapping.memory_start = mapping.memory_limit = 0
    return repaired


def repaired_profiles(profile: Profile) -> list[Profile]:
    """A Profile as one or two whose samples have one shape each."""
    repaired = Profile()
    repaired.CopyFrom(profile)
    if repaired.profile_id == NO_ID:
        repaired.profile_id = b""
    for sample in repaired.samples:
        if not sample.timestamps_unix_nano:
            sample.values[:] = [sum(sample.values)]
    explicit = any(sample.values for sample in repaired.samples if sample.timestamps_unix_nano)
    for sample in repaired.samples:
        if explicit and not sample.values:
            sample.values[:] = [1] * len(sample.timestamps_unix_nano)
    widen_window(repaired)
    return split_shapes(repaired)


def widen_window(profile: Profile) -> None:
    """Make the window of a Profile hold all its timestamps; its end is exclusive."""
    timestamps = [moment for sample in profile.samples for moment in sample.timestamps_unix_nano]
    if not timestamps:
        return
    first, end = min(timestamps), max(timestamps) + 1
    if profile.time_unix_nano or profile.duration_nano:
        end = max(end, profile.time_unix_nano + profile.duration_nano)
        first = min(first, profile.time_unix_nano)
    profile.time_unix_nano, profile.duration_nano = first, end - first


def split_shapes(profile: Profile) -> list[Profile]:
    """One Profile, or two when samples with and without timestamps stand side by side.

    Those with timestamps go first and keep the id, and the payload, which in both would count twice.
    """
    dated = [sample for sample in profile.samples if sample.timestamps_unix_nano]
    undated = [sample for sample in profile.samples if not sample.timestamps_unix_nano]
    if not dated or not undated:
        return [profile]
    first, second = with_samples(profile, dated), with_samples(profile, undated)
    for field in LEFT_OUT_OF_SECOND:
        second.ClearField(field)
    return [first, second]


def with_samples(profile: Profile, samples: Iterable[Sample]) -> Profile:
    """A copy of a Profile with other samples."""
    copy = Profile()
    copy.CopyFrom(profile)
    del copy.samples[:]
    copy.samples.extend(samples)
    return copy
