"""What policies are made of: a part of the stub of `otelprof._core`, where all of it is at run time."""

from collections.abc import Collection, Mapping, Sequence
from typing import final

from otelprof._core import Profiles

@final
class LinkCoverage:
    """Samples of one service and one sample type that stand to the tracing side in one way."""

    @property
    def service(self) -> str: ...
    @property
    def sample_type(self) -> str:
        """As `name:unit`."""
    @property
    def state(self) -> str:
        """A word of `LINK_STATES`; a metric label."""
    @property
    def sample_count(self) -> int: ...
    @property
    def value(self) -> int:
        """What the samples stand for, in the unit of the type."""

@final
class Linked:
    """A request whose links were recovered, and what was found."""

    @property
    def profiles(self) -> Profiles: ...
    @property
    def coverage(self) -> Sequence[LinkCoverage]: ...
    @property
    def conflict_count(self) -> int:
        """Samples whose Link and attributes name different spans: the Link stays."""

@final
class Rule:
    """One rule of a policy.

    Args:
        action: `keep`, `drop`, `demote`, `reject` (the whole Profile), or `sample` (a part stays).
        resource: Resource attributes, each with the texts it may have; all must match. `service.name` is
            `unknown_service` where it is missing.
        sample_types: names; any when empty.
        linked: linked Samples only, unlinked ones only, or both.
        trace: linked Samples only, whose trace is one of these: `kept`, `error` (kept, and a span has an
            error), `unknown` (not known to be kept).
        slower_than_nanos: one more state that `trace` may have: kept, and longer than this.
        by: for `sample`, what decides: `trace` (low 56 bits of the trace id at or above the threshold),
            `python_ratio`, `java_ratio`, `go_ratio` (what the SDK samplers of these languages keep: low ids,
            below the bound), or `profile` (a hash of the profile id at or above the threshold). A rule by
            trace is for linked Samples.
        threshold: rejection threshold in [0, 2**56); for the ratios, that of the same probability.
        bound: of the ratios, as their language computes it.
        otherwise: for `sample`, what becomes of the rest: `drop` or `demote`.

    Raises:
        ValueError: a word or a number that is not allowed.
    """

    def __new__(
        cls,
        action: str,
        *,
        resource: Sequence[tuple[str, Sequence[str]]] | None = None,
        sample_types: Sequence[str] | None = None,
        linked: bool | None = None,
        trace: Sequence[str] | None = None,
        slower_than_nanos: int | None = None,
        by: str = "trace",
        threshold: int = 0,
        bound: int = 0,
        otherwise: str = "drop",
    ) -> Rule: ...

@final
class Policy:
    """Rules in their order: the first that matches a Sample decides, and no match keeps it."""

    def __new__(cls, rules: Sequence[Rule]) -> Policy: ...

@final
class Adjustments:
    """What changes a policy for a while, by `service.name`; `""` is every service without an own entry.

    What is kept at an adjusted threshold is kept at every lower one, by whichever rule that samples: a ratio
    keeps the ids below the bound of the same probability when that is the lower one.

    Args:
        thresholds: of rules that sample, the threshold in [0, 2**56) is at least this.
        spared: the same of rules that ask for `error` or slow traces, and for no other: `thresholds` leaves
            these alone.
        lifted: services whose rules that sample, and those that ask for the state of a trace, keep
            everything. Other rules stand, and so do those that reject.

    Raises:
        ValueError: a threshold that is not allowed.
    """

    def __new__(
        cls,
        *,
        thresholds: Mapping[str, int] | None = None,
        spared: Mapping[str, int] | None = None,
        lifted: Collection[str] | None = None,
    ) -> Adjustments: ...

@final
class Decided:
    """What one rule did to the Samples of a request."""

    @property
    def kept(self) -> int: ...
    @property
    def dropped(self) -> int: ...
    @property
    def demoted(self) -> int: ...
    @property
    def rejected(self) -> int: ...

@final
class ServiceDecided:
    """What one rule did to the Samples of one service."""

    @property
    def service(self) -> str:
        """`service.name`; `unknown_service` where it is missing."""
    @property
    def rule(self) -> int | None:
        """Its place; None for what none matched."""
    @property
    def decided(self) -> Decided: ...

@final
class Selected:
    """A request after a policy."""

    @property
    def profiles(self) -> Profiles:
        """What is left; refused Profiles are in its `rejections`."""
    @property
    def decided(self) -> Sequence[Decided]:
        """What each rule did, in their order; last, what none matched."""
    @property
    def services(self) -> Sequence[ServiceDecided]:
        """The same by service, for rules that did something; empty when there were no adjustments."""
    @property
    def lifted(self) -> int:
        """Samples that stay because their service is lifted."""
    @property
    def payloads_dropped(self) -> int: ...

@final
class RedactionRule:
    """One rule of a redaction.

    Args:
        role: `attribute` (its value; of Resources, scopes, Profiles, Samples, Locations and Mappings),
            `command_line` (the values of `process.command`, `.command_line`, `.command_args` and `.args`),
            `file_path` (of Functions and Mappings), or `symbol` (a Function's names). A rule for `attribute`
            is for command lines too.
        treatment: `keep`; `drop` (the attribute goes; a symbol or path becomes `***`); `hash` (the first 16
            bytes of its HMAC-SHA256, in hexadecimal); `mask` (what the pattern finds is replaced; all,
            without one).
        key: the attribute's key; any when None.
        pattern: a regular expression of the Rust crate `regex` (linear time) that must be found in the text;
            anything when None.
        mask: the replacement; `$1` and `${name}` are groups of the pattern.

    Raises:
        ValueError: a word that is not allowed, or a pattern that cannot be read.
    """

    def __new__(
        cls,
        role: str,
        treatment: str,
        *,
        key: str | None = None,
        pattern: str | None = None,
        mask: str = "***",
    ) -> RedactionRule: ...

@final
class Redaction:
    """Rules in their order: the first that matches a text decides, and no match keeps it.

    Args:
        rules: the rules.
        key: of the hashes; needed when a rule hashes.

    Raises:
        ValueError: a rule hashes, and there is no key.
    """

    def __new__(cls, rules: Sequence[RedactionRule], *, key: bytes | None = None) -> Redaction: ...

@final
class Redacted:
    """A request after redaction."""

    @property
    def profiles(self) -> Profiles: ...
    @property
    def changed(self) -> Sequence[int]:
        """How many texts each rule changed, in their order; a text that many refer to counts once."""
    @property
    def payloads_dropped(self) -> int: ...
