"""How fast the core is on one core: decode, encode, both, in MB of uncompressed payload per CPU-second.

Method: one thread decodes all requests of a size, then encodes them; CPU time of the process (user and
system); the best of `--rounds`, since other programs can only make it slower. Two ways:
`as sent` is what a client's clean request takes: what did not change is passed on byte for byte.
`rewritten` has one unreferenced string added, so that every table and every Sample is collected and written
anew. The anchor in the same run is the official protobuf class, which parses and serializes without looking
inside.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest,
)
from recorded import SIZES, bases, options

from otelprof._core import Profiles

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


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
    told = options(__doc__)
    print(f"{'MB per CPU-second':<30}{'decode':>10}{'encode':>10}{'both':>10}")
    official = ExportProfilesServiceRequest
    for size in SIZES:
        ways = bases(size, told.data)
        rows: dict[str, Sequence[float]] = {
            name: measure(requests, Profiles.decode, Profiles.to_otlp, told.rounds)
            for name, requests in ways.items()
        }
        texts = [Profiles.decode(body).to_json() for body in ways["as sent"]]
        rows["JSON, MB of text"] = measure(texts, Profiles.from_json, Profiles.to_json, told.rounds)
        rows["official classes"] = measure(
            ways["as sent"], official.FromString, official.SerializeToString, told.rounds
        )
        for name, figures in rows.items():
            print(f"{size + ', ' + name:<30}" + "".join(f"{figure:>10.0f}" for figure in figures))


if __name__ == "__main__":
    main()
