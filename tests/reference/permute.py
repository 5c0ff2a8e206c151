"""The same request with its tables in another order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest,
)

from tests.reference.conformance import TABLE_OF
from tests.reference.tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random


def permuted(request: ExportProfilesServiceRequest, random: Random) -> ExportProfilesServiceRequest:
    """A copy with every table shuffled, its zero value apart, and with an orphan at the end of each.

    Every index of the request is in range.
    """
    copy = ExportProfilesServiceRequest()
    copy.CopyFrom(request)
    places: dict[str, dict[int, int]] = {}
    for table in TABLES:
        entries: Any = getattr(copy.dictionary, table)
        order = list(range(1, len(entries)))
        random.shuffle(order)
        order = [0, *order] if entries else []
        kept = list(entries)
        del entries[:]
        entries.extend(kept[index] for index in order)
        if entries:
            entries.append(entries[-1])
        places[table] = {old: new for new, old in enumerate(order)}
    redirect(copy, places)
    return copy


def redirect(message: Any, places: Mapping[str, Mapping[int, int]]) -> None:
    """Make every index in a message, and in all that it holds, name the new place of its entry."""
    for field, value in message.ListFields():
        table = "string_table" if field.name.endswith("_strindex") else TABLE_OF.get(field.name)
        if table is not None:
            moved = places[table]
            if isinstance(value, int):
                setattr(message, field.name, moved.get(value, value))
            else:
                value[:] = [moved.get(index, index) for index in value]
        elif field.message_type is not None:
            for inner in [value] if hasattr(value, "ListFields") else value:
                redirect(inner, places)
