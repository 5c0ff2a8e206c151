"""Claims about speed that a profile does not bear out: each check is a pure function, for any report.

A check gives what it found, or nothing. What it found is a warning, or refuses the claim: then nothing that
was measured supports it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from otelprof.gate.amdahl import overall_speedup
from otelprof.telemetry.text import counted, printable

COLD_GAIN: Final = 0.01
"""What a function is worth, made infinitely fast, below which it is a cold path."""
COLD_CORES: Final = 0.01
CLAIM_KEPT: Final = 0.1
"""The part of a claimed gain that must be left of it in production for the claim to be no warning."""
MIN_RUNS: Final = 2
"""Of a side: one run says nothing of its noise."""
_MAX_NAME_CHARS: Final = 200


@dataclass(frozen=True)
class Antipattern:
    """What a check found.

    Attributes:
        check: which: `cold_path`, `microbenchmark` or `single_run`.
        message: what is wrong, with the figures.
        refuses: whether nothing that was measured supports the claim.
    """

    check: str
    message: str
    refuses: bool = False

    def __str__(self) -> str:
        return self.message


def cold_path(function: str, share: float, cores: float | None = None) -> list[Antipattern]:
    """Work on what hardly runs.

    Args:
        function: that is worked on.
        share: of the cost that it has with all it calls, 0 to 1.
        cores: calls a second x seconds of a call, when known. A function that takes a hundredth of a core is
            cold whatever its share: that of an idle process is large.
    """
    name = printable(function, _MAX_NAME_CHARS)
    most = overall_speedup(share, float("inf"))
    if most - 1 < COLD_GAIN:
        message = (
            f"cold path: {name} has {share:.2%} of the cost; made infinitely fast it is worth {most:.3f}x"
        )
        return [Antipattern("cold_path", message)]
    if cores is not None and cores < COLD_CORES:
        message = f"cold path: {name} takes {cores:.2g} of a core; there is nothing to save but that"
        return [Antipattern("cold_path", message)]
    return []


def microbenchmark(function: str, speedup: float, share: float) -> list[Antipattern]:
    """A speed-up that was measured on the function alone, told as if it were one of the program.

    Args:
        function: that was made faster.
        speedup: of the function, as claimed; 1 is none.
        share: of the cost in production that it had before, 0 to 1.
    """
    overall = overall_speedup(share, speedup)
    if speedup <= 1 or overall - 1 >= CLAIM_KEPT * (speedup - 1):
        return []
    name = printable(function, _MAX_NAME_CHARS)
    message = (
        f"micro-benchmark: {speedup:g}x of {name} is {overall:.2f}x of the program,"
        f" where it has {share:.1%} of the cost"
    )
    return [Antipattern("microbenchmark", message)]


def single_run(runs_before: int, runs_after: int) -> list[Antipattern]:
    """A claim from one run of a side: it cannot be told from noise."""
    if min(runs_before, runs_after) >= MIN_RUNS:
        return []
    message = (
        f"single run: {counted(runs_before, 'run')} before and {counted(runs_after, 'run')} after cannot tell"
        f" a change from noise; at least {MIN_RUNS} of each are needed, and 5 are advised"
    )
    return [Antipattern("single_run", message, refuses=True)]
