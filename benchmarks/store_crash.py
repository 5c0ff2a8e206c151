"""Kills a process that writes and maintains a store, and holds the store to what it said.

    .venv/bin/python benchmarks/store_crash.py --runs 200

After each kill: the flushes that were acknowledged are all there, once, and the one in flight is there or
not; every sample has its symbols; maintenance goes on from where it was, changes no total, and leaves no file
that nobody needs. A seed says what it does, and after how long it is killed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.e2e.store_crash import crash


def main() -> None:
    """Run, and print what was going on when it was killed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of the first run")
    arguments = parser.parse_args()
    began = time.monotonic()
    killed_in: Counter[str] = Counter()
    for seed in range(arguments.seed, arguments.seed + arguments.runs):
        with TemporaryDirectory() as folder:
            try:
                last = crash(Path(folder), seed)
            except (AssertionError, KeyError):
                print(f"seed {seed} failed")
                raise
        killed_in[last.split()[0]] += 1
    print(f"{arguments.runs} runs, {time.monotonic() - began:.0f} s, each store as it must be; last words")
    for word, count in killed_in.most_common():
        print(f"  {word:<8} {count}")


if __name__ == "__main__":
    main()
