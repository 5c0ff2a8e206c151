"""Overload: five times what can be delivered, from clients that send again.

    python benchmarks/overload.py                        # --seconds 120, --factor 5, --samples, --limit-mib
    python benchmarks/overload.py --seconds 10           # a look, on any machine

Method: `otelprof run` in a process of its own, with memory_limiter, a queue of 8 MiB in memory and an otlp
exporter; its far side answers each call after a tenth of a second, so that two consumers deliver twenty a
second at most. What they really deliver is measured first, with clients that send as fast as they are
answered: that is the capacity. Then requests come at random moments, at five times that, for `--seconds`; who
is refused waits for as long as it was told, and then twice as long each time, and gives up after half a
minute. Goodput is what the far side takes a second while they come. Resident memory is looked at ten times a
second. It ends with 1 when an acknowledged request did not arrive, goodput is below 0.8 of the capacity, or
memory over its limit.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import psutil
from recorded import machine

from otelprof.testing.sink import Sink, SinkAnswer
from tests.e2e.harness import Process, Yaml, exporter, one_pipeline
from tests.e2e.retrying_load import Load, RetryingLoad, arrived

DELAY_SECS: Final = 0.1
CONSUMERS: Final = 2
QUEUE: Final = "8MiB"
DRAIN_SECS: Final = 120.0
MIN_GOODPUT: Final = 0.8
SECOND_FIRST: Final = 10_000_000


def config(sink: Sink, limit_mib: int) -> Yaml:
    """What runs."""
    queue = {"num_consumers": CONSUMERS, "queue_size": QUEUE}
    limiter = {"memory_limiter": {"limit_mib": limit_mib, "spike_limit_mib": limit_mib // 5}}
    return one_pipeline(exporters={"otlp": exporter(sink.endpoint, sending_queue=queue)}, processors=limiter)


def watch(load: RetryingLoad, sink: Sink, process: psutil.Process, secs: float) -> tuple[float, float]:
    """Look on while a load comes; what the far side took a second, and the most memory in MiB."""
    before, begin, most = len(sink.taken), time.monotonic(), 0
    load.start()
    while time.monotonic() < begin + secs:
        most = max(most, process.memory_info().rss)
        time.sleep(0.1)
    goodput = (len(sink.taken) - before) / (time.monotonic() - begin)
    load.join()
    return goodput, most / 2**20


def wait_for(sink: Sink, numbers: set[int]) -> None:
    """Return when all of them have come, or after two minutes."""
    deadline = time.monotonic() + DRAIN_SECS
    while time.monotonic() < deadline and not numbers <= arrived([sink])[0].keys():
        time.sleep(1.0)


def measure(options: argparse.Namespace, folder: Path) -> bool:
    """Do it, and print what came of it; whether all was as it should be."""
    with Sink() as sink:
        sink.answer_always(SinkAnswer(delay_secs=DELAY_SECS))
        with Process(config(sink, options.limit_mib), folder) as running:
            process = psutil.Process(running.popen.pid)
            calm_secs = max(options.seconds / 4, 5.0)
            calm = RetryingLoad(running.endpoint, Load(calm_secs, samples=options.samples))
            capacity, calm_mib = watch(calm, sink, process, calm_secs)
            wait_for(sink, calm.sent.acknowledged)
            rate = options.factor * capacity
            flood = Load(options.seconds, rate, samples=options.samples, first=SECOND_FIRST)
            load = RetryingLoad(running.endpoint, flood)
            cpu = process.cpu_times()
            goodput, most_mib = watch(load, sink, process, options.seconds)
            after = process.cpu_times()
            acknowledged = calm.sent.acknowledged | load.sent.acknowledged
            wait_for(sink, acknowledged)
        (came,) = arrived([sink])
    sent, lost = load.sent, len(acknowledged - came.keys())
    print(f"{machine()}; {CONSUMERS} consumers, {DELAY_SECS} s an answer, queue {QUEUE}")
    print(f"capacity {capacity:.1f} requests/s of {load.body_bytes:,} bytes, {calm_mib:.0f} MiB resident")
    print(
        f"{options.factor:g} x for {options.seconds:g} s: {rate:.0f} requests/s, {sent.attempts:,} calls, "
        f"{sent.refused:,} told to come back, {sum(sent.failed.values()):,} failed {dict(sent.failed)}"
    )
    cuts = statistics.quantiles(sent.waits_secs, n=100) if len(sent.waits_secs) > 1 else [0.0] * 99
    print(
        f"{len(sent.acknowledged):,} acknowledged (after {cuts[49]:.2f} s, p99 {cuts[98]:.1f} s), "
        f"{sent.given_up:,} given up by their clients"
    )
    cpu_secs = after.user + after.system - cpu.user - cpu.system
    print(
        f"lost {lost}, doubled {came.total() - len(came)}; goodput {goodput:.1f}/s, "
        f"{goodput / capacity:.2f} of the capacity (at least {MIN_GOODPUT})"
    )
    print(f"{most_mib:.0f} MiB resident (at most {options.limit_mib}), CPU {cpu_secs:.1f} s")
    return lost == 0 and goodput >= MIN_GOODPUT * capacity and most_mib <= options.limit_mib


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--factor", type=float, default=5)
    parser.add_argument("--samples", type=int, default=1_000, help="of a request, some 9 bytes each")
    parser.add_argument("--limit-mib", type=int, default=256)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(0 if measure(options, Path(folder)) else 1)


if __name__ == "__main__":
    main()
