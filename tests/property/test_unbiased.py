"""What is dropped is made up for: over many draws, totals come out as they were."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from random import Random
from statistics import mean, stdev

import pytest

from otelprof._core import Adjustments, Limits, Profiles
from tests.reference.blake3 import blake3
from tests.reference.build import Build
from tests.reference.compare import on_the_wire
from tests.reference.pieces import parts
from tests.reference.policy import RANGE, PlainRule, bound_of, policy
from tests.reference.selected import THRESHOLD, explicit
from tests.reference.tables import profiles_of

DRAWS = 2_000
TYPES = {"checkout": ("cpu", "wall"), "cart": ("cpu",)}
VALUES = (1, 2, 7, -3, 0, 1_000_003)
ALWAYS = b"\xff" * 16
SPAN = b"spanspan"
Key = tuple[object, object]


def draws(seed: str, *, dated: bool) -> bytes:
    """One request of 2,000 Profiles for each service and type: the same values, each time in other traces."""
    random = Random(seed)  # noqa: S311 - not for secrets
    build = Build()
    for service, sample_types in TYPES.items():
        scope = build.scope({"service.name": service})
        for sample_type in sample_types:
            for _ in range(DRAWS):
                profile = build.profile(scope, random.randbytes(16), sample_type)
                for number, value in enumerate(VALUES):
                    link = (random.randbytes(16), SPAN) if number else None
                    if dated:
                        build.sample(profile, link=link, moments=range(number + 1))
                    else:
                        build.sample(profile, value, link=link)
    return build.body


def assert_unbiased(body: bytes, rule: PlainRule, adjustments: Adjustments | None = None) -> None:
    """The mean total of a draw is within three standard errors of the truth, for each service and type."""
    before = Profiles.decode(body)
    after = before.select(policy([rule]), adjustments=adjustments).profiles
    truth: Counter[Key] = Counter()
    for part in parts(on_the_wire(before)):
        truth[part.head.resource, part.head.sample_type] += sum(map(sum, map(explicit, part.samples)))
    drawn: defaultdict[Key, list[int]] = defaultdict(list)
    for part in parts(on_the_wire(after)):
        drawn[part.head.resource, part.head.sample_type].append(sum(map(sum, map(explicit, part.samples))))

    assert set(truth) == set(drawn)
    for key, left in drawn.items():
        found = left + [0] * (DRAWS - len(left))
        assert math.isclose(
            truth[key] / DRAWS, mean(found), abs_tol=3 * stdev(found) / math.sqrt(DRAWS), rel_tol=0
        )


@pytest.mark.parametrize(("probability", "dated"), [(0.1, False), (0.3, False), (0.3, True), (0.9, False)])
def test_by_trace(probability: float, *, dated: bool) -> None:
    """Sampling by trace leaves totals true, at probabilities of which no inverse is a whole number too."""
    threshold = round((1 - probability) * RANGE)

    assert_unbiased(draws(f"trace {probability}", dated=dated), PlainRule("sample", threshold=threshold))


@pytest.mark.parametrize("by", ["python_ratio", "java_ratio", "go_ratio"])
def test_by_ratio(by: str) -> None:
    """Sampling as the SDKs do leaves totals true."""
    threshold, bound = round(0.7 * RANGE), bound_of(by, 0.3)

    assert_unbiased(draws(by, dated=False), PlainRule("sample", by=by, threshold=threshold, bound=bound))


def test_by_profile() -> None:
    """Sampling by Profile leaves totals true."""
    rule = PlainRule("sample", by="profile", threshold=round(0.7 * RANGE))

    assert_unbiased(draws("profile", dated=False), rule)


@pytest.mark.parametrize("by", ["trace", "java_ratio"])
def test_adjusted(by: str) -> None:
    """A threshold that is raised leaves totals true, whichever way decides."""
    rule = PlainRule("sample", by=by, threshold=RANGE // 10, bound=bound_of(by, 0.9))
    adjustments = Adjustments(thresholds={"": round(0.6 * RANGE), "cart": round(0.8 * RANGE)})

    assert_unbiased(draws(f"adjusted {by}", dated=False), rule, adjustments)


@pytest.mark.parametrize("ids", ["random", "counted", "alike in both halves"])
def test_rounding(ids: str) -> None:
    """Ones that all are kept, and stand for 4/3 each, come to 4/3 of their number, whatever the ids are."""
    random = Random(ids)  # noqa: S311 - not for secrets
    made = {
        "random": [random.randbytes(16) for _ in range(DRAWS)],
        "counted": [(number + 1).to_bytes(16) for number in range(DRAWS)],
        "alike in both halves": [2 * (number + 1).to_bytes(8) for number in range(DRAWS)],
    }[ids]
    build = Build()
    scope = build.scope()
    for number in range(DRAWS):
        profile = build.profile(scope, made[number])
        for _ in range(3):
            build.sample(profile, 1, link=(ALWAYS, SPAN))
    after = Profiles.decode(build.body).select(policy([PlainRule("sample", threshold=RANGE // 4)])).profiles
    columns: list[list[int]] = [[], [], []]
    for part in parts(on_the_wire(after)):
        for column, sample in zip(columns, part.samples, strict=True):
            column.extend(sample.values)

    error = math.sqrt(1 / 3 * 2 / 3 / DRAWS)
    assert [] == [mean(column) for column in columns if abs(mean(column) - 4 / 3) > 4 * error]


@pytest.mark.parametrize("share", [0.5, 0.1, 0.01])
def test_share_by_profile(share: float) -> None:
    """Of 20,000 Profiles about the right share is kept, each whole, and more at a higher probability."""
    random = Random(f"share {share}")  # noqa: S311 - not for secrets
    build = Build()
    scope = build.scope()
    for _ in range(20_000):
        profile = build.profile(scope, random.randbytes(16))
        build.sample(profile, 1)
        build.sample(profile, 2, link=(ALWAYS, SPAN))
    before = Profiles.decode(build.body, Limits(max_profiles=20_000))
    kept = []
    for probability in (share, min(2 * share, 1)):
        rule = PlainRule("sample", by="profile", threshold=round((1 - probability) * RANGE))
        after = on_the_wire(before.select(policy([rule])).profiles)
        kept.append({profile.profile_id: len(profile.samples) for *_, profile in profiles_of(after)})
    error = math.sqrt(share * (1 - share) / 20_000)

    assert math.isclose(share, len(kept[0]) / 20_000, abs_tol=4 * error, rel_tol=0)
    assert {2} == set(kept[0].values()) | set(kept[1].values())
    assert kept[0].keys() <= kept[1].keys()


def test_blake3() -> None:
    """The reference's BLAKE3 is that of the published test vectors."""
    assert "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262" == blake3(b"").hex()
    assert "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85" == blake3(b"abc").hex()


@pytest.mark.parametrize("text", ["8", "c", "4", "00000000000001", "ffffffffffffff"])
def test_threshold_text(text: str) -> None:
    """The threshold stands on a Profile as OpenTelemetry writes it: hexadecimal without trailing zeros."""
    build = Build()
    build.sample(build.profile(build.scope()), 1, link=(ALWAYS, SPAN))
    threshold = int(text.ljust(14, "0"), 16)
    after = Profiles.decode(build.body).select(policy([PlainRule("sample", threshold=threshold)])).profiles
    told = [part.head.attributes for part in parts(on_the_wire(after))]

    assert [frozenset({((THRESHOLD, ("string_value", text), ""), 1)})] == told
