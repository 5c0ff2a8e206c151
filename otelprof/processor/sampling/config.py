"""How the `sampling` processor is configured."""

from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, ByteSize, Field, field_validator, model_validator

from otelprof.component import ComponentConfig
from otelprof.config.rules import RuleConfig, check_rules
from otelprof.config.section import Section
from otelprof.config.units import Duration, Size
from otelprof.processor.sampling.policy import in_words
from otelprof.processor.sampling.threshold import MIN_PROBABILITY, parse_th, threshold_of
from otelprof.telemetry.quantity import human

_WAYS: Final = ("sampling_probability", "th", "action")
# What says how to sample, and means nothing beside `action`.
_DETAILS: Final = ("by", "mode", "otherwise")
# What means nothing without a rule that asks for traces.
_FOR_TRACES: Final = (
    "decision_wait",
    "decision_max_bytes",
    "trace_window",
    "trace_max_bytes",
    "trace_attributes",
)
_MIB: Final = 1 << 20


def _checked_th(text: str) -> str:
    parse_th(text)
    return text


class SamplingRuleConfig(RuleConfig):
    """What is done with the samples that a rule is for: one of `sampling_probability`, `th` and `action`.

    Attributes:
        sampling_probability: how much stays, 2^-56 to 1; 0 is never: `otherwise` for all.
        th: the same as a rejection threshold, as it stands in a tracestate.
        action: the same for all samples, without sampling.
        by: whether a trace or a Profile is what stays as a whole. A rule by trace is for linked samples: an
            unlinked one is held against the next rules. None is by trace, or by Profile for unlinked samples.
        mode: which sampler of the tracing side decides the same: those of OpenTelemetry's `th` (consistent),
            or the `traceidratio` sampler of an SDK.
        otherwise: what becomes of the rest: it goes, and what stays counts for it (`drop`), or it loses its
            link, and stays in the totals (`demote`).
    """

    sampling_probability: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    th: Annotated[str, AfterValidator(_checked_th)] | None = None
    action: Literal["keep", "drop", "demote"] | None = None
    by: Literal["trace", "profile"] | None = None
    mode: Literal["consistent", "python", "java", "go"] = "consistent"
    otherwise: Literal["drop", "demote"] = "drop"

    @field_validator("sampling_probability", mode="before")
    @classmethod
    def _is_a_number(cls, value: object) -> object:
        if isinstance(value, bool):
            message = f"must be a number, not {str(value).lower()}"
            raise ValueError(message)  # noqa: TRY004 - pydantic collects ValueErrors only
        return value

    @field_validator("sampling_probability")
    @classmethod
    def _is_not_too_small(cls, value: float | None) -> float | None:
        if value is not None and 0 < value < MIN_PROBABILITY:
            message = f"{value:g} is less than 2^-56, the least sampling probability; write 0 for never"
            raise ValueError(message)
        return value

    @model_validator(mode="after")
    def _check(self) -> Self:
        given = [way for way in _WAYS if getattr(self, way) is not None]
        if len(given) != 1:
            found = f"has {' and '.join(given)}" if given else "does nothing"
            message = f"the rule {found}: give one of {', '.join(_WAYS)}"
            raise ValueError(message)
        idle = [key for key in _DETAILS if key in self.model_fields_set]
        if self.action is not None and idle:
            message = f"{', '.join(idle)} means nothing beside action: remove it"
            raise ValueError(message)
        if self.by == "trace" and self.match.linked is False:
            message = "by: trace is for linked samples, and the rule matches unlinked ones: write by: profile"
            raise ValueError(message)
        self._check_mode()
        return self

    def _check_mode(self) -> None:
        if self.mode == "consistent":
            return
        if not self.is_by_trace:
            message = f"mode: {self.mode} decides by trace: it cannot be used by profile"
            raise ValueError(message)
        if self.sampling_probability is None:
            message = f"mode: {self.mode} has no threshold: give its sampling_probability instead of th"
            raise ValueError(message)

    @property
    def is_by_trace(self) -> bool:
        """Whether traces are what stays as a whole."""
        return self.by == "trace" or (self.by is None and self.match.linked is not False)

    @property
    def threshold(self) -> int | None:
        """The rejection threshold in [0, 2^56); None when the rule does not sample, or keeps nothing."""
        if self.th is not None:
            return parse_th(self.th)
        return threshold_of(self.sampling_probability) if self.sampling_probability else None

    @property
    def is_spared(self) -> bool:
        """Whether it is for error and slow traces alone: a budget lowers others first."""
        return bool(self.match.trace) and not {"kept", "unknown"}.intersection(self.match.trace)

    def fixed(self, *, is_adjustable: bool = False) -> Literal["keep", "drop", "demote"] | None:
        """What is done with every sample of the rule; None when a part of them stays.

        Args:
            is_adjustable: a budget may let less through than all.
        """
        if self.action is not None:
            return self.action
        if self.threshold is None:
            return self.otherwise
        return "keep" if self.threshold == 0 and not is_adjustable else None


class BudgetConfig(Section):
    """What sampling may let through on a day, as OTLP without compression, in each instance.

    Attributes:
        bytes_per_day: of a UTC day.
        per: each service has as much, or all of them have it together.
        state_file: where it is written down what the day has cost, so that a restart does not forget it; its
            folder must be there. None keeps it in memory.
    """

    bytes_per_day: Annotated[Size, Field(ge=_MIB)]
    per: Literal["service", "all"] = "service"
    state_file: Path | None = None

    def in_words(self) -> tuple[str, ...]:
        """What it does, one line each."""
        whose = "each service" if self.per == "service" else "all services together"
        line = (
            f"budget: {human(self.bytes_per_day, 'By')} a day for {whose}, in this instance; probabilities "
            "fall when more comes, those of error and slow traces last; rules with an action stand"
        )
        if self.state_file is not None:
            return (line,)
        return line, "budget: kept in memory; after a restart the rest of the day has its share of it"


class IncidentsConfig(Section):
    """What incidents may do.

    Attributes:
        max_active: how many services may have one at once, 1 to 1000.
        max_duration: how long one may last.
    """

    max_active: int = Field(default=20, ge=1, le=1000)
    max_duration: Annotated[Duration, Field(gt=0)] = 86_400.0


class SamplingConfig(ComponentConfig):
    """The `sampling` processor.

    Attributes:
        rules: the first that matches a sample decides; what none matches stays. 1 to 256.
        decision_wait: how long linked samples wait for what the tracing side decides about their trace.
        decision_max_bytes: how much may wait, in memory; then the oldest goes on without a decision.
        trace_window: how long a trace that was kept is known; at least `decision_wait`.
        trace_max_bytes: what these traces may take, 1 MiB or more; then the oldest are forgotten.
        trace_attributes: say on samples that stay what is known of their trace, and the name of their span.
        budget: what may come through on a day: thresholds rise when more comes. None does not look at it.
        incidents: what incidents may do.
        boost_on_new_version: how long a version that is new for its service starts an incident for; None does
            not look at versions.
    """

    rules: tuple[SamplingRuleConfig, ...]
    decision_wait: Duration = 10.0
    decision_max_bytes: Annotated[Size, Field(ge=_MIB)] = ByteSize(128 * _MIB)
    trace_window: Annotated[Duration, Field(gt=0)] = 300.0
    trace_max_bytes: Annotated[Size, Field(ge=_MIB)] = ByteSize(64 * _MIB)
    trace_attributes: bool = True
    budget: BudgetConfig | None = None
    incidents: IncidentsConfig = IncidentsConfig()
    boost_on_new_version: Annotated[Duration, Field(gt=0)] | None = None

    @field_validator("rules")
    @classmethod
    def _check_rules(cls, rules: tuple[SamplingRuleConfig, ...]) -> tuple[SamplingRuleConfig, ...]:
        if not rules:
            message = "without a rule everything stays: give at least one, or remove the processor"
            raise ValueError(message)
        check_rules(rules)
        return rules

    @model_validator(mode="after")
    def _check(self) -> Self:
        idle = [key for key in _FOR_TRACES if key in self.model_fields_set]
        if idle and not self.waits_for_traces:
            message = f"{', '.join(idle)} means nothing without a rule whose match has trace: remove it"
            raise ValueError(message)
        if self.budget is not None and not any(rule.threshold is not None for rule in self.rules):
            message = (
                "the budget has nothing to move, since no rule samples: add one, such as "
                "{match: {linked: true}, sampling_probability: 1, otherwise: demote}"
            )
            raise ValueError(message)
        if self.trace_window < self.decision_wait:
            message = (
                f"decision_wait is {self.decision_wait:g} s, trace_window {self.trace_window:g} s: decisions "
                "would be forgotten while samples wait for them; make trace_window as long"
            )
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _check_boost(self) -> Self:
        boost, longest = self.boost_on_new_version, self.incidents.max_duration
        if boost is None:
            return self
        if boost > longest:
            message = f"boost_on_new_version is {boost:g} s, more than incidents.max_duration, {longest:g} s"
            raise ValueError(message)
        is_adjustable = self.budget is not None
        samples = any(rule.fixed(is_adjustable=is_adjustable) is None for rule in self.rules)
        if not (samples or self.waits_for_traces):
            message = "boost_on_new_version does nothing where no rule samples: remove it, or add such a rule"
            raise ValueError(message)
        return self

    @property
    def waits_for_traces(self) -> bool:
        """Whether a rule asks for the state of a trace."""
        return any(rule.match.trace for rule in self.rules)

    def in_words(self) -> tuple[str, ...]:
        """What the rules do, one line each, and how long they wait for that."""
        lines = in_words(self.rules, is_adjustable=self.budget is not None)
        if self.budget is not None:
            lines += self.budget.in_words()
        if self.boost_on_new_version is not None:
            minutes = f"{self.boost_on_new_version / 60:g} minutes"
            lines = (*lines, f"a new service.version of a service: whatever was sampled stays, for {minutes}")
        if not self.waits_for_traces:
            return lines
        wait = (
            f"linked samples wait up to {self.decision_wait:g} s for the tracing side to decide; "
            "until it says that it kept a trace, the trace is unknown"
        )
        return (wait, *lines)
