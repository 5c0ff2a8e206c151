"""From rules as they are configured to the policy of the core, and to words."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from otelprof._core import Policy, Rule
from otelprof.config.rules import labels, slower_than_nanos
from otelprof.processor.sampling.controller import RuleRole
from otelprof.processor.sampling.threshold import (
    adjusted_count,
    go_bound,
    java_bound,
    probability_of,
    python_bound,
)
from otelprof.telemetry.journal import PolicyEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otelprof.component import ComponentSettings
    from otelprof.processor.sampling.config import SamplingRuleConfig

_BOUNDS: Final[dict[str, Callable[[float], int]]] = {
    "python": python_bound,
    "java": java_bound,
    "go": go_bound,
}
_UINT64_MAX: Final = (1 << 64) - 1
_DONE: Final = {"keep": "stay", "drop": "are dropped", "demote": "are demoted"}
_LANGUAGES: Final = {"python": "Python", "java": "Java", "go": "Go"}


def core_policy(rules: Sequence[SamplingRuleConfig], *, is_adjustable: bool = False) -> Policy:
    """The policy as the core carries it out.

    Args:
        rules: of the configuration.
        is_adjustable: a budget moves thresholds: a rule that keeps everything for now samples all the same.
    """
    return Policy([_core_rule(rule, is_adjustable=is_adjustable) for rule in rules])


def roles(rules: Sequence[SamplingRuleConfig]) -> tuple[RuleRole | None, ...]:
    """What the rules are to a budget; None for one that does not sample."""
    return tuple(map(_role, rules))


def in_words(rules: Sequence[SamplingRuleConfig], *, is_adjustable: bool = False) -> tuple[str, ...]:
    """What the rules do, one line each, and what becomes of the rest."""
    lines = [_line(rule, is_first=rule is rules[0], is_adjustable=is_adjustable) for rule in rules]
    last = rules[-1]
    # A rule by trace leaves the unlinked samples.
    if not last.match.is_everything or last.fixed(is_adjustable=is_adjustable) is None:
        lines.append("everything else stays")
    return tuple(lines)


def told(
    rules: Sequence[SamplingRuleConfig], settings: ComponentSettings, *, is_adjustable: bool = False
) -> Sequence[PolicyEvent]:
    """The rules as events of the journal, each from now on."""
    now, component = settings.clock.now(), str(settings.id)
    events = []
    for rule, label in zip(rules, labels(rules), strict=True):
        services = rule.match.resource.get("service.name", ())
        line = _line(rule, is_first=rule is rules[0], is_adjustable=is_adjustable)
        events.append(
            PolicyEvent(
                time_secs=now,
                component=component,
                kind="rule",
                service=services[0] if len(services) == 1 else "",
                what=f"{label}: {line}",
                probability=_probability(rule),
            )
        )
    return events


def _probability(rule: SamplingRuleConfig) -> float:
    """With which it keeps a trace, or a Profile."""
    fixed = rule.fixed()
    if fixed is not None or rule.threshold is None:
        return 1.0 if fixed == "keep" else 0.0
    return probability_of(rule.threshold)


def _role(rule: SamplingRuleConfig) -> RuleRole | None:
    threshold = rule.threshold
    if threshold is None:
        return None
    return RuleRole(probability_of(threshold), rule.otherwise == "demote", rule.is_spared)


def _core_rule(rule: SamplingRuleConfig, *, is_adjustable: bool) -> Rule:
    match = rule.match
    fixed, threshold = rule.fixed(is_adjustable=is_adjustable), rule.threshold
    slow = [nanos for nanos in map(slower_than_nanos, match.trace) if nanos is not None]
    asked = [state for state in match.trace if slower_than_nanos(state) is None]
    whom = partial(
        Rule,
        resource=match.resource_pairs,
        sample_types=match.sample_type,
        linked=match.linked,
        trace=asked if match.trace else None,
        slower_than_nanos=min(slow, default=None),
    )
    if fixed is not None or threshold is None:
        return whom(fixed or rule.otherwise)
    by, bound = "trace" if rule.is_by_trace else "profile", 0
    if rule.mode in _BOUNDS and rule.sampling_probability is not None:
        # The bound of Python at 1 is one more than 64 bits hold.
        by, bound = f"{rule.mode}_ratio", min(_BOUNDS[rule.mode](rule.sampling_probability), _UINT64_MAX)
    return whom("sample", by=by, threshold=threshold, bound=bound, otherwise=rule.otherwise)


def _line(rule: SamplingRuleConfig, *, is_first: bool, is_adjustable: bool) -> str:
    whom = rule.match.in_words()
    fixed, threshold = rule.fixed(is_adjustable=is_adjustable), rule.threshold
    if fixed is not None or threshold is None:
        whom = whom or ("everything" if is_first else "everything else")
        return f"{whom}: all samples {_DONE[fixed or rule.otherwise]}"
    if rule.is_by_trace and rule.match.linked is None and not rule.match.trace:
        whom = f"{whom}, linked" if whom else "linked"
    whom = whom or ("everything" if is_first else "everything else")
    what = "traces" if rule.is_by_trace else "profiles"
    if threshold == 0:
        rest = "demoted" if rule.otherwise == "demote" else "dropped"
        return f"{whom}: all {what} stay while the budget allows, the rest is {rest}"
    how = f" (th {rule.th})" if rule.th is not None else ""
    if rule.mode in _LANGUAGES:
        how = f" (those that the ratio sampler of {_LANGUAGES[rule.mode]}'s SDK keeps)"
    stay = f"{whom}: {probability_of(threshold) * 100:.4g} % of {what} stay{how}"
    if rule.otherwise == "demote":
        return f"{stay}, the rest is demoted"
    return f"{stay} and count {adjusted_count(threshold):.4g} times, the rest is dropped"
