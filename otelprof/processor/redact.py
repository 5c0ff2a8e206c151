"""The `redact` processor: what must not leave, by role, before anything is written or sent.

It stands last before the log, so that neither a queue nor an exporter ever holds what it takes out. The work
is the core's; this file is what a user can ask for.
"""

from collections.abc import Mapping
from itertools import chain
from typing import Annotated, Final, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator

from otelprof._core import Profiles, Redaction, RedactionRule
from otelprof.component import ComponentConfig, ComponentSettings, ProcessorFactory
from otelprof.config.section import Section
from otelprof.telemetry.metrics import PAYLOADS_DROPPED
from otelprof.telemetry.policy_metrics import REDACTED_TEXTS

Treatment = Literal["keep", "drop", "hash", "mask"]
Role = Literal["attribute", "command_line", "file_path", "symbol"]

# Stands for every attribute that was not named before it.
_ANY_KEY: Final = "*"


class TextRule(Section):
    """What is done with a text.

    Attributes:
        treatment: `keep` protects it from later rules; `drop` takes the attribute out, or makes a symbol or
            path `***`; `hash` puts the first 16 bytes of its HMAC-SHA256 in its place; `mask` replaces.
        pattern: a regular expression (the Rust crate `regex`, linear time) that must be found in the text.
        mask: what replaces what the pattern finds, or all of the text; `$1` and `${name}` are groups.
    """

    treatment: Treatment = "mask"
    pattern: str | None = None
    mask: str = "***"

    @field_validator("pattern")
    @classmethod
    def _check_pattern(cls, pattern: str | None) -> str | None:
        # The core's own words: it is the core that will search.
        RedactionRule("symbol", "mask", pattern=pattern)
        return pattern

    def core(self, role: Role, key: str | None = None) -> RedactionRule:
        """The rule as the core takes it."""
        return RedactionRule(role, self.treatment, key=key, pattern=self.pattern, mask=self.mask)


def _as_rules(value: object) -> object:
    """A treatment alone, one rule, or a list of rules: always a list."""
    if isinstance(value, str):
        return [{"treatment": value}]
    return [value] if isinstance(value, Mapping) else value


TextRules = Annotated[tuple[TextRule, ...], BeforeValidator(_as_rules)]


class RedactConfig(ComponentConfig):
    """Rules by role; the first that matches a text decides, and no match keeps it.

    Attributes:
        attributes: by key, for the values of Resources, scopes, Profiles, Samples, Locations and Mappings;
            the key `*` is every one that was not named before it.
        command_lines: for `process.command`, `.command_line`, `.command_args` and `process.args`.
        file_paths: for the files of functions and mappings.
        symbols: for the names of functions.
        hash_key: of the hashes; at least 16 characters, from `${env:}`.
    """

    attributes: dict[str, TextRules] = Field(default_factory=dict)
    command_lines: TextRules = ()
    file_paths: TextRules = ()
    symbols: TextRules = ()
    hash_key: Annotated[SecretStr, Field(min_length=16)] | None = None

    @model_validator(mode="after")
    def _check_key(self) -> Self:
        everything = (*self.command_lines, *self.file_paths, *self.symbols, *chain(*self.attributes.values()))
        if self.hash_key is None and any(rule.treatment == "hash" for rule in everything):
            message = "a rule hashes, so hash_key is needed: set it from the environment, as ${env:NAME}"
            raise ValueError(message)
        return self

    def rules(self) -> list[tuple[str, RedactionRule]]:
        """Every rule as the core takes it, with its name, in the order of decision.

        Command lines come before attributes in general, which would take them too.
        """
        rules = [("command_lines", rule.core("command_line")) for rule in self.command_lines]
        rules += [("file_paths", rule.core("file_path")) for rule in self.file_paths]
        rules += [("symbols", rule.core("symbol")) for rule in self.symbols]
        for name, own in self.attributes.items():
            key = None if name == _ANY_KEY else name
            rules += [(f"attributes.{name}", rule.core("attribute", key)) for rule in own]
        return rules


class Redact:
    """Carries out redaction, and counts what it changed by rule."""

    def __init__(self, config: RedactConfig, component: ComponentSettings) -> None:
        rules = config.rules()
        key = None if config.hash_key is None else config.hash_key.get_secret_value().encode()
        self._redaction = Redaction([rule for _, rule in rules], key=key)
        self._names = [name for name, _ in rules]
        self._metrics = component.metrics
        self._id = str(component.id)

    def start(self) -> None:
        """Nothing to acquire."""

    def shutdown(self) -> None:
        """Nothing to release."""

    def process(self, profiles: Profiles) -> Profiles:
        """The request without what must not leave. Every `original_payload` goes: it could hold anything."""
        redacted = profiles.redact(self._redaction)
        for rule, changed in zip(self._names, redacted.changed, strict=True):
            if changed:
                self._metrics.add(REDACTED_TEXTS, changed, processor=self._id, rule=rule)
        if redacted.payloads_dropped:
            self._metrics.add(PAYLOADS_DROPPED, redacted.payloads_dropped, processor=self._id)
        return redacted.profiles


factory: Final = ProcessorFactory(config=RedactConfig, create=Redact)
