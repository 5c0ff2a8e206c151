"""The laws of differences: they are the slow twin's, and add up; nothing is cumulative twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from otelprof._core import Deltas, Profiles
from tests.reference.build import START, Build
from tests.reference.compare import on_the_wire
from tests.reference.conformance import violations
from tests.reference.delta import Told, Twin, Values, told

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES = ("alloc_space", "delay")
# Service, sample type, when, whether it has a duration, values by stack.
PROFILES = st.tuples(
    st.sampled_from(("cart", "shop")),
    st.sampled_from(("alloc_space", "inuse_space")),
    st.integers(0, 4),
    st.booleans() | st.just(value=False),
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(-1, 9)), max_size=4),
)
Drawn = tuple[str, str, int, bool, list[tuple[str, int]]]


def request(drawn: Sequence[Drawn]) -> Build:
    """A request of such Profiles."""
    build = Build()
    for service, kind, when, lasts, values in drawn:
        profile = build.profile(build.scope({"service.name": service}), sample_type=kind)
        profile.time_unix_nano = START + when if when else 0
        profile.duration_nano = 5 if lasts else 0
        for stack, value in values:
            build.sample(profile, value, stack=stack)
    return build


def nonzero(found: Sequence[Told]) -> list[Told]:
    """Without samples that have no value."""
    return [(*one[:4], Values({key: n for key, n in one[4].items() if n})) for one in found]


@given(st.lists(st.lists(PROFILES, min_size=1, max_size=3), max_size=6))
def test_against_the_twin(drawn: list[list[Drawn]]) -> None:
    """What is left of request after request is what the slow twin leaves, and on the wire by its rules."""
    deltas, twin = Deltas(10_000), Twin()
    for one in drawn:
        profiles = Profiles.decode(request(one).body)
        found = deltas.differences(profiles, NAMES)
        left = on_the_wire(found.profiles)

        assert nonzero(twin.differences(on_the_wire(profiles), NAMES)) == nonzero(told(left))
        assert not found.profiles.profile_count or [] == violations(left)
        gone = found.baseline_sample_count + found.late_sample_count
        assert profiles.sample_count - gone == found.profiles.sample_count
        assert Deltas(10_000).differences(found.profiles, NAMES).profiles is found.profiles


@given(st.lists(st.lists(st.integers(0, 9), min_size=2, max_size=2), min_size=2, max_size=6))
def test_differences_add_up(grown: list[list[int]]) -> None:
    """Of counts that only grow, all differences together are the last less the first."""
    deltas, total, sent = Deltas(100), [1, 1], 0
    for when, growth in enumerate(grown, 1):
        total = [one + by for one, by in zip(total, growth, strict=True)]
        profile: Drawn = ("cart", "alloc_space", when, False, [("a", total[0]), ("b", total[1])])
        made = deltas.differences(Profiles.decode(request([profile]).body), NAMES).profiles
        sent += sum(row.value for row in made.summary)

    assert sum(map(sum, grown[1:])) == sent


def test_nothing_cumulative() -> None:
    """A request without cumulative Profiles is passed on as it is."""
    profiles = Profiles.decode(request([("cart", "alloc_space", 3, True, [("a", 1)])]).body)
    found = Deltas(10).differences(profiles, NAMES)

    assert found.profiles is profiles
    assert profiles is Deltas(10).differences(profiles, []).profiles


def test_what_is_remembered_is_bounded() -> None:
    """Over the bound, the series that was not seen for longest is forgotten, and begins anew."""
    deltas = Deltas(3)
    for when in (1, 2):
        for service in ("a", "b"):
            drawn: Drawn = (service, "delay", when, False, [("x", 1), ("y", 2)])
            found = deltas.differences(Profiles.decode(request([drawn]).body), NAMES)
            assert (2, 0) == (found.baseline_sample_count, found.profiles.sample_count)
            assert deltas.value_count <= 3

    assert 3 == deltas.evicted_series_count
