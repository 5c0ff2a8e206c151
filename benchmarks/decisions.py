"""What decisions by the tracing side come to: what is kept, what memory takes, what it costs.

Two parts, each of one thread. The simulation runs a tail sampler's world on a simulated clock (100,000
traces, 10 % kept, two samples each, which come up to 8 s before and after the decision) through processor,
gate and log, and holds its outcome to the target: 99.9 % of the kept traces' samples whole, totals of the
rest exact, memory within its bounds. The rest fills a `TraceDecisions` with traces of some spans and says
what a million of them takes, and the CPU time of hearing of one and of asking for one.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from recorded import machine

from otelprof._core import Policy, Profiles, Rule, TraceDecisions
from tests.simulation.tail_sampler import Simulation, World, profile_request

TARGET: Final = 0.999
MIB: Final = 1 << 20
MILLION: Final = 1_000_000
TRACES_PER_REQUEST: Final = 1_000
NAMES: Final = 200
LINKS: Final = 1_000


def simulate(traces: int, seed: int) -> None:
    """Run the world, and hold it to the target."""
    started = time.process_time()
    outcome = Simulation(World(seed, trace_count=traces)).run()
    secs = time.process_time() - started
    print(f"seed {seed}, {traces:,} traces, {outcome.requests} requests, {secs:.1f} s of CPU")
    print(f"  kept traces' samples whole: {outcome.kept_whole:.4%} of {outcome.wanted.total():,}")
    print(f"  totals: {outcome.total_in.total():,} in, {outcome.total_out.total():,} out")
    print(f"  requests went on: {outcome.released}")
    print(f"  most that waited: {outcome.max_waiting_bytes / MIB:.1f} MiB of 128 MiB")
    print(f"  most that traces took: {outcome.max_trace_bytes / MIB:.1f} MiB of 64 MiB")
    assert outcome.kept_whole >= TARGET
    assert not outcome.linked - outcome.wanted
    assert outcome.total_in == outcome.total_out
    assert outcome.max_waiting_bytes <= 128 * MIB
    assert outcome.max_trace_bytes <= 64 * MIB


def bodies(traces: int, spans: int) -> list[bytes]:
    """Requests with so many traces of so many spans."""
    made = []
    for first in range(1, traces + 1, TRACES_PER_REQUEST):
        request = ExportTraceServiceRequest()
        group = request.resource_spans.add()
        group.resource.attributes.add(key="service.name").value.string_value = "checkout"
        scope = group.scope_spans.add().spans
        for trace, span in itertools.product(range(first, first + TRACES_PER_REQUEST), range(1, spans + 1)):
            scope.add(
                # Ids are random in life; a multiplication by an odd number spreads these.
                trace_id=(trace * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128).to_bytes(16),
                span_id=(span * 0x9E3779B97F4A7C15 % 2**64).to_bytes(8),
                name=f"GET /{(trace + span) % NAMES}",
                start_time_unix_nano=trace,
                end_time_unix_nano=trace + span,
            )
        made.append(request.SerializeToString())
    return made


def fill(traces: int, spans: int) -> None:
    """Hear of traces, and ask for some."""
    requests = bodies(traces, spans)
    known = TraceDecisions(max_bytes=16 << 30, window_secs=80)
    started = time.process_time()
    for number, body in enumerate(requests):
        # Over a whole window, as in life: eight slices, each with tables of its own.
        known.observe(body, 80 * number / len(requests))
    heard_secs = time.process_time() - started
    assert known.trace_count == traces
    samples = [(bytes([1]) * 8 + number.to_bytes(8), "main", 1) for number in range(LINKS)]
    profiles = Profiles.decode(profile_request(samples).SerializeToString())
    policy = Policy([Rule("keep", trace=["kept"])])
    started = time.process_time()
    for _ in range(100):
        profiles.select(policy, known)
    with_secs = time.process_time() - started
    started = time.process_time()
    for _ in range(100):
        profiles.select(policy)
    asked_secs = with_secs - (time.process_time() - started)
    print(
        f"  {spans:2} spans a trace: {known.memory_bytes / traces * MILLION / MIB:6.0f} MiB for a million, "
        f"{heard_secs / traces / spans * 1e9:4.0f} ns to hear of a span, "
        f"{asked_secs / 100 / LINKS * 1e9:4.0f} ns to ask for an unknown trace"
    )


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--traces", type=int, default=100_000, help="of the simulation")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--known", type=int, default=MILLION, help="traces to fill the memory with")
    arguments = parser.parse_args()
    print(machine())
    simulate(arguments.traces, arguments.seed)
    print(f"{arguments.known:,} traces over a whole window")
    for spans in (1, 4, 8):
        fill(arguments.known, spans)


if __name__ == "__main__":
    main()
