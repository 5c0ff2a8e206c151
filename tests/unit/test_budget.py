"""A budget in the processor: its configuration, what it counts, and what it does not forget."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self

import pytest
import structlog
from pydantic import ValidationError
from structlog.testing import capture_logs

from otelprof._core import Profiles
from otelprof.component import ComponentSettings, Kind
from otelprof.config.explain import explain
from otelprof.control import Incident
from otelprof.errors import ConfigError
from otelprof.model import ComponentId
from otelprof.processor.sampling.budget import SAVE_SECS, STEP_SECS
from otelprof.processor.sampling.config import SamplingConfig
from otelprof.processor.sampling.sampling import Sampling
from otelprof.telemetry.metrics import OVERFLOW, Metrics
from otelprof.telemetry.policy_metrics import (
    BUDGET_ALLOWED_BYTES,
    BUDGET_PROBABILITY,
    BUDGET_SPARED_PROBABILITY,
    BUDGET_SPENT_BYTES,
)
from otelprof.testing.clock import SimulatedClock
from tests.recordings import OWN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# 474 samples, 90 of them with a Link.
LINKED = OWN / "ebpf-linked" / "00005.otlp"
LINKED_SERVICE = "linked-java"
KEEPS_ALL = {"match": {"linked": True}, "sampling_probability": 1}
FORMAT = "otelprof.budget/1"
LEDGER = {"share": 1.0, "spent_bytes": 5.0, "sampled": 0.5, "spared": 1.0}


def sampling_config(*rules: dict[str, Any], bytes_per_day: str = "1GiB", **budget: Any) -> dict[str, Any]:
    """A configuration with a budget."""
    return {
        "rules": list(rules) or [KEEPS_ALL],
        "budget": {"bytes_per_day": bytes_per_day, **budget},
    }


class Run:
    """A processor with a budget, on a simulated clock."""

    def __init__(self, data: dict[str, Any], clock: SimulatedClock | None = None) -> None:
        self.clock = clock or SimulatedClock()
        self.metrics = Metrics()
        logger = structlog.get_logger("test")
        settings = ComponentSettings(
            ComponentId("sampling"), Kind.PROCESSOR, logger, self.metrics, self.clock
        )
        self.journal = settings.journal
        self.processor = Sampling(SamplingConfig.model_validate(data), settings)

    def __enter__(self) -> Self:
        """Start."""
        self.processor.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.processor.shutdown()

    def send(self, times: int, interval_secs: float = STEP_SECS) -> list[Profiles]:
        """What is left of a recording that comes so often."""
        left = []
        for _ in range(times):
            left.append(self.processor.process(Profiles.decode(LINKED.read_bytes())))
            self.clock.advance(interval_secs)
        return left

    def value(self, spec: Any, service: str = LINKED_SERVICE) -> float:
        """A gauge."""
        return self.metrics.value(spec, processor="sampling", service=service)


@pytest.fixture
def state_file(tmp_path: Path) -> Iterator[Path]:
    """Where a budget writes; nothing but the state and its lock is there afterwards."""
    path = tmp_path / "budget.json"
    yield path
    assert {one.name for one in tmp_path.iterdir()} <= {path.name, f"{path.name}.lock"}


def problems(data: dict[str, Any]) -> list[str]:
    """Everything that is wrong with a configuration."""
    with pytest.raises(ValidationError) as caught:
        SamplingConfig.model_validate(data)
    return [str(one) for one in explain(caught.value, SamplingConfig, data, "sampling")]


def test_in_words() -> None:
    """What a budget does is said, and what it does to a rule that keeps everything as long as it can."""
    data = sampling_config(KEEPS_ALL, {"match": {"linked": False}, "action": "keep"}, bytes_per_day="10GiB")
    assert (
        "linked: all traces stay while the budget allows, the rest is dropped",
        "unlinked: all samples stay",
        "everything else stays",
        (
            "budget: 10 GiB a day for each service, in this instance; probabilities fall when more comes, "
            "those of error and slow traces last; rules with an action stand"
        ),
        "budget: kept in memory; after a restart the rest of the day has its share of it",
    ) == SamplingConfig.model_validate(data).in_words()


@pytest.mark.parametrize("rule", [{"action": "keep"}, {"sampling_probability": 0, "otherwise": "demote"}])
def test_nothing_to_move(rule: dict[str, Any]) -> None:
    """A budget needs a rule that samples, and says which one could."""
    assert [
        (
            "sampling: the budget has nothing to move, since no rule samples: add one, such as "
            "{match: {linked: true}, sampling_probability: 1, otherwise: demote}"
        )
    ] == problems(sampling_config(rule))


def test_too_small() -> None:
    """A budget of next to nothing is a slip."""
    assert ["sampling.budget.bytes_per_day"] == [
        one.partition(":")[0] for one in problems(sampling_config(bytes_per_day="1000"))
    ]


@pytest.mark.parametrize("mode", ["consistent", "python", "java", "go"])
def test_raises_thresholds(mode: str) -> None:
    """When more comes than is allowed, less stays, whichever way a rule decides."""
    data = sampling_config({**KEEPS_ALL, "mode": mode}, bytes_per_day="1MiB")
    with Run(data) as run:
        before, *_, after = run.send(30)

        assert (474, True) == (before.sample_count, after.sample_count < 474)
        assert run.value(BUDGET_PROBABILITY) < 0.1
        assert 1 == run.value(BUDGET_SPARED_PROBABILITY)
        assert 2**20 == run.value(BUDGET_ALLOWED_BYTES)


def test_counts_what_is_let_through() -> None:
    """What was spent is what the exporters are given, as OTLP; all services together have one series."""
    with Run(sampling_config(per="all")) as run:
        left = run.send(3)

        assert sum(len(profiles.to_otlp()) for profiles in left) == run.value(BUDGET_SPENT_BYTES, "")


def test_journal() -> None:
    """What probabilities move to is told to the journal, with the service and the time."""
    with Run(sampling_config(bytes_per_day="1MiB")) as run:
        run.send(30)
    events = [event for event in run.journal.since(0)[0] if event.kind == "probability"]
    own = [event for event in events if event.service == LINKED_SERVICE]

    assert {"sampling"} == {event.component for event in events}
    assert run.value(BUDGET_PROBABILITY) == own[-1].probability
    assert own[-1].what.startswith("budget: ")
    assert sorted(event.time_secs for event in own) == [event.time_secs for event in own]


def test_incident() -> None:
    """During an incident everything of its service stays, and is counted."""
    with Run(sampling_config(bytes_per_day="1MiB")) as run:
        *_, before = run.send(30)
        run.processor.control.incidents.start(
            Incident(LINKED_SERVICE, "it is slow", "somebody", run.clock.now(), 600.0)
        )
        spent = run.value(BUDGET_SPENT_BYTES)
        (during,) = run.send(1)

        assert (True, 474) == (before.sample_count < 474, during.sample_count)
        assert run.value(BUDGET_SPENT_BYTES) > spent
        assert {LINKED_SERVICE: 1.0} == {
            service: probability
            for service, probability in run.processor.control.sampling_probabilities().items()
            if service == LINKED_SERVICE
        }


def test_boost_needs_a_rule_that_samples() -> None:
    """With a budget, a rule that keeps everything for now is one that samples."""
    data = sampling_config() | {"boost_on_new_version": "30m"}

    assert SamplingConfig.model_validate(data).boost_on_new_version == 1_800
    assert problems({key: value for key, value in data.items() if key != "budget"})


def test_all_services() -> None:
    """Together, all services have one threshold."""
    with Run(sampling_config(bytes_per_day="1MiB", per="all")) as run:
        *_, after = run.send(30)

        assert after.sample_count < 474
        assert {""} == run.processor.control.sampling_probabilities().keys()


def test_threads() -> None:
    """Whatever threads requests come on, each is counted once."""
    with Run(sampling_config()) as run, ThreadPoolExecutor(8) as pool:
        left = list(pool.map(lambda _: run.send(1, interval_secs=0)[0], range(200)))

        spent = [run.value(BUDGET_SPENT_BYTES, name) for name in (LINKED_SERVICE, "unknown_service")]
        assert sum(one.wire_bytes for one in left) == pytest.approx(sum(spent))


def test_shared_series() -> None:
    """Services of endless names have the series that is for the others."""
    body = LINKED.read_bytes()
    request = Profiles.decode(body).to_proto()
    for group in request.resource_profiles:
        del group.resource.attributes[:]
        group.resource.attributes.add(key="service.name").value.string_value = "x" * 300
    with Run(sampling_config()) as run:
        run.processor.process(Profiles.decode(request.SerializeToString()))

        assert run.value(BUDGET_SPENT_BYTES, OVERFLOW) > 0


def test_encoded_once() -> None:
    """What is counted is kept for who sends it, and counts as memory."""
    with Run(sampling_config({**KEEPS_ALL, "sampling_probability": 0.5})) as run:
        (left,) = run.send(1)
        without = Profiles.decode(LINKED.read_bytes())
        before = without.memory_bytes

        assert left.to_otlp() is left.to_otlp()
        assert before + without.wire_bytes == without.memory_bytes


def test_restart(state_file: Path) -> None:
    """A restart forgets nothing: neither what was spent, nor what was in force."""
    data = sampling_config(bytes_per_day="1MiB", state_file=str(state_file))
    with Run(data) as run:
        run.send(10)
    spent, probability = run.value(BUDGET_SPENT_BYTES), run.value(BUDGET_PROBABILITY)
    with Run(data, run.clock) as again:
        assert (spent, probability) == (again.value(BUDGET_SPENT_BYTES), again.value(BUDGET_PROBABILITY))
        (left,) = again.send(1)

    assert probability < 1
    assert left.sample_count < 474


def test_crash(state_file: Path) -> None:
    """A crash forgets what came in the last minute."""
    run = Run(sampling_config(state_file=str(state_file)))
    run.processor.start()
    run.send(1 + int(SAVE_SECS / STEP_SECS))
    written = json.loads(state_file.read_text())
    run.processor.shutdown()

    assert run.value(BUDGET_SPENT_BYTES) == written["ledgers"][LINKED_SERVICE]["spent_bytes"]


def test_next_day(state_file: Path) -> None:
    """What another day has cost is of no account; what was in force is where it begins."""
    data = sampling_config(state_file=str(state_file))
    state_file.write_text(
        json.dumps({"format": FORMAT, "day": "2025-12-31", "per": "service", "ledgers": {"cart": LEDGER}})
    )
    with Run(data) as run:
        found = (run.value(BUDGET_SPENT_BYTES, "cart"), run.value(BUDGET_PROBABILITY, "cart"))

    assert (0, 0.5) == found


def test_without_a_file() -> None:
    """Without a file, a start at noon has half of the budget for the half of the day."""
    clock = SimulatedClock()
    clock.advance(12 * 3600)
    with Run(sampling_config(), clock) as run:
        run.send(1)

        assert 2**29 == run.value(BUDGET_ALLOWED_BYTES)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\x00",
        b"[]",
        b"5" * 5000,
        b"[" * 100_000,
        b" " * (4 << 20) + b"{}",
        json.dumps({"format": "a recording", "day": "2026-01-01", "per": "service", "ledgers": {}}).encode(),
        json.dumps({"format": FORMAT, "day": "2026-01-02", "per": "service", "ledgers": {}}).encode(),
        json.dumps({"format": FORMAT, "day": "2026-01-01", "per": "all", "ledgers": {}}).encode(),
        *(
            json.dumps(
                {
                    "format": FORMAT,
                    "day": "2026-01-01",
                    "per": "service",
                    "ledgers": {"cart": {**LEDGER, **wrong}},
                }
            ).encode()
            for wrong in ({"share": 2}, {"spent_bytes": -1}, {"sampled": 0}, {"spared": 1e300}, {"more": 1})
        ),
        (
            b'{"format": "otelprof.budget/1", "day": "2026-01-01", "per": "service", "ledgers": '
            b'{"cart": {"share": 1, "spent_bytes": NaN, "sampled": 1, "spared": 1}}}'
        ),
    ],
)
def test_foreign_file(state_file: Path, content: bytes) -> None:
    """A file that is no state of today's budget is said to be none, and written anew; never a crash."""
    state_file.write_bytes(content)
    with capture_logs() as logs, Run(sampling_config(state_file=str(state_file))) as run:
        assert 0 == run.value(BUDGET_SPENT_BYTES, "cart")

    assert [("the budget begins anew", "warning")] == [(one["event"], one["log_level"]) for one in logs]
    assert {} == json.loads(state_file.read_text())["ledgers"]


def test_two_budgets(state_file: Path) -> None:
    """Two budgets on one file would write over each other: the second does not start."""
    data = sampling_config(state_file=str(state_file))
    with Run(data), pytest.raises(ConfigError, match=r"budget\.state_file: .* in use by another budget"):
        Run(data).processor.start()
    with Run(data):
        pass


def test_no_folder(tmp_path: Path) -> None:
    """A file that cannot be written is told at the start."""
    data = sampling_config(state_file=str(tmp_path / "missing" / "budget.json"))
    with pytest.raises(ConfigError, match=r"budget\.json cannot be written: No such file or directory"):
        Run(data).processor.start()


def test_disk_goes_away(tmp_path: Path) -> None:
    """When the ledgers cannot be written down, that is said, and sampling goes on."""
    folder = tmp_path / "state"
    folder.mkdir()
    run = Run(sampling_config(state_file=str(folder / "budget.json")))
    run.processor.start()
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    with capture_logs() as logs:
        left = run.send(10)
        run.processor.shutdown()

    assert 10 == len(left)
    assert "the budget cannot be written down, and a restart would forget it" in {
        one["event"] for one in logs
    }


def test_lifecycle() -> None:
    """Shutdown is safe before the start and more than once; what comes later is still sampled."""
    run = Run(sampling_config())
    run.processor.shutdown()
    run.processor.start()
    run.processor.shutdown()
    run.processor.shutdown()

    assert 474 == run.send(1)[0].sample_count
