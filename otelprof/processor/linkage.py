"""The `linkage` processor: which samples know their span, links recovered, and what becomes of the others.

A sample is linked when its Link has a trace id and a span id, neither of them zero. What a profiler left in
attributes instead is made a Link first; then the samples that are still unlinked are kept, demoted, dropped,
or their Profile is rejected, by rules.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Annotated, Final, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from otelprof._core import LinkCoverage, Linked, Policy, Profiles, Rule
from otelprof.component import ComponentConfig, ComponentSettings, ProcessorFactory
from otelprof.config.rules import MatchConfig, RuleConfig, check_rules, labels
from otelprof.config.section import Section
from otelprof.processor.decisions import Decisions
from otelprof.processor.linked_share import WINDOW_SECS, LinkedShares
from otelprof.telemetry.policy_metrics import LINK_CONFLICTS, LINK_SAMPLES, LINK_VALUE, LINKAGE_SAMPLES

# What profilers of today were seen to write; the last two are pprof labels of Go services.
DEFAULT_RECOVER: Final = (
    "trace_id",
    "span_id",
    "trace.id",
    "span.id",
    "process.context.label.trace_id",
    "process.context.label.span_id",
    "process.context.label.span id",
    "span id",
)
UNLINKED: Final = "unlinked"
"""The label of the general `unlinked`, after those of the rules."""

_MAX_NAMES: Final = 64
_MAX_NAME_CHARS: Final = 200
_SECS_PER_MINUTE: Final = 60
_LINKED_STATES: Final = {"linked", "recovered"}
_DONE: Final = {
    "keep": "unlinked samples stay",
    "demote": "unlinked samples are demoted",
    "drop": "unlinked samples are dropped",
    "reject": "profiles with an unlinked sample are refused",
}

Action = Literal["keep", "demote", "drop", "reject"]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class LinkageRuleConfig(RuleConfig):
    """What becomes of the unlinked samples that a rule matches.

    Attributes:
        unlinked: they stay, are demoted, go, or make their whole Profile be refused.
    """

    unlinked: Action

    @field_validator("match")
    @classmethod
    def _is_for_unlinked(cls, match: MatchConfig) -> MatchConfig:
        if match.linked is not None:
            message = "linked means nothing here: rules of linkage are for unlinked samples; remove it"
            raise ValueError(message)
        if match.trace:
            message = "trace means nothing here: rules of linkage are for unlinked samples; remove it"
            raise ValueError(message)
        return match


class MinLinkedShareConfig(Section):
    """How much of a service should be linked at least.

    Attributes:
        default: of every service, 0 to 1; None watches only those of `services`.
        services: by `service.name`, 0 to 1.
    """

    default: Share | None = None
    services: dict[str, Share] = Field(default_factory=dict)

    def of(self, service: str) -> float | None:
        """The least share of a service; None when it is not watched."""
        return self.services.get(service, self.default)


def _default_share(value: object) -> object:
    """A plain number is for every service."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return {"default": value} if is_number else value


class LinkageConfig(ComponentConfig):
    """The `linkage` processor.

    Attributes:
        recover: names of attributes that links are recovered from. One that contains `trace` holds trace ids,
            the others span ids. Up to 64; none recovers nothing.
        unlinked: what becomes of unlinked samples that no rule matches.
        rules: the first that matches an unlinked sample decides. Up to 256.
        min_linked_share: how much of a service should be linked at least; less raises a warning.
    """

    recover: tuple[str, ...] = DEFAULT_RECOVER
    unlinked: Action = "keep"
    rules: tuple[LinkageRuleConfig, ...] = ()
    min_linked_share: Annotated[MinLinkedShareConfig, BeforeValidator(_default_share)] = (
        MinLinkedShareConfig()
    )

    @field_validator("recover")
    @classmethod
    def _names_both_ids(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(names) > _MAX_NAMES:
            message = f"there are {len(names)} names; up to {_MAX_NAMES} are allowed"
            raise ValueError(message)
        for name in names:
            if not 0 < len(name) <= _MAX_NAME_CHARS:
                message = f"a name has {len(name)} characters; 1 to {_MAX_NAME_CHARS} are allowed"
                raise ValueError(message)
        traces = [name for name in names if "trace" in name]
        if names and len(traces) in {0, len(names)}:
            missing = "span" if traces else "trace"
            message = (
                f"names no attribute with {missing} ids, and a link needs both: a name that contains 'trace' "
                "holds trace ids, any other span ids; [] recovers nothing"
            )
            raise ValueError(message)
        return names

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_rules(self.rules)
        return self

    def in_words(self) -> tuple[str, ...]:
        """What it does, one line for the links and for each rule."""
        recovered = (
            f"recovered from the attributes {', '.join(self.recover)}" if self.recover else "not recovered"
        )
        lines = [f"links are {recovered}"]
        for rule in self.rules:
            whom = rule.match.in_words()
            lines.append(f"{whom}: {_DONE[rule.unlinked]}" if whom else _DONE[rule.unlinked])
        lines.append(f"everything else: {_DONE[self.unlinked]}" if self.rules else _DONE[self.unlinked])
        least = [f"{share:.4g} of {service}" for service, share in self.min_linked_share.services.items()]
        if self.min_linked_share.default is not None:
            others = "every other service" if least else "every service"
            least.append(f"{self.min_linked_share.default:.4g} of {others}")
        if least:
            minutes = f"{WINDOW_SECS / _SECS_PER_MINUTE:.0f} minutes"
            lines.append(f"a warning is raised when, over {minutes}, less is linked than {', '.join(least)}")
        return tuple(lines)


class Linkage:
    """Recovers links, counts how samples stand to the tracing side, and enforces linkage."""

    def __init__(self, config: LinkageConfig, settings: ComponentSettings) -> None:
        self._names = config.recover
        self._id = str(settings.id)
        self._metrics = settings.metrics
        minimum = config.min_linked_share
        is_watching = minimum.default is not None or minimum.services
        self._shares = LinkedShares(minimum.of, settings) if is_watching else None
        # Where everything stays, there is nothing to decide, and the samples are not walked again.
        decides = any(action != "keep" for action in (config.unlinked, *(r.unlinked for r in config.rules)))
        self._decisions = _decisions(config, settings) if decides else None

    def start(self) -> None:
        """Nothing to acquire."""

    def shutdown(self) -> None:
        """Nothing to release."""

    def process(self, profiles: Profiles) -> Profiles:
        """A request with its links recovered, and without the unlinked samples that must not stay.

        Profiles that a rule rejects are in the `rejections` of the handle; never an error.
        """
        linked = profiles.link(self._names)
        self._count(linked)
        if self._decisions is None:
            return linked.profiles
        return self._decisions.carry_out(linked.profiles).profiles

    def _count(self, linked: Linked) -> None:
        for row in linked.coverage:
            labels_ = {"service": row.service, "sample_type": row.sample_type, "state": row.state}
            self._metrics.add(LINK_SAMPLES, row.sample_count, processor=self._id, **labels_)
            # A type whose values go down has no total that grows.
            self._metrics.add(LINK_VALUE, max(row.value, 0), processor=self._id, **labels_)
        if linked.conflict_count:
            self._metrics.add(LINK_CONFLICTS, linked.conflict_count, processor=self._id)
        if self._shares is not None:
            self._shares.count(_by_service(linked.coverage))


def _decisions(config: LinkageConfig, settings: ComponentSettings) -> Decisions:
    rules = [
        Rule(
            rule.unlinked,
            resource=rule.match.resource_pairs,
            sample_types=rule.match.sample_type,
            linked=False,
        )
        for rule in config.rules
    ]
    policy = Policy([*rules, Rule(config.unlinked, linked=False)])
    return Decisions(policy, (*labels(config.rules), UNLINKED), LINKAGE_SAMPLES, settings)


def _by_service(coverage: Sequence[LinkCoverage]) -> dict[str, tuple[int, int]]:
    """How many samples of each service are linked, and how many there are."""
    sums: defaultdict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for row in coverage:
        linked, total = sums[row.service]
        is_linked = row.state in _LINKED_STATES
        sums[row.service] = linked + row.sample_count * is_linked, total + row.sample_count
    return sums


factory: Final = ProcessorFactory(LinkageConfig, Linkage)
