"""The slow twin of what is read from a store: stacks by name, summed up over the rows that are meant."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from tests.reference.fold import NO_STACK, SAFE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.reference.store import StoredLocation, StoredRow

SERVICE: Final = "service.name"


def folded(
    rows: Mapping[StoredRow, int], wanted: Callable[[StoredRow], bool]
) -> dict[tuple[str, str], dict[str, int]]:
    """By sample type, stacks as `root;...;leaf` with the sum of their values; no zeros."""
    totals: dict[tuple[str, str], Counter[str]] = {}
    for row, value in rows.items():
        if wanted(row):
            names = [name for location in reversed(row.stack) for name in _names(location)]
            totals.setdefault(row.sample_type, Counter())[";".join(names or [NO_STACK])] += value
    return without_zeros(totals)


def without_zeros(
    totals: Mapping[tuple[str, str], Mapping[str, int]],
) -> dict[tuple[str, str], dict[str, int]]:
    """The same without stacks, and sample types, of which nothing is left."""
    found = {
        key: {stack: value for stack, value in of_key.items() if value} for key, of_key in totals.items()
    }
    return {key: of_key for key, of_key in found.items() if of_key}


def service_of(row: StoredRow) -> str:
    """Whose a row is."""
    return dict(row.resource)[SERVICE]


def trace_of(row: StoredRow) -> str | None:
    """The trace of a row, in hexadecimal digits."""
    return row.link[0].hex() or None


def _names(location: StoredLocation) -> list[str]:
    file = location.mapping.rpartition("/")[2]
    by_address = f"{file}+{location.address:#x}" if file else f"{location.address:#x}"
    names = [name or system_name or by_address for name, system_name, *_ in reversed(location.frames)]
    return [name.translate(SAFE) for name in names or [by_address]]
