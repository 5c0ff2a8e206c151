"""How fast the core is on one core: decode, encode, both, in MB of uncompressed payload per CPU-second.

Method: one thread decodes all requests of a size, then encodes them; CPU time of the process (user and
system); the best of `--rounds`, since other programs can only make it slower. Two ways:
`as sent` is what a client's clean request takes: what did not change is passed on byte for byte.
`rewritten` has one unreferenced string added, so that every table and every Sample is collected and written
anew. The anchor in the same run is the official protobuf class, which parses and serializes without looking
inside.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest,
)
from recorded import SIZES, bodies, machine

from otelprof._core import Profiles

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# A second occurrence of `dictionary` whose `string_table` holds "x": nothing refers to it.
ORPHAN = b"\x12\x03\x2a\x01x"


def measure(
    requests: list[bytes], decode: Callable[[bytes], object], encode: Callable[..., bytes], rounds: int
) -> Sequence[float]:
    """MB per CPU-second of decode, encode and both."""
    megabytes = sum(map(len, requests)) / 1e6
    best = [float("inf")] * 3
    for _ in range(rounds):
        start = time.process_time()
        handles = [decode(body) for body in requests]
        decoded = time.process_time()
        for handle in handles:
            encode(handle)
        encoded = time.process_time()
        taken = (decoded - start, encoded - decoded, encoded - start)
        best = [min(pair) for pair in zip(best, taken, strict=True)]
    return [megabytes / seconds for seconds in best]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of <size>_*.pb request bodies")
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    print(f"machine: {machine()}")
    print(f"{'MB per CPU-second':<30}{'decode':>10}{'encode':>10}{'both':>10}")
    for size in SIZES:
        sent = bodies(size, options.data)
        official = ExportProfilesServiceRequest
        for name, figures in (
            ("as sent", measure(sent, Profiles.decode, Profiles.to_otlp, options.rounds)),
            (
                "rewritten",
                measure([b + ORPHAN for b in sent], Profiles.decode, Profiles.to_otlp, options.rounds),
            ),
            (
                "JSON, MB of text",
                measure(
                    [Profiles.decode(body).to_json() for body in sent],
                    Profiles.from_json,
                    Profiles.to_json,
                    options.rounds,
                ),
            ),
            (
                "official classes",
                measure(sent, official.FromString, official.SerializeToString, options.rounds),
            ),
        ):
            print(f"{size + ', ' + name:<30}" + "".join(f"{figure:>10.0f}" for figure in figures))


if __name__ == "__main__":
    main()
