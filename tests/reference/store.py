"""The slow twin of the store's tables: what a request still says when it was stored and read again."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.reference.meaning import Reader
from tests.reference.pprof_otlp import BUILD_IDS, attribute_text, attributes_of, plain
from tests.reference.summary import sample_value, service_name
from tests.reference.tables import Tables, at, profiles_of

if TYPE_CHECKING:
    from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
        ExportProfilesServiceRequest,
    )
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue
    from opentelemetry.proto.profiles.v1development.profiles_pb2 import Location, Profile, Sample
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource

STATE: Final = "otelprof.trace.state"
SPAN_NAME: Final = "otelprof.span.name"
SPAN_NAMES: Final = ("span_name", "span.name", "process.context.label.span_name")
NANOS_PER_MICRO: Final = 1000

Pairs = frozenset[tuple[str, str]]
Frame = tuple[str, str, str, int, int, int]


class StoredLocation(NamedTuple):
    """Lines, innermost first; an address and a build id where no function is known."""

    frames: tuple[Frame, ...]
    mapping: str
    frame_type: str
    build_id: str
    address: int


class StoredRow(NamedTuple):
    """What a value belongs to."""

    resource: Pairs
    scope: tuple[str, str]
    sample_type: tuple[str, str]
    period: tuple[str, str, int]
    window: tuple[int, int]
    stack: tuple[StoredLocation, ...]
    link: tuple[bytes, bytes]
    trace_state: str
    span_name: str
    attributes: Pairs


def stored(request: ExportProfilesServiceRequest, now_unix_nano: int) -> Counter[StoredRow]:
    """The values of a request by all that the store keeps of what they belong to; no zeros."""
    tables = Tables(request.dictionary)
    reader = Reader(tables)
    found: Counter[StoredRow] = Counter()
    for resource_profiles, scope_profiles, profile in profiles_of(request):
        scope = scope_profiles.scope
        start = (profile.time_unix_nano or now_unix_nano) // NANOS_PER_MICRO * NANOS_PER_MICRO
        base = StoredRow(
            resource=_resource(tables, reader, resource_profiles.resource),
            scope=(scope.name, scope.version),
            sample_type=reader.value_type(profile.sample_type),
            period=(*reader.value_type(profile.period_type), profile.period),
            window=(start, profile.duration_nano),
            stack=(),
            link=(b"", b""),
            trace_state="",
            span_name="",
            attributes=frozenset(),
        )
        for sample in profile.samples:
            found[_row(tables, base, profile, sample)] += sample_value(sample)
    return Counter({row: value for row, value in found.items() if value})


def _row(tables: Tables, base: StoredRow, profile: Profile, sample: Sample) -> StoredRow:
    own = attributes_of(tables, profile.attribute_indices)
    own |= attributes_of(tables, sample.attribute_indices)
    texts = {key: _text(tables, value) for key, value in own.items() if key}
    is_incident = "otelprof.incident" in attributes_of(tables, profile.attribute_indices)
    on_sample = attributes_of(tables, sample.attribute_indices)
    state = texts[STATE] if STATE in on_sample else "incident" if is_incident else ""
    names = (texts[key] for key in (SPAN_NAME, *SPAN_NAMES) if key in on_sample)
    name = next(names, "")
    texts = {key: text for key, text in texts.items() if key not in {STATE, SPAN_NAME}}
    link = at(tables.links, sample.link_index)
    stack = at(tables.stacks, sample.stack_index)
    return base._replace(
        stack=tuple(_location(tables, at(tables.locations, index)) for index in stack.location_indices),
        link=(link.trace_id.strip(b"\0") and link.trace_id, link.span_id.strip(b"\0") and link.span_id),
        trace_state=state,
        span_name=name,
        attributes=frozenset(texts.items()),
    )


def _resource(tables: Tables, reader: Reader, resource: Resource) -> Pairs:
    texts = {
        key: _text(tables, pair.value) for pair in resource.attributes if (key := reader.key_value(pair)[0])
    }
    return frozenset((texts | {"service.name": service_name(reader, resource)}).items())


def _text(tables: Tables, value: AnyValue) -> str:
    return str(plain(attribute_text(tables, value)))


def _location(tables: Tables, location: Location) -> StoredLocation:
    mapping = at(tables.mappings, location.mapping_index)
    functions = [at(tables.functions, line.function_index) for line in location.lines]
    frames = tuple(
        (
            tables.strings[function.name_strindex],
            tables.strings[function.system_name_strindex],
            tables.strings[function.filename_strindex],
            function.start_line,
            line.line,
            line.column,
        )
        for function, line in zip(functions, location.lines, strict=True)
    )
    frame_type = attributes_of(tables, location.attribute_indices).get("profile.frame.type")
    mapping_attributes = attributes_of(tables, mapping.attribute_indices)
    ids = (attribute_text(tables, mapping_attributes[key]) for key in BUILD_IDS if key in mapping_attributes)
    build_id = next((known for known in ids if known not in {"", "redacted"}), "")
    is_named = any(name or system_name for name, system_name, *_ in frames)
    return StoredLocation(
        frames if is_named else (),
        tables.strings[mapping.filename_strindex],
        "" if frame_type is None else attribute_text(tables, frame_type),
        "" if is_named else build_id,
        0 if is_named else location.address,
    )
