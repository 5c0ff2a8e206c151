"""What a faster function is worth in production, by its share of the cost there."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from otelprof.errors import PermanentError
from otelprof.gate.amdahl import overall_speedup
from otelprof.gate.antipatterns import Antipattern, cold_path, microbenchmark
from otelprof.telemetry.quantity import human
from otelprof.telemetry.text import counted, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otelprof.gate.profile_file import RunProfile

MIN_SAMPLES: Final = 100
"""Of a function, below which its share is hardly known."""
MAX_DISAGREEMENT: Final = 2.0
"""Between what calls and their cost make and what was measured."""
_MAX_HINTS: Final = 5
_NANOS: Final = 1e9


@dataclass(frozen=True)
class FunctionCost:
    """What a function costs in some profiles.

    Attributes:
        function: its name.
        type: of the profiles, as `cpu`.
        unit: of the values.
        own: where it is the last frame.
        total: where it is anywhere in the stack; recursion counts once.
        whole: of everything.
        shares: of `total` in each profile.
        samples: that `total` was made of.
        seconds: that the profiles took together; 0 when one does not say.
    """

    function: str
    type: str
    unit: str
    own: float
    total: float
    whole: float
    shares: tuple[float, ...]
    samples: float
    seconds: float

    @property
    def share(self) -> float:
        """Of the whole, with all that it calls."""
        return self.total / self.whole if self.whole else 0.0

    @property
    def own_share(self) -> float:
        """Of the whole, its own code."""
        return self.own / self.whole if self.whole else 0.0

    @property
    def cores(self) -> float | None:
        """Cores that it keeps busy, or threads of a wall profile; None when that is not known."""
        known = self.unit == "nanoseconds" and self.seconds > 0
        return self.total / _NANOS / self.seconds if known else None


@dataclass(frozen=True)
class Calls:
    """How often a function is called, and what a call costs, as far as somebody said.

    Attributes:
        per_second: calls of the process that was profiled.
        seconds_each: what a call takes, on a CPU for a cpu profile.
    """

    per_second: float | None = None
    seconds_each: float | None = None

    def completed(self, cores: float | None) -> Calls:
        """With what is missing made of what was measured."""
        if cores is None:
            return self
        if self.seconds_each is None and self.per_second:
            return Calls(self.per_second, cores / self.per_second)
        if self.per_second is None and self.seconds_each:
            return Calls(cores / self.seconds_each, self.seconds_each)
        return self

    @property
    def cores(self) -> float | None:
        """Calls a second x seconds of a call."""
        known = self.per_second is not None and self.seconds_each is not None
        return (self.per_second or 0) * (self.seconds_each or 0) if known else None


@dataclass(frozen=True)
class Impact:
    """What it is worth that a function becomes faster.

    Attributes:
        cost: of the function before.
        speedup: of the function.
        calls: what is known of them.
        warnings: what speaks against the claim.
    """

    cost: FunctionCost
    speedup: float
    calls: Calls
    warnings: tuple[Antipattern | str, ...]

    @property
    def overall(self) -> float:
        """How much faster the whole becomes, if all that the function calls becomes as much faster."""
        return overall_speedup(self.cost.share, self.speedup)

    @property
    def overall_own(self) -> float:
        """The same, if only its own code does."""
        return overall_speedup(self.cost.own_share, self.speedup)

    @property
    def most(self) -> float:
        """The same, if it were gone."""
        return overall_speedup(self.cost.share, float("inf"))

    @property
    def saved(self) -> float:
        """The part of the whole that is saved."""
        return self.cost.share * (1 - 1 / self.speedup)


def function_cost(profiles: Sequence[RunProfile], function: str) -> FunctionCost:
    """What a function costs in profiles of one type.

    Raises:
        PermanentError: there is no profile, they are of several units, or no stack has the function; names
            those that are called nearly so.
    """
    units = {profile.unit for profile in profiles}
    if len(units) != 1:
        message = f"profiles of one unit are needed; these have {', '.join(sorted(units)) or 'none'}"
        raise PermanentError(message)
    parts = [_cost(profile, function) for profile in profiles]
    if not any(total for _, total in parts):
        raise PermanentError(_not_there(profiles, function))
    whole = sum(profile.total for profile in profiles)
    own, total = (float(sum(part)) for part in zip(*parts, strict=True))
    every = all(profile.duration_seconds for profile in profiles)
    return FunctionCost(
        function=function,
        type=profiles[0].type,
        unit=profiles[0].unit,
        own=own,
        total=total,
        whole=whole,
        shares=tuple(
            part[1] / profile.total if profile.total else 0.0
            for part, profile in zip(parts, profiles, strict=True)
        ),
        samples=sum(profile.samples for profile in profiles) * (total / whole if whole else 0.0),
        seconds=sum(profile.duration_seconds for profile in profiles) if every else 0.0,
    )


def impact(cost: FunctionCost, speedup: float, calls: Calls | None = None) -> Impact:
    """What a speed-up is worth, and what speaks against it.

    Args:
        cost: of the function before.
        speedup: of the function, above 0: 10 is a tenth of the time.
        calls: of the function, as far as known.
    """
    known = (calls or Calls()).completed(cost.cores)
    warnings: list[Antipattern | str] = [
        *cold_path(cost.function, cost.share, known.cores),
        *microbenchmark(cost.function, speedup, cost.share),
    ]
    if cost.samples < MIN_SAMPLES:
        warnings.append(
            f"its share is made of {cost.samples:.0f} samples; {MIN_SAMPLES} or more tell it well"
        )
    if cost.type.startswith(("wall", "block", "mutex")):
        warnings.append(
            f"a share of {cost.type} is of threads, most of which wait: it is no share of latency"
        )
    measured, said = cost.cores, known.cores
    if measured and said is not None and not 1 / MAX_DISAGREEMENT <= said / measured <= MAX_DISAGREEMENT:
        warnings.append(
            f"calls x cost of a call make {said:.3g} cores, and the profile has {measured:.3g}: one of the"
            " three is not of production"
        )
    return Impact(cost, speedup, known, tuple(warnings))


def as_json(found: Impact) -> dict[str, Any]:
    """The figures, for a program. A speed-up without bound is null."""
    cost = found.cost
    return {
        "function": cost.function,
        "type": cost.type,
        "speedup": found.speedup,
        "share": cost.share,
        "own_share": cost.own_share,
        "shares": list(cost.shares),
        "overall_speedup": _finite(found.overall),
        "overall_speedup_own": _finite(found.overall_own),
        "overall_speedup_at_most": _finite(found.most),
        "saved": found.saved,
        "cores": cost.cores,
        "calls_per_second": found.calls.per_second,
        "seconds_per_call": found.calls.seconds_each,
        "warnings": [str(warning) for warning in found.warnings],
    }


def rows(found: Impact) -> list[tuple[str, str]]:
    """What there is to say, as pairs of a name and a value, for a person."""
    cost = found.cost
    name, kind = printable(cost.function, 200), printable(cost.type, 60)
    spread = ""
    if len(cost.shares) > 1:
        spread = (
            f"; {min(cost.shares):.1%} to {max(cost.shares):.1%} in {counted(len(cost.shares), 'profile')}"
        )
    amounts = f"{human(cost.total, cost.unit)} of {human(cost.whole, cost.unit)}"
    of_function = [
        ("function", name),
        (f"share of {kind}", f"{cost.share:.1%} with what it calls ({amounts}{spread})"),
        ("own share", f"{cost.own_share:.1%}"),
        (f"{found.speedup:g}x faster", f"{found.overall:.2f}x overall: {found.saved:.1%} less {kind}"),
        ("if only its own code is", f"{found.overall_own:.2f}x overall"),
        ("if it were gone", f"{found.most:.2f}x overall, and no more"),
    ]
    calls = found.calls
    if cost.cores is not None:
        saved = cost.cores * (1 - 1 / found.speedup)
        of_function.append(("busy", f"{cost.cores:.3g} cores, of which {saved:.3g} are saved"))
    if calls.per_second is not None and calls.seconds_each is not None:
        each = human(calls.seconds_each, "s")
        of_function.append(("calls", f"{calls.per_second:,.4g} a second x {each} = {calls.cores:.3g} cores"))
    return of_function


def _cost(profile: RunProfile, function: str) -> tuple[float, float]:
    """Own and total value of a function."""
    if function not in profile.names or not len(profile.ends):
        return 0.0, 0.0
    is_it = profile.frames == profile.names.index(function)
    before = np.concatenate(([0], np.cumsum(is_it)))
    starts = np.concatenate(([0], profile.ends[:-1]))
    is_in = before[profile.ends] > before[starts]
    is_last = (profile.ends > starts) & is_it[np.maximum(profile.ends - 1, 0)]
    return float(profile.values[is_last].sum()), float(profile.values[is_in].sum())


def _not_there(profiles: Sequence[RunProfile], function: str) -> str:
    names = sorted({name for profile in profiles for name in profile.names})
    near = [name for name in names if function in name][:_MAX_HINTS]
    near = near or get_close_matches(function, names, _MAX_HINTS)
    hint = f": is it {' or '.join(printable(name, 200) for name in near)}?" if near else ""
    return f"no stack has the function {printable(function, 200)}{hint}"


def _finite(number: float) -> float | None:
    return number if number < float("inf") else None
