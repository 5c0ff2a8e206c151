"""The slow twin of `PprofLayout.join`: what samples of some Profiles add up to, in a layout's words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.reference.pprof import Label, Row, bag
from tests.reference.pprof_otlp import Totals, attribute_text, location_of, plain
from tests.reference.tables import Tables, profiles_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
        ExportProfilesServiceRequest,
    )
    from opentelemetry.proto.profiles.v1development.profiles_pb2 import KeyValueAndUnit, Sample

Member = tuple[int, "Sequence[tuple[int, bool]]", "Sequence[tuple[str, str]]"]

_INTEGER = re.compile(r"[+-]?[0-9]+")
_LARGEST = 2**63


class PlainLayout(NamedTuple):
    """The arguments of a `PprofLayout`."""

    sample_types: Sequence[tuple[str, str]]
    labels: Sequence[tuple[str, str, str]]
    other_labels: Sequence[str] | None
    span_id: tuple[str, str]
    timestamp_label: str
    max_locations: int


def joined(
    request: ExportProfilesServiceRequest, layout: PlainLayout, members: Sequence[Member]
) -> tuple[Totals, int]:
    """Values by sample type, stack and labels; how many labels are unreadable."""
    tables, found, unreadable = Tables(request.dictionary), Totals(), 0
    profiles = [profile for _, _, profile in profiles_of(request)]
    for at, columns, own in members:
        profile = profiles[at]
        for sample in profile.samples:
            stack = _stack(tables, sample, layout.max_locations)
            labels = [Label(key, value, "") for key, value in own]
            for index in sample.attribute_indices:
                made = _label(tables, tables.attributes[index], layout)
                unreadable += made is None
                labels.extend(made or [])
            labels.extend(_id(*layout.span_id, int.from_bytes(tables.links[sample.link_index].span_id)))
            for value, time in _observations(sample, layout.timestamp_label):
                kept = {label.key: label._replace(value=plain(label.value)) for label in [*labels, *time]}
                for column, is_scaled in columns:
                    row = Row(stack, bag(list(kept.values())))
                    found[layout.sample_types[column], row] += value * (profile.period if is_scaled else 1)
    return found, unreadable


def _stack(tables: Tables, sample: Sample, depth: int) -> tuple[str, ...]:
    told = [repr(location_of(tables, index)) for index in tables.stacks[sample.stack_index].location_indices]
    if len(told) <= depth:
        return tuple(told)
    omitted = len(told) - depth + 1
    name = f"<{omitted} frame{'' if omitted == 1 else 's'} omitted>"
    return (*told[: depth - 1], repr((None, 0, (((name, "", "", 0), 0, 0),), False)))


def _label(tables: Tables, attribute: KeyValueAndUnit, layout: PlainLayout) -> list[Label] | None:
    key, text = tables.strings[attribute.key_strindex], attribute_text(tables, attribute.value)
    rules = {name: (label, form) for name, label, form in layout.labels}
    if not key or (key not in rules and layout.other_labels is not None and key not in layout.other_labels):
        return []
    label, form = rules.get(key, (key, "text"))
    is_int = attribute.value.WhichOneof("value") == "int_value"
    if form == "text":
        return [Label(label, text, "")] if text else []
    if form == "number":
        is_number = _INTEGER.fullmatch(text) and -_LARGEST <= int(text) < _LARGEST
        return [Label(label, int(text), tables.strings[attribute.unit_strindex])] if is_number else None
    if form.startswith("decimal"):
        number = int(text) % 2**64 if is_int else int(text) if re.fullmatch("[0-9]+", text) else -1
    else:
        number = int(text, 16) if re.fullmatch("[0-9a-fA-F]{16}", text) else -1
    return _id(label, form, number) if 0 <= number < 2**64 else None


def _id(label: str, form: str, number: int) -> list[Label]:
    if not number or not label:
        return []
    signed = number - 2**64 if number >= _LARGEST else number
    return [Label(label, str(number) if form.endswith("text") else signed, "")]


def _observations(sample: Sample, timestamp_label: str) -> Iterator[tuple[int, list[Any]]]:
    times = list(sample.timestamps_unix_nano)
    if not timestamp_label or not times:
        yield (sum(sample.values) if sample.values else len(times)), []
        return
    for value, time in zip(list(sample.values) or [1] * len(times), times, strict=True):
        made = Label(timestamp_label, time - 2**64 if time >= _LARGEST else time, "")
        yield value, [made] if time else []
