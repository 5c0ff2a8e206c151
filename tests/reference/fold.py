"""The slow twins of `Profiles.fold`, `Profiles.top_functions` and `Profiles.stack_columns`."""

from __future__ import annotations

import struct
from collections import Counter
from typing import TYPE_CHECKING, Final

from tests.reference.meaning import LocationMeaning, Reader
from tests.reference.summary import sample_value, service_name
from tests.reference.tables import Tables, profiles_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
        ExportProfilesServiceRequest,
    )

NO_STACK: Final = "(no stack)"
CONTROL_CHARACTERS: Final = (*range(0x20), 0x7F)
SAFE: Final = {ord(";"): ":", **dict.fromkeys(CONTROL_CHARACTERS, " ")}


def fold(
    request: ExportProfilesServiceRequest, *, service: str | None = None, sample_type: str | None = None
) -> list[tuple[str, int]]:
    """Stacks as `root;...;leaf` with the sum of their values, largest first; ties by stack."""
    totals: Counter[str] = Counter()
    for frames, value in weighed_stacks(request, service, sample_type):
        totals[";".join(frames)] += value
    return sorted(totals.items(), key=lambda item: (-item[1], item[0]))


def top_functions(
    request: ExportProfilesServiceRequest,
    count: int,
    *,
    service: str | None = None,
    sample_type: str | None = None,
) -> list[tuple[str, int, int]]:
    """Functions as (name, self value, total value), largest self value first; ties by name."""
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for frames, value in weighed_stacks(request, service, sample_type):
        own[frames[-1]] += value
        for name in set(frames):
            total[name] += value
    rows = [(name, own[name], total[name]) for name in total]
    return sorted(rows, key=lambda row: (-row[1], row[0]))[:count]


def unfolded(columns: tuple[list[str], bytes, bytes, bytes]) -> list[tuple[str, int]]:
    """What `fold` gives, from the columns of `stack_columns`."""
    names, frames, ends, values = columns
    places = struct.unpack(f"<{len(frames) // 4}I", frames)
    totals: Counter[str] = Counter()
    start = 0
    for end, value in zip(
        struct.unpack(f"<{len(ends) // 8}Q", ends),
        struct.unpack(f"<{len(values) // 8}d", values),
        strict=True,
    ):
        totals[";".join(names[place] for place in places[start:end])] += int(value)
        start = end
    return sorted(totals.items(), key=lambda item: (-item[1], item[0]))


def weighed_stacks(
    request: ExportProfilesServiceRequest, service: str | None, sample_type: str | None
) -> Iterator[tuple[list[str], int]]:
    """The frames, root first, and the value of every sample that is asked for."""
    reader = Reader(Tables(request.dictionary))
    for resource_profiles, _, profile in profiles_of(request):
        if service not in {None, service_name(reader, resource_profiles.resource)}:
            continue
        if sample_type not in {None, reader.value_type(profile.sample_type)[0]}:
            continue
        for sample in profile.samples:
            stack = reader.stack(sample.stack_index)
            frames = [name for location in reversed(stack) for name in frame_names(location)]
            yield frames or [NO_STACK], sample_value(sample)


def frame_names(location: LocationMeaning) -> list[str]:
    """The names of a location's frames, outermost caller first: one for each line, or one for its address."""
    by_address = address_name(location)
    names = [
        line.function.name or line.function.system_name or by_address for line in reversed(location.lines)
    ]
    return [name.translate(SAFE) for name in names or [by_address]]


def address_name(location: LocationMeaning) -> str:
    """How a frame without a symbol is called."""
    filename = location.mapping.filename.rpartition("/")[2]
    return f"{filename}+{location.address:#x}" if filename else f"{location.address:#x}"
