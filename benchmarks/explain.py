"""What `otelprof explain` says of runs drawn from recorded ones: the table of docs/explain.md.

    python benchmarks/explain.py --pairs 100

Each row is two sides of so many runs, drawn without putting one back; all of them, once. The recorded truth
is a lock that went (io), a wait that became shorter (io2), and nothing at all (base against aa, aa-shift).
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

from otelprof.gate.cause import Verdict
from otelprof.gate.explain import Explanation, explain
from otelprof.gate.figures import measured
from otelprof.gate.runs import Work, read_runs

if TYPE_CHECKING:
    from otelprof.gate.runs import Run

RECORDED: Final = Path(__file__).resolve().parents[2] / "shared/data/gates/go-jsonsvc"
SIZES: Final = (10, 5, 3)
WORK: Final = Work("requests")
SIDES: Final = (("io-before", "io-after"), ("io2-before", "io2-after"), ("base", "aa"), ("base", "aa-shift"))


def drawn(runs: tuple[Run, ...], size: int) -> list[Run]:
    """So many runs of a side."""
    return random.sample(runs, min(size, len(runs)))


def answer(found: Explanation) -> str:
    """The verdict, and the site that is named first."""
    if found.verdict in {Verdict.NO_CHANGE, Verdict.UNEXPLAINED}:
        return found.verdict.value
    if not found.named:
        return f"{found.verdict.value}, nothing named"
    site = found.named[0].site
    return f"{found.verdict.value}: {site.kind.value} in {site.function}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    random.seed(options.seed)
    runs = {side: read_runs(RECORDED / side) for pair in SIDES for side in pair}
    for before, after in SIDES:
        for size in SIZES:
            answers: Counter[str] = Counter()
            pairs = options.pairs if size < min(len(runs[before]), len(runs[after])) else 1
            for _ in range(pairs):
                sides = drawn(runs[before], size), drawn(runs[after], size)
                answers[answer(explain(*sides, measured(*sides, WORK), WORK))] += 1
            told = "; ".join(f"{100 * count / pairs:.0f} % {name}" for name, count in answers.most_common())
            print(f"{before} -> {after}, {size} v {size}: {told}")


if __name__ == "__main__":
    main()
