"""Every recorded request as Pyroscope has it: nothing is missing, and nothing is refused."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import pytest

from otelprof._core import Profiles
from otelprof.exporter.pyroscope.config import LABELS, PyroscopeExporterConfig
from otelprof.exporter.pyroscope.push import push_request
from otelprof.exporter.pyroscope.series import SeriesMaker
from otelprof.testing.clock import SimulatedClock
from tests.core.test_pprof import go_sums, sums
from tests.counterparts import GO
from tests.recordings import name, recordings
from tests.reference.compare import on_the_wire
from tests.reference.fold import SAFE, frame_names
from tests.reference.meaning import Reader
from tests.reference.pprof import read
from tests.reference.pyroscope import Kept, judge
from tests.reference.summary import sample_value
from tests.reference.tables import Tables, profiles_of

if TYPE_CHECKING:
    from pathlib import Path

    from otelprof.exporter.pyroscope.series import Series

_CPU: Final = "process_cpu:cpu:nanoseconds:cpu:nanoseconds"
# By sample type and period type as sent: the profile type, and whether counts become time.
EXPECTED: Final = {
    ("samples", "count", "cpu", "nanoseconds"): (_CPU, True),
    ("perf_events", "count", "perf_events", "ns"): (_CPU, True),
    ("cpu", "count", "cpu", "nanoseconds"): (_CPU, True),
    ("ctimer", "ns", "ctimer", "ns"): (_CPU, False),
    ("wall", "count", "wall", "ns"): ("wall:wall:nanoseconds:wall:nanoseconds", True),
    ("object_sampler", "count", "object_sampler", "bytes"): (
        "memory:alloc_in_new_tlab_objects:count:space:bytes",
        False,
    ),
    ("allocations", "count", "allocations", "bytes"): (
        "memory:alloc_in_new_tlab_objects:count:space:bytes",
        False,
    ),
    ("allocations", "bytes", "allocations", "bytes"): (
        "memory:alloc_in_new_tlab_bytes:bytes:space:bytes",
        False,
    ),
    ("lock_tracer", "count", "lock_tracer", "ns"): ("mutex:contentions:count:mutex:count", False),
    ("locks", "count", "locks", "nanoseconds"): ("mutex:contentions:count:mutex:count", False),
    ("events", "count", "", ""): ("events:events:count::", False),
}
each_recording = pytest.mark.parametrize("path", recordings(), ids=name)

Totals = Counter[tuple[str, tuple[str, ...], str, str]]
"""Values by profile type, stack with the leaf first, span id and trace id."""


def expected(profiles: Profiles) -> Totals:
    """What the request holds, in Pyroscope's words."""
    request = on_the_wire(profiles)
    tables = Tables(request.dictionary)
    reader, found = Reader(tables), Totals()
    for _, _, profile in profiles_of(request):
        kind = (*reader.value_type(profile.sample_type), *reader.value_type(profile.period_type))
        profile_type, is_counted = EXPECTED[kind]
        factor = profile.period if is_counted else 1
        for sample in profile.samples:
            frames = [
                frame
                for location in reader.stack(sample.stack_index)
                for frame in reversed(frame_names(location))
            ]
            link = tables.links[sample.link_index]
            ids = (
                link.span_id.hex() if any(link.span_id) else "",
                (link.trace_id.hex() if any(link.trace_id) else ""),
            )
            found[profile_type, tuple(frames), *ids] += sample_value(sample) * factor
    return found


def pushed(profiles: Profiles, **keys: Any) -> tuple[list[Series], list[Kept]]:
    """What is pushed of a request, at the time when it was recorded, and what is there then."""
    config = PyroscopeExporterConfig.model_validate({"endpoint": "http://far:4040", **keys})
    now = (profiles.window or (0, 0))[1] / 1e9
    maker = SeriesMaker(config, SimulatedClock(start_secs=now))
    made, kept = [], []
    for piece in maker.pieces(profiles):
        assert not maker.is_too_old(piece)
        for _, series in maker.series(piece):
            assert series is not None
            verdict = judge(push_request(series.labels, series.pprof.body), now)
            assert (200, "") == (verdict.status, verdict.message)
            assert not verdict.lost
            made.append(series)
            kept.extend(verdict.kept)
    return made, kept


def by_stack(kept: list[Kept]) -> Counter[tuple[str, tuple[str, ...]]]:
    """What is there, by profile type and stack."""
    found: Counter[tuple[str, tuple[str, ...]]] = Counter()
    for one in kept:
        found[one.profile_type, one.stack] += one.value
    return found


@each_recording
def test_totals(path: Path) -> None:
    """Every value of a recording is there, under its type, stack and span; links were recovered before."""
    profiles = (
        Profiles.decode(path.read_bytes()).link(["trace_id", "process.context.label.trace_id"]).profiles
    )
    _, kept = pushed(profiles)
    found = Totals()
    for one in kept:
        stack = tuple(frame.translate(SAFE) for frame in one.stack)
        found[one.profile_type, stack, one.span_id, one.trace_id] += one.value

    assert +expected(profiles) == found


@each_recording
def test_labels(path: Path) -> None:
    """A series has labels of the list and no others; the name of its service is always one."""
    series, kept = pushed(Profiles.decode(path.read_bytes()))
    allowed = {"__name__", "service_name", *(label.replace(".", "_") for label in LABELS)}

    assert all({name for name, _ in one.labels} <= allowed for one in kept)
    assert all({"__name__", "service_name"} <= dict(one.labels).keys() for one in series)


def test_small_pieces() -> None:
    """Cut into small pprofs, each recording has the same totals, and each piece is as small as asked for."""
    for path in recordings():
        profiles = Profiles.decode(path.read_bytes())
        whole, parts = pushed(profiles)[1], pushed(profiles, max_profile_samples=7, max_profile_size="64KiB")
        assert by_stack(whole) == by_stack(parts[1])
        assert all(series.pprof.sample_count <= 7 for series in parts[0])
        assert all(len(series.pprof.body) <= 64 << 10 for series in parts[0])


@pytest.mark.timeout(300)  # Go builds the tool when it is first asked for
@pytest.mark.skipif(GO is None, reason="no Go here")
def test_go_reads_what_is_pushed(tmp_path: Path) -> None:
    """Go's own tool reads the largest pprof of each profiler, with the same totals."""
    largest: dict[str, bytes] = {}
    for path in recordings():
        for series in pushed(Profiles.decode(path.read_bytes()))[0]:
            profiler = path.parent.name
            largest[profiler] = max(largest.get(profiler, b""), series.pprof.body, key=len)
    for body in largest.values():
        assert sums(read(body)) == go_sums(body, tmp_path / "made.pb")
