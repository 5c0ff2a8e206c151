"""The memory limiter: when it refuses, and what it says."""

from __future__ import annotations

from typing import Any

import pytest
import structlog
from pydantic import ValidationError

from otelprof.component import ComponentSettings, Kind
from otelprof.errors import OverloadedError
from otelprof.model import ComponentId
from otelprof.processor import memory_limiter
from otelprof.processor.memory_limiter import MemoryLimiter, MemoryLimiterConfig
from otelprof.telemetry.admission_metrics import MEMORY_LIMITER_REFUSED
from otelprof.telemetry.metrics import Metrics
from otelprof.testing.clock import SimulatedClock

MIB = 1 << 20
PROFILES: Any = object()


class Bench:
    """A limiter of 100 MiB with 20 to spare, in a process whose memory the test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.used_mib = 0
        self.measurements = 0
        self.clock = SimulatedClock()
        self.metrics = Metrics()
        monkeypatch.setattr(memory_limiter, "_resident_bytes", self._measure)
        monkeypatch.setattr(memory_limiter, "_give_back_free_memory", lambda: None)
        logger = structlog.get_logger("test")
        settings = ComponentSettings(
            ComponentId("memory_limiter"), Kind.PROCESSOR, logger, self.metrics, self.clock
        )
        self.limiter = MemoryLimiter(MemoryLimiterConfig(limit_mib=100), settings)

    def refuses(self) -> bool:
        """Whether a request is refused now."""
        try:
            self.limiter.process(PROFILES)
        except OverloadedError:
            return True
        return False

    def _measure(self) -> int:
        self.measurements += 1
        return self.used_mib * MIB


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A limiter under test."""
    return Bench(monkeypatch)


def test_it_passes_the_same_handle_on(bench: Bench) -> None:
    """Below the soft limit, a request goes through as it came."""
    bench.used_mib = 80
    assert PROFILES is bench.limiter.process(PROFILES)


def test_it_refuses_above_the_soft_limit(bench: Bench) -> None:
    """Above the limit less the spike limit, clients are asked to come back after the next measurement."""
    bench.used_mib = 81
    with pytest.raises(
        OverloadedError, match="data refused due to high memory usage: 81 MiB of 80 MiB"
    ) as caught:
        bench.limiter.process(PROFILES)
    assert 1.0 == caught.value.retry_after_secs
    assert 1 == bench.metrics.value(MEMORY_LIMITER_REFUSED, processor="memory_limiter")


def test_it_measures_at_most_once_in_an_interval(bench: Bench) -> None:
    """A thousand requests in a second cost one measurement; the state is as old as the interval."""
    for _ in range(1000):
        bench.refuses()
    bench.used_mib = 99
    states = [bench.refuses()]
    bench.clock.advance(1.0)
    states.append(bench.refuses())
    assert [False, True] == states
    assert 3 == bench.measurements  # the last one twice: before and after freed memory was given back


def test_it_logs_entering_and_leaving_once(bench: Bench) -> None:
    """A change of state is a line, a refusal is not."""
    with structlog.testing.capture_logs() as logs:
        for used_mib in (99, 99, 10, 10):
            bench.used_mib = used_mib
            bench.refuses()
            bench.refuses()
            bench.clock.advance(1.0)
    assert [("warning", 99 * MIB), ("info", 10 * MIB)] == [
        (line["log_level"], line["used_bytes"]) for line in logs
    ]


@pytest.mark.parametrize(
    ("keys", "soft_limit_bytes"),
    [
        ({"limit_mib": 100}, 80 * MIB),
        ({"limit_mib": 100, "spike_limit_mib": 30}, 70 * MIB),
        ({"limit_percentage": 50}, 400),
        ({"limit_percentage": 50, "spike_limit_percentage": 25}, 250),
        ({"limit_mib": 100, "limit_percentage": 50}, 80 * MIB),
    ],
)
def test_soft_limit(keys: dict[str, int], soft_limit_bytes: int) -> None:
    """The soft limit is the limit less the spike limit, which is a fifth of it when not given; MiB win."""
    assert soft_limit_bytes == MemoryLimiterConfig.model_validate(keys).soft_limit_bytes(1000)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "give limit_mib or limit_percentage"),
        ({"limit_mib": 100, "spike_limit_mib": 100}, r"spike_limit_mib \(100\) must be less"),
        ({"limit_percentage": 50, "spike_limit_percentage": 60}, r"spike_limit_percentage \(60\)"),
        ({"limit_mib": 100, "check_interval": 0}, "greater than 0"),
    ],
)
def test_wrong_limits_are_refused(keys: dict[str, int], message: str) -> None:
    """A limiter that would limit nothing, or everything, is a mistake."""
    with pytest.raises(ValidationError, match=message):
        MemoryLimiterConfig.model_validate(keys)


def test_memory_is_really_measured() -> None:
    """This process has some memory, and less than the machine."""
    assert 0 < memory_limiter._resident_bytes() < memory_limiter._total_memory_bytes()  # noqa: SLF001 - the sensor
