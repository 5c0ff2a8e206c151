"""One log line where there would be thousands, safe to print."""

from __future__ import annotations

import pytest

from otelprof.telemetry.text import counted, printable
from otelprof.telemetry.throttle import Throttle
from otelprof.testing.clock import SimulatedClock


def test_one_event_of_a_kind_passes_in_a_period() -> None:
    """The first passes, the others are counted until the period is over; kinds do not hold up each other."""
    clock = SimulatedClock()
    throttle = Throttle(clock, period_secs=10.0)
    assert [0, None, None, 0] == [throttle.passed(kind) for kind in ("a", "a", "a", "b")]
    clock.advance(10.0)
    assert [2, None, 0] == [throttle.passed(kind) for kind in ("a", "a", "b")]


def test_nothing_is_held_back_while_debugging(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who logs at debug level sees every event, then again one in a period with the number of the others."""
    clock = SimulatedClock()
    throttle = Throttle(clock, period_secs=10.0)
    assert [0, None] == [throttle.passed("a") for _ in range(2)]
    with monkeypatch.context() as debugging:
        debugging.setattr("otelprof.telemetry.throttle.is_debugging", lambda: True)
        assert [1, 0, 0] == [throttle.passed("a") for _ in range(3)]
    assert [None] == [throttle.passed("a")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain ünïcode 日本", "plain ünïcode 日本"),
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("two\nlines\r\ttab", r"two\nlines\r\ttab"),
        ("right\u202eleft\u200b", r"right\u202eleft\u200b"),
        ("\U000e0041", r"\U000e0041"),
        ("", ""),
    ],
)
def test_text_from_the_wire_is_printable(text: str, expected: str) -> None:
    """What a terminal would obey is written out."""
    assert expected == printable(text)


@pytest.mark.parametrize(
    ("number", "expected"), [(0, "0 samples"), (1, "1 sample"), (2_000, "2,000 samples")]
)
def test_one_is_no_plural(number: int, expected: str) -> None:
    """One sample is a sample, and thousands are readable."""
    assert expected == counted(number, "sample")


def test_long_text_is_cut() -> None:
    """A megabyte of a name is cut at the length that was asked for."""
    assert ("x" * 9 + "…", "x" * 10) == (printable("x" * 1_000_000, 10), printable("x" * 10, 10))


def test_the_simulated_clock_repeats_itself() -> None:
    """The same seed gives the same chance, and time moves only forward."""
    first, second = SimulatedClock(seed=7), SimulatedClock(seed=7)
    assert [first.random(), first.random()] == [second.random(), second.random()]
    with pytest.raises(ValueError, match="time does not go back"):
        first.advance(-1.0)
