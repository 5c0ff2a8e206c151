"""How fast pprof is read and written on one core, in MB of pprof (not compressed) per CPU-second.

Method: the requests of each size become pprofs, one each when a request is one Profile; one thread reads all
of them, then writes what it read; CPU time of the process (user and system); the best of `--rounds`. The
anchor in the same run is the official protobuf runtime, which parses and serializes the same bytes without
looking inside. `--pprof` measures files instead.
"""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path

from core import measure
from recorded import SIZES, bodies, machine

from otelprof._core import Profiles
from tests.reference.pprof import Profile


def pprof_bodies(size: str, folder: Path | None) -> list[bytes]:
    """The requests of a size as pprofs."""
    return [pprof.body for body in bodies(size, folder) for pprof in Profiles.decode(body).to_pprof()]


def plain(path: Path) -> bytes:
    """A file, without gzip."""
    body = path.read_bytes()
    return gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body


def written(profiles: Profiles) -> bytes:
    """A request that was one pprof, as one again."""
    return profiles.to_pprof()[0].body


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of <size>_*.pb request bodies")
    parser.add_argument("--pprof", type=Path, nargs="*", help="pprof files, compressed with gzip or not")
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    sets = {size: pprof_bodies(size, options.data) for size in ([] if options.pprof else SIZES)}
    sets |= {path.name: [plain(path)] for path in options.pprof or ()}
    print(f"machine: {machine()}")
    print(f"{'MB per CPU-second':<40}{'read':>10}{'write':>10}{'both':>10}")
    for name, sent in sets.items():
        for way, figures in (
            ("otelprof", measure(sent, Profiles.from_pprof, written, options.rounds)),
            (
                "official runtime",
                measure(sent, Profile.FromString, Profile.SerializeToString, options.rounds),
            ),
        ):
            print(f"{name + ', ' + way:<40}" + "".join(f"{figure:>10.0f}" for figure in figures))


if __name__ == "__main__":
    main()
