"""The slow twin of `Profiles.link`: which links stand in attributes, and what is linked.

`linked` works on a request in normal form, such as the core hands on.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest,
)

from tests.reference.meaning import Reader
from tests.reference.summary import is_linked, sample_value, service_name
from tests.reference.tables import SPAN_ID_BYTES, TRACE_ID_BYTES, Tables, at, profiles_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue
    from opentelemetry.proto.profiles.v1development.profiles_pb2 import Link, Sample

DEFAULT_NAMES: Final = (
    "trace_id",
    "span_id",
    "trace.id",
    "span.id",
    "process.context.label.trace_id",
    "process.context.label.span_id",
    "process.context.label.span id",
    "span id",
)
_HEX: Final = re.compile(r"[0-9a-fA-F]*")
_DECIMAL: Final = re.compile(r"[0-9]+")

Coverage = dict[tuple[str, str, str], tuple[int, int]]
"""Samples and value by service, sample type and state."""


class Found(NamedTuple):
    """What attributes say of one Sample.

    Attributes:
        trace_ids: in the order of the names; None for each that is malformed.
        span_ids: the same.
    """

    trace_ids: list[bytes | None]
    span_ids: list[bytes | None]

    @property
    def trace_id(self) -> bytes | None:
        """The first that is an id."""
        return next((found for found in self.trace_ids if found), None)

    @property
    def span_id(self) -> bytes | None:
        """The first that is an id."""
        return next((found for found in self.span_ids if found), None)

    def contradicts(self, link: Link) -> bool:
        """Whether any id is not that of a Link."""
        return any(found not in {None, link.trace_id} for found in self.trace_ids) or any(
            found not in {None, link.span_id} for found in self.span_ids
        )

    @property
    def state(self) -> str:
        """How a Sample without a Link stands to the tracing side."""
        if self.trace_id and self.span_id:
            return "recovered"
        if not self.trace_ids and not self.span_ids:
            return "missing"
        if None in self.trace_ids + self.span_ids:
            return "malformed"
        return "no_span_id" if self.trace_id else "no_trace_id"


class WantedLinks(NamedTuple):
    """What linking a request must come to."""

    request: ExportProfilesServiceRequest
    coverage: Coverage
    conflict_count: int


def linked(request: ExportProfilesServiceRequest, names: Sequence[str]) -> WantedLinks:
    """A request with its links recovered; the order of everything stays."""
    result = ExportProfilesServiceRequest()
    result.CopyFrom(request)
    tables = Tables(request.dictionary)
    reader = Reader(tables)
    counts: defaultdict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0])
    conflicts = 0
    for resource_profiles, _, profile in profiles_of(result):
        service = service_name(reader, resource_profiles.resource)
        sample_type = ":".join(reader.value_type(profile.sample_type))
        for sample in profile.samples:
            found = ids_of(tables, reader, sample, names)
            link = at(tables.links, sample.link_index)
            state = "linked" if is_linked(link) else state_without(link, found)
            conflicts += is_linked(link) and found.contradicts(link)
            if state == "recovered":
                give_link(result, sample, found, names)
            row = counts[service, sample_type, state]
            row[0] += 1
            row[1] += sample_value(sample)
    return WantedLinks(result, {key: (row[0], row[1]) for key, row in counts.items()}, conflicts)


def state_without(link: Link, found: Found) -> str:
    """The state of a Sample whose Link is not a whole one: half of one says which half is missing."""
    if found.state != "missing":
        return found.state
    if any(link.trace_id):
        return "no_span_id"
    return "no_trace_id" if any(link.span_id) else "missing"


def ids_of(tables: Tables, reader: Reader, sample: Sample, names: Sequence[str]) -> Found:
    """What the attributes of a Sample with these names say, in the order of the names."""
    values = {}
    for index in sample.attribute_indices:
        entry = at(tables.attributes, index)
        values[reader.string(entry.key_strindex)] = entry.value
    found = Found([], [])
    for name in dict.fromkeys(names):
        if name in values:
            is_trace = "trace" in name
            made = id_of(reader, values[name], TRACE_ID_BYTES if is_trace else SPAN_ID_BYTES)
            (found.trace_ids if is_trace else found.span_ids).append(made)
    return found


def id_of(reader: Reader, value: AnyValue, size: int) -> bytes | None:
    """The id that a value says, or None when it says none; an id of zeros is none."""
    told = reader.any_value(value)
    kind, plain = told if isinstance(told, tuple) else (None, None)
    made = None
    if kind == "string_value":
        assert isinstance(plain, str)
        made = id_of_text(plain, size)
    elif kind == "bytes_value":
        assert isinstance(plain, bytes)
        made = plain if len(plain) == size else None
    elif kind == "int_value" and size == SPAN_ID_BYTES:
        assert isinstance(plain, int)
        made = (plain % 2**64).to_bytes(SPAN_ID_BYTES)
    return made if made and any(made) else None


def id_of_text(text: str, size: int) -> bytes | None:
    """The id that a text says: hexadecimal or, for a span, a decimal number of 64 bits."""
    if len(text) == 2 * size and _HEX.fullmatch(text):
        return bytes.fromhex(text)
    if size == SPAN_ID_BYTES and _DECIMAL.fullmatch(text) and int(text) < 2**64:
        return int(text).to_bytes(SPAN_ID_BYTES)
    return None


def give_link(
    request: ExportProfilesServiceRequest, sample: Sample, found: Found, names: Sequence[str]
) -> None:
    """Give a Sample the Link that its attributes say, instead of these attributes."""
    dictionary = request.dictionary
    if not dictionary.link_table:
        dictionary.link_table.add()
    sample.link_index = len(dictionary.link_table)
    dictionary.link_table.add(trace_id=found.trace_id or b"", span_id=found.span_id or b"")
    kept = [
        index
        for index in sample.attribute_indices
        if dictionary.string_table[dictionary.attribute_table[index].key_strindex] not in names
    ]
    sample.attribute_indices[:] = kept
