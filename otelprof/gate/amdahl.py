"""What a faster part is worth to the whole (Amdahl, AFIPS 1967)."""

from __future__ import annotations


def overall_speedup(share: float, speedup: float) -> float:
    """How much faster the whole becomes.

    Args:
        share: of the whole that the part had before, 0 to 1.
        speedup: of the part, above 0; infinity is as if it were gone.

    Returns:
        1 for no change; infinity where the whole is gone.
    """
    left = 1 - share * (1 - 1 / speedup)
    return 1 / left if left > 0 else float("inf")
