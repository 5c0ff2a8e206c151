"""The table of what was in force: everything that happened, once, in its order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import structlog

from otelprof.component import ComponentSettings, Kind
from otelprof.control import Incident
from otelprof.exporter.object_storage import ObjectStorageConfig, ObjectStorageExporter
from otelprof.model import ComponentId
from otelprof.processor.sampling.config import SamplingConfig
from otelprof.processor.sampling.sampling import Sampling
from otelprof.store.policy import append_policy, policy_events
from otelprof.store.store import Store
from otelprof.telemetry.journal import MAX_EVENTS, PolicyEvent, PolicyJournal
from otelprof.telemetry.metrics import Metrics
from otelprof.testing.clock import SimulatedClock
from otelprof.testing.contract import small_profiles

if TYPE_CHECKING:
    from pathlib import Path

RULE = PolicyEvent(1_700_000_000.25, "sampling", "rule", what="linked: 10 % of traces stay", probability=0.1)
INCIDENT = PolicyEvent(
    1_700_090_000.5,
    "sampling",
    "incident_started",
    service="checkout",
    until_secs=1_700_091_800.5,
    who="ada",
    reason="p99 up",
    probability=1.0,
)


def test_there_and_back(tmp_path: Path) -> None:
    """Events of several days come back as they were, also when they were written twice."""
    store = Store(str(tmp_path))
    assert [] == policy_events(store)
    append_policy(store, "", [INCIDENT, RULE])
    append_policy(store, "", [RULE])
    append_policy(store, "other", [RULE])
    assert [RULE, INCIDENT] == policy_events(store)
    assert [RULE] == policy_events(Store(str(tmp_path)), "other")


def test_journal() -> None:
    """A reader gets what came since its place, each event once; of too many the oldest are gone."""
    journal = PolicyJournal()
    journal.record(RULE)
    events, place = journal.since(0)
    assert ([RULE], 1) == (events, place)
    journal.record(INCIDENT)
    assert ([INCIDENT], 2) == journal.since(place)
    assert ([], 2) == journal.since(2)
    for _ in range(MAX_EVENTS):
        journal.record(RULE)
    events, place = journal.since(1)
    assert MAX_EVENTS == len(events)
    assert MAX_EVENTS + 2 == place


def test_what_sampling_tells(tmp_path: Path) -> None:
    """The rules of a sampling processor and its incidents stand in the store with the next samples."""
    journal, clock, metrics = PolicyJournal(), SimulatedClock(), Metrics()

    def settings(name: str, kind: Kind) -> ComponentSettings:
        logger = structlog.get_logger("test")
        return ComponentSettings(ComponentId(name), kind, logger, metrics, clock, journal)

    rules = [
        {"match": {"service.name": "checkout"}, "sampling_probability": 1.0},
        {"name": "rest", "match": {"linked": True}, "sampling_probability": 0.25, "otherwise": "demote"},
        {"match": {"linked": False}, "action": "drop"},
    ]
    sampling = Sampling(SamplingConfig.model_validate({"rules": rules}), settings("sampling", Kind.PROCESSOR))
    exporter = ObjectStorageExporter(
        ObjectStorageConfig(url=str(tmp_path)), settings("object_storage", Kind.EXPORTER)
    )
    sampling.start()
    exporter.start()
    exporter.export(small_profiles())
    clock.advance(1)
    start = clock.now()
    sampling.control.incidents.start(Incident("cart", "p99 up", "ada", start, 60.0))
    clock.advance(61)
    sampling.control.incidents.active()
    exporter.export(small_profiles())
    exporter.shutdown()
    told = [(one.kind, one.service, one.probability, one.who) for one in policy_events(Store(str(tmp_path)))]
    assert [
        ("rule", "", 0.25, ""),  # rest
        ("rule", "checkout", 1.0, ""),  # rule_1
        ("rule", "", 0.0, ""),  # rule_3
        ("incident_started", "cart", 1.0, "ada"),
        ("incident_ended", "cart", None, "time"),
    ] == told
    started = policy_events(Store(str(tmp_path)))[3]
    assert pytest.approx(start + 60.0) == started.until_secs
    assert "p99 up" == started.reason
