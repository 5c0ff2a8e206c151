"""What a merge saves and what it costs: bytes out / bytes in, MB per CPU-second, and how both grow.

Method: requests are decoded beforehand; merge and `to_otlp` are timed in one thread, CPU time of the process
(user and system), MB of uncompressed payload, the best of `--rounds`, since other programs can only make it
slower. `cold` is a Merger that was made for this merge; `warm` has merged the same requests before, as that
of an exporter has when services send nearly the same symbols each time.

Bytes in are those of the requests as they were sent, each by itself; with gzip, each compressed by itself
(level 6), as clients send them, and the merged one compressed as one. Where a size has fewer than ten
different requests, all of them are merged once, and the line says how many.
"""

from __future__ import annotations

import argparse
import time
import zlib
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from recorded import bodies, folder_bodies, machine

from otelprof._core import Merger, Profiles

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCH = 10
GZIP_LEVEL = 6
GZIP_WINDOW = 31  # of zlib: the largest window, with a gzip header
BATCHES = (10, 100, 1_000)
FOLDERS = ("ebpf-cpu", "ebpf-linked")


class Figures(NamedTuple):
    """What one batch came to."""

    plain: float
    gzipped: float
    cold: float
    warm: float


def gzip_bytes(body: bytes) -> int:
    """The size of a body compressed with gzip."""
    squeezer = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, GZIP_WINDOW)
    return len(squeezer.compress(body)) + len(squeezer.flush())


def seconds(merger: Merger, handles: list[Profiles]) -> float:
    """CPU time of one merge with its encoding."""
    start = time.process_time()
    merger.merge(handles).to_otlp()
    return time.process_time() - start


def speeds(requests: list[bytes], rounds: int) -> tuple[float, float]:
    """MB per CPU-second with a fresh Merger, and with one that knows the symbols."""
    megabytes = sum(map(len, requests)) / 1e6
    handles = [Profiles.decode(body) for body in requests]
    cold = min(seconds(Merger(), handles) for _ in range(rounds))
    merger = Merger()
    seconds(merger, handles)
    warm = min(seconds(merger, handles) for _ in range(rounds))
    return megabytes / cold, megabytes / warm


def measure(requests: list[bytes], rounds: int) -> Figures:
    """Bytes and speed of one batch."""
    merged = Merger().merge([Profiles.decode(body) for body in requests]).to_otlp()
    plain = len(merged) / sum(map(len, requests))
    gzipped = gzip_bytes(merged) / sum(map(gzip_bytes, requests))
    return Figures(plain, gzipped, *speeds(requests, rounds))


def sets(data: Path | None, recordings: Path | None) -> Iterator[tuple[str, list[bytes]]]:
    """The batches with their names."""
    for size in ("small", "medium"):
        yield size, bodies(size, data)[:BATCH]
    for folder in FOLDERS:
        yield folder, folder_bodies(folder, recordings)[:BATCH]


def growing(data: Path | None, rounds: int) -> None:
    """Print how the cost grows with the number of requests in a batch."""
    small = bodies("small", data)
    print(f"\n{'small requests in one batch':<30}{'MB':>8}{'out/in':>10}{'cold':>10}{'warm':>10}")
    for count in BATCHES:
        requests = list(islice(cycle(small), count))
        handles = [Profiles.decode(body) for body in requests]
        share = len(Merger().merge(handles).to_otlp()) / sum(map(len, requests))
        cold, warm = speeds(requests, max(rounds * BATCHES[0] // count, 3))
        megabytes = sum(map(len, requests)) / 1e6
        print(f"{count:<30}{megabytes:>8.1f}{share:>10.2f}{cold:>10.0f}{warm:>10.0f}")
    print(f"(there are {len(small)} different ones; from the {len(small) + 1}th on they come again)")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of <size>_*.pb request bodies")
    parser.add_argument("--recordings", type=Path, help="folder of <profiler>/*.otlp request bodies")
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    print(f"machine: {machine()}")
    print("bytes out / bytes in of a merge; merge + encode in MB per CPU-second, decoding not counted")
    print(f"{'requests':<30}{'plain':>10}{'gzip 6':>10}{'cold':>10}{'warm':>10}")
    for name, requests in sets(options.data, options.recordings):
        figures = measure(requests, options.rounds)
        print(
            f"{f'{len(requests)} {name}':<30}{figures.plain:>10.3f}{figures.gzipped:>10.3f}"
            f"{figures.cold:>10.0f}{figures.warm:>10.0f}"
        )
    growing(options.data, options.rounds)


if __name__ == "__main__":
    main()
