"""What a budget comes to: bytes of a day, what error traces lose, how calm probabilities are, and a restart.

A day on a simulated clock, through configuration, processor and core: three services, each with steps of load
up and down tenfold at other times than the others, requests by chance, each a real recording with other ids
and 60 to 100 % of its samples. One service demotes what does not stay of its linked samples, the others drop.
In the middle of the day the processor is shut down and another one goes on with the state file.

Says, for each service, what the day cost, and for each step of load that exceeds what is left, by the time
that is left: the bytes from the sixth minute on against that, the probability, and how long it took to settle
(the first minute from which ten minutes on end cost within 15 % of what is allowed: of requests that come by
chance, a single minute varies by as much). Before that, what it costs to count a request.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import structlog
from recorded import machine

from otelprof._core import Profiles
from otelprof.component import ComponentSettings, Kind
from otelprof.model import ComponentId
from otelprof.processor.sampling.config import SamplingConfig
from otelprof.processor.sampling.sampling import Sampling
from otelprof.telemetry.metrics import Metrics
from otelprof.testing.clock import SimulatedClock
from tests.simulation.budget_day import RECORDING, SECS_PER_DAY, Day, World

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.simulation.budget_day import Minute, Outcome

GIB: Final = 1 << 30
MINUTES_PER_DAY: Final = 1_440
SETTLED_AFTER: Final = 5
WINDOW: Final = 10
SETTLED_WITHIN: Final = 0.15
BYTES_WITHIN: Final = 0.1
ERRORS_KEPT: Final = 0.95
ROUNDS: Final = 40
ROUND: Final = 50
HOURS_PER_DAY: Final = 24


def allowed_bytes(minute: Minute, number: int) -> float:
    """What is left for a minute of the day at its begin."""
    return max(minute.left_bytes, 0.0) / (MINUTES_PER_DAY - number)


def settling_minutes(step: Sequence[Minute], first: int) -> int | None:
    """From which minute on ten minutes on end cost what is allowed; None when none do."""
    for begin in range(len(step) - WINDOW + 1):
        spent = sum(minute.bytes_ for minute in step[begin : begin + WINDOW])
        allowed = sum(
            allowed_bytes(minute, first + begin + place)
            for place, minute in enumerate(step[begin : begin + WINDOW])
        )
        if abs(spent / allowed - 1) <= SETTLED_WITHIN:
            return begin
    return None


def show_steps(world: World, service: str, minutes: Sequence[Minute]) -> None:
    """Say what became of each step of load, those of one load in a row as one."""
    length = MINUTES_PER_DAY // len(world.steps)
    loads = [world.load(service, 60 * length * place) for place in range(len(world.steps))]
    place = 0
    for load, group in itertools.groupby(loads):
        first = place * length
        count = len(list(group))
        place += count
        step = minutes[first : first + count * length]
        later = step[SETTLED_AFTER:]
        allowed = sum(allowed_bytes(one, first + SETTLED_AFTER + at) for at, one in enumerate(later))
        offered = sum(one.offered_bytes for one in later)
        told = (
            f"  {first // 60:2}:{first % 60:02} load {load:4g}: {offered / allowed:5.2f} of what is allowed"
        )
        if offered <= allowed:
            print(f"{told} comes, {sum(one.bytes_ for one in later) / offered:.1%} of it stays")
            continue
        settled = settling_minutes(step, first)
        print(
            f"{told} comes, {sum(one.bytes_ for one in later) / allowed:4.2f} goes on, "
            f"p {min(one.probability for one in later):.3f} to {max(one.probability for one in later):.3f}, "
            f"settled after {settled} min"
        )


def show(world: World, outcome: Outcome) -> None:
    """Say what a day came to."""
    print(f"budget of each service: {outcome.budget_bytes / GIB:.3f} GiB")
    for service, minutes in outcome.minutes.items():
        spent = sum(minute.bytes_ for minute in minutes)
        offered = sum(minute.offered_bytes for minute in minutes)
        errors = sum(minute.errors for minute in minutes)
        kept = sum(minute.errors_kept for minute in minutes)
        print(
            f"{service}: {spent / outcome.budget_bytes:.1%} of the budget went on, of "
            f"{offered / outcome.budget_bytes:.2f} budgets that came"
        )
        print(f"  error traces: {kept:,} of {errors:,} samples stayed ({kept / errors:.2%})")
        moves, turns = outcome.moves[service], outcome.direction_changes[service]
        print(f"  p moved {moves / HOURS_PER_DAY:.1f} times an hour, and turned {turns / HOURS_PER_DAY:.1f}")
        before, after = outcome.before_restart[service], outcome.after_restart[service]
        print(f"  restart: {before:,.0f} bytes spent before it, {after:,.0f} after it")
        show_steps(world, service, minutes)


def processor(budget: dict[str, str] | None) -> Sampling:
    """One that keeps half."""
    rules = [{"match": {"linked": True}, "sampling_probability": 0.5}]
    config = SamplingConfig.model_validate({"rules": rules, "budget": budget})
    logger = structlog.get_logger("benchmark")
    settings = ComponentSettings(ComponentId("sampling"), Kind.PROCESSOR, logger, Metrics(), SimulatedClock())
    return Sampling(config, settings)


def costs() -> None:
    """Say what counting costs: the request is written in any case, before it is queued or when it is sent."""
    body = RECORDING.read_bytes()
    secs = {"without a budget": 0.0, "with a budget": 0.0}
    processors = dict(zip(secs, (processor(None), processor({"bytes_per_day": "1TiB"})), strict=True))
    for _ in range(ROUNDS):
        for name, sampling in processors.items():
            requests = [Profiles.decode(body) for _ in range(ROUND)]
            started = time.process_time()
            for profiles in requests:
                sampling.process(profiles).to_otlp()
            secs[name] += time.process_time() - started
    for name, whole in secs.items():
        each = whole / ROUNDS / ROUND * 1e6
        print(f"sampling a request of {len(body):,} bytes and writing it, {name}: {each:.0f} us of CPU")


def hold(outcome: Outcome) -> None:
    """Hold the day to its targets."""
    for service, minutes in outcome.minutes.items():
        spent = sum(minute.bytes_ for minute in minutes)
        errors = sum(minute.errors for minute in minutes)
        assert abs(spent / outcome.budget_bytes - 1) <= BYTES_WITHIN, service
        assert sum(minute.errors_kept for minute in minutes) >= ERRORS_KEPT * errors, service
    assert outcome.before_restart == outcome.after_restart


def main() -> None:
    """Run a day, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--interval", type=float, default=10, help="seconds between groups of requests")
    parser.add_argument("--share", type=float, default=0.3, help="the budget, of what would come through")
    arguments = parser.parse_args()
    print(machine())
    costs()
    world = World(arguments.seed, interval_secs=arguments.interval, budget_share=arguments.share)
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        outcome = Day(world, Path(folder) / "budget.json", restart_after_secs=SECS_PER_DAY / 2).run()
    print(f"seed {arguments.seed}, a day in {time.process_time() - started:.0f} s of CPU")
    show(world, outcome)
    hold(outcome)


if __name__ == "__main__":
    main()
