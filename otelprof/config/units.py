"""Durations and sizes as a collector's configuration writes them."""

import re
from typing import Annotated, Final

from pydantic import BeforeValidator, ByteSize, Field

# Go's time.ParseDuration, and `d` for the retention of days.
_SECONDS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600, "d": 86400}
_TERM: Final = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h|d)")
_DURATION: Final = re.compile(rf"(?:{_TERM.pattern})+")
_MAX_DURATION_SECS: Final = 100 * 365 * 86400
_SIZE: Final = re.compile(r"[0-9]+(\.[0-9]+)? ?[A-Za-z]*")


def parse_duration(value: object) -> float:
    """Read a duration: `300ms`, `1m30s`, or a plain number of seconds.

    Returns:
        Seconds.

    Raises:
        ValueError: the value is neither.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and _DURATION.fullmatch(value):
        return sum(float(number) * _SECONDS[unit] for number, unit in _TERM.findall(value))
    message = f"{value!r} is not a duration: write 300ms, 10s or 1m30s, or a plain number of seconds"
    raise ValueError(message)


def _size(value: object) -> object:
    """Refuse what `ByteSize` would take for something else: `4MiB, or so` for 4 MiB, and true for 1."""
    if isinstance(value, ByteSize) or (type(value) is int and value >= 0):
        return value
    if isinstance(value, str) and _SIZE.fullmatch(value):
        return value
    message = f"{value!r} is not a size: write 512KiB, 4MiB or 1GiB, or a plain number of bytes"
    raise ValueError(message)


Duration = Annotated[
    float, BeforeValidator(parse_duration), Field(ge=0, le=_MAX_DURATION_SECS, allow_inf_nan=False)
]
"""Seconds, 0 to 100 years; a field may narrow it."""

Size = Annotated[ByteSize, BeforeValidator(_size)]
"""Bytes, 0 or more; a field may narrow it."""
