"""The slow twins of `Profiles.summary` and `Profiles.service_versions`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.reference.meaning import Reader
from tests.reference.tables import Tables, at, profiles_of

if TYPE_CHECKING:
    from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
        ExportProfilesServiceRequest,
    )
    from opentelemetry.proto.profiles.v1development.profiles_pb2 import Link, Sample
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource

UNKNOWN_SERVICE: Final = "unknown_service"


@dataclass
class Row:
    """The fields of `otelprof._core.SummaryRow`, in its order."""

    service: str
    sample_type: str
    unit: str
    profile_count: int = 0
    sample_count: int = 0
    linked_sample_count: int = 0
    value: int = 0
    linked_value: int = 0


def summary(request: ExportProfilesServiceRequest) -> list[Row]:
    """One row for each (service, type, unit) of a request in normal form, in order of first appearance."""
    tables = Tables(request.dictionary)
    reader = Reader(tables)
    rows: dict[tuple[str, str, str], Row] = {}
    for resource_profiles, _, profile in profiles_of(request):
        sample_type, unit = reader.value_type(profile.sample_type)
        key = (service_name(reader, resource_profiles.resource), sample_type, unit)
        row = rows.setdefault(key, Row(*key))
        row.profile_count += 1
        for sample in profile.samples:
            value = sample_value(sample)
            row.sample_count += 1
            row.value += value
            if is_linked(at(tables.links, sample.link_index)):
                row.linked_sample_count += 1
                row.linked_value += value
    return list(rows.values())


def service_versions(request: ExportProfilesServiceRequest) -> list[tuple[str, str]]:
    """Name and version of the services of a request in normal form, in order of first appearance."""
    reader = Reader(Tables(request.dictionary))
    found = []
    for resource_profiles, _, _ in profiles_of(request):
        resource = resource_profiles.resource
        pair = (
            resource_text(reader, resource, "service.name"),
            resource_text(reader, resource, "service.version"),
        )
        if all(pair) and pair not in found:
            found.append(pair)
    return found


def service_name(reader: Reader, resource: Resource) -> str:
    """The `service.name` of a resource, or `unknown_service` when it has none that is a non-empty string."""
    return resource_text(reader, resource, "service.name") or UNKNOWN_SERVICE


def resource_text(reader: Reader, resource: Resource, name: str) -> str:
    """An attribute of a resource; empty when it is not there or no string."""
    for pair in resource.attributes:
        key, value = reader.key_value(pair)
        if key == name:
            return str(value[1]) if isinstance(value, tuple) and value[0] == "string_value" else ""
    return ""


def sample_value(sample: Sample) -> int:
    """The sum of a sample's values; without values, 1 for each timestamp."""
    return sum(sample.values) if sample.values else len(sample.timestamps_unix_nano)


def is_linked(link: Link) -> bool:
    """Whether both ids of a Link say something."""
    return any(link.trace_id) and any(link.span_id)
