"""What a Pyroscope server makes of an OTLP request, as measured: what it refuses, and what it keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.reference.meaning import Reader
from tests.reference.pyroscope import MAX_LABELS, MAX_VALUE, Kept
from tests.reference.tables import Tables, profiles_of

if TYPE_CHECKING:
    from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
        ExportProfilesServiceRequest,
    )
    from opentelemetry.proto.profiles.v1development.profiles_pb2 import Profile

# `__name__`, `__delta__` and `__otel__` are the server's own.
MAX_ATTRIBUTES: Final = MAX_LABELS - 3


class RefusedError(ValueError):
    """The server refuses the request, all of it."""


def judge(request: ExportProfilesServiceRequest) -> list[Kept]:
    """What is there of a request of one Profile.

    Raises:
        RefusedError: it is refused, or something of it would be lost.
    """
    told = list(profiles_of(request))
    if len(told) != 1:
        message = f"{len(told)} profiles: one that cannot be converted takes all with it"
        raise RefusedError(message)
    ((resource, _, profile),) = told
    if not request.dictionary.mapping_table:
        message = "mapping_table"
        raise RefusedError(message)
    labels = {pair.key: pair.value for pair in resource.resource.attributes}
    if len(labels) > MAX_ATTRIBUTES:
        message = f"{len(labels)} labels"
        raise RefusedError(message)
    for name, value in labels.items():
        if value.WhichOneof("value") != "string_value" or len(value.string_value.encode()) > MAX_VALUE:
            message = f"the value of {name}"
            raise RefusedError(message)
    tables = Tables(request.dictionary)
    name, kind, factor = _named(Reader(tables), profile)
    series = {key: value.string_value for key, value in labels.items()} | {"__name__": name}
    series["service_name"] = series.pop("service.name", "unknown_service")
    return _kept(tables, profile, series, f"{name}:{kind}", factor)


def _named(reader: Reader, profile: Profile) -> tuple[str, str, int]:
    """`__name__`, the rest of the profile type, and what values are multiplied by."""
    kind, period_type = reader.value_type(profile.sample_type), reader.value_type(profile.period_type)
    if (kind, period_type) == (("samples", "count"), ("cpu", "nanoseconds")) and profile.period > 0:
        return "process_cpu", "cpu:nanoseconds:cpu:nanoseconds", profile.period
    if kind == ("off_cpu", "nanoseconds") and not any(period_type):
        return "off_cpu", "off_cpu:nanoseconds::", 1
    if not period_type[0] or profile.period <= 0:
        message = "invalid metric name"
        raise RefusedError(message)
    if "-" in kind[0]:
        message = "sample type contains -"
        raise RefusedError(message)
    return period_type[0], ":".join((*kind, *period_type)), 1


def _kept(
    tables: Tables, profile: Profile, series: dict[str, str], profile_type: str, factor: int
) -> list[Kept]:
    found = []
    for sample in profile.samples:
        if len(sample.values) != 1 or sample.timestamps_unix_nano:
            message = f"sample values length mismatch {len(sample.values)} 1"
            raise RefusedError(message)
        promoted = {
            tables.strings[one.key_strindex]: one.value.string_value
            for one in (tables.attributes[index] for index in sample.attribute_indices)
        }
        stack = []
        for index in tables.stacks[sample.stack_index].location_indices:
            lines = tables.locations[index].lines
            if not lines:
                message = "a frame without a function draws nothing"
                raise RefusedError(message)
            stack += [tables.strings[tables.functions[line.function_index].name_strindex] for line in lines]
        link = tables.links[sample.link_index]
        ids = link.span_id.hex(), link.trace_id.hex() if len(link.trace_id) == 16 else ""
        labels = frozenset({**promoted, **series}.items())
        if sample.values[0]:
            found.append(Kept(labels, profile_type, tuple(stack), *ids, sample.values[0] * factor))
    return found
