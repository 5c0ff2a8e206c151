"""What a policy must come to: the right Samples, unchanged, scaled, or demoted with equal totals."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.reference.adjustments import PlainAdjustments
from tests.reference.compare import assert_conformance, on_the_wire, rejected
from tests.reference.meaning import Reader, SampleMeaning, bag
from tests.reference.pieces import NO_PAYLOAD, Part, parts
from tests.reference.policy import NOTHING, RANGE, Fate, PlainRule, fates, policy, th
from tests.reference.summary import service_name
from tests.reference.tables import Tables, profiles_of
from tests.reference.validate import INT64, PROFILE_ID_BYTES

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
        ExportProfilesServiceRequest,
    )
    from opentelemetry.proto.profiles.v1development.profiles_pb2 import Profile

    from otelprof._core import Profiles, Selected, TraceDecisions
    from tests.reference.meaning import Bag
    from tests.reference.traces import PlainDecisions

DEMOTED: Final = "otelprof.demoted"
THRESHOLD: Final = "otelprof.sampling.threshold"
INCIDENT: Final = "otelprof.incident"
LIMITS: Final = (INT64[0], INT64[0] + 1, INT64[-1])
"""Where a scaled value may end that 64 bits cannot hold."""

Totals = Counter[tuple["Hashable", ...]]
Marks = dict[str, str]
"""Attributes of a Profile by key."""


def assert_selected(
    before: Profiles,
    rules: Sequence[PlainRule],
    traces: TraceDecisions | None = None,
    decisions: PlainDecisions = NOTHING,
    adjustments: PlainAdjustments | None = None,
) -> Selected:
    """The core makes of a request what its rules say, well formed, and counts what it does.

    Args:
        before: the request.
        rules: what is done.
        traces: what the core knows of traces.
        decisions: the same, as the twin knows it.
        adjustments: what changes the rules.
    """
    given = adjustments.core() if adjustments else None
    selected = before.select(policy(rules), traces, adjustments=given, annotates=False)
    request = on_the_wire(before)
    adjusted = adjustments or PlainAdjustments()
    wanted = fates(request, rules, decisions, partial(adjusted.in_force, rules))
    after = on_the_wire(selected.profiles)

    assert_conformance(after)
    assert_combined(after)
    assert_read_again(selected.profiles)
    rest = parts(after)
    payloads_dropped = 0
    for part, service, decided in zip(parts(request), services(request), wanted, strict=True):
        is_rejected = any(fate.outcome == "rejected" for fate in decided)
        if not is_rejected:
            marks = marks_of(decided, rules, adjusted, service)
            rest = assert_part(part, decided, marks, rest)
            payloads_dropped += part.payload[1] != b"" and is_changed(decided, marks)
    assert [] == rest
    assert payloads_dropped == selected.payloads_dropped
    assert_counts(before, selected, wanted, len(rules))
    if adjustments:
        stay = fates(request, rules, decisions, partial(adjustments.without_lift, rules))
        assert_services(selected, services(request), wanted)
        assert lifted_count(wanted, stay) == selected.lifted
    else:
        assert ([], 0) == (list(selected.services), selected.lifted)
    return selected


def services(request: ExportProfilesServiceRequest) -> list[str]:
    """The service of each Profile of a request."""
    reader = Reader(Tables(request.dictionary))
    return [service_name(reader, group.resource) for group, *_ in profiles_of(request)]


def assert_services(selected: Selected, names: Sequence[str], wanted: Sequence[Sequence[Fate]]) -> None:
    """What each rule did is counted by service too."""
    counts = Counter(
        (name, fate.rule, fate.outcome)
        for name, decided in zip(names, wanted, strict=True)
        for fate in decided
    )
    told = {
        (row.service, row.rule, outcome): getattr(row.decided, outcome)
        for row in selected.services
        for outcome in ("kept", "dropped", "demoted", "rejected")
    }

    assert {(row.service, row.rule) for row in selected.services} == {key[:2] for key in counts}
    assert len(selected.services) * 4 == len(told)
    assert dict(counts) == {key: count for key, count in told.items() if count}


def lifted_count(wanted: Sequence[Sequence[Fate]], stay: Sequence[Sequence[Fate]]) -> int:
    """Samples that stay, and would not if nothing was lifted."""
    return sum(
        fate.outcome == "kept" != other.outcome
        for decided, others in zip(wanted, stay, strict=True)
        for fate, other in zip(decided, others, strict=True)
    )


def assert_combined(request: ExportProfilesServiceRequest) -> None:
    """Demoted Samples of one {stack, attributes}, by index, are one if a Sample can hold their sum."""
    for number, (*_, profile) in enumerate(profiles_of(request)):
        if not is_demoted(request, profile):
            continue
        groups: dict[tuple[int, ...], list[int]] = {}
        for sample in profile.samples:
            identity = (sample.stack_index, *sorted(sample.attribute_indices))
            groups.setdefault(identity, []).append(sample.values[0])
        assert [] == [
            (number, values) for values in groups.values() if len(values) > 1 and sum(values) in INT64
        ]


def is_demoted(request: ExportProfilesServiceRequest, profile: Profile) -> bool:
    """Whether a Profile holds what was demoted."""
    dictionary = request.dictionary
    keys = [dictionary.attribute_table[index].key_strindex for index in profile.attribute_indices]
    return DEMOTED in [dictionary.string_table[key] for key in keys]


def assert_read_again(profiles: Profiles) -> None:
    """What is handed on is read without a repair or a rejection, and handed on as it is."""
    body = profiles.to_otlp()
    again = type(profiles).decode(body)

    assert {} == again.repairs
    assert {} == rejected(again)
    assert body == again.to_otlp()
    assert (again.profile_count, again.sample_count) == (profiles.profile_count, profiles.sample_count)


def assert_counts(
    before: Profiles, selected: Selected, wanted: Sequence[Sequence[Fate]], rule_count: int
) -> None:
    """What each rule did is counted, and every Sample of the request once; refusals are in `rejections`."""
    counts = Counter((fate.rule, fate.outcome) for decided in wanted for fate in decided)
    places = [*range(rule_count), None]
    refused = [decided for decided in wanted if any(fate.outcome == "rejected" for fate in decided)]
    told = [(row.kept, row.dropped, row.demoted, row.rejected) for row in selected.decided]

    assert [
        tuple(counts[place, outcome] for outcome in ("kept", "dropped", "demoted", "rejected"))
        for place in places
    ] == told
    assert before.sample_count == sum(map(sum, told))
    assert (len(refused), sum(map(len, refused))) == refused_by_policy(selected.profiles)


def refused_by_policy(profiles: Profiles) -> tuple[int, int]:
    """How many Profiles a policy refused, and how many Samples they hold."""
    found = [row for row in profiles.rejections if row.reason == "policy"]
    return sum(row.profile_count for row in found), sum(row.sample_count for row in found)


def assert_part(part: Part, decided: Sequence[Fate], marks: Marks, rest: list[Part]) -> list[Part]:
    """What comes next is what is left of a Profile, then what was demoted of it; the rest is for others."""
    rest = list(rest)
    pairs = list(zip(part.samples, decided, strict=True))
    kept = [(sample, fate) for sample, fate in pairs if fate.outcome == "kept"]
    demoted = [sample for sample, fate in pairs if fate.outcome == "demoted"]
    if kept or not pairs:
        assert_original(part, kept, marks, rest.pop(0))
    if demoted:
        assert_sibling(part, demoted, rest.pop(0))
    return rest


def marks_of(
    decided: Iterable[Fate], rules: Sequence[PlainRule], adjustments: PlainAdjustments, service: str
) -> Marks:
    """The attributes that a Profile gets.

    These are the thresholds that its Samples were held against, but zero, and whether its service is lifted.
    """
    places = {fate.rule for fate in decided if fate.rule is not None}
    in_force = adjustments.in_force(rules, service)
    used = {
        th(rule.threshold)
        for rule in (in_force[place] for place in places)
        if rule.action == "sample" and rule.threshold
    }
    marks = {THRESHOLD: ",".join(sorted(used))} if used else {}
    if any(adjustments.lifts(rules[place], service) for place in places):
        marks[INCIDENT] = "true"
    return marks


def is_changed(decided: Sequence[Fate], marks: Marks) -> bool:
    """Whether anything about a Profile changes."""
    return any(fate.outcome != "kept" for fate in decided) or bool(marks)


def assert_original(
    part: Part, kept: Sequence[tuple[SampleMeaning, Fate]], marks: Marks, actual: Part
) -> None:
    """A Profile keeps everything but the Samples that went, and what their values stand for."""
    changed = bool(marks) or len(kept) < len(part.samples)

    assert without(part, THRESHOLD, INCIDENT) == without(actual, THRESHOLD, INCIDENT)
    for key in (THRESHOLD, INCIDENT):
        if key in marks:
            assert [(key, ("string_value", marks[key]), "")] == named(actual, key)
        else:
            assert named(part, key) == named(actual, key)
    assert part.profile_id == actual.profile_id
    assert (NO_PAYLOAD if changed and part.payload[1] else part.payload) == actual.payload
    assert len(kept) == len(actual.samples)
    for (wanted, fate), sample in zip(kept, actual.samples, strict=True):
        assert wanted._replace(values=()) == sample._replace(values=())
        assert_scaled(wanted, fate.threshold, sample)


def assert_scaled(wanted: SampleMeaning, threshold: int, sample: SampleMeaning) -> None:
    """Each value is one of the two next to the exact one; without a threshold, the same."""
    before, after = explicit(wanted), explicit(sample)
    assert len(before) == len(after)
    for value, scaled in zip(before, after, strict=True):
        exact = (value * RANGE, RANGE - threshold)
        ends = {exact[0] // exact[1], -(-exact[0] // exact[1])}
        assert scaled in ends or (scaled in LIMITS and not any(end in INT64[1:] for end in ends))


def explicit(sample: SampleMeaning) -> tuple[int, ...]:
    """Values of a Sample; without any, 1 for each timestamp."""
    return sample.values or (1,) * len(sample.timestamps)


def assert_sibling(part: Part, demoted: Sequence[SampleMeaning], actual: Part) -> None:
    """A sibling says what its Profile says, and of its Samples the exact totals by stack and attributes."""
    wanted = Counter[tuple[object, object]]()
    for sample in demoted:
        wanted[sample.stack, sample.attributes] += sum(explicit(sample))
    held = Counter[tuple[object, object]]()
    for sample in actual.samples:
        held[sample.stack, sample.attributes] += sum(sample.values)

    assert without(part, DEMOTED) == without(actual, DEMOTED)
    assert [(DEMOTED, ("string_value", "true"), "")] == named(actual, DEMOTED)
    assert part.profile_id != actual.profile_id
    assert (PROFILE_ID_BYTES, True) == (len(actual.profile_id), any(actual.profile_id))
    assert NO_PAYLOAD == actual.payload
    assert {(None, (), 1)} == {(one.link, one.timestamps, len(one.values)) for one in actual.samples}
    assert dict(wanted) == dict(held)


class Head(NamedTuple):
    """What a Profile says besides its id and its Samples, some attributes left out."""

    head: object
    attributes: Bag


def without(part: Part, *keys: str) -> Head:
    """What a Profile says, some attributes left out."""
    kept = [item for item, count in part.head.attributes for _ in range(count) if key_of(item) not in keys]
    return Head(part.head._replace(attributes=bag([])), bag(kept))


def named(part: Part, key: str) -> list[Hashable]:
    """The attributes of a Profile with a key."""
    return [item for item, count in part.head.attributes for _ in range(count) if key_of(item) == key]


def key_of(attribute: Hashable) -> str:
    """The key of an attribute as `Reader.attribute` tells it."""
    assert isinstance(attribute, tuple)
    return str(attribute[0])


def totals(request: ExportProfilesServiceRequest) -> Totals:
    """The total for each resource, sample type and resolved stack; those of zero are left out."""
    found: Totals = Counter()
    for part in parts(request):
        for sample in part.samples:
            found[part.head.resource, part.head.sample_type, sample.stack] += sum(explicit(sample))
    return Counter({key: total for key, total in found.items() if total})


def kept_links(request: ExportProfilesServiceRequest) -> Counter[SampleMeaning]:
    """The linked Samples of a request, without their values."""
    return Counter(
        sample._replace(values=()) for part in parts(request) for sample in part.samples if sample.link
    )
