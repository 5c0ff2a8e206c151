"""How long it takes to read a store back: the flame graph of a trace, of one that is absent, of a service.

Method: two stores are made (`lookup_store.py`), of linked samples for the traces and of plain ones for the
services, each as the exporter leaves it (a file a minute) and in the order of traces. Traces are drawn by a
fixed seed from all that are there. Cold is `otelprof flamegraph --trace-id ... -o FILE` as a user starts it,
an SVG at its end, timed from outside. Warm is the same in one process that has answered before: SQL, symbols,
SVG. Services are asked for one hour; `folded` is without the SVG. Each figure is p50 / p99 of `--lookups`,
with the mean CPU time (user and system) in parentheses, which says more on a machine that does other things
as well. With `--s3` the store is read through the S3 API of a local moto server, whose own CPU time is not in
the figures; the mean number of requests that it answered is.

    python benchmarks/lookup.py --samples 5000000 --traces 600000 [--s3] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

sys.path.insert(0, str(Path(__file__).parents[1]))

import httpx
from lookup_store import MIDNIGHT_MICROS, build_fresh, build_sorted
from recorded import machine

from otelprof.query.flamegraph import flame_graph
from otelprof.store.reader import StoreReader
from otelprof.store.selection import Selection
from otelprof.store.store import Store
from tests.e2e.s3_api import s3_api

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

COMMAND: Final = str(Path(sysconfig.get_path("scripts")) / "otelprof")
HOUR_MICROS: Final = 3_600_000_000
HOUR_SAMPLES: Final = 2_880_000
"""Rows of one hour of the fleet."""
SERVICES: Final = tuple(f"service-{number:02d}" for number in range(20))
BUCKET: Final = "profiles"


@dataclass(frozen=True)
class Times:
    """Of one question, again and again.

    Attributes:
        wall: seconds of each.
        cpu: seconds of all.
        requests: to the object store, for all; None where there is none.
    """

    wall: Sequence[float]
    cpu: float
    requests: int | None = None

    def __str__(self) -> str:
        ordered = sorted(self.wall)
        p99 = ordered[max(0, -(-len(ordered) * 99 // 100) - 1)]
        middle = statistics.median(ordered)
        means = f"{self.cpu / len(ordered) * 1e3:.0f} ms CPU"
        if self.requests is not None:
            means += f", {self.requests / len(ordered):.0f} requests"
        return f"{middle * 1e3:7.0f} / {p99 * 1e3:5.0f} ms ({means})"


def timed(
    questions: Sequence[Callable[[], object]],
    cpu: Callable[[], float] = time.process_time,
    log: Path | None = None,
) -> Times:
    """Ask one after the other; the log has a line for each request."""
    wall = []
    start, answered = cpu(), requests_in(log)
    for ask in questions:
        began = time.perf_counter()
        ask()
        wall.append(time.perf_counter() - began)
    return Times(wall, cpu() - start, requests_in(log) - answered if log else None)


def requests_in(log: Path | None) -> int:
    """How many the server has answered."""
    return log.read_bytes().count(b" HTTP/1.1") if log else 0


def children_cpu() -> float:
    """CPU seconds of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def traces_of(reader: StoreReader, count: int) -> list[str]:
    """Traces of a store, drawn by a fixed seed."""
    rows = reader.query("SELECT DISTINCT trace_id FROM samples WHERE trace_id IS NOT NULL")
    found = sorted(rows["trace_id"].to_pylist())
    print(f"  {len(found):,} traces")
    return random.Random(0).sample(found, count)


def cold(url: str, options: dict[str, str], trace_id: str, folder: Path) -> None:
    """A trace's SVG, by a process of its own."""
    command = [COMMAND, "flamegraph", "--store", url, "--trace-id", trace_id, "-o", str(folder / "trace.svg")]
    for key, value in options.items():
        command += ["--store-option", f"{key}={value}"]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)  # noqa: S603 - our own program


def draw(reader: StoreReader, selection: Selection) -> str | None:
    """The SVG of a selection; None when nothing is there."""
    graph = flame_graph(reader, selection)
    return None if graph is None else graph.profiles.to_svg(title="trace", subtitle=graph.in_words)


def fold(reader: StoreReader, selection: Selection) -> list[tuple[str, int]]:
    """The stacks of a selection."""
    graph = flame_graph(reader, selection)
    assert graph is not None
    return graph.profiles.fold()


def measure_traces(
    url: str, options: dict[str, str], counts: tuple[int, int], folder: Path, log: Path | None = None
) -> None:
    """Print the figures of looking up traces: so many, and so many of them cold."""
    count, cold_count = counts
    reader = StoreReader(Store(url, options))
    traces = traces_of(reader, count)
    chance = random.Random(1)
    absent = [f"{chance.getrandbits(128):032x}" for _ in range(count)]
    draw(reader, Selection(trace_id=traces[0]))
    cold(url, options, traces[0], folder)
    of = {one: Selection(trace_id=one) for one in (*traces, *absent)}
    found = timed(
        [partial(cold, url, options, one, folder) for one in traces[:cold_count]], children_cpu, log
    )
    print(f"  cold, trace to SVG       {found}")
    print(f"  warm, trace to SVG       {timed([partial(draw, reader, of[one]) for one in traces], log=log)}")
    print(f"  warm, absent             {timed([partial(draw, reader, of[one]) for one in absent], log=log)}")


def measure_services(url: str, count: int) -> None:
    """Print the figures of the flame graphs of services over one hour."""
    reader = StoreReader(Store(url))

    def of(service: str | None) -> Selection:
        hour = {"since": MIDNIGHT_MICROS, "until": MIDNIGHT_MICROS + HOUR_MICROS}
        return Selection(service=service, **hour)  # type: ignore[arg-type] # since and until

    for service in (*SERVICES, None):
        fold(reader, of(service))
    asked = [SERVICES[number % len(SERVICES)] for number in range(count)]
    print(f"  one service, folded      {timed([partial(fold, reader, of(one)) for one in asked])}")
    print(f"  one service, SVG         {timed([partial(draw, reader, of(one)) for one in asked])}")
    print(f"  all 20, folded           {timed([partial(fold, reader, of(None))] * max(5, count // 5))}")


@contextmanager
def moto(folder: Path, log: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The stores of a folder, behind the S3 API of a moto server: the URL of the bucket, and the options."""
    with s3_api(log) as options, httpx.Client(base_url=options["aws_endpoint"], timeout=60) as client:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            place = path.relative_to(folder).as_posix()
            client.put(f"/{BUCKET}/{place}", content=path.read_bytes()).raise_for_status()
        yield f"s3://{BUCKET}", options


def main() -> None:
    """Make the stores, and measure."""
    parser = argparse.ArgumentParser(description="How long it takes to read a store back.")
    parser.add_argument("--samples", type=int, default=5_000_000)
    parser.add_argument("--traces", type=int, default=600_000)
    parser.add_argument("--lookups", type=int, default=100)
    parser.add_argument(
        "--cold", type=int, default=None, help="of them, in a process of its own; all by default"
    )
    parser.add_argument("--s3", action="store_true", help="also through the S3 API of a local moto server")
    parser.add_argument("--keep", type=Path, help="where stores stay, or are found")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        stores = {name: folder / name for name in ("traces", "hour")}
        sizes = {"traces": (options.samples, options.traces), "hour": (HOUR_SAMPLES, 0)}
        for name, place in stores.items():
            if not (place / "sorted").exists():
                place.mkdir(parents=True, exist_ok=True)
                build_fresh(place / "fresh", *sizes[name])
                build_sorted(place / "fresh", place / "sorted")
        print(f"machine: {machine()}; load {os.getloadavg()[0]:.1f}")
        counts = options.lookups, options.lookups if options.cold is None else options.cold
        for state in ("fresh", "sorted"):
            print(f"{options.samples:,} linked samples, {state}, in a folder")
            measure_traces(str(stores["traces"] / state), {}, counts, Path(scratch))
            print(f"one hour of 20 services without links, {state}, in a folder")
            measure_services(str(stores["hour"] / state), options.lookups)
        if options.s3:
            log = Path(scratch, "requests.log")
            with moto(stores["traces"], log) as (bucket, s3_options):
                for state in ("fresh", "sorted"):
                    print(f"{options.samples:,} linked samples, {state}, through the S3 API")
                    measure_traces(f"{bucket}/{state}", s3_options, counts, Path(scratch), log)


if __name__ == "__main__":
    main()
