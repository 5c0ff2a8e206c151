"""Linkage and sampling from a client to the next hop, over real sockets, on recordings of linked programs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest

from otelprof._core import Profiles
from otelprof.processor.linkage import DEFAULT_RECOVER
from otelprof.telemetry import metrics, policy_metrics
from otelprof.testing.sink import Sink
from tests.e2e.harness import (
    DATA,
    Answer,
    Client,
    Running,
    add_profile,
    exporter,
    one_pipeline,
    request,
    running,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OK: Final = Answer(grpc.StatusCode.OK)
BODIES: Final = [path.read_bytes() for path in sorted((DATA / "ebpf-linked").glob("*.otlp"))]
# Of all six recordings: 2,148 samples.
LINKED: Final = 313
RECOVERED: Final = 342
MISSING: Final = 1493

Run = tuple[list[Answer], list[Profiles], Running]


@pytest.fixture
def sink() -> Iterator[Sink]:
    """The next hop."""
    with Sink() as sink:
        yield sink


def send(sink: Sink, folder: Path, processors: dict[str, Any], bodies: list[bytes], arriving: int) -> Run:
    """Send requests through a service: the answers, what arrived, and the service."""
    config = one_pipeline(exporters={"otlp": exporter(sink.endpoint)}, processors=processors)
    with running(config, folder) as service, Client(service.endpoint) as client:
        answers = [client.export(body) for body in bodies]
        arrived = sink.wait_for(arriving) if arriving else []
    return answers, [Profiles.decode(one.body) for one in arrived], service


def totals(requests: list[Profiles]) -> Counter[tuple[str, str, str]]:
    """Values by service, sample type and stack."""
    found: Counter[tuple[str, str, str]] = Counter()
    for one in requests:
        for service, kind in {(row.service, row.sample_type) for row in one.summary}:
            for stack, value in one.fold(service=service, sample_type=kind):
                found[service, kind, stack] += value
    return found


def linked(requests: list[Profiles]) -> int:
    """How many samples are linked."""
    return sum(row.linked_sample_count for one in requests for row in one.summary)


def by_label(service: Running, name: str, label: str) -> dict[str, int]:
    """The sums of a metric by one label."""
    sums: Counter[str] = Counter()
    for family in service.metrics.collect():
        if family.name == name:
            for sample in family.samples:
                sums[sample.labels[label]] += int(sample.value)
    return dict(sums)


def test_links_are_recovered_on_the_way(sink: Sink, tmp_path: Path) -> None:
    """The next hop gets the links that the core recovers, and metrics say how samples stood."""
    answers, arrived, service = send(sink, tmp_path, {"linkage": {}}, BODIES, len(BODIES))
    expected = [Profiles.decode(body).link(DEFAULT_RECOVER).profiles.to_otlp() for body in BODIES]
    assert [OK] * len(BODIES) == answers
    assert sorted(expected) == sorted(one.to_otlp() for one in arrived)
    assert LINKED + RECOVERED == linked(arrived)
    assert {"linked": LINKED, "recovered": RECOVERED, "missing": MISSING} == by_label(
        service, policy_metrics.LINK_SAMPLES.name, "state"
    )
    # The receiver says how they came.
    assert LINKED == sum(by_label(service, metrics.LINKED_SAMPLES.name, "service").values())


def test_demotion_keeps_every_total(sink: Sink, tmp_path: Path) -> None:
    """Demoted by linkage and by sampling, every total by service, type and stack stays exactly the same."""
    rule = {"match": {"linked": True}, "sampling_probability": 0.1, "otherwise": "demote"}
    processors = {"linkage": {"unlinked": "demote"}, "sampling": {"rules": [rule]}}
    answers, arrived, service = send(sink, tmp_path, processors, BODIES, len(BODIES))
    assert [OK] * len(BODIES) == answers
    assert totals([Profiles.decode(body) for body in BODIES]) == totals(arrived)
    decided = by_label(service, policy_metrics.SAMPLING_SAMPLES.name, "outcome")
    by_rule = by_label(service, policy_metrics.SAMPLING_SAMPLES.name, "rule")
    assert LINKED + RECOVERED == by_rule["rule_1"]
    assert linked(arrived) == by_rule["rule_1"] - decided["demoted"]
    assert {"demoted": MISSING, "kept": LINKED + RECOVERED} == by_label(
        service, policy_metrics.LINKAGE_SAMPLES.name, "outcome"
    )


def test_unlinked_samples_can_be_dropped(sink: Sink, tmp_path: Path) -> None:
    """With `unlinked: drop` only linked samples reach the next hop, the client hears of success."""
    answers, arrived, service = send(sink, tmp_path, {"linkage": {"unlinked": "drop"}}, BODIES, len(BODIES))
    assert [OK] * len(BODIES) == answers
    assert LINKED + RECOVERED == linked(arrived) == sum(one.sample_count for one in arrived)
    assert {"dropped": MISSING, "kept": LINKED + RECOVERED} == by_label(
        service, policy_metrics.LINKAGE_SAMPLES.name, "outcome"
    )


def test_rejected_profiles_are_told_to_the_client(sink: Sink, tmp_path: Path) -> None:
    """A rejected Profile is in partial_success with its reason; the others of the request are delivered."""
    rules = [{"match": {"service.name": "linked-java"}, "unlinked": "reject"}]
    (answer,), (arrived,), service = send(sink, tmp_path, {"linkage": {"rules": rules}}, BODIES[:1], 1)
    whole = Profiles.decode(BODIES[0])
    assert (grpc.StatusCode.OK, 1) == (answer.code, answer.rejected_profiles)
    assert answer.message.startswith("1 profile refused: policy (1): ")
    assert "linked-java" in answer.message
    assert whole.profile_count - 1 == arrived.profile_count
    labels = {"receiver": "otlp", "reason": "policy"}
    java = sum(row.sample_count for row in whole.summary if row.service == "linked-java")
    assert (1, java) == (
        service.metrics.value(metrics.REJECTED_PROFILES, **labels),
        service.metrics.value(metrics.REJECTED_SAMPLES, **labels),
    )


def test_both_kinds_of_refusal_are_told_once(sink: Sink, tmp_path: Path) -> None:
    """One answer counts the Profile that is invalid and the one that policy rejects, each once."""
    message = request()
    add_profile(message, stack_index=99)
    processors = {"linkage": {"unlinked": "reject"}, "sampling": {"rules": [{"action": "keep"}]}}
    (answer,), _, _ = send(sink, tmp_path, processors, [message.SerializeToString()], 0)
    assert (grpc.StatusCode.OK, 2) == (answer.code, answer.rejected_profiles)
    assert "index_out_of_range (1): " in answer.message
    assert "policy (1): " in answer.message
    assert [] == sink.requests


def test_a_repeated_request_makes_the_same_bytes(sink: Sink, tmp_path: Path) -> None:
    """What is sent again after a lost answer becomes the very same request, scaled values included."""
    processors = {"linkage": {}, "sampling": {"rules": [{"sampling_probability": 0.5}]}}
    _, arrived, _ = send(sink, tmp_path, processors, [BODIES[5], BODIES[5]], 2)
    assert arrived[0].to_otlp() == arrived[1].to_otlp()
