"""The table of what was in force: everything that happened, once, in its order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otelprof.store.policy import append_policy, policy_events
from otelprof.store.store import Store
from otelprof.telemetry.journal import MAX_EVENTS, PolicyEvent, PolicyJournal

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
