"""What the rules of all processors share: whom they are for, and what they are called."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Final, LiteralString, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from otelprof.config.models import UNDEFINED_REFERENCE
from otelprof.config.section import Section
from otelprof.config.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_RULES: Final = 256
"""Each Profile is held against every rule, and each rule is a series of several metrics."""

NO_RULE: Final = "no_rule"
"""The label of what no rule was for."""

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,62}")
# What the labels of rules without a name are.
_RESERVED_NAME: Final = re.compile(rf"{NO_RULE}|unlinked|rule_[0-9]+")
_TRACE_STATES: Final = ("kept", "error", "unknown")
_SLOW: Final = re.compile(r"slow\(> ?(.+)\)")
_NANOS_PER_SEC: Final = 1_000_000_000
_SERVICE_NAME: Final = "service.name"
_OWN_KEYS: Final = ("sample_type", "linked", "trace")
# Attributes of a Resource have a dot by convention: one without may be a key of ours, misspelt.
_LIKENESS: Final = 0.8


def _texts(value: object) -> object:
    """One or several values of an attribute, as the texts that the core compares."""
    values = value if isinstance(value, list | tuple) else [value]
    if not values:
        message = "an empty list matches nothing: list at least one value"
        raise ValueError(message)
    return tuple(_text(one) for one in values)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int):
        return str(value)
    message = f"{value!r} cannot be matched: write a text, a whole number, true or false, or a list of them"
    raise ValueError(message)


def _trace_states(value: object) -> object:
    texts = value if isinstance(value, list | tuple) else [value]
    if not texts:
        message = "an empty list matches nothing: list at least one state"
        raise ValueError(message)
    for text in texts:
        if isinstance(text, str) and (text in _TRACE_STATES or slower_than_nanos(text) is not None):
            continue
        message = f"{text!r} is no state of a trace: write {', '.join(_TRACE_STATES)} or slow(>500ms)"
        raise ValueError(message)
    return tuple(texts)


def slower_than_nanos(state: str) -> int | None:
    """The bound of `slow(>500ms)`; None of another state.

    Raises:
        ValueError: what is in it is no duration.
    """
    match = _SLOW.fullmatch(state)
    return round(parse_duration(match[1]) * _NANOS_PER_SEC) if match else None


def _attribute_name(name: str) -> str:
    known = [_SERVICE_NAME, *_OWN_KEYS]
    if "." not in name and get_close_matches(name.lower(), known, n=1, cutoff=_LIKENESS):
        template: LiteralString = (
            "'{wrong}' is no resource attribute that is known, and nearly a key of match"
        )
        raise PydanticCustomError(UNDEFINED_REFERENCE, template, {"wrong": name, "known": known})
    return name


def _rule_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        message = f"{name!r} is not a rule's name: a letter, then up to 62 letters, digits, _, . and -"
        raise ValueError(message)
    if _RESERVED_NAME.fullmatch(name):
        message = f"{name!r} is what otelprof itself calls a rule: choose another name"
        raise ValueError(message)
    return name


Texts = Annotated[tuple[str, ...], BeforeValidator(_texts)]
"""One value or a list of values, at least one."""


TraceStates = Annotated[tuple[str, ...], BeforeValidator(_trace_states)]
"""`kept`, `error`, `slow(>500ms)`, `unknown`, or a list of them, at least one."""


class MatchConfig(Section):
    """Whom a rule is for. All of it must match; empty, it matches everything.

    In the file, every key but `sample_type`, `linked` and `trace` is the name of a Resource attribute.

    Attributes:
        sample_type: names of sample types, without their unit; any when empty.
        linked: linked samples only, unlinked ones only, or both.
        trace: linked samples only, whose trace is in one of these states: the tracing side kept it; kept it,
            and a span of it has an error; kept it, and it lasted longer; or is not known to have kept it.
        resource: Resource attributes, each with the values it may have. `service.name` is `unknown_service`
            where a Resource has none.
    """

    sample_type: Texts = ()
    linked: bool | None = None
    trace: TraceStates = ()
    resource: dict[Annotated[str, AfterValidator(_attribute_name)], Texts] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _other_keys_are_attributes(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        own = {key: value[key] for key in _OWN_KEYS if key in value}
        return {**own, "resource": {key: value[key] for key in value if key not in own}}

    @field_validator("sample_type")
    @classmethod
    def _has_no_unit(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if ":" in name:
                message = f"{name!r} has a unit: write the name alone, {name.partition(':')[0]!r}"
                raise ValueError(message)
        return names

    @model_validator(mode="after")
    def _check_trace(self) -> Self:
        if self.trace and self.linked is False:
            message = "trace is for linked samples, and linked: false for the others: remove one of them"
            raise ValueError(message)
        return self

    @property
    def is_everything(self) -> bool:
        """Whether it matches every sample."""
        return self == MatchConfig()

    @property
    def resource_pairs(self) -> list[tuple[str, tuple[str, ...]]]:
        """The Resource attributes as the core takes them."""
        return list(self.resource.items())

    def in_words(self) -> str:
        """Whom it is for, in words; empty when it is for everything."""
        words = [
            (" or ".join(texts) if name == _SERVICE_NAME else f"{name} {' or '.join(texts)}")
            for name, texts in self.resource.items()
        ]
        if self.sample_type:
            words.append(f"sample type {' or '.join(self.sample_type)}")
        if self.linked is not None:
            words.append("linked" if self.linked else "unlinked")
        if self.trace:
            words.append(f"trace {' or '.join(self.trace)}")
        return ", ".join(words)


class RuleConfig(Section):
    """Base of a processor's rule.

    Attributes:
        name: what the rule is called in metrics; by its place, as `rule_1`, when there is none.
        match: whom it is for.
    """

    name: Annotated[str, AfterValidator(_rule_name)] | None = None
    match: MatchConfig = MatchConfig()


def labels(rules: Sequence[RuleConfig]) -> tuple[str, ...]:
    """What the rules are called in metrics, in their order."""
    return tuple(rule.name or f"rule_{number}" for number, rule in enumerate(rules, 1))


def check_rules(rules: Sequence[RuleConfig]) -> None:
    """Hold a list of rules to its limits.

    Raises:
        ValueError: there are more than `MAX_RULES`, or two of one name.
    """
    if len(rules) > MAX_RULES:
        message = f"there are {len(rules)} rules; up to {MAX_RULES} are allowed"
        raise ValueError(message)
    names = [rule.name for rule in rules if rule.name is not None]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        message = f"{', '.join(twice)}: more than one rule has this name"
        raise ValueError(message)
