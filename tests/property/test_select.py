"""The laws of a policy: the first rule that matches decides, alike everywhere, and totals stay true."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otelprof._core import Policy, Profiles
from tests.recordings import OWN, name, recordings
from tests.reference.build import Build
from tests.reference.compare import on_the_wire, rejected
from tests.reference.generate import requests
from tests.reference.meaning import difference, meaning
from tests.reference.policies import DEMOTING, RULES, THRESHOLDS, traced_requests
from tests.reference.policy import BY, RANGE, PlainRule, bound_of, fates, policy
from tests.reference.selected import assert_selected, kept_links, refused_by_policy, totals

if TYPE_CHECKING:
    from pathlib import Path

    from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
        ExportProfilesServiceRequest,
    )

ANY = st.one_of(traced_requests(), requests())
RECORDINGS = [path for path in recordings() if OWN in path.parents]
FEWER = settings(max_examples=settings().max_examples // 2)
"""For laws that take long to look at."""
SPAN = b"spanspan"
HALF = RANGE // 2

# Every action and every way to decide, on what real profilers send.
POLICIES = {
    "two rules": [
        PlainRule("keep", linked=True, resource=(("service.name", ("checkout",)),)),
        PlainRule("sample", threshold=RANGE // 10 * 9, otherwise="demote"),
    ],
    "drop": [PlainRule("sample", threshold=HALF), PlainRule("sample", by="profile", threshold=HALF)],
    "demote unlinked": [PlainRule("demote", linked=False)],
    "demote": [PlainRule("demote")],
    "reject": [PlainRule("reject", linked=True)],
    "go": [PlainRule("sample", by="go_ratio", threshold=HALF, bound=bound_of("go_ratio", 0.5))],
}


@given(ANY, RULES)
def test_policy(request: ExportProfilesServiceRequest, rules: list[PlainRule]) -> None:
    """Every Sample is kept, scaled, dropped, demoted or rejected as its rule says, and counted once."""
    assert_selected(Profiles.decode(request.SerializeToString()), rules)


@FEWER
@given(ANY, DEMOTING)
def test_demoted_totals(request: ExportProfilesServiceRequest, rules: list[PlainRule]) -> None:
    """Demotion leaves the total for each Resource, sample type and resolved stack as it is, exactly."""
    profiles = Profiles.decode(request.SerializeToString())
    after = profiles.select(policy(rules)).profiles

    assert totals(on_the_wire(profiles)) == totals(on_the_wire(after))
    assert sorted(profiles.fold()) == sorted(after.fold())


@FEWER
@given(ANY, RULES)
def test_again(request: ExportProfilesServiceRequest, rules: list[PlainRule]) -> None:
    """The same request under the same policy gives the same bytes, however it came."""
    body = request.SerializeToString()
    first = Profiles.decode(body)
    bytes_once = first.select(policy(rules)).profiles.to_otlp()

    assert bytes_once == Profiles.decode(body).select(policy(rules)).profiles.to_otlp()
    assert bytes_once == Profiles.decode(first.to_otlp()).select(policy(rules)).profiles.to_otlp()


@FEWER
@given(ANY)
def test_no_rules(request: ExportProfilesServiceRequest) -> None:
    """Without rules, or with such as keep everything, a request comes out with the same bytes."""
    profiles = Profiles.decode(request.SerializeToString())
    body = profiles.to_otlp()
    selected = profiles.select(Policy([]))
    kept = profiles.select(policy([PlainRule("keep")]))

    assert [body] * 2 == [selected.profiles.to_otlp(), kept.profiles.to_otlp()]
    assert [profiles.sample_count] == [row.kept for row in selected.decided]
    assert [profiles.sample_count, 0] == [row.kept for row in kept.decided]


@FEWER
@given(ANY, THRESHOLDS, THRESHOLDS, st.sampled_from(["drop", "demote"]))
def test_consistent(request: ExportProfilesServiceRequest, first: int, second: int, otherwise: str) -> None:
    """What is kept at a probability is kept at every higher one."""
    profiles = Profiles.decode(request.SerializeToString())
    for by in ("trace", "profile"):
        fewer, more = (
            kept_links(
                on_the_wire(
                    profiles.select(
                        policy([PlainRule("sample", by=by, threshold=threshold, otherwise=otherwise)])
                    ).profiles
                )
            )
            for threshold in (max(first, second), min(first, second))
        )

        assert not fewer - more


@FEWER
@given(st.lists(traced_requests(), min_size=2, max_size=4), THRESHOLDS, st.sampled_from(BY[:4]))
def test_one_fate(requests: list[ExportProfilesServiceRequest], threshold: int, by: str) -> None:
    """A trace is kept whole or not at all, in whichever request and Profile its Samples are."""
    probability = 1 - threshold / RANGE
    bound = min(bound_of(by, probability), 2**64 - 1)
    rules = [PlainRule("sample", by=by, threshold=threshold, bound=bound, otherwise="demote")]
    sent: Counter[bytes] = Counter()
    kept: Counter[bytes] = Counter()
    for request in requests:
        profiles = Profiles.decode(request.SerializeToString())
        sent += traces(on_the_wire(profiles))
        kept += traces(on_the_wire(profiles.select(policy(rules)).profiles))

    assert {trace: sent[trace] for trace in kept} == dict(kept)


def traces(request: ExportProfilesServiceRequest) -> Counter[bytes]:
    """How many Samples each trace has."""
    return Counter(
        trace_id
        for sample, count in kept_links(request).items()
        if sample.link
        for trace_id in [sample.link[0]] * count
    )


@FEWER
@given(traced_requests(), st.sampled_from(["drop", "demote"]))
def test_neighbours(request: ExportProfilesServiceRequest, other: str) -> None:
    """A rejected Profile is named in `rejections` for `policy`; its neighbours come out as without it."""
    rule = PlainRule("reject", linked=True)
    profiles = Profiles.decode(request.SerializeToString())
    refused = [
        any(fate.outcome == "rejected" for fate in one) for one in fates(on_the_wire(profiles), [rule])
    ]
    alone = type(request)()
    alone.CopyFrom(request)
    numbers = iter(refused)
    for resource_profiles in alone.resource_profiles:
        for scope_profiles in resource_profiles.scope_profiles:
            kept = [profile for profile in scope_profiles.profiles if not next(numbers)]
            del scope_profiles.profiles[:]
            scope_profiles.profiles.extend(kept)
    rules = [rule, PlainRule(other, sample_types=("wall",))]
    selected = profiles.select(policy(rules)).profiles
    wanted = Profiles.decode(alone.SerializeToString()).select(policy(rules)).profiles

    assert ([], []) == difference(meaning(on_the_wire(wanted)), meaning(on_the_wire(selected)))
    assert sum(refused) == refused_by_policy(selected)[0]
    assert all(row.message for row in selected.rejections)


@pytest.mark.parametrize("rules", POLICIES.values(), ids=POLICIES.keys())
@pytest.mark.parametrize("path", RECORDINGS, ids=name)
def test_recording(path: Path, rules: list[PlainRule]) -> None:
    """A recording comes out as the rules say."""
    assert_selected(Profiles.decode(path.read_bytes()), rules)


def test_kept_traces_survive_the_next_hop() -> None:
    """What one hop kept and scaled is kept by the next one with the same rule, and not scaled again."""
    build = Build()
    scope = build.scope({"service.name": "checkout"})
    build.sample(build.profile(scope, b"a profile's id 1"), 10, link=(b"\xff" * 16, SPAN))
    rules = policy([PlainRule("sample", threshold=HALF)])
    once = Profiles.decode(build.body).select(rules).profiles
    twice = once.select(rules).profiles

    assert [[("main", 20)]] * 2 == [once.fold(), twice.fold()]


def test_attribute_limit() -> None:
    """A Profile with as many attributes as are allowed can be read again afterwards."""
    build = Build()
    profile = build.profile(build.scope(), b"a profile's id 1")
    profile.attribute_indices.extend(build.attributes({f"key {number}": number for number in range(256)}))
    build.sample(profile, 1, link=(b"\xff" * 16, SPAN))
    build.sample(profile, 2)
    rules = policy([PlainRule("sample", threshold=HALF), PlainRule("demote")])
    after = Profiles.decode(build.body).select(rules).profiles

    assert {} == rejected(Profiles.decode(after.to_otlp()))


@pytest.mark.parametrize(
    ("value", "end"), [(2**63 - 1, 2**63 - 1), (2**62, 2**63 - 1), (-(2**62) - 1, -(2**63) + 1)]
)
def test_beyond_64_bits(value: int, end: int) -> None:
    """A value that can be scaled no further stays at the end of 64 bits: it never changes its sign."""
    build = Build()
    build.sample(build.profile(build.scope()), value, link=(b"\xff" * 16, SPAN))
    after = Profiles.decode(build.body).select(policy([PlainRule("sample", threshold=HALF)])).profiles

    assert [("main", end)] == after.fold()


def test_one_rejection_for_a_reason() -> None:
    """However many Profiles a policy refuses, they are one row of `rejections`."""
    build = Build()
    scope = build.scope()
    for number in range(3):
        build.sample(build.profile(scope, number.to_bytes(16)), 1)
    after = Profiles.decode(build.body).select(policy([PlainRule("reject")])).profiles

    assert [("policy", 3, 3)] == [
        (row.reason, row.profile_count, row.sample_count) for row in after.rejections
    ]
