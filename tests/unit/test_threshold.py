"""Thresholds, and the bounds of SDK samplers."""

from __future__ import annotations

import random

import pytest

from otelprof._core import Policy, Profiles, Rule
from otelprof.processor.sampling.threshold import (
    MIN_PROBABILITY,
    RANDOMNESS_END,
    adjusted_count,
    go_bound,
    java_bound,
    parse_th,
    probability_of,
    python_bound,
    th_text,
    threshold_of,
)
from tests.recordings import OWN

LINKED = OWN / "ebpf-linked" / "00005.otlp"


@pytest.mark.parametrize(
    ("probability", "th", "count"),
    [
        (1.0, "0", 1.0),
        (0.5, "8", 2.0),
        (0.25, "c", 4.0),
        (0.125, "e", 8.0),
        (1 / 3, "aaaaaaaaaaaaac", 3.0),
        (0.1, "e6666666666666", 10.0),
        (0.01, "fd70a3d70a3d71", 100.0),
        (MIN_PROBABILITY, "ffffffffffffff", float(RANDOMNESS_END)),
    ],
)
def test_known_values(probability: float, th: str, count: float) -> None:
    """Probability, `th` and adjusted count of the OpenTelemetry specification and of its SDKs."""
    threshold = threshold_of(probability)
    assert th == th_text(threshold)
    assert pytest.approx(count) == adjusted_count(threshold)
    assert pytest.approx(probability, rel=1e-15, abs=MIN_PROBABILITY / 2) == probability_of(threshold)


def test_texts_come_back() -> None:
    """What is written is read as the same threshold, with or without its zeros at the end."""
    chance = random.Random(1)  # noqa: S311 - repeatable, not secret
    thresholds = [0, 1, RANDOMNESS_END - 1]
    thresholds += [chance.randrange(RANDOMNESS_END) >> bits << bits for bits in range(56) for _ in range(20)]
    assert thresholds == [parse_th(th_text(threshold)) for threshold in thresholds]
    assert thresholds == [parse_th(f"{threshold:014x}") for threshold in thresholds]


@pytest.mark.parametrize(
    "text", ["", "fffffffffffffff", "E666", "0x8", " 8", "8 ", "+8", "-8", "8_0", "8.", "g", "\uff18", "8\n"]
)
def test_texts_are_strict(text: str) -> None:
    """What `int(text, 16)` would let through is no threshold."""
    with pytest.raises(ValueError, match="write 1 to 14 of the digits"):
        parse_th(text)


@pytest.mark.parametrize("probability", [0.0, -0.1, 1.0000001, MIN_PROBABILITY / 2, float("nan")])
def test_never_has_no_threshold(probability: float) -> None:
    """Below 2^-56, and above 1, there is no threshold to be had."""
    with pytest.raises(ValueError, match=r"2\^-56 to 1 is allowed"):
        threshold_of(probability)


@pytest.mark.parametrize(
    ("probability", "python", "java", "go"),
    [
        (0.1, 1844674407370955264, 922337203685477632, 922337203685477632),
        (0.01, 184467440737095520, 92233720368547760, 92233720368547760),
        (0.5, 1 << 63, 1 << 62, 1 << 62),
        (0.75, 3 << 62, 3 << 61, 3 << 61),
        (1.0, 1 << 64, (1 << 63) - 1, 1 << 63),
        # Python rounds to the nearest, Java and Go cut off.
        (3 * 2.0**-65, 2, 0, 0),
    ],
)
def test_bounds(probability: float, python: int, java: int, go: int) -> None:
    """Each language computes its own bound, in floating point and with its own rounding."""
    assert (python, java, go) == (
        python_bound(probability),
        java_bound(probability),
        go_bound(probability),
    )


def test_the_core_writes_the_same_text() -> None:
    """The attribute that the core puts on a sampled Profile is the threshold as it is written here."""
    threshold = threshold_of(0.1)
    rule = Rule("sample", linked=True, threshold=threshold, otherwise="demote")
    message = Profiles.decode(LINKED.read_bytes()).select(Policy([rule])).profiles.to_proto()
    tables = message.dictionary
    written = {
        tables.attribute_table[index].value.string_value
        for resource in message.resource_profiles
        for scope in resource.scope_profiles
        for profile in scope.profiles
        for index in profile.attribute_indices
        if tables.string_table[tables.attribute_table[index].key_strindex] == "otelprof.sampling.threshold"
    }
    assert {th_text(threshold)} == written
