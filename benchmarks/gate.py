"""How often the gate cries wolf, and how often it finds and names a regression: the figures of docs/gate.md.

Sides are drawn from recorded runs, without putting one back, and from runs that are made by chance with more
noise than sampling has. Changes that cost nothing (inlined, extracted, renamed) are made to recorded stacks.

    python benchmarks/gate.py --pairs 1000 --workers 2
    python benchmarks/gate.py --power           # the table of what is found
    python benchmarks/gate.py --speed           # 20 + 20 runs of 1 MB
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from otelprof._core import Limits as RequestLimits
from otelprof._core import Profiles
from otelprof.gate.calibrate import Pool, no_change_pairs, pool_of
from otelprof.gate.check import Verdict, check
from otelprof.gate.config import GateConfig, Limits
from otelprof.gate.runs import Run, Work, read_runs
from otelprof.gate.statistics import growth_test, holm, noise_of
from tests.gate_programs import (
    Program,
    Stacks,
    extracted,
    folded,
    functions_of,
    inlined,
    renamed,
    run_profile,
    slower,
    stacks_of,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from numpy.random import Generator
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

RECORDED: Final = Path(__file__).resolve().parents[2] / "shared/data/gates"
SIZES: Final = (10, 5, 3)
SIZES_MOVED: Final = (10, 5)
SIZES_MADE: Final = ((10, 1000), (5, 2000), (3, 4000))
"""And samples a run."""
SEED: Final = 1
CONFIG: Final = GateConfig(types=("cpu",))
LIMITS_OF_A_FILE: Final = RequestLimits(max_body_bytes=1 << 28)
CPU_TIME: Final = ("cpu", "nanoseconds")
LIMITS: Final = Limits(0.3, 0.01, 0.1)
WORK: Final = Work("requests")
SHARES: Final = (0.1, 0.3)
"""Of what a function costs that becomes slower in a program that is made by chance."""
UNCHANGED: Final = ("base", "aa", "aa-shift")
POWER_TIMES: Final = 500
CHANGES: Final = ("inlined", "extracted", "renamed")
DEARER: Final = "itself 1.8 times as dear, with what it calls"
BEYOND: Final = {
    f"{DEARER} 1.5 times the threshold": 1.5,
    f"{DEARER} 1 to 1.5 times the threshold": 1.0,
    f"{DEARER} below the threshold": 0.0,
}
"""How far what grew is beyond the threshold, at the least."""


@dataclass
class Tally:
    """What came of pairs."""

    pairs: int = 0
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    named: int = 0
    others: Counter[str] = field(default_factory=Counter)

    def draw(self, pool: Pool, before: Ints, after: Ints, wanted: Collection[str] = ()) -> None:
        """Judge a pair, and count it; it is named when one of the wanted functions is found."""
        verdict, judgement = pool.judge(before, after, CONFIG, LIMITS)
        found = {one.function for one in judgement.findings}
        self.pairs += 1
        self.verdicts[verdict] += 1
        self.named += bool(found & set(wanted))
        self.others.update(found - set(wanted))

    def row(self, what: str, size: int) -> str:
        """A row of a table in markdown."""
        rates = [100 * self.verdicts[one] / self.pairs for one in (Verdict.FAIL, Verdict.INCONCLUSIVE)]
        others = ", ".join(f"{name} {count}" for name, count in self.others.most_common(3)) or "-"
        return (
            f"| {what} | {size} v {size} | {self.pairs:,} | {rates[0]:.1f} | {rates[1]:.1f} | "
            f"{100 * self.named / self.pairs:.1f} | {others} |"
        )


@cache
def pool_of_sides(folder: Path, sides: Sequence[str]) -> tuple[Pool, tuple[Ints, ...]]:
    """Recorded runs, and where those of each side stand; read once."""
    runs = [read_runs(folder / side, types=["cpu"]) for side in sides]
    ends = np.cumsum([len(one) for one in runs])
    return pool_of([run for one in runs for run in one], "cpu", CONFIG, WORK), tuple(
        np.split(np.arange(ends[-1]), ends[:-1])
    )


def unchanged_of(folder: Path) -> tuple[str, ...]:
    """The sides of a recorded program that differ in nothing."""
    return tuple(side for side in UNCHANGED if (folder / side).is_dir())


def no_change(folder: Path, size: int, pairs: int) -> list[str]:
    """Sides that are drawn from the same runs."""
    pool, places = pool_of_sides(folder, (*unchanged_of(folder), "regress"))
    tally = Tally()
    for before, after in no_change_pairs(np.concatenate(places[:-1]), size, pairs, SEED):
        tally.draw(pool, before, after)
    return [tally.row(f"{folder.name}: no change", size)]


def regressed(folder: Path, size: int, pairs: int, regression: str) -> list[str]:
    """The recorded regression."""
    pool, places = pool_of_sides(folder, (*unchanged_of(folder), "regress"))
    halves = np.concatenate(places[:-1]), places[-1]
    return [drawn(f"{folder.name}: `{regression}` slower", pool, halves, size, pairs, [regression])]


def waiting(folder: Path, name: str, size: int, pairs: int) -> list[str]:
    """A latency change that is none of the CPU."""
    pool, places = pool_of_sides(folder, (f"{name}-before", f"{name}-after"))
    return [drawn(f"{folder.name}: {name}-before to -after", pool, (places[0], places[1]), size, pairs)]


def drawn(  # noqa: PLR0913, PLR0917 - what a row is made of
    what: str, pool: Pool, halves: tuple[Ints, Ints], size: int, pairs: int, wanted: Collection[str] = ()
) -> str:
    """Draw each side from its own runs."""
    tally, random = Tally(), np.random.default_rng(size)
    # There is one way to draw all of them.
    for _ in range(pairs if size < max(map(len, halves)) else 1):
        before, after = (random.permutation(half)[:size] for half in halves)
        tally.draw(pool, before, after, wanted)
    return tally.row(what, size)


def changed(kind: str, stacks: Stacks, name: str, random: Generator) -> Stacks:
    """A run of a program in which something moved."""
    if kind == "inlined":
        return inlined(stacks, name)
    if kind == "renamed":
        return renamed(stacks, name, f"{name}.v2")
    return extracted(stacks, name, f"{name}.inner", 0.6, random)


def moved(folder: Path, kind: str, size: int, pairs: int, regression: str) -> list[str]:
    """Changes that cost nothing to a function of 5 % and more, alone, and with a regression on top.

    Each run is changed once for each function, and sides are drawn from what came of it.
    """
    sides = [read_runs(folder / side, types=["cpu"]) for side in unchanged_of(folder)]
    runs = [stacks_of(run.profiles["cpu"]) for side in sides for run in side]
    functions = [name for name in functions_of(runs, 0.05) if regression not in name]
    random = np.random.default_rng([CHANGES.index(kind), size])
    alone, on_top, unchanged = Tally(), Tally(), as_runs(runs)
    for name, times in Counter(random.choice(functions, pairs).tolist()).items():
        after = [changed(kind, one, name, random) for one in runs]
        worse = [slower(one, regression, 0.7, random) for one in after]
        pool = pool_of([*unchanged, *as_runs(after), *as_runs(worse)], "cpu", CONFIG, WORK)
        for _ in range(times):
            before, other = np.split(random.permutation(len(runs))[: 2 * size], 2)
            alone.draw(pool, before, other + len(runs))
            on_top.draw(pool, before, other + 2 * len(runs), [regression])
    return [
        alone.row(f"{folder.name}: a function {kind}", size),
        on_top.row(f"{folder.name}: a function {kind}, and `{regression}` 1.7 times as dear", size),
    ]


def as_runs(stacks: Sequence[Stacks]) -> list[Run]:
    """Runs of the same work."""
    return [Run(str(at), {"cpu": run_profile(one)}, {"requests": 1}) for at, one in enumerate(stacks)]


def made(size: int, samples: int, pairs: int) -> list[str]:
    """Programs that are made by chance: each pair another one, with 8 % noise and odd runs.

    One function becomes slower itself, or is called more often; where it does little itself, whoever carries
    most of what it costs is as right a name. What a function costs that becomes slower itself grows by less,
    since it calls others: these are told apart by that.
    """
    tallies = {what: Tally() for what in ("no change", "called 1.8 times as often", *BEYOND)}
    places = np.arange(2 * size)
    for seed in range(pairs):
        program = Program(np.random.default_rng([size, seed]), functions=80, noise=0.08)
        own, shares = program.own_shares(), program.shares()
        chosen = max(program.names, key=lambda name: own[name] if own[name] <= SHARES[1] else 0.0)
        caller = max(program.names[1:], key=lambda name: shares[name] if shares[name] <= SHARES[1] else 0.0)
        below = [name for name in program.below(caller) if shares[name] >= 0.7 * shares[caller]]
        beyond = 0.8 * own[chosen] * max(1 / shares[chosen] / LIMITS.growth, 1 / LIMITS.points)
        dearer = next(what for what, least in BEYOND.items() if beyond >= least)
        for what, slow, dear, wanted in (
            ("no change", {}, {}, []),
            (dearer, {}, {chosen: 1.8}, [chosen]),
            ("called 1.8 times as often", {caller: 1.8}, {}, below),
        ):
            stacks = [program.run(samples) for _ in range(size)]
            stacks += [program.run(samples, slow, dear) for _ in range(size)]
            pool = pool_of(as_runs(stacks), "cpu", CONFIG, WORK)
            tallies[what].draw(pool, places[:size], places[size:], wanted)
    return [
        tally.row(f"made programs, {samples} samples a run: {what}", size)
        for what, tally in tallies.items()
        if tally.pairs
    ]


def power() -> None:
    """How often the adjusted test finds a growth, for a function among sixty others, with 5 % noise."""
    print("| growth | share | samples a run | 10 v 10 | 5 v 5 | 3 v 3 |\n|---|---|---|---|---|---|")
    random = np.random.default_rng(1)
    for growth, share in ((0.3, 0.1), (0.3, 0.05), (0.2, 0.05), (0.5, 0.05), (0.5, 0.1), (0.1, 0.2)):
        for samples in (1000, 5000, 10_000, 50_000):
            found = [power_of(random, growth, share, samples, size) for size in SIZES]
            print(
                f"| +{growth:.0%} | {share:.0%} | {samples:,} | "
                + " | ".join(f"{100 * one:.0f}" for one in found)
                + " |",
                flush=True,
            )


def power_of(random: Generator, growth: float, share: float, samples: int, size: int) -> float:
    """The part of simulated comparisons in which the function is significant after Holm's correction."""
    shares = np.concatenate(([share], np.geomspace(0.01, 0.9, 60)))
    found = 0
    for _ in range(POWER_TIMES):
        means = np.tile(shares[:, None] * samples, (1, 2 * size)) * np.exp(
            random.normal(0, 0.05, (len(shares), 2 * size))
        )
        means[0, size:] *= 1 + growth
        counts = random.poisson(means).astype(float)
        before, after = counts[:, :size], counts[:, size:]
        found += bool(holm(growth_test(before, after, noise_of(before, after)).p)[0] <= CONFIG.alpha)
    return found / POWER_TIMES


def speed() -> None:
    """Seconds for a verdict on 20 + 20 runs of pprofs of a megabyte."""
    random = np.random.default_rng(1)
    names = [f"package{at % 300}.Type{at % 41}.method{at}" for at in range(20_000)]
    with tempfile.TemporaryDirectory() as folder:
        sizes = []
        for side in ("before", "after"):
            for at in range(20):
                stacks: Stacks = {}
                for _ in range(20_000):
                    path = random.integers(0, 20, 30) + np.arange(30) * 600 + random.geometric(0.02, 30)
                    stack = tuple(names[one % len(names)] for one in path)
                    stacks[stack] = int(random.integers(1, 4))
                run = Path(folder) / side / f"run{at:02}"
                run.mkdir(parents=True)
                request = Profiles.from_folded(
                    folded(stacks).encode(), LIMITS_OF_A_FILE, sample_type=CPU_TIME
                )
                body = gzip.compress(request.to_pprof()[0].body, 6)
                (run / "cpu.pb.gz").write_bytes(body)
                (run / "run.json").write_text(json.dumps({"requests": 1}))
                sizes.append(len(body))
        start, busy = time.perf_counter(), time.process_time()
        before, after = (read_runs(Path(folder) / side, types=["cpu"]) for side in ("before", "after"))
        verdict = check(before, after, CONFIG, WORK, now=time.time()).verdict
        took, used = time.perf_counter() - start, time.process_time() - busy
    print(f"20 + 20 runs of {np.mean(sizes) / 1e6:.2f} MB: {verdict} in {took:.1f} s, {used:.1f} s of CPU")


def jobs(arguments: argparse.Namespace) -> Iterator[partial[list[str]]]:
    """What makes the rows of the table, in its order; each can be done by a process of its own."""
    pairs, regression = arguments.pairs, arguments.regression
    fewer = max(pairs * 3 // 10, 1)
    for folder in sorted(arguments.recorded.glob("*/")):
        yield from (partial(no_change, folder, size, pairs) for size in SIZES)
        yield from (partial(regressed, folder, size, pairs, regression) for size in SIZES)
        for name in ("io", "io2"):
            if (folder / f"{name}-before").is_dir():
                yield from (partial(waiting, folder, name, size, pairs) for size in SIZES)
        for size in SIZES_MOVED:
            yield from (partial(moved, folder, kind, size, fewer, regression) for kind in CHANGES)
    if arguments.recorded == RECORDED:
        yield from (partial(made, size, samples, fewer) for size, samples in SIZES_MADE)


def done(job: partial[list[str]]) -> list[str]:
    """The rows of a job."""
    return job()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=1000, help="of those made by hand, three tenths")
    parser.add_argument("--workers", type=int, default=1, help="processes; the figures are the same")
    parser.add_argument(
        "--recorded", type=Path, default=RECORDED, help="a folder of programs, each with folders of runs"
    )
    parser.add_argument("--regression", default="main.scoreItems", help="the function that became slower")
    parser.add_argument("--power", action="store_true")
    parser.add_argument("--speed", action="store_true")
    arguments = parser.parse_args()
    if arguments.power or arguments.speed:
        (power if arguments.power else speed)()
        return
    print(
        "| runs | sides | pairs | FAIL % | INCONCLUSIVE % | named % | other findings |\n"
        "|---|---|---|---|---|---|---|"
    )
    with ProcessPoolExecutor(arguments.workers) as workers:
        for rows in workers.map(done, jobs(arguments)):
            print("\n".join(rows), flush=True)


if __name__ == "__main__":
    main()
