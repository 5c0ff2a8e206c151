"""Rejection thresholds, and the bounds of SDK samplers.

A trace has a randomness value R, the low 56 bits of its id. A sampling probability p has a threshold
T = (1 - p) * 2^56, and the trace stays when R >= T (OpenTelemetry, "TraceState: Probability Sampling"). So
whoever has the same T decides the same, and what stays at p stays at every larger probability.

The ratio samplers of the SDKs are older than that: they keep ids *below* a bound, which each language
computes in its own way.
"""

from __future__ import annotations

import re
from typing import Final

RANDOMNESS_END: Final = 1 << 56
"""One past the largest randomness value."""

MIN_PROBABILITY: Final = 1 / RANDOMNESS_END
"""The least probability that is more than never."""

_TH_DIGITS: Final = 14
_TH: Final = re.compile(rf"[0-9a-f]{{1,{_TH_DIGITS}}}")
_LONG_MAX: Final = (1 << 63) - 1  # Java's Long.MAX_VALUE


def threshold_of(probability: float) -> int:
    """The rejection threshold of a probability, rounded as the OpenTelemetry SDKs round it.

    Args:
        probability: 2^-56 to 1.

    Returns:
        A threshold in [0, 2^56).

    Raises:
        ValueError: the probability is out of its range; "never" has no threshold.
    """
    if not MIN_PROBABILITY <= probability <= 1:
        message = f"{probability} is not a sampling probability: 2^-56 to 1 is allowed"
        raise ValueError(message)
    # A product with a power of two is exact.
    return RANDOMNESS_END - round(probability * RANDOMNESS_END)


def probability_of(threshold: int) -> float:
    """The probability that a threshold realises."""
    return (RANDOMNESS_END - threshold) / RANDOMNESS_END


def adjusted_count(threshold: int) -> float:
    """How many each one that stays stands for."""
    return RANDOMNESS_END / (RANDOMNESS_END - threshold)


def parse_th(text: str) -> int:
    """Read a threshold as `th` has it in a tracestate: 1 to 14 lower-case hexadecimal digits.

    Zeros at the end may be left out: `c` is `c0000000000000`.

    Raises:
        ValueError: the text has another form.
    """
    if not _TH.fullmatch(text):
        message = (
            f"{text!r} is not a threshold: write 1 to 14 of the digits 0-9 and a-f, as th has them in ot="
        )
        raise ValueError(message)
    return int(text.ljust(_TH_DIGITS, "0"), 16)


def th_text(threshold: int) -> str:
    """A threshold as `th` is written: no zeros at the end, `0` for "always"."""
    return f"{threshold:0{_TH_DIGITS}x}".rstrip("0") or "0"


def python_bound(probability: float) -> int:
    """The bound of Python's `TraceIdRatioBased`: it keeps a trace whose low 64 bits are below.

    Source: opentelemetry-sdk, `TraceIdRatioBased.get_bound_for_rate`.
    """
    return round(probability * (1 << 64))


def java_bound(probability: float) -> int:
    """The bound of Java's `traceIdRatioBased`: it keeps a trace whose low 64 bits, less the sign, are below.

    Source: opentelemetry-java, `TraceIdRatioBasedSampler.create`: `(long) (ratio * Long.MAX_VALUE)`, where
    the factor becomes a double, 2^63, and 1 is `Long.MAX_VALUE` itself.
    """
    return min(int(probability * float(_LONG_MAX)), _LONG_MAX)


def go_bound(probability: float) -> int:
    """The bound of Go's `TraceIDRatioBased`: it keeps a trace whose low 64 bits, without the last, are below.

    Source: opentelemetry-go, `TraceIDRatioBased`: `uint64(fraction * (1 << 63))`.
    """
    return int(probability * (1 << 63))
