"""What a client is told of the Profiles that the pipelines refused one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from otelprof._core import Policy, Profiles, Rule
from otelprof.clock import SystemClock
from otelprof.intake import Intake, Pipeline
from otelprof.log.memory import MemoryLog
from otelprof.receiver.admission import Admission
from otelprof.telemetry.metrics import Metrics
from tests.e2e.harness import add_profile, request


@dataclass(frozen=True)
class Step:
    """A processor that carries out one rule, or only looks."""

    action: str | None = None
    service: str = "checkout"

    def start(self) -> None:
        """Nothing to acquire."""

    def shutdown(self) -> None:
        """Nothing to release."""

    def process(self, profiles: Profiles) -> Profiles:
        """The request after the rule; always another handle."""
        if self.action is None:
            return profiles.link([]).profiles
        return profiles.select(
            Policy([Rule(self.action, resource=[("service.name", [self.service])])])
        ).profiles


LOOK, DEMOTE, REJECT = Step(), Step("demote"), Step("reject")
REJECT_OTHERS = Step("reject", service="cart")


def intake_of(pipelines: list[Pipeline]) -> Intake:
    """The intake in front of pipelines."""
    metrics = Metrics()
    return Intake(pipelines, MemoryLog({}, SystemClock(), metrics), Admission(1 << 30, metrics))


def told(*pipelines: list[Any]) -> list[tuple[str, int]]:
    """What a client is told of a request with a good Profile and a bad one, by what was refused."""
    message = request()
    add_profile(message, stack_index=99)
    profiles = Profiles.decode(message.SerializeToString())
    intake = intake_of([Pipeline(tuple(steps), (), ()) for steps in pipelines])
    return [(one.reason, one.profile_count) for one in intake.consume(profiles)]


@pytest.mark.parametrize(
    ("pipelines", "expected"),
    [
        ([[]], []),
        ([[LOOK, DEMOTE]], []),
        ([[REJECT_OTHERS]], []),
        ([[REJECT]], [("policy", 1)]),
        ([[LOOK, REJECT, LOOK]], [("policy", 1)]),
        ([[DEMOTE, REJECT, LOOK, DEMOTE]], [("policy", 1)]),
        ([[REJECT], [LOOK, REJECT]], [("policy", 1)]),
        ([[REJECT], [LOOK]], [("policy", 1)]),
    ],
    ids=["none", "changed", "not matched", "one", "carried on", "then changed", "two alike", "one of two"],
)
def test_each_refusal_is_told_once(pipelines: list[list[Any]], expected: list[tuple[str, int]]) -> None:
    """Policy's refusals are handed back, and neither twice nor with those of validation."""
    assert expected == told(*pipelines)


def test_two_refusals_of_one_pipeline_are_both_told() -> None:
    """What a later processor refuses is told beside what an earlier one did."""
    message = request()
    other = request(service="cart").resource_profiles
    message.resource_profiles.extend(other)
    message.resource_profiles[1].scope_profiles[0].profiles[0].profile_id = b"another-profile!"
    profiles = Profiles.decode(message.SerializeToString())
    pipeline = Pipeline((REJECT, LOOK, REJECT_OTHERS), (), ())
    intake = intake_of([pipeline])
    messages = [rejection.message for rejection in intake.consume(profiles)]
    assert (2, True, True) == (len(messages), "checkout" in messages[0], "cart" in messages[1])
