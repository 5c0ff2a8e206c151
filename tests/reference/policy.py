"""The slow twin of `Profiles.select`: which rule is for a Sample, and what becomes of it.

Works on requests in normal form, such as the core hands on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from otelprof._core import Policy, Rule
from tests.reference.blake3 import blake3
from tests.reference.meaning import Reader
from tests.reference.summary import is_linked, service_name
from tests.reference.tables import Tables, at, profiles_of
from tests.reference.traces import PlainDecisions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
        ExportProfilesServiceRequest,
    )
    from opentelemetry.proto.profiles.v1development.profiles_pb2 import Link, Profile, ResourceProfiles
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource

    from tests.reference.traces import PlainTrace

RANGE: Final = 2**56
NOTHING: Final = PlainDecisions()
"""What is known of traces when the tracing side says nothing."""
ACTIONS: Final = ("keep", "drop", "demote", "reject", "sample")
BY: Final = ("trace", "python_ratio", "java_ratio", "go_ratio", "profile")


@dataclass(frozen=True)
class PlainRule:
    """The arguments of `otelprof._core.Rule`."""

    action: str
    resource: tuple[tuple[str, tuple[str, ...]], ...] = ()
    sample_types: tuple[str, ...] = ()
    linked: bool | None = None
    trace: tuple[str, ...] | None = None
    slower_than_nanos: int | None = None
    by: str = "trace"
    threshold: int = 0
    bound: int = 0
    otherwise: str = "drop"

    @property
    def is_for_linked(self) -> bool:
        """Whether it is for linked Samples only, since only these have a trace."""
        return self.asks or (self.action == "sample" and self.by != "profile")

    @property
    def asks(self) -> bool:
        """Whether it asks for the state of a trace."""
        return self.trace is not None or self.slower_than_nanos is not None

    @property
    def is_spared(self) -> bool:
        """Whether it asks for traces that have an error or are slow, and for no other."""
        return self.asks and set(self.trace or ()) <= {"error"}

    def matches_trace(self, trace: PlainTrace | None) -> bool:
        """Whether what it asks for holds for a trace; None is one that is not known."""
        words = self.trace or ()
        if trace is None:
            return "unknown" in words
        slow = self.slower_than_nanos is not None and trace.duration_nanos > self.slower_than_nanos
        return "kept" in words or ("error" in words and trace.is_error) or slow

    def matches(self, texts: set[tuple[str, str]], sample_type: str, *, linked: bool) -> bool:
        """Whether it is for a Sample, as far as its trace does not matter."""
        return (
            all(any((key, text) in texts for text in allowed) for key, allowed in self.resource)
            and (not self.sample_types or sample_type in self.sample_types)
            and self.linked in {None, linked}
            and (linked or not self.is_for_linked)
        )

    def keeps(self, link: Link, profile_id: bytes) -> bool:
        """Whether a `sample` rule keeps a Sample."""
        if self.by == "profile":
            return int.from_bytes(blake3(profile_id)[:8]) % RANGE >= self.threshold
        low = int.from_bytes(link.trace_id[8:])
        if self.by == "trace":
            return low % RANGE >= self.threshold
        if self.by == "python_ratio":
            return low < self.bound
        if self.by == "java_ratio":
            return java_absolute(low) < self.bound
        return low >> 1 < self.bound


class Fate(NamedTuple):
    """What becomes of a Sample: `kept`, `dropped`, `demoted` or `rejected`, by which rule; None by none.

    Attributes:
        rule: its place.
        outcome: what becomes of it.
        threshold: what the kept value stands for is 2**56 / (2**56 - threshold) times itself.
    """

    rule: int | None
    outcome: str
    threshold: int = 0


def policy(rules: Sequence[PlainRule]) -> Policy:
    """Rules as the core takes them."""
    return Policy(
        [
            Rule(
                rule.action,
                resource=rule.resource,
                sample_types=rule.sample_types,
                linked=rule.linked,
                trace=rule.trace,
                slower_than_nanos=rule.slower_than_nanos,
                by=rule.by,
                threshold=rule.threshold,
                bound=rule.bound,
                otherwise=rule.otherwise,
            )
            for rule in rules
        ]
    )


def java_absolute(low: int) -> int:
    """What `Math.abs` makes of 64 bits as a signed number; of the smallest one, itself."""
    signed = low - 2**64 if low >= 2**63 else low
    return signed if signed == -(2**63) else abs(signed)


def bound_of(by: str, probability: float) -> int:
    """The bound that the SDK sampler of a language computes."""
    if by == "python_ratio":
        return round(probability * 2**64)
    if by == "java_ratio":
        return int(probability * (2**63 - 1))
    return int(probability * 2**63)


def th(threshold: int) -> str:
    """A threshold as OpenTelemetry writes it: hexadecimal, without trailing zeros."""
    return f"{threshold:014x}".rstrip("0") or "0"


def resource_texts(reader: Reader, resource: Resource) -> set[tuple[str, str]]:
    """Keys and values of a Resource's attributes as a rule compares them."""
    found = {("service.name", service_name(reader, resource))}
    for pair in resource.attributes:
        key, told = reader.key_value(pair)
        kind, plain = told if isinstance(told, tuple) else (None, None)
        if kind in {"string_value", "int_value", "bool_value"} and key != "service.name":
            found.add((key, str(plain).lower() if kind == "bool_value" else str(plain)))
    return found


def fates(
    request: ExportProfilesServiceRequest,
    rules: Sequence[PlainRule],
    decisions: PlainDecisions = NOTHING,
    in_force: Callable[[str], Sequence[PlainRule]] | None = None,
) -> list[list[Fate]]:
    """For each Profile of a request, what becomes of each of its Samples.

    Args:
        request: in normal form.
        rules: whom they are for, and what they do.
        decisions: what is known of traces.
        in_force: what the rules do instead to Samples of a service.
    """
    tables = Tables(request.dictionary)
    reader = Reader(tables)
    found = []
    for resource_profiles, _, profile in profiles_of(request):
        texts = texts_of(reader, resource_profiles, profile)
        places = [
            (place_of(rules, texts, link, decisions), link)
            for link in (at(tables.links, sample.link_index) for sample in profile.samples)
        ]
        done = in_force(service_name(reader, resource_profiles.resource)) if in_force else rules
        found.append(profile_fates(profile, places, done))
    return found


Texts = tuple[set[tuple[str, str]], str]


def texts_of(reader: Reader, resource_profiles: ResourceProfiles, profile: Profile) -> Texts:
    """What rules compare of a Profile: its Resource's attributes, and its sample type."""
    sample_type, _ = reader.value_type(profile.sample_type)
    return resource_texts(reader, resource_profiles.resource), sample_type


def place_of(rules: Sequence[PlainRule], texts: Texts, link: Link, decisions: PlainDecisions) -> int | None:
    """Which rule is for a Sample with a Link; None when none is."""
    matching = (
        place
        for place, rule in enumerate(rules)
        if rule.matches(*texts, linked=is_linked(link))
        and (not rule.asks or rule.matches_trace(decisions.of(link)))
    )
    return next(matching, None)


def profile_fates(
    profile: Profile, places: Sequence[tuple[int | None, Link]], rules: Sequence[PlainRule]
) -> list[Fate]:
    """What becomes of each Sample of a Profile; one that is rejected takes all others with it."""
    found = [fate_by(rules, place, link, profile.profile_id) for place, link in places]
    rejecting = next((fate for fate in found if fate.outcome == "rejected"), None)
    return [rejecting] * len(found) if rejecting else found


def traces_asked_for(request: ExportProfilesServiceRequest, rules: Sequence[PlainRule]) -> set[bytes]:
    """The traces of linked Samples for which the first rule, whatever the trace, is one that asks."""
    tables = Tables(request.dictionary)
    reader = Reader(tables)
    found = set()
    for resource_profiles, _, profile in profiles_of(request):
        texts = texts_of(reader, resource_profiles, profile)
        first = next((rule for rule in rules if rule.matches(*texts, linked=True)), None)
        if first is not None and first.asks:
            links = [at(tables.links, sample.link_index) for sample in profile.samples]
            found |= {link.trace_id for link in links if is_linked(link)}
    return found


def fate_by(rules: Sequence[PlainRule], place: int | None, link: Link, profile_id: bytes) -> Fate:
    """What a rule makes of a Sample."""
    if place is None:
        return Fate(None, "kept")
    rule = rules[place]
    outcomes = {"keep": "kept", "drop": "dropped", "demote": "demoted", "reject": "rejected"}
    if rule.action != "sample":
        return Fate(place, outcomes[rule.action])
    if not rule.keeps(link, profile_id):
        return Fate(place, outcomes[rule.otherwise])
    return Fate(place, "kept", rule.threshold if rule.otherwise == "drop" else 0)
