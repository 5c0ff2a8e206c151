"""Hostile input by the million: no panic, no abort, bounded memory, and none that takes a second.

    python benchmarks/hostile.py --inputs 5000000           --seed, --jobs
    python benchmarks/hostile.py --seed 1 --block 17        one block again, each input kept before it is read
    python benchmarks/hostile.py --only traces              all of them of one format

Method: `tests/reference/onslaught.py` changes right requests of both wire revisions, pprofs, traces, JSON and
folded stacks, has the core read them, and puts what can be read through one of its verbs. Time is that of the
processor; memory is the most that a process had resident, over what it had after its first block. A process
that ends by itself, as in an abort, is told with the block that it was at.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from recorded import machine

from tests.reference.onslaught import MAX_SECS, Block, Onslaught, corpus

BLOCK: Final = 10_000
BLOCKS_PER_PROCESS: Final = 50
MAX_MIB: Final = 256
KEPT: Final = Path("hostile-input.bin")


def resident_mib() -> float:
    """The most that this process had resident."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run(seed: int, blocks: range, only: str | None) -> tuple[list[tuple[int, Block]], float]:
    """Some blocks, and how much memory they took over the first one."""
    onslaught = Onslaught(seed, only=only)
    done = [(blocks[0], onslaught.block(blocks[0], BLOCK))]
    baseline_mib = resident_mib()
    done += [(number, onslaught.block(number, BLOCK)) for number in blocks[1:]]
    return done, resident_mib() - baseline_mib


def again(seed: int, number: int, only: str | None) -> int:
    """One block; each input is in a file before it is read. How many must not be."""

    def keep(_kind: str, body: bytes) -> None:
        KEPT.write_bytes(body)

    block = Onslaught(seed, keep, only).block(number, BLOCK)
    for body, what in block.found:
        print(f"{body.hex()}\n{what}")
    print(f"{block.inputs.total():,} inputs, {len(block.found)} that must not be; the last is in {KEPT}")
    return len(block.found)


def everything(seed: int, inputs: int, jobs: int, only: str | None) -> bool:
    """All blocks; whether all was well."""
    count = -(-inputs // BLOCK)
    parts = [
        range(first, min(first + BLOCKS_PER_PROCESS, count)) for first in range(0, count, BLOCKS_PER_PROCESS)
    ]
    seen, read = Counter[str](), Counter[str]()
    slowest_secs = most_mib = 0.0
    failed, begin = 0, time.perf_counter()
    # A process for each part, so that memory is measured from the same beginning.
    with ProcessPoolExecutor(jobs, get_context("spawn"), max_tasks_per_child=1) as pool:
        futures = {pool.submit(run, seed, part, only): part for part in parts}
        for future in as_completed(futures):
            try:
                blocks, mib = future.result()
            except BrokenProcessPool:
                failed += 1
                print(f"a process ended in blocks {futures[future]}; run them alone to see which")
                continue
            most_mib = max(most_mib, mib)
            for number, block in blocks:
                seen.update(block.inputs)
                read.update(block.read)
                slowest_secs = max(slowest_secs, block.slowest_secs)
                failed += len(block.found)
                for body, what in block.found[:1]:
                    option = f" --only '{only}'" if only else ""
                    command = f"python benchmarks/hostile.py --seed {seed} --block {number}{option}"
                    print(f"{command}\n{body.hex()}\n{what}")
    secs = time.perf_counter() - begin
    print(f"{machine()}; {jobs} processes, {secs:.0f} s")
    print(f"seed {seed}: {seen.total():,} inputs, {read.total():,} of them read, {failed} that must not be")
    print(", ".join(f"{name} {read[name]:,} of {seen[name]:,}" for name in sorted(seen)))
    print(f"slowest {slowest_secs * 1e3:.0f} ms (at most {MAX_SECS * 1e3:.0f}), ", end="")
    print(f"memory {most_mib:.0f} MiB over the baseline (at most {MAX_MIB})")
    return failed == 0 and most_mib <= MAX_MIB


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=5_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--block", type=int, help="only this one")
    parser.add_argument("--only", choices=sorted(corpus()), help="the format of all inputs")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    if options.block is not None:
        sys.exit(1 if again(options.seed, options.block, options.only) else 0)
    sys.exit(0 if everything(options.seed, options.inputs, options.jobs, options.only) else 1)


if __name__ == "__main__":
    main()
