"""The law of a budget: what is let through is what is left, error and slow traces first."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import pytest

from otelprof.processor.sampling.averages import Costs
from otelprof.processor.sampling.controller import (
    LEAST_PROBABILITY,
    MAX_SERVICES,
    SECS_PER_DAY,
    SHARED_KEY,
    Controller,
    Ledger,
    Probabilities,
    RuleRole,
)
from otelprof.testing.clock import EPOCH_SECS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otelprof._core import ServiceDecided

SPARED = RuleRole(1.0, demotes=False, is_spared=True)
DROPS = RuleRole(1.0, demotes=False, is_spared=False)
DEMOTES = RuleRole(1.0, demotes=True, is_spared=False)
TENTH = RuleRole(0.1, demotes=False, is_spared=False)
STEP_SECS = 10
MINUTE = 60 // STEP_SECS
HOUR = 3600 // STEP_SECS
KEPT_BYTES, DEMOTED_BYTES = 100, 40
SAMPLES = 1_000


@dataclass(frozen=True)
class Counts:
    """As `otelprof._core.Decided`."""

    kept: int
    dropped: int = 0
    demoted: int = 0
    rejected: int = 0


@dataclass(frozen=True)
class Row:
    """As `otelprof._core.ServiceDecided`."""

    service: str
    rule: int | None
    decided: Counts


def rows(*made: Row) -> list[ServiceDecided]:
    """What a policy did."""
    return cast("list[ServiceDecided]", list(made))


class Plant:
    """A service that sends requests, and the budget behind it.

    Args:
        roles: of its rules; each is asked about a share of the samples.
        shares: these shares.
        bytes_per_day: the budget.
    """

    def __init__(self, roles: Sequence[RuleRole | None], shares: Sequence[float], bytes_per_day: int) -> None:
        self.controller = Controller(bytes_per_day, roles, per_service=True, now=EPOCH_SECS)
        self.now = EPOCH_SECS
        self.let_through: list[float] = []
        self.probabilities: list[Probabilities] = []
        self._roles, self._shares = roles, shares
        self._chance = random.Random(1)  # noqa: S311 - repeatable, not secret

    def run(self, steps: int, requests: Callable[[int], int], *, noise: float = 0.0) -> None:
        """Let time pass: so many requests come in each step, each of about 1,000 samples."""
        for step in range(steps):
            before = self.controller.ledger("cart").spent_bytes
            for _ in range(requests(step)):
                self._send(round(SAMPLES * self._chance.uniform(1 - noise, 1 + noise)))
            self.let_through.append(self.controller.ledger("cart").spent_bytes - before)
            self.now += STEP_SECS
            self.controller.step(STEP_SECS, self.now)
            self.probabilities.append(self.controller.ledger("cart").probabilities)

    def direction_changes(self) -> int:
        """How often the probability turned round."""
        sampled = [one.sampled for one in self.probabilities]
        moves = [now > before for before, now in pairwise(sampled) if now != before]
        return sum(one != other for one, other in pairwise(moves))

    def _send(self, samples: int) -> None:
        in_force = self.controller.ledger("cart").probabilities
        made, size_bytes = [], 0
        for place, (role, share) in enumerate(zip(self._roles, self._shares, strict=True)):
            offered = round(samples * share)
            limit = 1.0 if role is None else (in_force.spared if role.is_spared else in_force.sampled)
            kept = round(offered * min(limit, role.probability if role else 1.0))
            rest = offered - kept
            demoted = rest if role and role.demotes else 0
            made.append(Row("cart", place, Counts(kept, rest - demoted, demoted)))
            size_bytes += kept * KEPT_BYTES + demoted * DEMOTED_BYTES
        self.controller.count(rows(*made), size_bytes, self.now)


DAY_BYTES = 8640 * SAMPLES * KEPT_BYTES
"""What one request a step costs in a day when all of it stays."""


def allowed_per_step(plant: Plant, bytes_per_day: float) -> float:
    """What is left for a step of the day."""
    left_secs = SECS_PER_DAY - (plant.now - EPOCH_SECS)
    return (bytes_per_day - plant.controller.ledger("cart").spent_bytes) / left_secs * STEP_SECS


@pytest.mark.parametrize("otherwise", [DROPS, DEMOTES])
@pytest.mark.parametrize("loads", [(1, 10), (10, 1)])
def test_settles(otherwise: RuleRole, loads: tuple[int, int]) -> None:
    """Five minutes after the load went up or down tenfold, as much is let through as is allowed."""
    budget = DAY_BYTES * 5
    plant = Plant([otherwise], [1], budget)
    plant.run(HOUR, lambda _: loads[0])
    plant.run(5 * MINUTE, lambda _: loads[1])
    wanted = min(allowed_per_step(plant, budget), loads[1] * SAMPLES * KEPT_BYTES)
    plant.run(HOUR // 2, lambda _: loads[1])
    later = plant.let_through[-HOUR // 2 :]

    assert [] == [one for one in later if abs(one / wanted - 1) > 0.1]


def test_does_not_turn_round() -> None:
    """After a step the probability goes where it belongs, and at a steady load it never turns."""
    plant = Plant([DROPS], [1], DAY_BYTES)
    plant.run(HOUR, lambda _: 2)
    plant.run(HOUR, lambda _: 20)

    assert 0 == plant.direction_changes()


def test_chance_is_not_load() -> None:
    """Where requests come by chance and differ in size, the probability turns few times an hour."""
    plant = Plant([DEMOTES], [1], DAY_BYTES * 5)
    chance = random.Random(2)  # noqa: S311 - repeatable, not secret
    plant.run(6 * HOUR, lambda _: sum(chance.random() < 0.5 for _ in range(20)), noise=0.5)

    assert plant.direction_changes() < 6 * 6
    assert sum(plant.let_through[HOUR:]) == pytest.approx(5 * DAY_BYTES * 5 / 24, rel=0.1)


@pytest.mark.parametrize("roles", [[DROPS], [DEMOTES], [None, DROPS], [SPARED, DEMOTES], [TENTH, DROPS]])
def test_day(roles: list[RuleRole | None]) -> None:
    """A day of ups and downs comes to its budget, whatever the rules do and cost beside."""
    plant = Plant(roles, [1] if len(roles) == 1 else [0.05, 0.95], DAY_BYTES * 5 // 2)
    for requests in (1, 5, 1, 5, 5, 1, 5, 5):
        plant.run(3 * HOUR, lambda _, requests=requests: requests, noise=0.3)  # type: ignore[misc] # bound now

    assert sum(plant.let_through) == pytest.approx(DAY_BYTES * 5 // 2, rel=0.02)


def test_spared_first() -> None:
    """Error and slow traces keep everything while they alone fit, whatever becomes of the rest."""
    plant = Plant([SPARED, DROPS], [0.1, 0.9], DAY_BYTES)
    plant.run(HOUR, lambda _: 5)

    assert {1.0} == {one.spared for one in plant.probabilities}
    assert plant.probabilities[-1].sampled == pytest.approx((1 - 0.5) / 4.5, rel=0.2)


def test_spared_last() -> None:
    """Only when they alone are too many do they share what there is, and the rest has next to nothing."""
    plant = Plant([SPARED, DROPS], [0.5, 0.5], DAY_BYTES)
    plant.run(HOUR, lambda _: 5)

    assert LEAST_PROBABILITY == plant.probabilities[-1].sampled
    assert plant.probabilities[-1].spared == pytest.approx(1 / 2.5, rel=0.2)


def test_below_the_budget() -> None:
    """What fits is let through whole, and nothing is adjusted."""
    plant = Plant([SPARED, DEMOTES], [0.1, 0.9], DAY_BYTES * 6)
    plant.run(HOUR, lambda _: 5)

    assert {Probabilities()} == set(plant.probabilities)
    assert {} == plant.controller.adjusted(lambda found: found.sampled)


def test_own_probability() -> None:
    """A rule that keeps a tenth anyway costs a tenth: it is not lowered before it has to be."""
    plant = Plant([TENTH], [1], DAY_BYTES)
    plant.run(HOUR, lambda _: 8)
    assert Probabilities() == plant.probabilities[-1]
    plant.run(HOUR, lambda _: 40)

    assert plant.probabilities[-1].sampled == pytest.approx(1 / 40, rel=0.2)


def test_costs() -> None:
    """What a sample costs that stays, and one that is demoted, is told from requests that differ."""
    costs = Costs()
    for step in range(60):
        costs.add(100 + step, 300 - step, (100 + step) * KEPT_BYTES + (300 - step) * DEMOTED_BYTES)
        costs.step(STEP_SECS)

    assert costs.kept_bytes == pytest.approx(KEPT_BYTES, rel=0.02)
    assert costs.demoted_bytes == pytest.approx(DEMOTED_BYTES, rel=0.05)


def test_shared_out() -> None:
    """The bytes of a request with several services are shared out by what they keep of it."""
    controller = Controller(DAY_BYTES, [DROPS], per_service=True, now=EPOCH_SECS)
    made = rows(Row("cart", 0, Counts(30)), Row("checkout", 0, Counts(10, 5)), Row("idle", 0, Counts(0, 9)))
    new = controller.count(made, 4_000, EPOCH_SECS)

    assert ["cart", "checkout", "idle"] == new
    assert {"cart": 3_000, "checkout": 1_000, "idle": 0} == {
        name: ledger.spent_bytes for name, ledger in controller.ledgers.items()
    }


def test_all_together() -> None:
    """All services together have one ledger."""
    controller = Controller(DAY_BYTES, [DROPS], per_service=False, now=EPOCH_SECS)
    controller.count(rows(Row("cart", 0, Counts(30)), Row("checkout", None, Counts(10))), 400, EPOCH_SECS)

    assert {SHARED_KEY: 400} == {name: one.spent_bytes for name, one in controller.ledgers.items()}


def test_many_services() -> None:
    """Services beyond the limit, and those of endless names, share a ledger and a threshold."""
    controller = Controller(DAY_BYTES, [DROPS], per_service=True, now=EPOCH_SECS)
    for number in range(MAX_SERVICES + 5):
        controller.count(rows(Row(f"service {number}", 0, Counts(1))), 10, EPOCH_SECS)
    controller.count(rows(Row("x" * 201, 0, Counts(1))), 10, EPOCH_SECS)

    assert MAX_SERVICES + 1 == len(controller.ledgers)
    assert 60 == controller.ledger(SHARED_KEY).spent_bytes


def test_new_day() -> None:
    """At midnight UTC ledgers begin anew; a service that did not come for a day is forgotten."""
    controller = Controller(DAY_BYTES, [DROPS], per_service=True, now=EPOCH_SECS)
    for name in ("cart", "gone"):
        controller.count(rows(Row(name, 0, Counts(1))), 10, EPOCH_SECS)
    controller.count(rows(Row("cart", 0, Counts(1))), 10, EPOCH_SECS + SECS_PER_DAY)
    controller.count(rows(Row("cart", 0, Counts(1))), 10, EPOCH_SECS + 2 * SECS_PER_DAY)

    assert {"cart": Ledger(1.0, 10)} == controller.ledgers


def test_clock_set_back() -> None:
    """A clock that is set back over midnight opens no ledger again."""
    controller = Controller(DAY_BYTES, [DROPS], per_service=True, now=EPOCH_SECS)
    for now in (EPOCH_SECS, EPOCH_SECS - 60, EPOCH_SECS + 60):
        controller.count(rows(Row("cart", 0, Counts(1))), 10, now)
        controller.step(STEP_SECS, now)

    assert 30 == controller.ledger("cart").spent_bytes


def test_later_in_the_day() -> None:
    """What comes first at six in the evening has a quarter of the budget."""
    controller = Controller(DAY_BYTES, [DROPS], per_service=True, now=EPOCH_SECS)
    controller.count(rows(Row("cart", 0, Counts(1))), 10, EPOCH_SECS + SECS_PER_DAY * 3 / 4)

    assert 0.25 == controller.ledger("cart").share


def test_written_down() -> None:
    """What was in force holds until something came of the service; then its load decides."""
    ledgers = {name: Ledger(1.0, DAY_BYTES / 2, Probabilities(0.25, 0.5)) for name in ("cart", "quiet")}
    controller = Controller(DAY_BYTES, [DROPS], per_service=True, now=EPOCH_SECS, ledgers=ledgers)
    controller.count(rows(Row("cart", 0, Counts(1))), 10, EPOCH_SECS)
    controller.step(STEP_SECS, EPOCH_SECS + STEP_SECS)
    sampled: dict[str, Any] = controller.adjusted(lambda found: found.sampled)

    assert {"cart": 1.0, "quiet": 0.25} == sampled


def test_nothing_left() -> None:
    """When nothing is left, the least stays, and no number is divided by nothing."""
    controller = Controller(1, [SPARED, DEMOTES], per_service=True, now=EPOCH_SECS)
    for step in range(10):
        made = rows(Row("cart", 0, Counts(10)), Row("cart", 1, Counts(0, 0, 10)))
        controller.count(made, 100, EPOCH_SECS + step)
        controller.step(STEP_SECS, EPOCH_SECS + step)

    assert Probabilities(LEAST_PROBABILITY, LEAST_PROBABILITY) == controller.ledger("cart").probabilities


def test_nothing_stayed() -> None:
    """While nothing stays that would tell what a sample costs, the probability waits."""
    ledgers = {"cart": Ledger(1.0, 0.0, Probabilities(0.01))}
    controller = Controller(DAY_BYTES, [DROPS], per_service=True, now=EPOCH_SECS, ledgers=ledgers)
    controller.count(rows(Row("cart", 0, Counts(0, 1_000))), 0, EPOCH_SECS)
    controller.step(STEP_SECS, EPOCH_SECS + STEP_SECS)

    assert 0.01 == controller.ledger("cart").probabilities.sampled


def test_own_key_beside_others() -> None:
    """As soon as one key is adjusted, every other one has an entry: the others' threshold is not for it."""
    ledgers = {SHARED_KEY: Ledger(1.0, 0.0, Probabilities(0.01))}
    controller = Controller(DAY_BYTES, [DROPS], per_service=True, now=EPOCH_SECS, ledgers=ledgers)
    controller.count(rows(Row("cart", 0, Counts(1))), 10, EPOCH_SECS)

    assert {SHARED_KEY: 0.01, "cart": 1.0} == controller.adjusted(lambda found: found.sampled)
    assert {} == controller.adjusted(lambda found: found.spared)
