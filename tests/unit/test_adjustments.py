"""What changes the rules for a while: where it is kept, and what it makes of a request."""

from __future__ import annotations

import pytest

from otelprof._core import Adjustments, Policy, Profiles, Rule
from otelprof.processor.sampling.adjustments import CurrentAdjustments
from otelprof.processor.sampling.threshold import RANDOMNESS_END
from tests.recordings import OWN

# 474 samples, 90 of them with a Link.
LINKED = OWN / "ebpf-linked" / "00005.otlp"
HALF = RANDOMNESS_END // 2


def kept(adjustments: Adjustments | None) -> int:
    """How many samples of a recording a rule that keeps all by trace leaves linked."""
    selected = Profiles.decode(LINKED.read_bytes()).select(
        Policy([Rule("sample", threshold=1)]), adjustments=adjustments
    )
    return selected.decided[0].kept


def test_nothing_is_adjusted() -> None:
    """At first nothing is adjusted, and the core is given nothing, unless services are to be counted."""
    assert (None, {}) == (CurrentAdjustments().current(), CurrentAdjustments().thresholds())
    counting = CurrentAdjustments(counts_services=True).current()

    assert counting is not None
    assert 90 == kept(counting) == kept(None)


def test_thresholds() -> None:
    """Thresholds hold until others replace them; a service that is lifted has none."""
    adjustments = CurrentAdjustments()
    adjustments.set_thresholds({"": RANDOMNESS_END - 1, "cart": HALF}, {"cart": HALF // 2})

    assert {"": 2**-56, "cart": 0.5} == adjustments.thresholds()
    assert 0 == kept(adjustments.current())

    adjustments.lift("cart")
    assert {"": 2**-56, "cart": 1.0} == adjustments.thresholds()
    adjustments.settle("cart")
    adjustments.set_thresholds({})
    assert (None, {}) == (adjustments.current(), adjustments.thresholds())


def test_lift() -> None:
    """A lift ends once, however often it began; the empty name is every service."""
    adjustments = CurrentAdjustments()
    adjustments.set_thresholds({"": RANDOMNESS_END - 1})
    adjustments.lift("")
    adjustments.lift("")

    assert 90 == kept(adjustments.current())
    adjustments.settle("")
    adjustments.settle("")
    assert 0 == kept(adjustments.current())


def test_made_on_change() -> None:
    """What the core is given is made when something changes, not when it is asked for."""
    adjustments = CurrentAdjustments()
    adjustments.lift("cart")

    assert adjustments.current() is adjustments.current()


def test_bad_threshold() -> None:
    """A threshold that is none changes nothing."""
    adjustments = CurrentAdjustments()
    adjustments.set_thresholds({"cart": HALF})
    with pytest.raises(ValueError, match="cart"):
        adjustments.set_thresholds({"cart": RANDOMNESS_END})

    assert {"cart": 0.5} == adjustments.thresholds()
