"""How many bytes the tables of a store take, against gzip -6 of the same profiles as pprof.

Load: `fleet.py`. Method: the requests of a minute are merged and added as one flush, as the `object_storage`
exporter does by default; then `otelprof compact`. Bytes are those of the Parquet files that the last version
of each table refers to. Also counted: PUTs of the flushes, and CPU-seconds per GB of uncompressed OTLP from
merged request to committed tables, beside the same core's decode and encode in the same run.

Variants: an hour without ids; ten minutes without; with ids on half of the stacks; the same under a policy
that keeps 10 % of traces and demotes the rest. `--minutes 60` is the first one's. With `--recordings` the
load is an hour of real recordings instead (`restamped.py`), of which gzip pprof has one for each Profile.
"""

from __future__ import annotations

import argparse
import gzip
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))

import fleet
import restamped

from otelprof._core import Merger, Policy, Profiles, Rule
from otelprof.clock import SystemClock
from otelprof.store.schema import Table
from otelprof.store.store import Store
from otelprof.store.writer import StoreWriter

if TYPE_CHECKING:
    from collections.abc import Iterable

WINDOWS_PER_MINUTE = 6
TENTH = Policy([Rule("sample", linked=True, threshold=round(0.9 * 2**56), otherwise="demote")])


@dataclass
class Measured:
    """Of one variant."""

    gzip_bytes: int = 0
    pprof_bytes: int = 0
    otlp_bytes: int = 0
    samples: int = 0
    store_secs: float = 0.0
    core_secs: float = 0.0
    fresh: dict[Table, int] = field(default_factory=dict)
    compacted: dict[Table, int] = field(default_factory=dict)
    puts: int = 0


def table_bytes(folder: Path) -> dict[Table, int]:
    """Bytes that each table's last version refers to."""
    store = Store(str(folder))
    return {
        table: sum(store.table(table).get_add_actions(flatten=True).column("size_bytes").to_pylist())
        for table in Table
    }


def objects(folder: Path) -> int:
    """Everything that was put."""
    return sum(1 for path in folder.rglob("*") if path.is_file())


def of_fleet(minutes: int, *, linked: bool) -> Iterable[list[Profiles]]:
    """The fleet's requests, a list each window."""
    for bodies in fleet.requests(minutes * WINDOWS_PER_MINUTE, linked=linked):
        yield [Profiles.decode(body) for body in bodies]


def measure(windows: Iterable[list[Profiles]], policy: Policy | None, folder: Path) -> Measured:
    """Store the load, and compact it."""
    found, merger = Measured(), Merger()
    writer = StoreWriter(Store(str(folder)), SystemClock())
    waiting: list[Profiles] = []
    for window, profiles in enumerate(windows):
        bodies = [one.to_otlp() for one in profiles]
        found.otlp_bytes += sum(map(len, bodies))
        start = time.process_time()
        for body in bodies:
            Profiles.decode(body).to_otlp()
        found.core_secs += time.process_time() - start
        for one in profiles:
            for pprof in one.to_pprof(combine=True):
                found.pprof_bytes += len(pprof.body)
                found.gzip_bytes += len(gzip.compress(pprof.body, 6))
                found.samples += pprof.sample_count
        waiting += [one.select(policy).profiles for one in profiles] if policy else profiles
        if window % WINDOWS_PER_MINUTE == WINDOWS_PER_MINUTE - 1:
            start = time.process_time()
            writer.write(merger.merge(waiting))
            found.store_secs += time.process_time() - start
            waiting = []
    found.fresh, found.puts = table_bytes(folder), objects(folder)
    command = [str(Path(sys.executable).with_name("otelprof")), "compact", "--now", "--store", str(folder)]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - our own command
    found.compacted = table_bytes(folder)
    return found


def report(name: str, minutes: int, of: Measured, bar: float | None) -> None:
    """Print what was found."""
    total, fresh = sum(of.compacted.values()), sum(of.fresh.values())
    print(f"\n{name}: {of.samples:,} samples, gzip pprof {of.gzip_bytes:,} B")
    ratio = f"{of.gzip_bytes / total:.1f}x smaller" + (f" (bar {bar:g}x)" if bar else "")
    print(f"  compacted {total:,} B: {ratio}; fresh {fresh:,} B:", end=" ")
    print(f"{of.gzip_bytes / fresh:.1f}x; of pprof without gzip 1/{of.pprof_bytes / total:.0f}")
    tables = ", ".join(f"{table.value} {size:,} B" for table, size in of.compacted.items())
    print(f"  {tables}; {of.compacted[Table.SAMPLES] / of.samples:.2f} B a sample in `samples`")
    gigabytes = of.otlp_bytes / 1e9
    store, core = of.store_secs / gigabytes, of.core_secs / gigabytes
    print(f"  objects put: {of.puts} in {minutes} flushes, {of.puts * 60 / minutes:.0f} an hour")
    print(f"  CPU-s/GB: merge and store {store:.1f} (bar 25), decode and encode {core:.1f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=int, default=60, help="of the variant without ids (default 60)")
    parser.add_argument("--short", type=int, default=10, help="of the other variants (default 10)")
    parser.add_argument("--recordings", action="store_true", help="an hour of real recordings instead")
    told = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {platform.system()} {platform.release()}, ", end="")
    print(f"Python {platform.python_version()}; a flush a minute")
    if told.recordings:
        with tempfile.TemporaryDirectory() as folder:
            windows = restamped.requests(told.minutes * WINDOWS_PER_MINUTE, fleet.START)
            names = ", ".join(f"{host.name} ({len(host.sent)})" for host in restamped.hosts())
            report(f"recordings of {names}", told.minutes, measure(windows, None, Path(folder)), None)
        return
    variants = (
        ("without ids", told.minutes, False, None, 60.0),
        ("without ids, short", told.short, False, None, 20.0),
        ("with ids on half of the stacks", told.short, True, None, 8.0),
        ("with ids, 10 % of traces kept, the rest demoted", told.short, True, TENTH, 20.0),
    )
    for name, minutes, linked, policy, bar in variants:
        with tempfile.TemporaryDirectory() as folder:
            found = measure(of_fleet(minutes, linked=linked), policy, Path(folder))
            report(name, minutes, found, bar)


if __name__ == "__main__":
    main()
