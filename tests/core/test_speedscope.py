"""`Profiles.to_speedscope`, held against the rules of speedscope's published schema."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from otelprof._core import Profiles
from tests.recordings import name, recordings
from tests.reference.fold import SAFE

if TYPE_CHECKING:
    from pathlib import Path

FILE = {"$schema", "exporter", "name", "activeProfileIndex", "profiles", "shared"}
PROFILE = {"type", "name", "unit", "startValue", "endValue", "samples", "weights"}
UNITS = {"bytes", "microseconds", "milliseconds", "nanoseconds", "none", "seconds"}


def checked(file: Any) -> Any:
    """A file that obeys the schema, and the rules its reader has beyond it."""
    assert FILE == set(file)
    assert file["$schema"] == "https://www.speedscope.app/file-format-schema.json"
    frames = file["shared"]["frames"]
    for frame in frames:
        assert {"name"} <= set(frame) <= {"name", "file", "line", "col"}
        assert all(isinstance(frame[key], int if key in {"line", "col"} else str) for key in frame)
    for profile in file["profiles"]:
        assert PROFILE == set(profile)
        assert (profile["type"], profile["startValue"]) == ("sampled", 0)
        assert profile["unit"] in UNITS
        assert len(profile["samples"]) == len(profile["weights"])
        assert all(weight > 0 for weight in profile["weights"])
        assert sum(profile["weights"]) == profile["endValue"]
        assert all(0 <= frame < len(frames) for stack in profile["samples"] for frame in stack)
    return file


def folded(file: Any, profile: Any) -> Counter[str]:
    """The stacks of one profile of a file, as text."""
    names = [frame["name"].translate(SAFE) for frame in file["shared"]["frames"]]
    stacks = (";".join(names[frame] for frame in stack) for stack in profile["samples"])
    totals: Counter[str] = Counter()
    for stack, weight in zip(stacks, profile["weights"], strict=True):
        totals[stack] += weight
    return totals


@pytest.mark.parametrize("path", recordings(), ids=name)
def test_recordings(path: Path) -> None:
    """Every service and type of a recording is a profile with the stacks and values that `fold` has."""
    profiles = Profiles.decode(path.read_bytes())
    file = checked(json.loads(profiles.to_speedscope(name="recording")))

    assert file["name"] == "recording"
    assert len(profiles.summary) == len(file["profiles"])
    for row, profile in zip(profiles.summary, file["profiles"], strict=True):
        told = profiles.fold(service=row.service, sample_type=row.sample_type)
        wanted = {stack: value for stack, value in told if value > 0}
        assert f"{row.service} {row.sample_type}" == profile["name"]
        assert row.value == profile["endValue"]
        assert wanted == folded(file, profile)


def test_order_and_names() -> None:
    """Stacks are root first; names stand as they were sent, whatever is in them."""
    file = json.loads(Profiles.from_folded(b'ma"in;\xe2\x80\xa8</script>;l\\eaf 3\n').to_speedscope())
    (profile,) = checked(file)["profiles"]

    assert [[0, 1, 2]] == profile["samples"]
    assert ['ma"in', "\u2028</script>", "l\\eaf"] == [frame["name"] for frame in file["shared"]["frames"]]


@pytest.mark.parametrize(
    ("unit", "shown"),
    [("nanoseconds", "nanoseconds"), ("ns", "nanoseconds"), ("bytes", "bytes"), ("count", "none")],
)
def test_units(unit: str, shown: str) -> None:
    """A unit is one of the format's words, or none."""
    profiles = Profiles.from_folded(b"main 1", sample_type=("wall", unit))

    assert shown == json.loads(profiles.to_speedscope())["profiles"][0]["unit"]


def test_no_negative_weights() -> None:
    """What adds up to nothing or less is left out, since the format has no weight for it."""
    file = checked(json.loads(Profiles.from_folded(b"a 5\nb -5\nc 0\na -2\n").to_speedscope()))

    assert Counter({"a": 3}) == folded(file, file["profiles"][0])


def test_selection() -> None:
    """Service and sample type choose, as they do for `fold`; of nothing there is a file without profiles."""
    profiles = Profiles.from_folded(b"a 5", resource=[("service.name", "shop")])

    assert 1 == len(json.loads(profiles.to_speedscope(service="shop", sample_type="samples"))["profiles"])
    assert [] == checked(json.loads(profiles.to_speedscope(service="other")))["profiles"]


def test_files_and_lines() -> None:
    """A frame says its function's file and first line, when they are known; a stack of nothing says so."""
    path = next(path for path in recordings() if name(path).startswith("ebpf-cpu/"))
    frames = json.loads(Profiles.decode(path.read_bytes()).to_speedscope())["shared"]["frames"]

    assert any(frame.get("file") for frame in frames)
    assert len(frames) == len({(frame["name"], frame.get("file")) for frame in frames})
