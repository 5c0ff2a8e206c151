"""What the durable log costs beside the one in memory, and what kill -9 leaves of it.

    python benchmarks/durable.py [--rounds 10] [--folder FOLDER] [--kills 200]

A recorded request is decoded, appended, taken, encoded for an exporter and acknowledged, again and again,
in one thread: with the log in memory, with the log on disk, and with `fsync`, in turns, so that what disturbs
the machine disturbs all. The figure is CPU-seconds for each GB of requests, of the fastest round. With
`--kills` a service is killed so often while a client sends to it; it ends with 1 when an acknowledged request
did not arrive, or more came twice than were in flight.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import structlog
from recorded import machine

from otelprof._core import Profiles
from otelprof.clock import SystemClock
from otelprof.config.exporter import SendingQueueConfig
from otelprof.log.durable import DurableLog, Storage
from otelprof.log.memory import MemoryLog
from otelprof.model import ComponentId
from otelprof.telemetry.metrics import Metrics
from tests.e2e.harness import RECORDING
from tests.e2e.test_durable import CONSUMERS, kill_nine

EXPORTER: Final = ComponentId("otlp")
STORAGE: Final = ComponentId("file_storage")
REQUESTS_PER_ROUND: Final = 200
GB: Final = 1e9


def make(name: str, folder: Path) -> MemoryLog:
    """One of the three logs, started."""
    clock, metrics = SystemClock(), Metrics()
    if name == "memory":
        return MemoryLog({EXPORTER: SendingQueueConfig()}, clock, metrics)
    directory = folder / name
    directory.mkdir()
    storage = Storage(STORAGE, directory, fsync=name == "fsync", max_age_secs=0)
    queues = {EXPORTER: SendingQueueConfig(storage=STORAGE)}
    log = DurableLog(queues, storage, clock, metrics, structlog.get_logger(__name__))
    log.start()
    return log


def pass_through(log: MemoryLog, body: bytes) -> tuple[float, float]:
    """Send requests through a log.

    Returns:
        CPU seconds and seconds for each GB.
    """
    cursor = log.cursor(EXPORTER)
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(REQUESTS_PER_ROUND):
        log.append([(Profiles.decode(body), [EXPORTER])])
        item = cursor.take()
        assert item is not None
        with cursor.attempt(item):
            item.profiles.to_otlp()
            cursor.ack(item)
    gigabytes = REQUESTS_PER_ROUND * len(body) / GB
    return (time.process_time() - cpu) / gigabytes, (time.perf_counter() - wall) / gigabytes


def cost(folder: Path, rounds: int) -> None:
    """Print what each log costs."""
    body = RECORDING.read_bytes()
    logs = {name: make(name, folder) for name in ("memory", "disk", "fsync")}
    best = dict.fromkeys(logs, (float("inf"), float("inf")))
    for _ in range(rounds):
        for name, log in logs.items():
            best[name] = min(best[name], pass_through(log, body))
    for log in logs.values():
        log.shutdown()
    print(f"{machine()}; requests of {len(body):,} bytes, fastest of {rounds} rounds")
    for name, (cpu_secs, secs) in best.items():
        ratio = cpu_secs / best["memory"][0]
        print(f"  {name:6}  {cpu_secs:6.2f} CPU-s/GB  {ratio:5.2f} x memory  {secs:6.2f} s/GB")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--folder", type=Path, help="on the disk that is to be measured")
    parser.add_argument("--kills", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        if options.kills:
            killed = kill_nine(Path(folder), options.kills)
            outcome = f"{len(killed.lost)} lost, {killed.doubled} doubled"
            print(machine())
            print(f"{options.kills} kills: {killed.acknowledged:,} requests acknowledged, {outcome}")
            # What was in flight may have arrived before its delivery was written down.
            sys.exit(1 if killed.lost or killed.doubled > options.kills * CONSUMERS else 0)
        else:
            cost(Path(folder), options.rounds)


if __name__ == "__main__":
    main()
