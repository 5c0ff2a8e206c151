"""The files of a table as its log has them: which day, how large, what they hold, who wrote them."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from deltalake import DeltaTable

_NAME: Final = re.compile(r"date=[0-9-]+/(sorted|folded|referenced)-([0-9a-f]{16})-[0-9]{5}\.parquet")


class Kind(StrEnum):
    """How a file came to be; its name says so."""

    FRESH = "fresh"
    """Flushed by a writer, or by somebody else's tool."""
    SORTED = "sorted"
    """Of a run: files that hold rows in one order, each those behind the file before it."""
    FOLDED = "folded"
    """A run of samples that went through `retention`: of one tier and, while it is `fine`, one state."""
    REFERENCED = "referenced"
    """A run of symbols, each of which a sample refers to."""


@dataclass(frozen=True)
class StoredFile:
    """A file of a table.

    Attributes:
        path: within the table's folder.
        day: of all its rows.
        size_bytes: of the file.
        rows: how many there are; 0 when its statistics do not say.
        kind: how it came to be.
        run: what it was written with; its own path for a fresh one.
        tier: of all its rows; None when they differ, or for a symbol table.
        trace_state: of all its rows, empty for none; None when they differ, or for a symbol table.
    """

    path: str
    day: date
    size_bytes: int
    rows: int
    kind: Kind
    run: str
    tier: str | None
    trace_state: str | None


def files_of(table: DeltaTable) -> list[StoredFile]:
    """The files of a table as it was when it was last refreshed, in the order of days and names."""
    actions = table.get_add_actions(flatten=True).to_struct_array().to_pylist()
    return sorted(map(_file, actions), key=lambda file: (file.day, file.path))


def _file(action: dict[str, Any]) -> StoredFile:
    path, rows = action["path"], action["num_records"]
    named = _NAME.fullmatch(path)
    tier = action.get("min.tier")
    state, empty = action.get("min.trace_state"), action.get("null_count.trace_state")
    if rows and empty == rows:
        state = ""
    elif empty != 0 or state != action.get("max.trace_state"):
        state = None
    return StoredFile(
        path=path,
        day=action["partition.date"],
        size_bytes=action["size_bytes"],
        rows=rows or 0,
        kind=Kind(named[1]) if named else Kind.FRESH,
        run=named[2] if named else path,
        tier=tier if tier == action.get("max.tier") else None,
        trace_state=state,
    )


def new_run() -> str:
    """The name of a run that nobody else has."""
    return uuid.uuid4().hex[:16]


def name_in_run(day: date, kind: Kind, run: str, number: int) -> str:
    """The path of a file that is written with others."""
    return f"date={day.isoformat()}/{kind.value}-{run}-{number:05d}.parquet"


def total_bytes(files: Iterable[StoredFile]) -> int:
    """Of all the files."""
    return sum(file.size_bytes for file in files)
