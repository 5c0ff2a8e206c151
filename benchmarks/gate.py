"""How often the gate cries wolf, and how often it finds and names a regression: the figures of docs/gate.md.

Sides are drawn from recorded runs, without putting one back, and from runs that are made by chance with more
noise than sampling has. Changes that cost nothing (inlined, extracted, renamed) are made to recorded stacks.

    python benchmarks/gate.py --pairs 1000
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
from dataclasses import dataclass, field
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
    from collections.abc import Collection, Sequence

    from numpy.random import Generator
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

RECORDED: Final = Path(__file__).resolve().parents[2] / "shared/data/gates"
SIZES: Final = (10, 5, 3)
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
            f"| {what} | {size} v {size} | {rates[0]:.1f} | {rates[1]:.1f} | "
            f"{100 * self.named / self.pairs:.1f} | {others} |"
        )


def recorded(folder: Path, pairs: int, regression: str) -> None:
    """No change, the recorded regression, and latency changes that are none of the CPU."""
    sides = {path.name: read_runs(path, types=["cpu"]) for path in sorted(folder.iterdir()) if path.is_dir()}
    same = [name for name in UNCHANGED if name in sides]
    runs = [run for name in (*same, "regress") for run in sides[name]]
    pool = pool_of(runs, "cpu", CONFIG, WORK)
    unchanged, regress = np.split(np.arange(len(runs)), [sum(len(sides[name]) for name in same)])
    for size in SIZES:
        tally = Tally()
        for before, after in no_change_pairs(unchanged, size, pairs, 1):
            tally.draw(pool, before, after)
        print(tally.row(f"{folder.name}: no change", size), flush=True)
    draw_sides(f"{folder.name}: `{regression}` slower", pool, (unchanged, regress), pairs, [regression])
    for name in ("io", "io2"):
        if f"{name}-before" in sides:
            halves = sides[f"{name}-before"], sides[f"{name}-after"]
            of_both = pool_of([*halves[0], *halves[1]], "cpu", CONFIG, WORK)
            places = np.split(np.arange(sum(map(len, halves))), [len(halves[0])])
            draw_sides(f"{folder.name}: {name}-before to -after", of_both, (places[0], places[1]), pairs)


def draw_sides(
    what: str, pool: Pool, halves: tuple[Ints, Ints], pairs: int, wanted: Collection[str] = ()
) -> None:
    """Draw each side from its own runs."""
    for size in SIZES:
        tally, random = Tally(), np.random.default_rng(size)
        # There is one way to draw all of them.
        for _ in range(pairs if size < max(map(len, halves)) else 1):
            tally.draw(
                pool, random.permutation(halves[0])[:size], random.permutation(halves[1])[:size], wanted
            )
        print(tally.row(what, size), flush=True)


def changed(kind: str, stacks: Stacks, name: str, random: Generator) -> Stacks:
    """A run of a program in which something moved."""
    if kind == "inlined":
        return inlined(stacks, name)
    if kind == "renamed":
        return renamed(stacks, name, f"{name}.v2")
    return extracted(stacks, name, f"{name}.inner", 0.6, random)


def moved(folder: Path, pairs: int, size: int, regression: str) -> None:
    """Changes that cost nothing to a function of 5 % and more, alone, and with a regression on top."""
    sides = [read_runs(folder / side, types=["cpu"]) for side in UNCHANGED if (folder / side).is_dir()]
    runs = [stacks_of(run.profiles["cpu"]) for side in sides for run in side]
    functions = [name for name in functions_of(runs, 0.05) if regression not in name]
    places = np.arange(2 * size)
    for kind in CHANGES:
        alone, on_top = Tally(), Tally()
        random = np.random.default_rng(CHANGES.index(kind))
        for _ in range(pairs):
            order = random.permutation(len(runs))
            before = [runs[at] for at in order[:size]]
            name = str(random.choice(functions))
            after = [changed(kind, runs[at], name, random) for at in order[size : 2 * size]]
            worse = [slower(one, regression, 0.7, random) for one in after]
            alone.draw(pool_of(as_runs([*before, *after]), "cpu", CONFIG, WORK), places[:size], places[size:])
            on_top.draw(
                pool_of(as_runs([*before, *worse]), "cpu", CONFIG, WORK),
                places[:size],
                places[size:],
                [regression],
            )
        print(alone.row(f"{folder.name}: a function {kind}", size), flush=True)
        print(
            on_top.row(f"{folder.name}: a function {kind}, and `{regression}` 1.7 times as dear", size),
            flush=True,
        )


def as_runs(stacks: Sequence[Stacks]) -> list[Run]:
    """Runs of the same work."""
    return [Run(str(at), {"cpu": run_profile(one)}, {"requests": 1}) for at, one in enumerate(stacks)]


def made(pairs: int) -> None:
    """Programs that are made by chance: each pair another one, with 8 % noise and odd runs.

    One function becomes slower itself, or is called more often; where it does little itself, whoever carries
    most of what it costs is as right a name.
    """
    for size, samples in ((10, 1000), (5, 2000), (3, 4000)):
        tallies = {
            what: Tally() for what in ("no change", "itself 1.8 times as dear", "called 1.8 times as often")
        }
        places = np.arange(2 * size)
        for seed in range(pairs):
            program = Program(np.random.default_rng([size, seed]), functions=80, noise=0.08)
            own, shares = program.own_shares(), program.shares()
            chosen = max(program.names, key=lambda name: own[name] if own[name] <= SHARES[1] else 0.0)
            caller = max(
                program.names[1:], key=lambda name: shares[name] if shares[name] <= SHARES[1] else 0.0
            )
            below = [name for name in program.below(caller) if shares[name] >= 0.7 * shares[caller]]
            for (what, tally), (factors, dearer, wanted) in zip(
                tallies.items(),
                (({}, {}, []), ({}, {chosen: 1.8}, [chosen]), ({caller: 1.8}, {}, below)),
                strict=True,
            ):
                del what
                stacks = [program.run(samples) for _ in range(size)]
                stacks += [program.run(samples, factors, dearer) for _ in range(size)]
                tally.draw(
                    pool_of(as_runs(stacks), "cpu", CONFIG, WORK), places[:size], places[size:], wanted
                )
        for what, tally in tallies.items():
            print(tally.row(f"made programs, {samples} samples a run: {what}", size), flush=True)


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


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=1000)
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
    print("| runs | sides | FAIL % | INCONCLUSIVE % | named % | other findings |\n|---|---|---|---|---|---|")
    for folder in sorted(arguments.recorded.glob("*/")):
        recorded(folder, arguments.pairs, arguments.regression)
        moved(folder, arguments.pairs // 5, 10, arguments.regression)
    if arguments.recorded == RECORDED:
        made(arguments.pairs // 5)


if __name__ == "__main__":
    main()
