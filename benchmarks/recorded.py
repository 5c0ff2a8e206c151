"""The requests that the benchmarks send, the machine they run on, and their command line."""

from __future__ import annotations

import argparse
import platform
from pathlib import Path

SIZES = ("small", "medium", "large")
# A second occurrence of `dictionary` whose `string_table` holds "x": nothing refers to it.
ORPHAN = b"\x12\x03\x2a\x01x"
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


def bases(size: str, folder: Path | None = None) -> dict[str, list[bytes]]:
    """Requests of one size in the two ways in which the core may meet them.

    `as sent` is what a client's clean request takes, passed on byte for byte where nothing changes;
    `rewritten` has one unreferenced string added, so that everything is collected and written anew.

    Raises:
        SystemExit: there are none.
    """
    sent = bodies(size, folder)
    return {"as sent": sent, "rewritten": [body + ORPHAN for body in sent]}


def options(description: str | None) -> argparse.Namespace:
    """What the command line says: `data`, `rounds`; machine and method are printed."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of <size>_*.pb request bodies")
    parser.add_argument("--rounds", type=int, default=20)
    told = parser.parse_args()
    print(f"machine: {machine()}")
    print(f"one thread; CPU time, user and system; best of {told.rounds}")
    return told


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
