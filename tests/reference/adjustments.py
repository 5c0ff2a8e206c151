"""The slow twin of `Adjustments`: the rules that are in force for a service, written out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from otelprof._core import Adjustments
from tests.reference.policy import RANGE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.reference.policy import PlainRule

RATIO_END: Final = {"python_ratio": 2**64, "java_ratio": 2**63, "go_ratio": 2**63}
"""One past the largest number that a ratio compares."""


@dataclass(frozen=True)
class PlainAdjustments:
    """The arguments of `otelprof._core.Adjustments`."""

    thresholds: Mapping[str, int] = field(default_factory=dict)
    spared: Mapping[str, int] = field(default_factory=dict)
    lifted: frozenset[str] = frozenset()

    def core(self) -> Adjustments:
        """As the core takes them."""
        return Adjustments(thresholds=self.thresholds, spared=self.spared, lifted=self.lifted)

    def lifts(self, rule: PlainRule, service: str) -> bool:
        """Whether a rule keeps everything because the service is lifted."""
        asks = rule.asks and rule.action != "reject"
        return not self.lifted.isdisjoint({service, ""}) and (rule.action == "sample" or asks)

    def in_force(self, rules: Sequence[PlainRule], service: str) -> list[PlainRule]:
        """What the rules do to Samples of a service that they are for."""
        return [
            replace(rule, action="keep") if self.lifts(rule, service) else self.raised(rule, service)
            for rule in rules
        ]

    def without_lift(self, rules: Sequence[PlainRule], service: str) -> list[PlainRule]:
        """The same if no service was lifted."""
        return [self.raised(rule, service) for rule in rules]

    def raised(self, rule: PlainRule, service: str) -> PlainRule:
        """A rule with the threshold that it has, or would have if the service was not lifted."""
        least = self.spared if rule.is_spared else self.thresholds
        threshold = least.get(service, least.get("", 0))
        if rule.action != "sample" or threshold <= rule.threshold:
            return rule
        bound = RATIO_END.get(rule.by, 0) * (RANGE - threshold) // RANGE
        return replace(rule, threshold=threshold, bound=min(rule.bound, bound))
