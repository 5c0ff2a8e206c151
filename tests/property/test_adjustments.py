"""The laws of adjustments: a raised threshold only takes away, and a lifted service keeps everything."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otelprof._core import Adjustments, Profiles
from tests.property.test_traces import IDS, observed, trace_requests
from tests.recordings import OWN, name, recordings
from tests.reference.adjustments import PlainAdjustments
from tests.reference.build import Build
from tests.reference.compare import on_the_wire
from tests.reference.pieces import parts
from tests.reference.policies import ADJUSTMENTS, BOUNDS, DEMOTING, RULES, THRESHOLDS, traced_requests
from tests.reference.policy import BY, RANGE, PlainRule, policy
from tests.reference.selected import INCIDENT, assert_selected, kept_links, named, totals

if TYPE_CHECKING:
    from pathlib import Path

    from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
        ExportProfilesServiceRequest,
    )

RECORDINGS = [path for path in recordings() if OWN in path.parents]
FEWER = settings(max_examples=settings().max_examples // 2)
EVERYTHING = PlainAdjustments(lifted=frozenset({""}))
SPAN = b"spanspan"


@given(st.data(), traced_requests(), RULES, ADJUSTMENTS)
def test_adjusted(
    data: Any,
    request: ExportProfilesServiceRequest,
    rules: list[PlainRule],
    adjustments: PlainAdjustments,
) -> None:
    """Every Sample fares as the rules in force for its service say, and is counted for it."""
    links = [link for link in request.dictionary.link_table if any(link.trace_id)]
    ids = [link.trace_id for link in links] or IDS
    known, decisions = observed(data.draw(st.lists(trace_requests(ids, [SPAN]), max_size=2)))

    assert_selected(Profiles.decode(request.SerializeToString()), rules, known, decisions, adjustments)


@FEWER
@given(traced_requests(), THRESHOLDS, BOUNDS, st.sampled_from(BY), st.lists(THRESHOLDS, max_size=2))
def test_nested(
    request: ExportProfilesServiceRequest, threshold: int, bound: int, by: str, raised: list[int]
) -> None:
    """What is kept at an adjusted threshold is kept at every lower one, and without any."""
    profiles = Profiles.decode(request.SerializeToString())
    rules = [PlainRule("sample", by=by, threshold=threshold, bound=bound, otherwise="demote")]
    kept = [
        kept_links(on_the_wire(profiles.select(policy(rules), adjustments=adjustments).profiles))
        for adjustments in [None, *(Adjustments(thresholds={"": least}) for least in sorted(raised))]
    ]

    assert not [fewer - more for more, fewer in pairwise(kept) if fewer - more]


@FEWER
@given(traced_requests(), DEMOTING, ADJUSTMENTS)
def test_demoted_totals(
    request: ExportProfilesServiceRequest, rules: list[PlainRule], adjustments: PlainAdjustments
) -> None:
    """Demotion leaves all totals as they are, whatever is adjusted."""
    profiles = Profiles.decode(request.SerializeToString())
    after = profiles.select(policy(rules), adjustments=adjustments.core()).profiles

    assert totals(on_the_wire(profiles)) == totals(on_the_wire(after))


@FEWER
@given(traced_requests(), RULES)
def test_nothing_adjusted(request: ExportProfilesServiceRequest, rules: list[PlainRule]) -> None:
    """Adjustments that are empty, or of another service, change no byte."""
    profiles = Profiles.decode(request.SerializeToString())
    empty = [Adjustments(), Adjustments(thresholds={"other": 1}, spared={"other": 1}, lifted={"other"})]
    plain = profiles.select(policy(rules)).profiles.to_otlp()

    assert [plain] * 2 == [
        profiles.select(policy(rules), adjustments=one).profiles.to_otlp() for one in empty
    ]


@FEWER
@given(traced_requests(), THRESHOLDS, st.sampled_from(BY), st.sampled_from(["drop", "demote"]))
def test_lifted(request: ExportProfilesServiceRequest, threshold: int, by: str, otherwise: str) -> None:
    """A lifted service keeps every Sample, unscaled, and a second hop finds nothing to do."""
    profiles = Profiles.decode(request.SerializeToString())
    rules = policy(
        [
            PlainRule("drop", trace=("unknown",), linked=False),
            PlainRule("demote", trace=("kept", "error")),
            PlainRule("sample", by=by, threshold=threshold, otherwise=otherwise),
            PlainRule("sample", by="profile", threshold=threshold, otherwise=otherwise),
        ]
    )
    adjustments = Adjustments(thresholds={"": RANGE - 1}, lifted={"checkout", "cart", "unknown_service"})
    once = profiles.select(rules, adjustments=adjustments).profiles
    twice = Profiles.decode(once.to_otlp()).select(rules, adjustments=adjustments)

    assert totals(on_the_wire(profiles)) == totals(on_the_wire(once))
    assert kept_links(on_the_wire(profiles)) == kept_links(on_the_wire(once))
    assert once.to_otlp() == twice.profiles.to_otlp()
    assert 0 == twice.payloads_dropped


@pytest.mark.parametrize("path", RECORDINGS, ids=name)
def test_recording(path: Path) -> None:
    """A recording comes out as the rules in force say, raised and lifted."""
    rules = [
        PlainRule("sample", threshold=RANGE // 10, otherwise="demote"),
        PlainRule("sample", by="profile", threshold=1),
    ]
    profiles = Profiles.decode(path.read_bytes())
    for adjustments in (PlainAdjustments(thresholds={"": RANGE // 2}), EVERYTHING):
        assert_selected(profiles, rules, adjustments=adjustments)


def test_fixed_rules_stand() -> None:
    """What is never wanted is not wanted in an incident either; what such a rule judged is not marked."""
    build = Build()
    scope = build.scope({"service.name": "cart"})
    build.sample(build.profile(scope, b"a profile's id 1", "wall"), 1, link=(bytes(15) + b"\1", SPAN))
    build.sample(build.profile(scope, b"a profile's id 2", "cpu"), 1, link=(bytes(15) + b"\1", SPAN))
    build.sample(build.profile(scope, b"a profile's id 3", "alloc"), 1)
    rules = [
        PlainRule("drop", sample_types=("wall",)),
        PlainRule("sample", threshold=RANGE // 2),
    ]
    selected = Profiles.decode(build.body).select(policy(rules), adjustments=Adjustments(lifted=["cart"]))
    left = parts(on_the_wire(selected.profiles))

    assert [b"a profile's id 2", b"a profile's id 3"] == [part.profile_id for part in left]
    assert [[(INCIDENT, ("string_value", "true"), "")], []] == [named(part, INCIDENT) for part in left]
    assert 1 == selected.lifted


def test_spared() -> None:
    """Rules for error and slow traces have a threshold of their own; a rule for more than these has not."""
    low, high = RANGE // 4, RANGE // 2
    adjustments = PlainAdjustments(thresholds={"": high}, spared={"cart": low})
    asked: list[dict[str, Any]] = [
        {"trace": ("error",)},
        {"slower_than_nanos": 5},
        {"trace": ("error", "unknown")},
        {"trace": ("kept",)},
        {},
    ]
    rules = [PlainRule("sample", **one) for one in asked]

    assert [low, low, high, high, high] == [rule.threshold for rule in adjustments.in_force(rules, "cart")]
    assert [0, 0, high, high, high] == [rule.threshold for rule in adjustments.in_force(rules, "other")]


@pytest.mark.parametrize("threshold", [-1, RANGE, 2**63])
def test_threshold_out_of_range(threshold: int) -> None:
    """A threshold that is none is refused, and named with its service."""
    with pytest.raises(ValueError, match=rf'thresholds\["cart"\] is {threshold}; 0 to less than 2\^56'):
        Adjustments(thresholds={"cart": threshold})
    with pytest.raises(ValueError, match=r"spared"):
        Adjustments(spared={"": threshold})
