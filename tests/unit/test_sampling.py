"""The `sampling` processor: its configuration, its policy in words, and what it counts."""

from __future__ import annotations

from typing import Any

import pytest
import structlog
from pydantic import ValidationError

from otelprof._core import Profiles
from otelprof.component import ComponentSettings, Kind
from otelprof.config.explain import explain
from otelprof.config.rules import MAX_RULES
from otelprof.model import ComponentId
from otelprof.processor.sampling.config import SamplingConfig
from otelprof.processor.sampling.sampling import Sampling
from otelprof.telemetry.metrics import PAYLOADS_DROPPED, Metrics
from otelprof.telemetry.policy_metrics import SAMPLING_SAMPLES
from otelprof.testing.clock import SimulatedClock
from tests.recordings import OWN

# 474 samples, 90 of them with a Link.
LINKED = OWN / "ebpf-linked" / "00005.otlp"

DOCUMENTED = [
    {"match": {"service.name": "checkout"}, "sampling_probability": 1.0},
    {"match": {"linked": True}, "sampling_probability": 0.1, "otherwise": "demote"},
]


def words(*rules: dict[str, Any]) -> tuple[str, ...]:
    """What these rules do."""
    return SamplingConfig.model_validate({"rules": rules}).in_words()


def problems(*rules: dict[str, Any]) -> list[str]:
    """Everything that is wrong with these rules."""
    data = {"rules": list(rules)}
    with pytest.raises(ValidationError) as caught:
        SamplingConfig.model_validate(data)
    return [str(one) for one in explain(caught.value, SamplingConfig, data, "sampling")]


def process(*rules: dict[str, Any]) -> tuple[Profiles, Metrics]:
    """A recording after these rules, and what was counted."""
    metrics = Metrics()
    component = ComponentId("sampling")
    logger = structlog.get_logger("test")
    settings = ComponentSettings(component, Kind.PROCESSOR, logger, metrics, SimulatedClock())
    processor = Sampling(SamplingConfig.model_validate({"rules": rules}), settings)
    processor.start()
    try:
        return processor.process(Profiles.decode(LINKED.read_bytes())), metrics
    finally:
        processor.shutdown()


def counted(metrics: Metrics) -> dict[tuple[str, str], float]:
    """Decisions by rule and outcome."""
    return {
        (sample.labels["rule"], sample.labels["outcome"]): sample.value
        for family in metrics.collect()
        if family.name == SAMPLING_SAMPLES.name
        for sample in family.samples
    }


def total(profiles: Profiles) -> int:
    """The sum of all values."""
    return sum(row.value for row in profiles.summary)


def test_in_words() -> None:
    """The documented policy reads as one would say it."""
    assert (
        "checkout: all samples stay",
        "linked: 10 % of traces stay, the rest is demoted",
        "everything else stays",
    ) == words(*DOCUMENTED)


@pytest.mark.parametrize(
    ("rule", "line"),
    [
        ({"th": "c"}, "linked: 25 % of traces stay (th c) and count 4 times, the rest is dropped"),
        (
            {"by": "profile", "sampling_probability": 0.5},
            "everything: 50 % of profiles stay and count 2 times, the rest is dropped",
        ),
        (
            {"match": {"linked": False}, "sampling_probability": 0.01, "otherwise": "demote"},
            "unlinked: 1 % of profiles stay, the rest is demoted",
        ),
        (
            {"match": {"service.name": ["a", "b"]}, "sampling_probability": 0.125, "mode": "java"},
            (
                "a or b, linked: 12.5 % of traces stay (those that the ratio sampler of Java's SDK keeps) "
                "and count 8 times, the rest is dropped"
            ),
        ),
        (
            {"match": {"k8s.namespace.name": "shop", "sample_type": "cpu"}, "action": "demote"},
            "k8s.namespace.name shop, sample type cpu: all samples are demoted",
        ),
        ({"sampling_probability": 0}, "everything: all samples are dropped"),
        ({"sampling_probability": 0, "otherwise": "demote"}, "everything: all samples are demoted"),
        ({"sampling_probability": 1}, "everything: all samples stay"),
        ({"th": "0"}, "everything: all samples stay"),
    ],
)
def test_each_rule_in_words(rule: dict[str, Any], line: str) -> None:
    """Every kind of rule is one line."""
    assert line == words(rule)[0]


def test_the_rest_is_named_only_where_there_is_one() -> None:
    """After a rule for everything nothing is left; a rule by trace leaves the unlinked samples."""
    assert ("everything: all samples stay",) == words({"action": "keep"})
    assert ("a: all samples stay", "everything else: all samples are dropped") == words(
        {"match": {"service.name": "a"}, "action": "keep"}, {"action": "drop"}
    )
    assert "everything else stays" == words({"sampling_probability": 0.5})[-1]


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ({}, ": the rule does nothing: give one of sampling_probability, th, action"),
        (
            {"th": "8", "action": "keep"},
            ": the rule has th and action: give one of sampling_probability, th, action",
        ),
        ({"th": "E666"}, ".th: 'E666' is not a threshold: write 1 to 14 of the digits 0-9 and a-f"),
        ({"th": 8}, ".th: must be a text (put it in quotes), not 8"),
        ({"sampling_probability": 1.5}, ".sampling_probability: must be less than or equal to 1, not 1.5"),
        ({"sampling_probability": -1}, ".sampling_probability: must be greater than or equal to 0, not -1"),
        ({"sampling_probability": True}, ".sampling_probability: must be a number, not true"),
        ({"sampling_probability": 1e-17}, ".sampling_probability: 1e-17 is less than 2^-56"),
        (
            {"sampling_probability": 0.5, "mode": "rust"},
            ".mode: must be 'consistent', 'python', 'java' or 'go'",
        ),
        ({"th": "8", "mode": "go"}, ": mode: go has no threshold: give its sampling_probability"),
        (
            {"by": "profile", "mode": "go", "sampling_probability": 0.5},
            ": mode: go decides by trace: it cannot be used by profile",
        ),
        ({"match": {"linked": False}, "by": "trace", "th": "8"}, ": by: trace is for linked samples"),
        ({"action": "keep", "otherwise": "drop"}, ": otherwise means nothing beside action: remove it"),
        ({"action": "reject"}, ".action: must be 'keep', 'drop' or 'demote', not 'reject'"),
        ({"name": "no_rule", "action": "keep"}, ".name: 'no_rule' is what otelprof itself calls a rule"),
        ({"name": "a b", "action": "keep"}, ".name: 'a b' is not a rule's name"),
        ({"match": {"a.b": 1.5}, "action": "keep"}, ".match.a.b: 1.5 cannot be matched"),
        ({"match": {"a.b": []}, "action": "keep"}, ".match.a.b: an empty list matches nothing"),
        ({"match": {"sample_type": "cpu:ns"}, "action": "keep"}, ".match.sample_type: 'cpu:ns' has a unit"),
    ],
)
def test_wrong_rules(rule: dict[str, Any], problem: str) -> None:
    """What is wrong with a rule is said with its place and what is allowed."""
    assert [f"sampling.rules[0]{problem}"] == [text[: 17 + len(problem)] for text in problems(rule)]


def test_all_problems_at_once() -> None:
    """Every rule's problems are told together, each with the nearest known key."""
    assert [
        (
            "sampling.rules[0].match.service_name: 'service_name' is no resource attribute that is known, "
            "and nearly a key of match (did you mean 'service.name'?)"
        ),
        (
            "sampling.rules[1].otherwize: is not a known key; known are name, match, sampling_probability, "
            "th, action, by, mode, otherwise (did you mean 'otherwise'?)"
        ),
    ] == problems({"match": {"service_name": "a"}, "th": "8"}, {"th": "8", "otherwize": "drop"})


def test_rules_are_bounded_and_told_apart() -> None:
    """There is at least one rule, there are not too many, and no two have one name."""
    keep = {"action": "keep"}
    assert [
        "sampling.rules: without a rule everything stays: give at least one, or remove the processor"
    ] == (problems())
    assert [f"sampling.rules: there are {MAX_RULES + 1} rules; up to {MAX_RULES} are allowed"] == (
        problems(*[keep] * (MAX_RULES + 1))
    )
    assert ["sampling.rules: a: more than one rule has this name"] == (
        problems({"name": "a", **keep}, {"name": "a", **keep})
    )


def test_values_that_are_no_texts_match() -> None:
    """A whole number and a boolean stand for how they are written."""
    rules = [{"match": {"a.b": [1, True, "x"]}, "action": "keep"}]
    (rule,) = SamplingConfig.model_validate({"rules": rules}).rules
    assert {"a.b": ("1", "true", "x")} == rule.match.resource


def test_decisions_are_counted() -> None:
    """Each rule's decisions are counted under its name or place, and what no rule was for, too."""
    profiles, metrics = process(
        {"name": "linked", "match": {"linked": True}, "sampling_probability": 0, "otherwise": "demote"},
        {"match": {"service.name": "linked-java"}, "action": "drop"},
    )
    found = counted(metrics)
    assert 90 == found["linked", "demoted"]
    assert {"linked", "rule_2", "no_rule"} == {rule for rule, _ in found}
    assert 474 == sum(found.values())
    assert 0 == sum(row.linked_sample_count for row in profiles.summary)


def test_probability_one_changes_nothing() -> None:
    """What stays as a whole is passed on byte for byte, and unlinked samples of the rule stay, too."""
    profiles, metrics = process({"sampling_probability": 1.0})
    assert Profiles.decode(LINKED.read_bytes()).to_otlp() == profiles.to_otlp()
    assert {("rule_1", "kept"): 474.0} == counted(metrics)
    assert 0 == metrics.value(PAYLOADS_DROPPED, processor="sampling")


def test_probability_zero_is_never() -> None:
    """Probability 0 does with all samples what is done otherwise."""
    dropped, _ = process({"sampling_probability": 0})
    demoted, _ = process({"sampling_probability": 0, "otherwise": "demote"})
    whole = Profiles.decode(LINKED.read_bytes())
    assert (0, total(whole)) == (total(dropped), total(demoted))


def test_unlinked_samples_pass_a_rule_by_trace() -> None:
    """A rule by trace without `linked` is for linked samples; the others are held against the next one."""
    _, metrics = process({"th": "8"}, {"action": "drop"})
    found = counted(metrics)
    assert 90 == found.get(("rule_1", "kept"), 0) + found.get(("rule_1", "dropped"), 0)
    assert 384 == found["rule_2", "dropped"]


@pytest.mark.parametrize("mode", ["consistent", "python", "java", "go"])
def test_every_mode_keeps_its_share(mode: str) -> None:
    """In every mode a half of the traces stays, give or take, and the rest is demoted without a loss."""
    rule = {"match": {"linked": True}, "sampling_probability": 0.5, "mode": mode, "otherwise": "demote"}
    profiles, metrics = process(rule)
    found = counted(metrics)
    assert 10 < found["rule_1", "kept"] < 80
    assert 90 == found["rule_1", "kept"] + found["rule_1", "demoted"]
    assert total(Profiles.decode(LINKED.read_bytes())) == total(profiles)
