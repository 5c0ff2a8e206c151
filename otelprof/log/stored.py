"""What the file of the durable log keeps of a request, and what a start finds in it."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Self

from otelprof._core import crc32

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class About:
    """What is kept of a request beside its body.

    Attributes:
        appended_at: seconds since the UNIX epoch.
        samples: how many it holds.
        exporters: whom it was appended for, by their ids.
        pipeline: the id of the pipeline at whose gate it waits; empty when it waits for nothing.
    """

    appended_at: float
    samples: int
    exporters: tuple[str, ...]
    pipeline: str = ""

    def encode(self) -> bytes:
        """As it stands in the file."""
        fields = f'"appended_at": {self.appended_at!r}, "samples": {self.samples}'
        return f"{{{fields}, {_encoded_names(self.exporters, self.pipeline)}}}".encode()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read what `encode` wrote.

        Raises:
            ValueError: it did not.
        """
        fields: dict[str, Any] = json.loads(data)
        try:
            return cls(**{**fields, "exporters": tuple(fields["exporters"])})
        except (KeyError, TypeError) as error:
            message = f"not what is kept of a request: {error}"
            raise ValueError(message) from error


@dataclass(frozen=True)
class Crashes:
    """How often in a row the process ended while an exporter tried a request.

    Attributes:
        count: how often.
        first_at: when the first of these attempts began, seconds since the UNIX epoch.
        last_at: when the last one did.
    """

    count: int
    first_at: float
    last_at: float


@dataclass(frozen=True)
class Stored:
    """A request as it was found in the file.

    Attributes:
        row: its number.
        about: what is kept of it.
        pending: the exporters that have not passed it, in the order of `about`.
        body: OTLP, plain.
        crashes: of exporters that it may have brought down.
    """

    row: int
    about: About
    pending: tuple[str, ...]
    body: bytes
    crashes: Mapping[str, Crashes] = field(default_factory=dict)

    @classmethod
    def checked(cls, row: int, checksum: object, about: object, body: object) -> Self | None:
        """A request as if nobody had passed it; None when it is not as it was written."""
        if not isinstance(about, bytes) or not isinstance(body, bytes) or checksum != crc32(about, body):
            return None
        decoded = About.decode(about)
        return cls(row, decoded, decoded.exporters, body)


@dataclass(frozen=True)
class Found:
    """What a file holds.

    Attributes:
        requests: what can be read and is outstanding, oldest first.
        settled: the rows of requests that everybody has passed.
        lost: the rows of requests that cannot.
        damaged: something in the file is not as it was written.
        last_row: the newest that was ever appended, as far as the file knows.
    """

    requests: Sequence[Stored]
    settled: Sequence[int]
    lost: Sequence[int]
    damaged: bool
    last_row: int


def read_crashes(connection: sqlite3.Connection) -> tuple[dict[int, dict[str, Crashes]], int, bool]:
    """What crashed on which row, the newest row that ever was, and whether some of it cannot be read."""
    crashes: dict[int, dict[str, Crashes]] = {}
    last_row, damaged = 0, False
    try:
        for (last,) in connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'requests'"):
            last_row = int(last)
        for row, exporter, count, first_at, last_at in connection.execute("SELECT * FROM crashes"):
            known = Crashes(int(count), float(first_at), float(last_at))
            crashes.setdefault(int(row), {})[str(exporter)] = known
    except (sqlite3.Error, ValueError, TypeError):
        damaged = True
    return crashes, last_row, damaged


@cache
def _encoded_names(exporters: tuple[str, ...], pipeline: str) -> str:
    return f'"exporters": {json.dumps(exporters)}, "pipeline": {json.dumps(pipeline)}'
