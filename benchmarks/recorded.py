"""The requests that the benchmarks send, and the machine they run on."""

from __future__ import annotations

import platform
from pathlib import Path

SIZES = ("small", "medium", "large")
_ROOT = Path(__file__).resolve().parents[1]
_SHARED = _ROOT.parent / "shared" / "data" / "bench"
_RECORDED = (_ROOT.parent / "shared" / "data" / "otlp", _ROOT / "tests" / "data")


def bodies(size: str, folder: Path | None = None) -> list[bytes]:
    """Request bodies of one size: `<folder>/<size>_*.pb`.

    Raises:
        SystemExit: there are none.
    """
    folder = folder or _SHARED
    found = [path.read_bytes() for path in sorted(folder.glob(f"{size}_*.pb"))]
    if not found:
        message = f"no {size}_*.pb in {folder}: give a folder of recorded requests with --data"
        raise SystemExit(message)
    return found


def folder_bodies(profiler: str, folder: Path | None = None) -> list[bytes]:
    """Request bodies that a real profiler sent: `<folder>/<profiler>/*.otlp`, or those of this repository.

    Raises:
        SystemExit: there are none.
    """
    for place in [folder] if folder else _RECORDED:
        found = [path.read_bytes() for path in sorted((place / profiler).glob("*.otlp"))]
        if found:
            return found
    message = f"no *.otlp of {profiler}: give a folder of recordings with --recordings"
    raise SystemExit(message)


def machine() -> str:
    """The machine in a line: what a figure means nothing without."""
    model = "unknown processor"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.partition(":")[2].strip()
            for line in cpuinfo.read_text().splitlines()
            if "model name" in line
        ]
        model = f"{len(names)} x {names[0]}" if names else model
    load = ", ".join(Path("/proc/loadavg").read_text().split()[:1]) if Path("/proc/loadavg").exists() else "?"
    return (
        f"{model}; {platform.system()} {platform.release()}; Python {platform.python_version()}; load {load}"
    )
