"""Whether functions became dearer, or what a program does was only divided anew.

When a lock is no longer waited for, what the scheduler did for it goes, and functions that run more of the
time become dearer although nobody changed them. Two explanations are weighed by what the whole cost: what
functions grew by is new, so that the whole grew by as much; or it is not, and the whole fell.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otelprof.gate.comparison import Comparison

_FELL: Final = 0.05
_SEEMS_TO_HAVE_FALLEN: Final = 0.25
_FALL: Final = 0.5
_TIMES_AS_LIKELY: Final = 1.5
_EXCLUDED: Final = 0.95
_MOST_OF_IT: Final = 0.99


class Whole(Enum):
    """What the whole did while functions became dearer."""

    FELL = "it became cheaper"
    MAY_HAVE_FALLEN = "it may have become cheaper"
    DID_NOT_FALL = "it did not become cheaper"


def whole(comparison: Comparison, grown: Sequence[int]) -> Whole:
    """What the whole did.

    It may have fallen when it seems to (one-sided p up to 25 %); and when a fall by half of what functions
    grew by is 1.5 times as likely as a growth by all of that, unless such a fall is excluded (95 %). Where
    the growth is small for the noise of the whole, both are as likely, and nothing is held back.

    Args:
        comparison: of both sides.
        grown: functions that became dearer, by place.
    """
    p_of_fall = comparison.tested.p_of_fall[-1]
    if p_of_fall <= _FELL:
        return Whole.FELL
    if p_of_fall <= _SEEMS_TO_HAVE_FALLEN:
        return Whole.MAY_HAVE_FALLEN
    before, after = comparison.totals
    growth = _growth(comparison, grown) / before if before > 0 else 0.0
    if growth <= 0:
        return Whole.DID_NOT_FALL
    fall = -min(_FALL * growth, _MOST_OF_IT)
    is_likelier = comparison.noise.likelihood(before, after, fall) >= (
        _TIMES_AS_LIKELY * comparison.noise.likelihood(before, after, growth)
    )
    is_possible = comparison.noise.lower_growth(before, after, _EXCLUDED) <= fall
    return Whole.MAY_HAVE_FALLEN if is_likelier and is_possible else Whole.DID_NOT_FALL


def _growth(comparison: Comparison, grown: Sequence[int]) -> float:
    """What functions grew by together, per run."""
    before, after = comparison.cost_of_stacks(comparison.stacks_with_any(grown))
    return after - before
