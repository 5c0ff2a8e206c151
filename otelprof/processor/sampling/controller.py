"""The law of a budget: which probability lets as many bytes through as are left for the day.

For each key, a service or all of them, a ledger holds what the UTC day has cost. What is left, by the time
that is left, is the rate that is allowed. Against it stands what comes: the samples that each rule is asked
about per second, by what one that stays and one that is demoted cost, both averaged over minutes. The
probability is the one at which this costs what is allowed. So a change of load is answered within minutes by
what came, and what the averages got wrong is made up for by the ledger, hours slow: neither chases the other.

Rules for error and slow traces are served first. All of it is arithmetic on what is passed in; the clock, the
file and the threads are in `budget.py`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from otelprof.processor.sampling.averages import Costs, Rates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from otelprof._core import ServiceDecided

SECS_PER_DAY: Final = 86_400
MAX_SERVICES: Final = 1_000
"""Services with a key of their own; the others, and those of a very long name, share one."""
SHARED_KEY: Final = ""
"""Of all services together, or of those that have no key of their own."""
LEAST_PROBABILITY: Final = 1e-4
"""A budget lowers no probability further."""

_KEPT, _DEMOTED = range(2)  # of the samples that rules without a role leave
_MAX_NAME_CHARS: Final = 200
# At the end of the day there is little time for what is left: it is not spent in a rush.
_HORIZON_SECS: Final = 600.0
# Of what is allowed: a probability whose cost is so near to it stays where it is.
_TOLERANCE: Final = 0.05


@dataclass(frozen=True)
class RuleRole:
    """What a rule that samples is to a budget.

    Attributes:
        probability: what it keeps when nothing is adjusted.
        demotes: what it does not keep costs something, too.
        is_spared: it is for error or slow traces.
    """

    probability: float
    demotes: bool
    is_spared: bool


class Probabilities(NamedTuple):
    """What rules of a key keep at most."""

    sampled: float = 1.0
    spared: float = 1.0


@dataclass
class Ledger:
    """What is written down of a key.

    Attributes:
        share: of the day's budget that was there for it: less than 1 when it came later in the day.
        spent_bytes: of the day.
        probabilities: in force.
    """

    share: float = 1.0
    spent_bytes: float = 0.0
    probabilities: Probabilities = field(default_factory=Probabilities)


@dataclass
class _Key:
    """A service, or several."""

    ledger: Ledger
    offered: Rates = field(default_factory=Rates)
    fixed: Rates = field(default_factory=Rates)
    costs: Costs = field(default_factory=Costs)
    was_seen: bool = False

    def step(self, elapsed_secs: float) -> None:
        """Time went by since the last step, more than 0."""
        for part in (self.offered, self.fixed, self.costs):
            part.step(elapsed_secs)


@dataclass
class _Counts:
    """What a request held for a key, in samples."""

    kept: int = 0
    demoted: int = 0
    offered: defaultdict[int, float] = field(default_factory=lambda: defaultdict(float))
    fixed: defaultdict[int, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, row: ServiceDecided, roles: Sequence[RuleRole | None]) -> None:
        """What one rule did."""
        decided = row.decided
        self.kept += decided.kept
        self.demoted += decided.demoted
        if row.rule is None or roles[row.rule] is None:
            self.fixed[_KEPT] += decided.kept
            self.fixed[_DEMOTED] += decided.demoted
        else:
            self.offered[row.rule] += decided.kept + decided.demoted + decided.dropped


class Controller:
    """The ledgers and probabilities of all keys. For one thread at a time.

    Args:
        bytes_per_day: of each key.
        roles: of the policy's rules, in their order; None for one that does not sample.
        per_service: whether each service has a key, or all have one.
        now: seconds since the epoch.
        ledgers: what was written down of this day before, by key.
    """

    def __init__(
        self,
        bytes_per_day: int,
        roles: Sequence[RuleRole | None],
        *,
        per_service: bool,
        now: float,
        ledgers: Mapping[str, Ledger] | None = None,
    ) -> None:
        self._bytes_per_day = bytes_per_day
        self._roles = tuple(roles)
        self._per_service = per_service
        self._day = int(now // SECS_PER_DAY)
        self._keys = {name: _Key(ledger) for name, ledger in (ledgers or {}).items()}
        self._costs = Costs()

    @property
    def day(self) -> int:
        """The UTC day of the ledgers, counted from the epoch."""
        return self._day

    @property
    def ledgers(self) -> Mapping[str, Ledger]:
        """What is written down, by key."""
        return {name: key.ledger for name, key in self._keys.items()}

    def ledger(self, name: str) -> Ledger:
        """That of a key; that of one of which nothing came when there is none."""
        key = self._keys.get(name)
        return key.ledger if key else Ledger()

    def count(self, rows: Iterable[ServiceDecided], size_bytes: int, now: float) -> list[str]:
        """Take a request into account.

        Args:
            rows: what the rules did, by service.
            size_bytes: of what is left of it.
            now: seconds since the epoch.

        Returns:
            Keys that are new.
        """
        self._turn_day(now)
        before = len(self._keys)
        counts: defaultdict[str, _Counts] = defaultdict(_Counts)
        for row in rows:
            name = self._name(row.service, now)
            counts[name].add(row, self._roles)
        for name, one in counts.items():
            self._keys[name].offered.add(one.offered)
            self._keys[name].fixed.add(one.fixed)
        self._charge(counts, size_bytes)
        return list(self._keys)[before:]

    def step(self, elapsed_secs: float, now: float) -> list[str]:
        """Look at the load again.

        Args:
            elapsed_secs: since the last time, more than 0.
            now: seconds since the epoch.

        Returns:
            Keys of which a probability has moved.
        """
        self._turn_day(now)
        left_secs = max((self._day + 1) * SECS_PER_DAY - now, _HORIZON_SECS)
        self._costs.step(elapsed_secs)
        moved = []
        for name, key in self._keys.items():
            key.step(elapsed_secs)
            left_bytes = key.ledger.share * self._bytes_per_day - key.ledger.spent_bytes
            probabilities = self._load(key).solve(max(left_bytes, 0.0) / left_secs, key.ledger.probabilities)
            if probabilities != key.ledger.probabilities:
                key.ledger.probabilities = probabilities
                moved.append(name)
        return moved

    def adjusted(self, part: Callable[[Probabilities], float]) -> dict[str, float]:
        """One of the probabilities by key; empty when none is less than 1."""
        found = {name: part(key.ledger.probabilities) for name, key in self._keys.items()}
        return found if any(probability < 1 for probability in found.values()) else {}

    def _name(self, service: str, now: float) -> str:
        """The key of a service, which is there afterwards."""
        name = service if self._per_service and len(service) <= _MAX_NAME_CHARS else SHARED_KEY
        if name not in self._keys:
            if len(self._keys.keys() - {SHARED_KEY}) >= MAX_SERVICES:
                name = SHARED_KEY
            # What was before is not known, or was nothing: the rest of the day has its share.
            gone_secs = max(now - self._day * SECS_PER_DAY, 0.0)
            share = 1 - gone_secs / SECS_PER_DAY
            self._keys.setdefault(name, _Key(Ledger(share)))
        self._keys[name].was_seen = True
        return name

    def _charge(self, counts: Mapping[str, _Counts], size_bytes: int) -> None:
        """Share the bytes of a request out by the samples that are left of each key."""
        kept, demoted = (sum(getattr(one, what) for one in counts.values()) for what in ("kept", "demoted"))
        self._costs.add(kept, demoted, size_bytes)
        whole = self._costs.weight(kept, demoted)
        for name, one in counts.items():
            weight = self._costs.weight(one.kept, one.demoted)
            part = size_bytes * (weight / whole if whole else 1 / len(counts))
            key = self._keys[name]
            key.costs.add(one.kept, one.demoted, part)
            key.ledger.spent_bytes += part

    def _turn_day(self, now: float) -> None:
        """Begin new ledgers on a new day; a clock that was set back begins none."""
        day = int(now // SECS_PER_DAY)
        if day <= self._day:
            return
        self._day = day
        self._keys = {name: key for name, key in self._keys.items() if key.was_seen}
        for key in self._keys.values():
            key.was_seen = False
            key.ledger.share, key.ledger.spent_bytes = 1.0, 0.0

    def _load(self, key: _Key) -> _Load:
        """What comes of a key, and what it costs."""
        kept_bytes, demoted_bytes = key.costs.kept_bytes, key.costs.demoted_bytes
        load = _Load(key.fixed.of(_KEPT) * kept_bytes + key.fixed.of(_DEMOTED) * demoted_bytes)
        for rule, rate in key.offered.items():
            role = self._roles[rule]
            assert role is not None  # noqa: S101 - only of such rules is it counted what they are asked
            otherwise_bytes = demoted_bytes if role.demotes else 0.0
            demand = _Demand(role.probability, rate * (kept_bytes - otherwise_bytes), rate * otherwise_bytes)
            (load.spared if role.is_spared else load.sampled).append(demand)
        return load


class _Demand(NamedTuple):
    """What a rule asks for, in bytes a second.

    Attributes:
        limit: the most that it keeps, as a probability.
        rising: what it costs at probability 1, beyond what it costs at 0.
        least: what it costs at 0.
    """

    limit: float
    rising: float
    least: float


@dataclass
class _Load:
    """What comes of a key.

    Attributes:
        fixed: what rules that do not sample let through, in bytes a second.
        sampled: what rules ask for that sample.
        spared: the same for error and slow traces.
    """

    fixed: float
    sampled: list[_Demand] = field(default_factory=list)
    spared: list[_Demand] = field(default_factory=list)

    def cost(self, probabilities: Probabilities) -> float:
        """Bytes a second."""
        return (
            self.fixed + _cost(self.sampled, probabilities.sampled) + _cost(self.spared, probabilities.spared)
        )

    def solve(self, allowed: float, before: Probabilities) -> Probabilities:
        """The probabilities that cost so many bytes a second; those before, if they are nearly as good."""
        if self.cost(Probabilities()) <= 0:
            # Nothing came, or nothing stayed of it that would tell what it costs.
            return before
        if abs(self.cost(before) - allowed) <= _TOLERANCE * allowed:
            return before
        for_spared = _cost(self.spared, 1.0)
        if for_spared > allowed:
            least = LEAST_PROBABILITY if self.sampled else 1.0
            return Probabilities(least, _filled(self.spared, allowed))
        return Probabilities(_filled(self.sampled, allowed - for_spared - self.fixed))


def _cost(demands: Iterable[_Demand], probability: float) -> float:
    return sum(one.least + one.rising * min(one.limit, probability) for one in demands)


def _filled(demands: Iterable[_Demand], room: float) -> float:
    """The largest probability at which the demands fit into a room, in bytes a second."""
    room -= sum(one.least for one in demands)
    rising = sum(one.rising for one in demands)
    for one in sorted(demands):
        # Up to this limit all that are left rise together.
        if rising * one.limit > room:
            return max(room / rising, LEAST_PROBABILITY)
        rising -= one.rising
        room -= one.rising * one.limit
    return 1.0
