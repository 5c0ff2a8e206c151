"""Latency and CPU of both sides, as somebody measured them: told, in a file, or in each `run.json`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from otelprof.config.units import parse_duration
from otelprof.telemetry.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from otelprof.gate.runs import Run, Work

MAX_FIGURES: Final = 50
_NAME: Final = re.compile(r"mean|avg|median|max|p[0-9]{1,3}(?:\.[0-9]{1,4})?")
_KEY: Final = re.compile(rf"(?:latency_)?({_NAME.pattern})_(ns|us|ms|s)")
_SECONDS: Final = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
# The nearer to a mean, the more of it a profile can tell.
_ORDER: Final = ("mean", "avg", "p50", "median")
_MIDDLE: Final = frozenset(_ORDER)
_PERCENT: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?%")
_MAX_SECONDS: Final = 1e9
_THROUGHPUT: Final = "throughput"
_MAD_TO_SD: Final = 1.4826
_MEDIAN_TO_MEAN: Final = 1.2533  # a median scatters more than a mean, by sqrt(pi / 2)


@dataclass(frozen=True)
class Figure:
    """One figure before and after.

    Attributes:
        name: `p99`, `cpu`, `requests a second`.
        before: above 0: seconds, a part of the machine or cores, or work a second.
        after: likewise.
        noise: how far medians of such runs are apart without a change; 0 when not known.
    """

    name: str
    before: float
    after: float
    noise: float = 0.0

    @property
    def delta(self) -> float:
        """Above 0: more than before."""
        return self.after - self.before

    @property
    def relative(self) -> float:
        """The same, of what it was before."""
        return self.delta / self.before

    @property
    def is_noise(self) -> bool:
        """Whether it may be no change."""
        return abs(self.delta) <= self.noise

    @property
    def is_middle(self) -> bool:
        """Whether it is near a mean, which is what a profile holds."""
        return self.name in _MIDDLE


@dataclass(frozen=True)
class Figures:
    """All figures of a change.

    Attributes:
        latency: what was told first; then those nearest to a mean.
        cpu: busy CPU, as a part of the machine (0.58 is 58 %) or in cores.
        throughput: work a second.
    """

    latency: tuple[Figure, ...] = ()
    cpu: Figure | None = None
    throughput: Figure | None = None

    @property
    def main(self) -> Figure | None:
        """The latency that is explained: one that was told, or a mean or a median where there is one."""
        return self.latency[0] if self.latency else None


def figures(before: Mapping[str, float], after: Mapping[str, float]) -> Figures:
    """Figures by name: `cpu`, and latencies in seconds; what one side alone has is left out.

    Raises:
        ValueError: a value is not above 0.
    """
    for name, value in (*before.items(), *after.items()):
        if not 0 < value < _MAX_SECONDS:
            message = f"{name} is {value:g}: a number above 0 is expected"
            raise ValueError(message)
    both = [Figure(name, before[name], after[name]) for name in before if name in after]
    latency = sorted((one for one in both if one.name != "cpu"), key=_place)
    cpu = next((one for one in both if one.name == "cpu"), None)
    return Figures(tuple(latency), cpu)


def measured(before: Sequence[Run], after: Sequence[Run], work: Work | None = None) -> Figures:
    """The medians of what each `run.json` of a side says.

    Latencies are keys as `p99_us` or `mean_ms`; `cpu_s` and `wall_s` make busy cores, and the work and
    `wall_s` what was done a second.
    """
    of_sides = [[_of_run(run, work) for run in runs] for runs in (before, after)]
    names = [name for name in (of_sides[0][0] if of_sides[0] else {}) if _everywhere(name, of_sides)]
    both = {name: [[run[name] for run in runs] for runs in of_sides] for name in names}
    found = {
        name: Figure(name, median(sides[0]), median(sides[1]), spread(sides[0], sides[1]))
        for name, sides in both.items()
    }
    cpu, throughput = found.pop("cpu", None), found.pop(_THROUGHPUT, None)
    if throughput is not None:
        throughput = replace(throughput, name=f"{work.key if work else 'work'} a second")
    return Figures(tuple(sorted(found.values(), key=_place)), cpu, throughput)


def spread(before: Sequence[float], after: Sequence[float]) -> float:
    """Two standard errors of the difference of the medians of two samples, or more where they are small.

    0 where there is one value of each: nothing is known of their noise.
    """
    variance = 0.0
    for values in (before, after):
        middle = median(values)
        deviation = _MAD_TO_SD * median(abs(value - middle) for value in values)
        variance += (_MEDIAN_TO_MEAN * deviation) ** 2 / len(values)
    degrees = max(len(before) + len(after) - 2, 1)
    return float((2 + 4 / degrees) * variance**0.5)  # about the 97.5 % quantile of Student's t


def merged(told: Figures, found: Figures) -> Figures:
    """What somebody told, and of what they did not, what was found."""
    names = {one.name for one in told.latency}
    latency = [*told.latency, *(one for one in found.latency if one.name not in names)]
    return Figures(tuple(latency), told.cpu or found.cpu, told.throughput or found.throughput)


def parse_figures(text: Sequence[str], cpu: str | None = None) -> dict[str, float]:
    """Read `p99=120ms`, and `58%` or a number of cores.

    Raises:
        ValueError: a text is none of these.
    """
    found = {}
    for one in text:
        name, equals, value = one.partition("=")
        if not equals or not _NAME.fullmatch(name):
            message = f"'{printable(one, 100)}' is no latency: write p50=38ms, p99=120ms or mean=40ms"
            raise ValueError(message)
        found[name] = parse_duration(value)
    if cpu is not None:
        found["cpu"] = _cpu(cpu)
    return found


def parse_file(content: bytes) -> Figures:
    """Read JSON: `{"before": {"p99": "120ms", "cpu": "58%"}, "after": {...}}`. Numbers are seconds, or cores.

    Raises:
        ValueError: it is something else; says what.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        message = f"it is no JSON: {error}"
        raise ValueError(message) from error
    if not isinstance(document, dict) or document.keys() != {"before", "after"}:
        message = 'an object with the keys "before" and "after" is expected'
        raise ValueError(message)
    return figures(_of_object(document["before"]), _of_object(document["after"]))


def _of_object(side: Any) -> dict[str, float]:  # noqa: ANN401 - whatever JSON holds
    if not isinstance(side, dict) or len(side) > MAX_FIGURES:
        message = f"before and after are objects of at most {MAX_FIGURES} figures"
        raise ValueError(message)
    found = {}
    for name, value in side.items():
        if name == "cpu":
            found[name] = _cpu(value)
        elif _NAME.fullmatch(name):
            found[name] = parse_duration(value)
        else:
            message = f"'{printable(name, 100)}' is no figure: cpu, mean, p50, p99 and so on are"
            raise ValueError(message)
    return found


def _cpu(value: object) -> float:
    percent = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if percent:
        return float(percent[1]) / 100
    try:
        return float(value)  # type: ignore[arg-type] # what cannot be read is told
    except (TypeError, ValueError) as error:
        message = f"CPU {value!r} is neither a percentage as 58% nor a number of cores"
        raise ValueError(message) from error


def _of_run(run: Run, work: Work | None) -> dict[str, float]:
    found = {}
    for key in run.metadata:
        match, value = _KEY.fullmatch(key), run.number(key)
        if match and value is not None:
            found[match[1]] = value * _SECONDS[match[2]]
    seconds, cpu, amount = run.number("wall_s"), run.number("cpu_s"), work.of(run) if work else None
    if seconds and cpu:
        found["cpu"] = cpu / seconds
    if seconds and amount:
        found[_THROUGHPUT] = amount / seconds
    return found


def _everywhere(name: str, sides: Sequence[Sequence[Mapping[str, float]]]) -> bool:
    return all(runs and all(name in run for run in runs) for runs in sides)


def _place(figure: Figure) -> tuple[int, str]:
    return (_ORDER.index(figure.name) if figure.name in _ORDER else len(_ORDER), figure.name)
