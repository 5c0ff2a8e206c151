"""Half an hour at twice what can be delivered, exporters failing in turn: nothing lost, and flat memory.

    python benchmarks/soak.py                            # --minutes, --period, --samples, --limit-mib
    python benchmarks/soak.py --minutes 1 --period 5     # a look

Method: `otelprof run` in a process of its own, with memory_limiter and two otlp exporters of two consumers
each, one with its queue in memory, one with its queue on disk and batches; far sides that answer after a
tenth of a second. Requests come at twice what one exporter can deliver without batches. Every `--period`
seconds another fault begins, at one far side and then at the other: away, overloaded with RetryInfo, slow.
Resident memory is looked at once a second, and is flat when the middle of the last quarter is at most a
tenth, and 8 MiB, above that of the second. It ends with 1 when an acknowledged request did not come to both
far sides, or memory is not flat or over its limit.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import grpc
import psutil
from recorded import machine

from otelprof.testing.sink import Sink, SinkAnswer
from tests.e2e.harness import Process, Yaml, exporter, one_pipeline
from tests.e2e.retrying_load import Load, RetryingLoad, arrived

DELAY_SECS: Final = 0.1
CONSUMERS: Final = 2
FACTOR: Final = 2
QUEUE: Final = "16MiB"
DRAIN_SECS: Final = 180.0
HEALTHY: Final = SinkAnswer(delay_secs=DELAY_SECS)
FAULTS: Final = (
    SinkAnswer(grpc.StatusCode.UNAVAILABLE),
    SinkAnswer(grpc.StatusCode.RESOURCE_EXHAUSTED, retry_after_secs=1.0),
    SinkAnswer(delay_secs=2.0),
)


def config(sinks: tuple[Sink, Sink], folder: Path, limit_mib: int) -> Yaml:
    """What runs."""
    queue = {"num_consumers": CONSUMERS, "queue_size": QUEUE}
    batch = {"flush_timeout": "500ms", "sizer": "bytes", "min_size": 100_000, "max_size": 400_000}
    for_ever = {"initial_interval": "200ms", "max_interval": "2s", "max_elapsed_time": "0s"}
    memory, disk = (
        exporter(sink.endpoint, sending_queue=queue | more, retry_on_failure=for_ever)
        for sink, more in zip(sinks, ({}, {"storage": "file_storage", "batch": batch}), strict=True)
    )
    limiter = {"memory_limiter": {"limit_mib": limit_mib, "spike_limit_mib": limit_mib // 5}}
    found = one_pipeline(exporters={"otlp/memory": memory, "otlp/disk": disk}, processors=limiter)
    found["extensions"] = {"file_storage": {"directory": str(folder / "queue"), "create_directory": True}}
    found["service"]["extensions"] = ["file_storage"]
    return found


def watch(sinks: tuple[Sink, Sink], process: psutil.Process, secs: float, period: float) -> list[float]:
    """Let the far sides fail in turn; resident memory, each second, in MiB."""
    memory_mib = []
    begin = time.monotonic()
    faults = itertools.cycle([(failing, fault) for fault in FAULTS for failing in range(len(sinks))])
    next_at = begin
    while (now := time.monotonic()) < begin + secs:
        if now >= next_at:
            failing, fault = next(faults)
            for number, sink in enumerate(sinks):
                sink.answer_always(fault if number == failing else HEALTHY)
            next_at += period
        memory_mib.append(process.memory_info().rss / 2**20)
        time.sleep(1.0)
    for sink in sinks:
        sink.answer_always(HEALTHY)
    return memory_mib


def wait_for(sinks: tuple[Sink, Sink], numbers: set[int]) -> None:
    """Return when all of them have come to both, or after three minutes."""
    deadline = time.monotonic() + DRAIN_SECS
    while time.monotonic() < deadline and any(numbers - came.keys() for came in arrived(sinks)):
        time.sleep(2.0)


def measure(options: argparse.Namespace, folder: Path) -> bool:
    """Do it, and print what came of it; whether all was as it should be."""
    secs = options.minutes * 60
    rate = FACTOR * CONSUMERS / DELAY_SECS
    with (
        Sink() as first,
        Sink() as second,
        Process(config((first, second), folder, options.limit_mib), folder) as running,
    ):
        sinks = (first, second)
        process = psutil.Process(running.popen.pid)
        load = RetryingLoad(running.endpoint, Load(secs, rate, samples=options.samples))
        load.start()
        memory_mib = watch(sinks, process, secs, options.period)
        sent = load.join()
        wait_for(sinks, sent.acknowledged)
        disk_mib = sum(one.stat().st_size for one in (folder / "queue").iterdir()) / 2**20
        cpu = process.cpu_times()
        came = arrived(sinks)
    quarter = max(len(memory_mib) // 4, 1)
    early, late = (
        statistics.median(part) for part in (memory_mib[quarter : 2 * quarter], memory_mib[-quarter:])
    )
    lost = [len(sent.acknowledged - one.keys()) for one in came]
    print(f"{machine()}; {options.minutes:g} minutes, a fault each {options.period:g} s, queues {QUEUE}")
    print(
        f"{rate:g} requests/s of {load.body_bytes:,} bytes: {sent.attempts:,} calls, {sent.refused:,} told "
        f"to come back, {len(sent.acknowledged):,} acknowledged, {sent.given_up:,} given up, "
        f"failed {dict(sent.failed)}"
    )
    print(f"lost {lost}, doubled {[one.total() - len(one) for one in came]} (in memory, on disk)")
    print(
        f"resident {early:.0f} MiB in the second quarter, {late:.0f} in the last, {max(memory_mib):.0f} at "
        f"most (limit {options.limit_mib}); on disk {disk_mib:.0f} MiB; CPU {cpu.user + cpu.system:.0f} s"
    )
    is_flat = late <= 1.1 * early + 8 and max(memory_mib) <= options.limit_mib
    return is_flat and lost == [0, 0]


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--period", type=float, default=20)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--limit-mib", type=int, default=256)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(0 if measure(options, Path(folder)) else 1)


if __name__ == "__main__":
    main()
