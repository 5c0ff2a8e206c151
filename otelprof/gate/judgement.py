"""What one comparison says: what grew too much, whose growth it is, what moved, and what could be seen."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from otelprof.gate.attribution import attribute, rest_of_total
from otelprof.gate.redistribution import Whole, whole
from otelprof.gate.statistics import MIN_RUNS, holm

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from otelprof.gate.config import GateConfig, Limits
    from otelprof.gate.displacement import Displacement

    Floats = NDArray[np.float64]

TOTAL: Final = "(total)"
MAX_RUNS_NEEDED: Final = 100
_OWN_PART: Final = 0.5
_BOUND: Final = 0.95
_SUSPECTED: Final = 0.5
_SHOWN: Final = 3


@dataclass(frozen=True)
class Finding:
    """A function that became dearer.

    Attributes:
        function: its name; `TOTAL` for the whole.
        share_before: of the baseline's cost.
        share_after: of the candidate's.
        before: mean samples of a run, per unit of work.
        after: the same of the candidate.
        p_adjusted: how likely such a growth is by chance, in the whole gate run.
        why: in words.
    """

    function: str
    share_before: float
    share_after: float
    before: float
    after: float
    p_adjusted: float
    why: str

    @property
    def growth(self) -> float:
        """As 0.3 for +30 %; infinite for what is new."""
        return self.after / self.before - 1 if self.before > 0 else float("inf")


@dataclass
class Judgement:
    """What a comparison says.

    Attributes:
        findings: what fails, largest growth first.
        redistributed: functions that became dearer while the whole became cheaper.
        moved: functions that cost more because others cost less.
        suspects: functions that may have grown too much: more runs would tell.
        outcomes: what became of each function that was tested, by its name, in words.
        covered_share: functions of a larger share of the cost are covered; infinite when none are.
        total_fell: whether the whole became cheaper.
    """

    findings: list[Finding] = field(default_factory=list)
    redistributed: list[Finding] = field(default_factory=list)
    moved: list[Finding] = field(default_factory=list)
    suspects: list[Finding] = field(default_factory=list)
    outcomes: dict[str, str] = field(default_factory=dict)
    covered_share: float = float("inf")
    total_fell: bool = False


class Judge:
    """Judges one comparison.

    Args:
        displacement: of the comparison.
        p_adjusted: of its tested rows, adjusted over the whole gate run.
        config: what counts.
        limits: what is too large now.
    """

    def __init__(
        self, displacement: Displacement, p_adjusted: Floats, config: GateConfig, limits: Limits
    ) -> None:
        self._displacement = displacement
        self._comparison = displacement.comparison
        self._p = p_adjusted
        self._config = config
        self._limits = limits
        self._rows = [int(one) for one in self._comparison.rows]
        self._row_of = {place: row for row, place in enumerate(self._rows)}
        self._judgement = Judgement()

    def judge(self) -> Judgement:
        """What the comparison says."""
        judgement = self._judgement
        judgement.covered_share = covered_share(self._displacement, self._config, self._limits)
        for row in range(len(self._rows) + 1):
            judgement.outcomes[self._name(row)] = self._first_outcome(row)
        candidates = [row for row in range(len(self._rows) + 1) if self._is_too_large(row)]
        grown = self._grown(self._rows[row] for row in candidates if row < len(self._rows))
        found = attribute(self._comparison, grown)
        for place in grown:
            if place not in found.values():
                self._say(self._row_of[place], "its growth is that of functions that it calls")
        happened = whole(self._comparison, list(found))
        judgement.total_fell = happened is Whole.FELL
        for place, by in found.items():
            self._place(place, by, happened)
        if len(self._rows) in candidates:
            self._judge_total(list(found))
        judgement.suspects += self._suspects(set(candidates))
        for findings in (judgement.findings, judgement.redistributed):
            findings.sort(key=lambda one: (-(one.after - one.before), one.function))
        return judgement

    def _name(self, row: int) -> str:
        return TOTAL if row == len(self._rows) else self._comparison.table.functions[self._rows[row]]

    def _say(self, row: int, outcome: str) -> None:
        self._judgement.outcomes[self._name(row)] = outcome

    def _exceeds(self, before: float, after: float) -> bool:
        return self._limits.exceeded(before, after, self._comparison.totals[0])

    def _is_too_large(self, row: int) -> bool:
        tested = self._comparison.tested
        is_significant = bool(self._p[row] <= self._config.alpha)
        return is_significant and self._exceeds(float(tested.before[row]), float(tested.after[row]))

    def _first_outcome(self, row: int) -> str:
        if self._p[row] > self._config.alpha:
            return "no growth that chance does not explain"
        return "grew, by less than the thresholds" if not self._is_too_large(row) else "grew too much"

    def _grown(self, candidates: Iterable[int]) -> list[int]:
        """Of functions that grew too much, those of which it did not move.

        From the leaves up, and of a depth those that are new last: what the others grew by is not theirs.
        """
        depths, is_new = self._comparison.depths, self._displacement.is_new
        grown: list[int] = []
        for place in sorted(candidates, key=lambda one: (-depths[one], is_new(one), one)):
            if not self._has_moved(place, grown):
                grown.append(place)
        return grown

    def _has_moved(self, place: int, grown: Sequence[int]) -> bool:
        """Whether most of a growth is taken from elsewhere, and what is left is not too large.

        Args:
            place: of the function.
            grown: functions of which it is known that they grew: what they grew by is not left here.
        """
        comparison, row = self._comparison, self._row_of[place]
        before, after = float(comparison.tested.before[row]), float(comparison.tested.after[row])
        moved = self._displacement.of(place, grown)
        if after - before - moved.amount >= _OWN_PART * (after - before):
            return False
        if moved.amount > 0 and moved.callers and not moved.from_others:
            stacks = self._displacement.stacks_with(place, moved)
            rest = comparison.table.cost_of(stacks & ~comparison.stacks_with_any(grown))
            p = min(float(comparison.test(rest).p[0]) * len(self._p), 1.0)
            below = [one for one in grown if not self._displacement.is_beside(one, place)]
            theirs = comparison.cost_of_stacks(stacks & comparison.stacks_with_any(below))
            left = before + moved.amount - theirs[0], after - theirs[1]
            if p <= self._config.alpha and self._exceeds(*left):
                return False
        callers = ", ".join(comparison.table.functions[one] for one in moved.callers)
        whose = f"{callers} cost that before" if callers else "functions that are gone cost that before"
        self._say(row, f"moved, not grown: {whose}")
        self._judgement.moved.append(self._finding(place, row, f"moved: {whose}"))
        return True

    def _place(self, place: int, by: int, happened: Whole) -> None:
        """Put a function where it belongs: among what fails, or what was redistributed."""
        row = self._row_of[by]
        finding = self._finding(place, row, self._why(place, by))
        # A growth of so many points fails whatever the whole did, where it is certain to be of so many.
        least, likely = self._points(finding)
        if happened is Whole.DID_NOT_FALL or least >= self._limits.points or self._config.fail_on_masked:
            self._judgement.findings.append(finding)
            self._judgement.outcomes[finding.function] = f"fails: {finding.why}"
            if place != by:
                self._say(row, f"its growth is that of {finding.function}")
        elif happened is Whole.FELL and likely < self._limits.points:
            self._judgement.redistributed.append(finding)
            self._say(row, "redistributed: it became dearer while the whole became cheaper")
        else:
            why = "it grew, or was redistributed: everything else became cheaper, or may have"
            self._judgement.suspects.append(replace(finding, why=why))
            self._say(row, "a suspect: it became dearer, while the whole may have become cheaper")

    def _points(self, finding: Finding) -> tuple[float, float]:
        """What a function grew by, at least (95 %) and likely, in parts of the baseline's cost."""
        noise, total = self._comparison.noise, self._comparison.totals[0]
        least = noise.lower_growth(finding.before, finding.after, _BOUND) * finding.before
        return least / total, (finding.after - finding.before) / total

    def _judge_total(self, found: list[int]) -> None:
        row = len(self._rows)
        if found and rest_of_total(self._comparison, found) < _OWN_PART:
            self._say(row, "its growth is that of the functions that fail")
            return
        why = "the whole became dearer, and no function alone says why"
        before, after = self._comparison.totals
        finding = Finding(TOTAL, 1.0, 1.0, before, after, float(self._p[row]), why)
        self._judgement.findings.append(finding)
        self._say(row, f"fails: {why}")

    def _finding(self, place: int, row: int, why: str) -> Finding:
        comparison = self._comparison
        before, after = comparison.means(comparison.table.cumulative[place][None, :])
        totals = comparison.totals
        return Finding(
            comparison.table.functions[place],
            float(before[0]) / max(totals[0], 1e-300),
            float(after[0]) / max(totals[1], 1e-300),
            float(before[0]),
            float(after[0]),
            float(self._p[row]),
            why,
        )

    def _why(self, place: int, by: int) -> str:
        comparison, limits = self._comparison, self._limits
        functions, row = comparison.table.functions, self._row_of[by]
        before, after = float(comparison.tested.before[row]), float(comparison.tested.after[row])
        points = (after - before) / comparison.totals[0]
        if before > 0 and after / before - 1 >= limits.growth:
            rule = f"+{after / before - 1:.0%} of its own cost (limit +{limits.growth:.0%})"
        else:
            rule = "new" if before <= 0 else f"+{after / before - 1:.0%} of its own cost"
        parts = [f"{rule}, +{100 * points:.1f} points of the baseline's cost"]
        if place != by:
            parts.append(f"found by {functions[by]}, most of whose growth it carries")
        wrappers = [functions[one] for one in comparison.groups.get(by, ())[1:]]
        if wrappers:
            more = ", …" if len(wrappers) > _SHOWN else ""
            parts.append(f"with {', '.join(wrappers[:_SHOWN])}{more}")
        if place in self._displacement.renamed:
            old = self._displacement.renamed[place]
            parts.append(f"called {functions[old]} before")
        return "; ".join(parts)

    def _suspects(self, candidates: set[int]) -> list[Finding]:
        """Functions that more runs may show to have grown too much."""
        if self._judgement.total_fell and not self._config.fail_on_masked:
            return []
        comparison, tested = self._comparison, self._comparison.tested
        noise = tested.noise
        suspects = []
        for row, place in enumerate(self._rows):
            before, after = float(tested.before[row]), float(tested.after[row])
            points = (after - before) / comparison.totals[0]
            share = (before + after) / sum(comparison.totals)
            is_suspect = (
                row not in candidates
                and tested.p[row] <= _SUSPECTED * self._config.alpha
                and after >= before * (1 + self._limits.growth / 2)
                and points >= self._limits.min_points
                and share >= self._judgement.covered_share
            )
            if is_suspect:
                bound = noise.upper_growth(before, after, _BOUND)
                moved = self._displacement.of(place).amount
                if bound >= self._limits.growth and moved < _OWN_PART * (after - before):
                    suspects.append(
                        self._finding(place, row, "may have grown too much: more runs would tell")
                    )
        return suspects


def covered_share(displacement: Displacement, config: GateConfig, limits: Limits) -> float:
    """The smallest share of a function whose growth to the limit is seen; infinite when none is."""
    comparison = displacement.comparison
    mean = comparison.noise.smallest_mean(limits.growth, config.alpha, config.power)
    return mean / max(comparison.totals[0], 1e-300)


def runs_needed(displacement: Displacement, config: GateConfig, limits: Limits) -> int | None:
    """How many runs of each side would cover what has to be; None when too many, or more samples are."""
    noise, total = displacement.comparison.noise, displacement.comparison.totals[0]
    for runs in range(MIN_RUNS, MAX_RUNS_NEEDED + 1):
        mean = noise.of_runs(runs, runs).smallest_mean(limits.growth, config.alpha, config.power)
        if mean <= config.max_covered_share * total:
            return runs
    return None


def adjusted(p_of: Mapping[str, Floats]) -> dict[str, Floats]:
    """P-values of several comparisons, adjusted together."""
    together = holm(np.concatenate(list(p_of.values()))) if p_of else np.empty(0)
    ends = np.cumsum([len(one) for one in p_of.values()])
    return dict(zip(p_of, np.split(together, ends[:-1]), strict=True)) if p_of else {}
