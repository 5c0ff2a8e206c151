"""The slow twin of `Profiles.from_pprof`, and what a request says in the words of a pprof."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from tests.reference.pprof import FLAGS, KEYS_IN_BYTES, Label, Reader, Row, bag
from tests.reference.tables import Tables, profiles_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.proto.common.v1.common_pb2 import KeyValue
    from opentelemetry.proto.profiles.v1development.profiles_pb2 import Profile, Sample

BUILD_IDS: Final = tuple(f"process.executable.build_id.{maker}" for maker in ("gnu", "go", "htlhash"))


class _Builder:
    """Writes a request without looking for what is there already."""

    def __init__(self) -> None:
        self.request = ExportProfilesServiceRequest()
        self.dictionary = self.request.dictionary
        for name in ("mapping", "location", "function", "link", "attribute", "stack"):
            getattr(self.dictionary, f"{name}_table").add()
        self.dictionary.string_table.append("")

    def string(self, text: str) -> int:
        if not text:
            return 0
        self.dictionary.string_table.append(text)
        return len(self.dictionary.string_table) - 1

    def attribute(self, key: str, value: AnyValue, unit: str = "") -> int:
        self.dictionary.attribute_table.add(
            key_strindex=self.string(key), value=value, unit_strindex=self.string(unit)
        )
        return len(self.dictionary.attribute_table) - 1

    def mapping(self, told: tuple[Any, ...] | None) -> int:
        if told is None:
            return 0
        start, limit, offset, filename, build_id, flags = told
        owned = [
            self.attribute(f"pprof.mapping.{flag}", AnyValue(bool_value=True))
            for flag, is_set in zip(FLAGS, flags, strict=True)
            if is_set
        ]
        if build_id:
            key = BUILD_IDS["/" in build_id]
            owned.append(self.attribute(key, AnyValue(string_value=build_id)))
        self.dictionary.mapping_table.add(
            memory_start=start,
            memory_limit=limit,
            file_offset=offset,
            filename_strindex=self.string(filename),
            attribute_indices=owned,
        )
        return len(self.dictionary.mapping_table) - 1

    def location(self, told: tuple[Any, ...]) -> int:
        mapping, address, lines, is_folded = told
        location = self.dictionary.location_table.add(mapping_index=self.mapping(mapping), address=address)
        index = len(self.dictionary.location_table) - 1
        for (name, system_name, filename, start_line), line, column in lines:
            function = 0
            if name or system_name or filename or start_line:
                self.dictionary.function_table.add(
                    name_strindex=self.string(name),
                    system_name_strindex=self.string(system_name),
                    filename_strindex=self.string(filename),
                    start_line=start_line,
                )
                function = len(self.dictionary.function_table) - 1
            location.lines.add(function_index=function, line=line, column=column)
        if is_folded:
            location.attribute_indices.append(
                self.attribute("pprof.location.is_folded", AnyValue(bool_value=True))
            )
        return index

    def labels(self, labels: Iterable[Label]) -> list[int]:
        by_key: dict[tuple[str, str], list[AnyValue]] = {}
        for key, value, unit in labels:
            one = AnyValue(string_value=value) if isinstance(value, str) else AnyValue(int_value=value)
            by_key.setdefault((key, unit), []).append(one)
        made = []
        for (key, unit), values in by_key.items():
            held = values[0]
            if len(values) > 1:
                held = AnyValue()
                held.array_value.values.extend(values)
            made.append(self.attribute(key, held, unit))
        return made


def to_otlp(reader: Reader) -> ExportProfilesServiceRequest:
    """The request that a pprof is."""
    builder, pprof = _Builder(), reader.pprof
    scope = builder.request.resource_profiles.add().scope_profiles.add()
    default = reader.string(pprof.default_sample_type)
    if default:
        pair = scope.scope.attributes.add(key="pprof.scope.default_sample_type")
        pair.value.string_value = default
    for index, (name, unit) in enumerate(reader.types):
        profile = scope.profiles.add(
            time_unix_nano=pprof.time_nanos, duration_nano=pprof.duration_nanos, period=pprof.period
        )
        profile.sample_type.type_strindex = builder.string(name)
        profile.sample_type.unit_strindex = builder.string(unit)
        if pprof.HasField("period_type"):
            period_name, period_unit = reader.value_type(pprof.period_type)
            profile.period_type.type_strindex = builder.string(period_name)
            profile.period_type.unit_strindex = builder.string(period_unit)
        _profile_attributes(builder, reader, profile)
        for sample in pprof.sample:
            stack = [builder.location(reader.location(ref)) for ref in sample.location_id]
            builder.dictionary.stack_table.add(location_indices=stack)
            profile.samples.add(
                stack_index=len(builder.dictionary.stack_table) - 1,
                values=[sample.value[index]],
                attribute_indices=builder.labels(reader.labels(sample)),
            )
    return builder.request


def _profile_attributes(builder: _Builder, reader: Reader, profile: Profile) -> None:
    pprof = reader.pprof
    if pprof.comment:
        comments = AnyValue()
        for index in pprof.comment:
            comments.array_value.values.add(string_value=reader.string(index))
        profile.attribute_indices.append(builder.attribute("pprof.profile.comment", comments))
    for field in ("doc_url", "drop_frames", "keep_frames"):
        text = reader.string(getattr(pprof, field))
        if text:
            made = builder.attribute(f"pprof.profile.{field}", AnyValue(string_value=text))
            profile.attribute_indices.append(made)


Totals = Counter[tuple[tuple[str, str], Row]]
"""Values by sample type, and by stack and labels."""


def totals(request: ExportProfilesServiceRequest, *, timestamps: str = "") -> Totals:
    """What the samples of a request add up to, in the words of a pprof.

    Args:
        request: valid.
        timestamps: the label that holds timestamps, one sample for each; none when empty.
    """
    tables, found = Tables(request.dictionary), Totals()
    locations = [repr(location_of(tables, index)) for index in range(len(tables.locations))]
    for _, _, profile in profiles_of(request):
        kind = (
            tables.strings[profile.sample_type.type_strindex],
            tables.strings[profile.sample_type.unit_strindex],
        )
        for sample in profile.samples:
            stack = tuple(locations[index] for index in tables.stacks[sample.stack_index].location_indices)
            labels = _sample_labels(tables, sample)
            if not timestamps or not sample.timestamps_unix_nano:
                found[kind, Row(stack, bag(labels))] += (
                    sum(sample.values) if sample.values else len(sample.timestamps_unix_nano)
                )
                continue
            values = list(sample.values) or [1] * len(sample.timestamps_unix_nano)
            labels = [label for label in labels if label.key != timestamps]
            for value, time in zip(values, sample.timestamps_unix_nano, strict=True):
                signed = time - 2**64 if time >= 2**63 else time
                found[kind, Row(stack, bag([*labels, Label(timestamps, signed, "")]))] += value
    return found


def pprof_totals(readers: Iterable[Reader]) -> Totals:
    """What the samples of some pprofs add up to; flags are not looked at, since OTLP may have none."""
    found = Totals()
    for reader in readers:
        told: dict[int, str] = {}
        for row, values in reader.rows():
            for location in row.stack:
                if id(location) not in told:
                    told[id(location)] = _told(location)
            stack = tuple(told[id(location)] for location in row.stack)
            labels = frozenset((label._replace(value=plain(label.value)), n) for label, n in row.labels)
            for kind, value in zip(reader.types, values, strict=True):
                found[kind, Row(stack, labels)] += value
    return found


def _told(location: tuple[Any, ...]) -> str:
    mapping, *rest = location
    return repr(((*mapping[:-1], ()) if mapping else None, *rest))


def location_of(tables: Tables, index: int) -> tuple[Any, ...]:
    """A Location as `Reader.location` tells it, without flags."""
    location = tables.locations[index]
    mapping = None
    if location.mapping_index:
        told = tables.mappings[location.mapping_index]
        owned = attributes_of(tables, told.attribute_indices)
        ids = (attribute_text(tables, owned[key]) for key in BUILD_IDS if key in owned)
        build_id = next((known for known in ids if known not in {"", "redacted"}), "")
        filename = tables.strings[told.filename_strindex]
        mapping = (told.memory_start, told.memory_limit, told.file_offset, filename, build_id, ())
    lines = []
    for line in location.lines:
        function = tables.functions[line.function_index]
        indices = (function.name_strindex, function.system_name_strindex, function.filename_strindex)
        name, system_name, filename = (tables.strings[string] for string in indices)
        lines.append(((name, system_name, filename, function.start_line), line.line, line.column))
    folded = attributes_of(tables, location.attribute_indices).get("pprof.location.is_folded", AnyValue())
    return mapping, location.address, tuple(lines), folded.bool_value


def attributes_of(tables: Tables, indices: Iterable[int]) -> dict[str, AnyValue]:
    """The values of some attributes by their keys; of a key that stands twice, the last."""
    owned = (tables.attributes[index] for index in indices)
    return {tables.strings[attribute.key_strindex]: attribute.value for attribute in owned}


def _sample_labels(tables: Tables, sample: Sample) -> list[Label]:
    labels = []
    for index in sample.attribute_indices:
        attribute = tables.attributes[index]
        key, unit = tables.strings[attribute.key_strindex], tables.strings[attribute.unit_strindex]
        for value, own_unit in _values(tables, attribute.value, unit) if key else ():
            is_bytes = isinstance(value, int) and not own_unit and key in KEYS_IN_BYTES
            labels.append(Label(key, value, "bytes" if is_bytes else own_unit))
    link = tables.links[sample.link_index]
    for name, ident in (("trace_id", link.trace_id), ("span_id", link.span_id)):
        if any(ident):
            labels = [label for label in labels if label.key != name] + [Label(name, ident.hex(), "")]
    return labels


def _values(tables: Tables, value: AnyValue, unit: str) -> list[tuple[str | int, str]]:
    kinds = {item.WhichOneof("value") for item in value.array_value.values}
    texts = {"string_value", "string_value_strindex"}
    if len(value.array_value.values) > 1 and (kinds <= texts or kinds == {"int_value"}):
        return [one for item in value.array_value.values for one in _values(tables, item, unit)]
    if value.WhichOneof("value") == "int_value":
        return [(value.int_value, unit)]
    return [(plain(attribute_text(tables, value)), "")]


def attribute_text(tables: Tables, value: AnyValue) -> str:
    """A value where only text can stand."""
    told = _json(tables, value)
    if told is None:
        return ""
    return told if isinstance(told, str) else json.dumps(told, sort_keys=True, separators=(",", ":"))


def _json(tables: Tables, value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    told = getattr(value, kind)
    match kind:
        case "string_value_strindex":
            told = tables.strings[told]
        case "bytes_value":
            told = told.hex()
        case "double_value" if not math.isfinite(told):
            told = "NaN" if math.isnan(told) else str(told)
        case "array_value":
            told = [_json(tables, item) for item in told.values]
        case "kvlist_value":
            told = {_key(tables, pair): _json(tables, pair.value) for pair in told.values}
    return told


def _key(tables: Tables, pair: KeyValue) -> str:
    return tables.strings[pair.key_strindex] if pair.key_strindex else pair.key


def plain(text: str | int) -> str | int:
    """A text, numbers in which are written as Python writes them: there is more than one right way."""
    if isinstance(text, int):
        return text
    try:
        told = json.loads(text)
    except ValueError:
        return text
    return repr(told) if isinstance(told, float | list | dict) else text
