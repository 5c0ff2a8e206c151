"""Runs of a Python program for `benchmarks/gate.py --recorded`: another language, another profiler.

Method: a program that tokenises, counts and ranks words does a fixed amount of work in a process of its own,
run after run in shuffled order; a timer of CPU time (`ITIMER_PROF`, 500 Hz) interrupts it, and the handler
notes the stack. What changed is one function, `normalise`, which does its work twice. 10 runs a side:

    python benchmarks/gate_python.py runs
    python benchmarks/gate.py --recorded runs --regression normalise
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import FrameType

HZ: Final = 500
PARTS: Final = 150
"""Of the work; a thousand samples a run, so that five runs are conclusive."""
SIDES: Final = {"base": 1, "aa": 1, "aa-shift": 1, "regress": 2}
"""How often `normalise` does its work."""


def words(count: int, seed: int) -> list[str]:
    """The input: made-up words, some of them often."""
    dice = random.Random(seed)
    letters = "abcdefghijklmnopqrstuvwxyz-'"
    known = ["".join(dice.choices(letters, k=dice.randint(2, 12))) for _ in range(2000)]
    return [known[int(dice.paretovariate(0.7)) % len(known)].title() for _ in range(count)]


def normalise(word: str, times: int) -> str:
    """A word without case and apostrophes."""
    for _ in range(times):
        plain = "".join(letter for letter in word.casefold() if letter.isalpha())
    return plain


def stem(word: str) -> str:
    """A word without its ending."""
    for ending in ("ing", "ed", "es", "s", "ly", "er", "ment"):
        if word.endswith(ending) and len(word) > len(ending):
            return word[: -len(ending)]
    return word


def tokens(text: list[str], times: int) -> list[str]:
    """The stems of a text."""
    return [stem(normalise(word, times)) for word in text]


def rank(counts: Counter[str]) -> list[tuple[str, float]]:
    """Words by how surprising they are."""
    total = sum(counts.values())
    return sorted(
        ((word, count / total) for word, count in counts.items()), key=lambda item: (-item[1], item[0])
    )


def distances(ranked: list[tuple[str, float]]) -> int:
    """How far words of the same rank are from each other."""
    return sum(distance(one[0], other[0]) for one, other in pairwise(ranked))


def distance(one: str, other: str) -> int:
    """Levenshtein's distance."""
    row = list(range(len(other) + 1))
    for at, letter in enumerate(one, 1):
        before, row[0] = row[0], at
        for to, wanted in enumerate(other, 1):
            before, row[to] = row[to], min(row[to] + 1, row[to - 1] + 1, before + (letter != wanted))
    return row[-1]


def work(seed: int, times: int) -> int:
    """All of it, a fixed number of times."""
    found = 0
    for part in range(PARTS):
        found += distances(rank(Counter(tokens(words(3000, seed + part), times)))[:150])
    return found


def profiled(folder: Path, seed: int, times: int) -> None:
    """One run: what it cost, by stack, as folded stacks."""
    stacks: Counter[str] = Counter()

    def note(_: int, frame: FrameType | None) -> None:
        names: list[str] = []
        while frame is not None:
            names.append(frame.f_code.co_qualname)
            frame = frame.f_back
        stacks[";".join(reversed(names))] += 1

    signal.signal(signal.SIGPROF, note)
    signal.setitimer(signal.ITIMER_PROF, 1 / HZ, 1 / HZ)
    work(seed, times)
    signal.setitimer(signal.ITIMER_PROF, 0)
    folder.mkdir(parents=True)
    (folder / "cpu.folded").write_text("".join(f"{stack} {count}\n" for stack, count in stacks.items()))
    (folder / "run.json").write_text(json.dumps({"requests": PARTS}))


def main() -> None:
    """Write the runs of all sides, or one run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--one", nargs=2, type=int, metavar=("SEED", "TIMES"))
    arguments = parser.parse_args()
    if arguments.one:
        profiled(arguments.folder, *arguments.one)
        return
    order = [(side, run) for side in SIDES for run in range(arguments.runs)]
    random.Random(1).shuffle(order)
    for side, run in order:
        folder = arguments.folder / "python-words" / side / f"run{run:02}"
        command = [sys.executable, __file__, str(folder), "--one", "1", str(SIDES[side])]
        subprocess.run(command, check=True)  # noqa: S603 - this file


if __name__ == "__main__":
    main()
