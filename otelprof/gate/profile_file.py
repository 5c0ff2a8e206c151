"""One profile of one run, from a file in any format: stacks as columns, and what a value stands for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from otelprof.errors import PermanentError
from otelprof.recording.reader import open_recording
from otelprof.telemetry.quantity import SECONDS_IN
from otelprof.telemetry.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from otelprof._core import ProfileOutline, Profiles

NANOSECONDS: Final = "nanoseconds"
_NANO: Final = 1e-9
_COUNTS: Final = frozenset({"count", "1", ""})
_SAMPLES: Final = frozenset({"samples", "sample"})
# What to read of several sample types, by the type of profile; of others, the last, as pprof has it.
_WANTED: Final = {
    "cpu": ("cpu", "samples", "sample"),
    "alloc": ("alloc_space", "allocations", "alloc_objects"),
    "heap": ("inuse_space",),
    "wall": ("wall", "time"),
    "mutex": ("delay",),
    "block": ("delay",),
}
_TYPE_OF: Final = {
    "samples": "cpu",
    "alloc_space": "alloc",
    "alloc_objects": "alloc",
    "allocations": "alloc",
    "object_sampler": "alloc",
    "inuse_space": "heap",
    "inuse_objects": "heap",
    "time": "wall",
    "perf_events": "cpu",
    "ctimer": "cpu",
    "itimer": "cpu",
}


@dataclass(frozen=True, eq=False)
class RunProfile:
    """What one run cost, by stack, in one type of profile.

    Attributes:
        type: as `cpu`, `wall`, `alloc`.
        sample_type: name and unit of what was read.
        unit: of `values`: `nanoseconds` for time, whatever the file counts; `bytes`; `count`.
        names: functions, each once.
        frames: of all stacks, each root first: places in `names`.
        ends: where in `frames` each stack ends.
        values: what each stack cost, in `unit`.
        samples: how often the profiler looked; stored samples where the file does not say.
        period: what one look stands for, in `unit`; 0 when the file does not say.
        duration_seconds: 0 when the file does not say.
        started: unix seconds; 0 when the file does not say.
    """

    type: str
    sample_type: tuple[str, str]
    unit: str
    names: tuple[str, ...]
    frames: NDArray[np.uint32]
    ends: NDArray[np.int64]
    values: NDArray[np.float64]
    samples: float
    period: float
    duration_seconds: float
    started: float

    @property
    def total(self) -> float:
        """All values, in `unit`."""
        return float(self.values.sum())


def read_profiles(path: Path, named_type: str | None, service: str | None = None) -> list[RunProfile]:
    """The profiles of a file.

    Args:
        path: in any format that `otelprof inspect` reads.
        named_type: what type of profile the file is, when its place says so: its leading sample type is read.
            When None, every type that its sample types are of.
        service: only of this `service.name`.

    Raises:
        PermanentError: it cannot be read; names the file.
    """
    try:
        with open_recording(path) as recording:
            requests = [record.decode() for record in recording]
            torn = recording.torn_bytes
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror or error}"
        raise PermanentError(message) from error
    except PermanentError as error:
        message = f"{path}: {error}"
        raise PermanentError(message) from error
    if torn:
        message = f"{path}: its last {torn} bytes are no whole record: capture it again"
        raise PermanentError(message)
    profiles = profiles_of(requests, named_type, service)
    if not profiles:
        message = f"{path} holds no sample: capture it again, or leave it out"
        raise PermanentError(message)
    empty = [one for one in profiles if not len(one.values)]
    if empty:
        message = f"{path} holds no {empty[0].type} sample of the service {service}: see the setting service"
        raise PermanentError(message)
    return profiles


def profiles_of(
    requests: Sequence[Profiles], named_type: str | None = None, service: str | None = None
) -> list[RunProfile]:
    """The profiles of a run, from requests that were read; none when these hold no sample.

    Args:
        requests: of the run.
        named_type: as in `read_profiles`, as `service`.
        service: what has no sample of it is empty.
    """
    outlines = [outline for one in requests for outline in one.outlines if outline.sample_count]
    found = _chosen(outlines, named_type)
    return [_profile(requests, outlines, name, key, service) for name, key in found.items()]


def type_of(outline: ProfileOutline) -> str:
    """The type of profile that a sample type is of: `samples/count` by CPU time is `cpu`."""
    name, unit = outline.sample_type
    if name in _SAMPLES:
        return type_name(outline.period_type[0]) if outline.period_type[0] else "cpu"
    return type_name(name or unit)


def type_name(name: str) -> str:
    """One word for what profilers call differently: `allocs` and `alloc_space` are `alloc`."""
    return "alloc" if name == "allocs" else _TYPE_OF.get(name, name)


def _chosen(outlines: Sequence[ProfileOutline], named_type: str | None) -> dict[str, tuple[str, str]]:
    """The sample type to read, by type of profile."""
    keys = dict.fromkeys(outline.sample_type for outline in outlines)
    by_type: dict[str, list[tuple[str, str]]] = {}
    if named_type is not None:
        by_type = {named_type: list(keys)} if keys else {}
    else:
        for key in keys:
            of_type = type_of(next(outline for outline in outlines if outline.sample_type == key))
            by_type.setdefault(of_type, []).append(key)
    return {name: _leading(name, of_type) for name, of_type in by_type.items()}


def _leading(name: str, keys: Sequence[tuple[str, str]]) -> tuple[str, str]:
    wanted = next((words for stem, words in _WANTED.items() if name.startswith(stem)), ())
    for word in (name, *wanted):
        for key in keys:
            if key[0] == word:
                return key
    return keys[-1]


def _profile(
    requests: Sequence[Profiles],
    outlines: Sequence[ProfileOutline],
    name: str,
    key: tuple[str, str],
    service: str | None,
) -> RunProfile:
    of_key = [outline for outline in outlines if outline.sample_type == key]
    names, frames, ends, values = _columns(requests, key[0], service)
    period_types = {(outline.period_type, outline.period) for outline in of_key}
    period_type, period = period_types.pop() if len(period_types) == 1 else (("", ""), 0)
    unit, scale, of_period = _unit(key, period_type, period)
    values = values * scale
    total = float(values.sum())
    counts = [one for one in outlines if one.sample_type[0] in _SAMPLES and one.sample_type[1] in _COUNTS]
    if of_period > 0:
        samples = total / of_period
    elif counts and service is None:
        samples = sum(
            row.value
            for one in requests
            for row in one.summary
            if (row.sample_type, row.unit) == counts[0].sample_type
        )
    else:
        samples = sum(outline.sample_count for outline in of_key)
    start = min((one.time_unix_nano for one in of_key if one.time_unix_nano), default=0)
    end = max((one.time_unix_nano + one.duration_nano for one in of_key if one.duration_nano), default=start)
    return RunProfile(
        type=name,
        sample_type=key,
        unit=unit,
        names=names,
        frames=frames,
        ends=ends,
        values=values,
        samples=float(samples),
        period=of_period,
        duration_seconds=(end - start) * _NANO,
        started=start * _NANO,
    )


def _unit(key: tuple[str, str], period_type: tuple[str, str], period: int) -> tuple[str, float, float]:
    """The unit that values are given in, what to multiply them by, and what one look stands for in it."""
    unit, period_unit = key[1], period_type[1]
    seconds, period_seconds = SECONDS_IN.get(unit), SECONDS_IN.get(period_unit, 0.0) * max(period, 0)
    if seconds is not None:
        # A period of other things, as the events between two contentions, is none of this.
        same = period_seconds if period_type[0] in {key[0], "cpu", "wall", "time"} else 0.0
        return NANOSECONDS, seconds / _NANO, same / _NANO
    if unit in _COUNTS and period_seconds > 0:
        return NANOSECONDS, period_seconds / _NANO, period_seconds / _NANO
    if unit in _COUNTS:
        return "count", 1.0, 1.0 if key[0] in _SAMPLES else 0.0
    return printable(unit, 60), 1.0, float(max(period, 0)) if period_unit == unit else 0.0


def _columns(
    requests: Sequence[Profiles], sample_type: str, service: str | None
) -> tuple[tuple[str, ...], NDArray[np.uint32], NDArray[np.int64], NDArray[np.float64]]:
    """The stacks of all requests as columns."""
    if len(requests) == 1:
        names, frames, ends, values = requests[0].stack_columns(sample_type=sample_type, service=service)
        columns = np.frombuffer(frames, dtype="<u4"), np.frombuffer(ends, dtype="<u8").astype(np.int64)
        return tuple(names), *columns, np.frombuffer(values, dtype="<f8")
    place: dict[str, int] = {}
    parts: list[tuple[NDArray[np.uint32], NDArray[np.int64], NDArray[np.float64]]] = []
    offset = 0
    for request in requests:
        names, frames, ends, values = request.stack_columns(sample_type=sample_type, service=service)
        places = np.array([place.setdefault(name, len(place)) for name in names], dtype=np.uint32)
        of_frames = places[np.frombuffer(frames, dtype="<u4")]
        of_ends = np.frombuffer(ends, dtype="<u8").astype(np.int64) + offset
        parts.append((of_frames, of_ends, np.frombuffer(values, dtype="<f8")))
        offset += len(of_frames)
    frames_of, ends_of, values_of = zip(*parts, strict=True)
    return tuple(place), np.concatenate(frames_of), np.concatenate(ends_of), np.concatenate(values_of)
