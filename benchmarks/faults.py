"""Simulated faults by the thousand: whether what was acknowledged is delivered, or counted.

    python benchmarks/faults.py --seeds 10000               from --first on; ends with 1 when one fails
    python benchmarks/faults.py --seed 4711                 one of them, told in full

Method: `tests/simulation/service.py` runs the whole service, once for each seed, on simulated time, network
and disk. The last line says how often what happened.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from multiprocessing import get_context
from pathlib import Path
from pprint import pformat

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from recorded import machine

from tests.simulation.service import COMMAND, simulate

Outcome = tuple[int, list[str], Counter[str], float]


def outcome(seed: int) -> Outcome:
    """What came of a seed: what was not as promised, what happened, and the simulated seconds."""
    simulation = simulate(seed)
    events = simulation.ledger.events
    events["acknowledged"] = simulation.ledger.requests
    return seed, simulation.violations, events, simulation.loop.clock.monotonic()


def tell(seed: int) -> int:
    """Print one seed in full; how many promises it found broken."""
    simulation = simulate(seed)
    print(pformat(simulation.scenario))
    print(pformat(dict(simulation.ledger.events)))
    print("\n".join(simulation.violations) or "everything is as promised")
    return len(simulation.violations)


def run(first: int, count: int, jobs: int) -> int:
    """Run many, and print those that fail, each with the command that runs it alone; how many that are."""
    events: Counter[str] = Counter()
    failed, simulated_secs, begin = 0, 0.0, time.perf_counter()
    with get_context("spawn").Pool(jobs) as pool:
        for seed, violations, happened, secs in pool.imap_unordered(outcome, range(first, first + count), 20):
            events.update(happened)
            simulated_secs += secs
            if violations:
                failed += 1
                print("\n    ".join([COMMAND.format(seed=seed), *violations]), flush=True)
    secs = time.perf_counter() - begin
    print(machine())
    hours = f"{simulated_secs / 3600:,.1f} simulated hours"
    print(f"seeds {first} to {first + count - 1} in {secs:.0f} s, {hours}: {failed} failed")
    print(", ".join(f"{name} {events[name]:,}" for name in sorted(events)))
    return failed


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--seeds", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    failed = (
        tell(options.seed) if options.seed is not None else run(options.first, options.seeds, options.jobs)
    )
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
