"""Amounts as a person would write them."""

from __future__ import annotations

from typing import Final

from otelprof.telemetry.text import printable

_MAX_UNIT_CHARS: Final = 60
SECONDS_IN: Final = {"ns": 1e-9, "nanoseconds": 1e-9, "us": 1e-6, "microseconds": 1e-6, "ms": 1e-3,
                     "milliseconds": 1e-3, "s": 1.0, "seconds": 1.0}  # fmt: skip
"""Units of time, as profilers write them."""
_TIME_STEPS: Final = ((86400.0, "d"), (3600.0, "h"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_BYTE_STEPS: Final = ((2.0**40, "TiB"), (2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B"))
_COUNT_STEPS: Final = ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k"), (1.0, ""))


def human(value: float, unit: str) -> str:
    """A value with its unit as a person would write it: 1.31 s, 4.0 MiB, 12.5 k."""
    if unit in SECONDS_IN:
        return _scaled(value * SECONDS_IN[unit], _TIME_STEPS, " ")
    if unit in {"By", "B", "bytes"}:
        return _scaled(value, _BYTE_STEPS, " ")
    suffix = "" if unit in {"", "count", "1"} else f" {printable(unit, _MAX_UNIT_CHARS)}"
    return _scaled(value, _COUNT_STEPS, "") + suffix


def share(part: float, whole: float) -> str:
    """A part of a whole in percent, without decimals."""
    return f"{100 * part / whole:.0f} %" if whole else "0 %"


def _scaled(value: float, steps: tuple[tuple[float, str], ...], space: str) -> str:
    for size, name in steps:
        if abs(value) >= size:
            number = value / size
            return f"{number:.0f}{space}{name}" if number == int(number) else f"{number:.2f}{space}{name}"
    return f"0{space}{steps[-1][1]}"
