"""The `linkage` processor: its configuration, what it recovers and counts, and the watch over shares."""

from __future__ import annotations

from typing import Any

import pytest
import structlog
from pydantic import ValidationError
from structlog.testing import capture_logs

from otelprof._core import LINK_STATES, Profiles
from otelprof.component import ComponentSettings, Kind
from otelprof.config.explain import explain
from otelprof.model import ComponentId
from otelprof.processor import linked_share
from otelprof.processor.linkage import Linkage, LinkageConfig
from otelprof.processor.linked_share import MAX_SERVICES, MIN_SAMPLES, WINDOW_SECS, LinkedShares
from otelprof.telemetry.metrics import MAX_LABEL_CHARS, Metrics
from otelprof.telemetry.policy_metrics import (
    LINK_SAMPLES,
    LINK_VALUE,
    LINKAGE_SAMPLES,
    LINKED_SHARE_BELOW_MINIMUM,
)
from otelprof.testing.clock import SimulatedClock
from tests.recordings import OWN

LINKED = OWN / "ebpf-linked" / "00005.otlp"
RECOVERED_FROM = LinkageConfig().recover
SPECS = {"samples": LINK_SAMPLES, "value": LINK_VALUE, "decided": LINKAGE_SAMPLES}


class Bench:
    """A `linkage` processor with a clock of its own, and what it counted."""

    def __init__(self, **keys: Any) -> None:
        self.clock = SimulatedClock()
        self.metrics = Metrics()
        self.settings = ComponentSettings(
            ComponentId("linkage"),
            Kind.PROCESSOR,
            structlog.get_logger("test"),
            self.metrics,
            self.clock,
        )
        self.processor = Linkage(LinkageConfig.model_validate(keys), self.settings)

    def process(self) -> Profiles:
        """A recording, processed."""
        return self.processor.process(Profiles.decode(LINKED.read_bytes()))

    def by(self, what: str, *labels: str) -> dict[tuple[str, ...], int]:
        """The sums of a metric by some of its labels."""
        sums: dict[tuple[str, ...], int] = {}
        for family in self.metrics.collect():
            if family.name == SPECS[what].name:
                for sample in family.samples:
                    key = tuple(sample.labels[label] for label in labels)
                    sums[key] = sums.get(key, 0) + int(sample.value)
        return sums

    def is_below(self, service: str) -> float:
        """The warning of a service."""
        return self.metrics.value(LINKED_SHARE_BELOW_MINIMUM, processor="linkage", service=service)


def problems(**keys: Any) -> list[str]:
    """Everything that is wrong with these keys."""
    with pytest.raises(ValidationError) as caught:
        LinkageConfig.model_validate(keys)
    return [str(one) for one in explain(caught.value, LinkageConfig, keys, "linkage")]


def total(profiles: Profiles) -> int:
    """The sum of all values."""
    return sum(row.value for row in profiles.summary)


def test_links_are_recovered_and_counted() -> None:
    """Coverage is what the core found, by service, sample type and state, in samples and in value."""
    bench = Bench()
    bench.processor.start()
    profiles = bench.process()
    found = Profiles.decode(LINKED.read_bytes()).link(RECOVERED_FROM)
    assert found.profiles.to_otlp() == profiles.to_otlp()
    assert {
        (row.service, row.sample_type, row.state): row.sample_count for row in found.coverage
    } == bench.by("samples", "service", "sample_type", "state")
    assert {(row.service, row.sample_type, row.state): row.value for row in found.coverage} == bench.by(
        "value", "service", "sample_type", "state"
    )
    assert {("linked",): 90, ("recovered",): 101, ("missing",): 283} == bench.by("samples", "state")
    assert {"linked", "recovered", "missing"} <= set(LINK_STATES)
    bench.processor.shutdown()


def test_recovery_can_be_off() -> None:
    """Without names nothing is recovered, and the request goes on byte for byte."""
    bench = Bench(recover=[])
    assert Profiles.decode(LINKED.read_bytes()).to_otlp() == bench.process().to_otlp()
    assert {("linked",): 90, ("missing",): 384} == bench.by("samples", "state")


def test_keep_decides_nothing() -> None:
    """Where everything stays there are no decisions to count."""
    bench = Bench(rules=[{"match": {"service.name": "a"}, "unlinked": "keep"}])
    bench.process()
    assert {} == bench.by("decided", "rule")


def test_demote_keeps_totals() -> None:
    """Demoted samples stay in the totals, exactly, and linked ones stay as they are."""
    bench = Bench(unlinked="demote")
    profiles = bench.process()
    assert total(Profiles.decode(LINKED.read_bytes())) == total(profiles)
    assert 191 == sum(row.linked_sample_count for row in profiles.summary)
    assert {("unlinked", "demoted"): 283, ("no_rule", "kept"): 191} == bench.by("decided", "rule", "outcome")


def test_the_first_rule_that_matches_decides() -> None:
    """A rule goes before the general word, for those of its service alone."""
    keep = {"name": "java", "match": {"service.name": "linked-java"}, "unlinked": "keep"}
    bench = Bench(unlinked="drop", rules=[keep])
    profiles = bench.process()
    by_rule = bench.by("decided", "rule", "outcome")
    missing = bench.by("samples", "service", "state")["linked-java", "missing"]
    assert missing == by_rule["java", "kept"]
    assert 283 - missing == by_rule["unlinked", "dropped"]
    assert 191 + missing == profiles.sample_count


def test_reject_says_which_profiles() -> None:
    """A rejected Profile is in the rejections of what is left, with the service in the message."""
    bench = Bench(rules=[{"match": {"service.name": "linked-java"}, "unlinked": "reject"}])
    profiles = bench.process()
    (rejection,) = profiles.rejections
    assert ("policy", 1) == (rejection.reason, rejection.profile_count)
    assert "linked-java" in rejection.message
    assert {"unknown_service"} <= {row.service for row in profiles.summary}
    assert rejection.sample_count == bench.by("decided", "rule", "outcome")["rule_1", "rejected"]


def test_in_words() -> None:
    """What it does is a line each for links, rules, the rest, and the shares."""
    config = LinkageConfig.model_validate(
        {
            "recover": ["trace_id", "span_id"],
            "unlinked": "demote",
            "rules": [
                {"match": {"service.name": "batch"}, "unlinked": "drop"},
                {"match": {"sample_type": "cpu"}, "unlinked": "reject"},
            ],
            "min_linked_share": {"default": 0.2, "services": {"checkout": 0.9}},
        }
    )
    assert (
        "links are recovered from the attributes trace_id, span_id",
        "batch: unlinked samples are dropped",
        "sample type cpu: profiles with an unlinked sample are refused",
        "everything else: unlinked samples are demoted",
        (
            "a warning is raised when, over 5 minutes, less is linked than 0.9 of checkout, "
            "0.2 of every other service"
        ),
    ) == config.in_words()
    assert ("links are not recovered", "unlinked samples stay") == LinkageConfig(recover=()).in_words()


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        (
            {"unlinked": "droop"},
            ".unlinked: must be 'keep', 'demote', 'drop' or 'reject', not 'droop' (did you",
        ),
        ({"unlink": "drop"}, ".unlink: is not a known key; known are recover, unlinked, rules"),
        ({"recover": ["trace_id"]}, ".recover: names no attribute with span ids, and a link needs both"),
        ({"recover": ["span id"]}, ".recover: names no attribute with trace ids, and a link needs both"),
        ({"recover": ["trace", ""]}, ".recover: a name has 0 characters; 1 to 200 are allowed"),
        ({"recover": ["trace", "a"] * 33}, ".recover: there are 66 names; up to 64 are allowed"),
        ({"rules": [{"match": {}}]}, ".rules[0].unlinked: is required"),
        (
            {"rules": [{"match": {"linked": True}, "unlinked": "drop"}]},
            ".rules[0].match: linked means nothing here: rules of linkage are for unlinked samples",
        ),
        (
            {"rules": [{"match": {"servicename": "a"}, "unlinked": "drop"}]},
            ".rules[0].match.servicename: 'servicename' is no resource attribute that is known",
        ),
        ({"min_linked_share": 1.5}, ".min_linked_share: must be less than or equal to 1, not 1.5"),
        (
            {"min_linked_share": {"services": {"a": -1}}},
            ".min_linked_share.services.a: must be greater than or",
        ),
        (
            {"min_linked_share": {"service": {}}},
            ".min_linked_share.service: is not a known key; known are default",
        ),
    ],
)
def test_wrong_keys(keys: dict[str, Any], problem: str) -> None:
    """What is wrong is said with its place, what is allowed, and the nearest known key."""
    assert [f"linkage{problem}"] == [text[: 7 + len(problem)] for text in problems(**keys)]


def test_a_share_below_its_minimum_is_a_warning() -> None:
    """The recording is linked to 40 %, its Java service to more: only what is below is said, and once."""
    bench = Bench(min_linked_share={"default": 0.9, "services": {"linked-java": 0.1}})
    with capture_logs() as logs:
        bench.process()
        bench.process()
    assert (1, 0) == (bench.is_below("unknown_service"), bench.is_below("linked-java"))
    assert [("linked share is below its minimum", "unknown_service", 0.9)] == [
        (line["event"], line["service"], line["minimum"]) for line in logs
    ]


def test_only_named_services_are_watched_without_a_default() -> None:
    """Without a default, only the services that are listed have a gauge."""
    bench = Bench(min_linked_share={"services": {"linked-java": 1.0}})
    for _ in range(5):
        bench.process()
    assert (0, 1) == (bench.is_below("unknown_service"), bench.is_below("linked-java"))


def test_the_window_slides() -> None:
    """What is older than the window no longer counts, and the change is logged once each way."""
    bench = Bench()
    shares = LinkedShares(lambda _: 0.5, bench.settings)
    with capture_logs() as logs:
        shares.count({"a": (0, MIN_SAMPLES)})
        below = [bench.is_below("a")]
        bench.clock.advance(WINDOW_SECS / 2)
        shares.count({"a": (MIN_SAMPLES // 2, MIN_SAMPLES // 2)})
        below.append(bench.is_below("a"))
        bench.clock.advance(WINDOW_SECS / 2)
        shares.count({"a": (MIN_SAMPLES, MIN_SAMPLES)})
        below.append(bench.is_below("a"))
    assert [1, 1, 0] == below
    assert ["linked share is below its minimum", "linked share is no longer below its minimum"] == [
        line["event"] for line in logs
    ]


def test_few_samples_are_no_ground_for_a_warning() -> None:
    """A service is judged from so many samples on."""
    bench = Bench()
    shares = LinkedShares(lambda _: 0.5, bench.settings)
    shares.count({"a": (0, MIN_SAMPLES - 1)})
    before = bench.is_below("a")
    shares.count({"a": (0, 1)})
    assert (0, 1) == (before, bench.is_below("a"))


def test_a_silent_service_is_forgotten() -> None:
    """A service of which nothing comes any more is neither watched nor warned about."""
    bench = Bench()
    shares = LinkedShares(lambda _: 0.5, bench.settings)
    shares.count({"a": (0, MIN_SAMPLES)})
    bench.clock.advance(2 * WINDOW_SECS)
    shares.count({"b": (MIN_SAMPLES, MIN_SAMPLES)})
    assert 0 == bench.is_below("a")
    assert ["b"] == list(shares._services)  # noqa: SLF001 - what it keeps is the point


def test_services_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the bound further services are not watched, which is logged once; names are cut."""
    monkeypatch.setattr(linked_share, "MAX_SERVICES", 2)
    bench = Bench()
    shares = LinkedShares(lambda _: 0.5, bench.settings)
    with capture_logs() as logs:
        shares.count({name * 1000: (0, 1) for name in "abcd"})
    assert MAX_SERVICES > 2
    assert [MAX_LABEL_CHARS] * 2 == [len(name) for name in shares._services]  # noqa: SLF001 - what it keeps
    assert ["too many services, further ones are not watched"] == [line["event"] for line in logs]
