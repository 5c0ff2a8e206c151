"""What a unit of work costs on both sides, by site, as medians over runs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Final

from otelprof.errors import PermanentError
from otelprof.gate.figures import spread
from otelprof.gate.profile_file import NANOSECONDS
from otelprof.gate.waiting import Kind, Site, site_of_contention, site_of_wall, site_on_cpu

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from otelprof.gate.profile_file import RunProfile
    from otelprof.gate.runs import Run, Work

SECONDS: Final = "seconds"
"""The unit of work of runs that do not say what they did: a second of the run."""
_ALL: Final = Site(Kind.CPU, "(all)")
_STEADY: Final = 0.1
_BACKGROUND: Final = 0.05
_NANOS: Final = 1e-9

# By the first word of a profile's type: how its stacks are read. What an off-CPU profile holds waits.
_READ: Final[dict[str, Callable[[Sequence[str]], Site]]] = {
    "cpu": site_on_cpu,
    "wall": site_of_wall,
    "offcpu": lambda stack: site_of_wall(stack, all_wait=True),
    "block": site_of_contention,
    "mutex": lambda stack: site_of_contention(stack, only_locks=True),
}
_WORDS: Final = {"off-cpu": "offcpu", "off_cpu": "offcpu", "lock": "mutex", "contention": "mutex"}


@dataclass(frozen=True)
class Change:
    """What one site cost before and after, in seconds a unit of work.

    Attributes:
        site: where.
        before: the median of the runs before.
        after: the same after.
        noise: how far medians of such runs are apart without a change; 0 for single runs.
        threads_before: how many threads were there at a time.
        threads_after: the same after.
    """

    site: Site
    before: float
    after: float
    noise: float = 0.0
    threads_before: float = 0.0
    threads_after: float = 0.0

    @property
    def delta(self) -> float:
        """Above 0: more than before."""
        return self.after - self.before

    @property
    def is_noise(self) -> bool:
        """Whether it may be none."""
        return abs(self.delta) <= self.noise

    @property
    def is_steady(self) -> bool:
        """Whether as many threads are there as before: their time follows that of the run alone."""
        most = max(self.threads_before, self.threads_after)
        return most > 0 and abs(self.threads_after - self.threads_before) <= _STEADY * most

    @property
    def is_in_background(self) -> bool:
        """Whether whole threads are there all the time on both sides: a ticker, not a request."""
        whole = round(self.threads_before)
        both = (self.threads_before, self.threads_after)
        return whole > 0 and all(abs(one - whole) <= _BACKGROUND * whole for one in both)


@dataclass
class _Runs:
    """What the runs of a side cost in one source: by site, a value a run."""

    per_unit: list[Counter[Site]] = field(default_factory=list)
    threads: list[Counter[Site]] = field(default_factory=list)


class Comparison:
    """Two sides, by source: `cpu`, `wall`, `offcpu`, `block`, `mutex`.

    Attributes:
        unit: the key of the work that costs are divided by, or `SECONDS`.
        changes: by source that both sides have.
        left_out: types of profiles of these sources that count something else than time.

    Raises:
        PermanentError: a run says neither how long it was nor what it did.
    """

    def __init__(self, before: Sequence[Run], after: Sequence[Run], work: Work | None) -> None:
        is_known = work is not None and all(work.of(run) for run in (*before, *after))
        self.unit = work.key if work is not None and is_known else SECONDS
        every = {(name, profile.unit) for run in (*before, *after) for name, profile in run.profiles.items()}
        self.left_out = sorted(name for name, unit in every if _source(name) and unit != NANOSECONDS)
        self._sides = [_side(runs, work if is_known else None) for runs in (before, after)]
        shared = [source for source in _READ if all(source in side for side in self._sides)]
        self.changes = {source: self._changes(source) for source in shared}

    @property
    def each(self) -> str:
        """What costs are of: `a request`."""
        return f"a {self.unit.removesuffix('s')}"

    @property
    def waits(self) -> str | None:
        """The source that waiting is taken from: the one that knows most; None without any."""
        return next((one for one in ("wall", "offcpu", "block", "mutex") if one in self.changes), None)

    @property
    def cpu(self) -> list[Change]:
        """What is on a CPU: by cpu profiles, or by what runs in wall profiles."""
        rows = self.changes.get("cpu", self.changes.get("wall", ()))
        return [one for one in rows if one.site.kind is Kind.CPU]

    @property
    def all_cpu(self) -> Change | None:
        """All of `cpu` as one; None when neither source is there."""
        source = next((one for one in ("cpu", "wall") if one in self.changes), None)
        if source is None:
            return None
        totals = [
            [sum(run[site] for site in run if site.kind is Kind.CPU) for run in side[source].per_unit]
            for side in self._sides
        ]
        return Change(_ALL, median(totals[0]), median(totals[1]), spread(*totals))

    def waiting(self, kinds: Iterable[Kind]) -> list[Change]:
        """What waits for one of these."""
        wanted = frozenset(kinds)
        return [one for one in self.changes.get(self.waits or "", ()) if one.site.kind in wanted]

    def _changes(self, source: str) -> list[Change]:
        runs = [side[source] for side in self._sides]
        sites = {site for side in runs for run in side.per_unit for site in run}
        found = []
        for site in sorted(sites):
            costs = [[run[site] for run in side.per_unit] for side in runs]
            threads = [median(run[site] for run in side.threads) for side in runs]
            found.append(Change(site, median(costs[0]), median(costs[1]), spread(*costs), *threads))
        return found


def _side(runs: Sequence[Run], work: Work | None) -> dict[str, _Runs]:
    side: dict[str, _Runs] = {}
    for run in runs:
        seen: set[str] = set()
        for type_name, profile in run.profiles.items():
            source = _source(type_name)
            if source is None or source in seen or profile.unit != NANOSECONDS:
                continue
            seen.add(source)
            seconds = _seconds(run)
            amount = seconds if work is None else work.of(run)
            if not amount:
                message = (
                    f"{run.name} says neither how long it was nor how much it did: give --work, or profiles"
                    " with a duration"
                )
                raise PermanentError(message)
            costs = _by_site(profile, _READ[source])
            of_source = side.setdefault(source, _Runs())
            of_source.per_unit.append(Counter({one: costs[one] / amount for one in costs}))
            of_source.threads.append(Counter({one: costs[one] / seconds for one in costs} if seconds else {}))
    return side


def _source(type_name: str) -> str | None:
    lower = type_name.lower()
    words = {**{source: source for source in _READ}, **_WORDS}
    return next((source for word, source in words.items() if lower.startswith(word)), None)


def _seconds(run: Run) -> float:
    """How long a run was: what its profiles say, or its `run.json`."""
    measured = max((profile.duration_seconds for profile in run.profiles.values()), default=0.0)
    return measured or run.number("wall_s") or 0.0


def _by_site(profile: RunProfile, read: Callable[[Sequence[str]], Site]) -> Counter[Site]:
    """Seconds by site."""
    found: Counter[Site] = Counter()
    start = 0
    for end, value in zip(profile.ends.tolist(), profile.values.tolist(), strict=True):
        if end > start:
            found[read([profile.names[place] for place in profile.frames[start:end]])] += value * _NANOS
        start = end
    return found
