"""Where recorded requests are, for every test that reads some.

`tests/data` holds a chosen few; the whole collection stands beside the repository where there is one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest,
)

TESTS: Final = Path(__file__).resolve().parent
OWN: Final = TESTS / "data"
SHARED: Final = TESTS.parent.parent / "shared" / "data" / "otlp"
SHARED_PPROF: Final = SHARED.with_name("pprof")

LARGE_BYTES: Final = 1_000_000
"""The reference reads such a pprof for a minute."""

OLD_SCHEMA: Final = "old-schema"
"""Folder of requests from before the wire numbers changed: they must never be taken for today's."""

STREAM: Final = "sig-profiling-k8s"
"""A recording of several requests, each behind its length, 4 bytes big-endian."""


def recordings() -> list[Path]:
    """Every recorded request of today's schema."""
    return [path for path in _all() if OLD_SCHEMA not in path.parts]


def old_recordings() -> list[Path]:
    """Every recorded request of an older schema."""
    return [path for path in _all() if OLD_SCHEMA in path.parts]


def pprofs() -> list[Path]:
    """Every recorded pprof of a usual size, most of them compressed with gzip."""
    return [path for path in _found(SHARED_PPROF, "*.pb.gz") if path.stat().st_size < LARGE_BYTES]


def old_requests(recording: str) -> list[bytes]:
    """The requests of a recording of an older schema; none when it is not here."""
    bodies = []
    for path in old_recordings():
        if path.stem == recording:
            body = path.read_bytes()
            while recording == STREAM and body:
                end = 4 + int.from_bytes(body[:4], "big")
                bodies.append(body[4:end])
                body = body[end:]
            bodies.extend([body] if body else [])
    return bodies


def name(path: Path) -> str:
    """A short name of a recording, for the id of a test."""
    return f"{path.parent.name}/{path.name.partition('.')[0]}"


def parsed(path: Path) -> ExportProfilesServiceRequest:
    """A recording as the official classes read it."""
    request = ExportProfilesServiceRequest()
    request.ParseFromString(path.read_bytes())
    return request


def _all() -> list[Path]:
    return _found(SHARED, "*.otlp")


def _found(shared: Path, pattern: str) -> list[Path]:
    # Ours are copies of shared ones: the first of a name is enough.
    found: dict[str, Path] = {}
    for folder in (OWN, shared):
        for path in sorted(folder.rglob(pattern)):
            found.setdefault(name(path), path)
    return list(found.values())
