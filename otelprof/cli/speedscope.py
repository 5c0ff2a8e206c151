"""Stacks in the file format of speedscope (https://www.speedscope.app/file-format-schema.json)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SCHEMA: Final = "https://www.speedscope.app/file-format-schema.json"
# Units that speedscope knows; the others are shown as plain numbers.
_UNITS: Final = {
    "nanoseconds": "nanoseconds",
    "ns": "nanoseconds",
    "microseconds": "microseconds",
    "us": "microseconds",
    "milliseconds": "milliseconds",
    "ms": "milliseconds",
    "seconds": "seconds",
    "s": "seconds",
    "bytes": "bytes",
    "By": "bytes",
    "B": "bytes",
}


def speedscope(
    name: str, profiles: Iterable[tuple[str, str, Sequence[tuple[str, int]]]], *, version: str
) -> dict[str, Any]:
    """A file, ready for `json.dump`.

    Args:
        name: of the whole.
        profiles: each the name of a sample type, its unit, and folded stacks; what is not above zero is left
            out, since speedscope has no place for it.
        version: of otelprof.
    """
    frames: dict[str, int] = {}
    written = [_sampled(title, unit, stacks, frames) for title, unit, stacks in profiles]
    return {
        "$schema": _SCHEMA,
        "name": name,
        "exporter": f"otelprof {version}",
        "activeProfileIndex": 0,
        "shared": {"frames": [{"name": frame} for frame in frames]},
        "profiles": written,
    }


def _sampled(
    title: str, unit: str, stacks: Sequence[tuple[str, int]], frames: dict[str, int]
) -> dict[str, Any]:
    drawn = [(stack.split(";"), value) for stack, value in stacks if value > 0]
    return {
        "type": "sampled",
        "name": title,
        "unit": _UNITS.get(unit, "none"),
        "startValue": 0,
        "endValue": sum(value for _, value in drawn),
        "samples": [[frames.setdefault(frame, len(frames)) for frame in stack] for stack, _ in drawn],
        "weights": [value for _, value in drawn],
    }
