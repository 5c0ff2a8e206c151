"""Flame graphs: names are hostile text, and come out as text."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelprof._core import Profiles, svg_diff, svg_from_folded
from tests.recordings import OWN
from tests.reference.hostile import HOSTILE_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable

SVG: Final = "{http://www.w3.org/2000/svg}"
TITLE: Final = re.compile(r"(?!all \()(.*) \(([\d,]+) samples, ([\d.]+)%(?:; ([-+]?[\d.]+)%)?\)")
NO_NAME: Final = "(no name)"


def parsed(svg: str) -> ET.Element:
    """The root of a picture, by a real XML parser."""
    return ET.fromstring(svg)  # noqa: S314 - ours


def shape(root: ET.Element) -> Counter[str]:
    """Every element with the names of its attributes."""
    return Counter(f"{one.tag} {sorted(one.attrib)}" for one in root.iter())


def attributes(root: ET.Element) -> set[str]:
    """The values of all attributes."""
    return {value for one in root.iter() for value in one.attrib.values()}


def frames(svg: str) -> dict[str, tuple[int, float]]:
    """What is drawn: value and share by name; the frame around all of them is left out."""
    found = {}
    for title in parsed(svg).iter(f"{SVG}title"):
        match = TITLE.fullmatch(title.text or "")
        if match is not None:
            found[match[1]] = (int(match[2].replace(",", "")), float(match[3]))
    return found


def test_frames() -> None:
    """Every frame is drawn with its total and its share."""
    svg = svg_from_folded([("main;run;a", 3), ("main;run", 1), ("main;b", 4)])
    assert {"main": (8, 100.0), "run": (4, 50.0), "a": (3, 37.5), "b": (4, 50.0)} == frames(svg)


def test_same_bytes() -> None:
    """The same stacks make the same bytes, in whatever order they come."""
    stacks = [(f"main;f{number % 7};g{number}", number) for number in range(50)]
    assert svg_from_folded(stacks) == svg_from_folded(stacks[::-1])


@pytest.mark.parametrize("name", HOSTILE_NAMES.values(), ids=HOSTILE_NAMES)
def test_hostile_names(name: str) -> None:
    """A name makes neither an element nor an attribute, wherever it stands; the picture is XML 1.0."""

    def draw(name: str) -> list[str]:
        stacks = [(f"main;{name};leaf", 5), (f"main;{name}", 2)]
        return [
            svg_from_folded(stacks, title=name, subtitle=name, unit=name),
            svg_diff(stacks, stacks[:1], title=name, subtitle=name, unit=name),
        ]

    frame_count = 1 + name.count(";")
    plain = ";".join(f"plain{number}" for number in range(frame_count))
    for hostile, benign in zip(draw(name), draw(plain), strict=True):
        root, expected = parsed(hostile), parsed(benign)
        assert shape(expected) == shape(root)
        assert {value for value in attributes(root) if not re.fullmatch(r"[\d.%]+|rgb\([\d,]+\)", value)} == {
            value for value in attributes(expected) if not re.fullmatch(r"[\d.%]+|rgb\([\d,]+\)", value)
        }
        assert expected.find(f"{SVG}script") is not None
        assert [one.text for one in expected.iter(f"{SVG}script")] == [
            one.text for one in root.iter(f"{SVG}script")
        ]
        texts = "".join(one.text or "" for one in root.iter() if one.tag in {f"{SVG}title", f"{SVG}text"})
        assert "" == "".join(char for char in texts if not (char.isprintable() or char in "\u00a0\ue000"))


@given(st.lists(st.tuples(st.text(st.characters(exclude_categories=["Cs"])), st.integers(-5, 5)), max_size=6))
def test_any_text(stacks: list[tuple[str, int]]) -> None:
    """Whatever the names are, the picture is XML, and its frames add up."""
    total = sum(max(value, 0) for _, value in stacks)
    if not total:
        with pytest.raises(ValueError, match="nothing to draw"):
            svg_from_folded(stacks)
        return
    titles = [one.text or "" for one in parsed(svg_from_folded(stacks)).iter(f"{SVG}title")]
    assert f"all ({total:,} samples, 100%)" in titles


@pytest.mark.parametrize("name", ["worker 7", "worker 7.5", "# main", "a 1 2", "_[k]x", "--"])
def test_numbers_are_names(name: str) -> None:
    """A number at the end of a name is not taken for a value, nor a `#` for a comment."""
    drawn = frames(svg_from_folded([(name, 3), (f"{name};leaf", 1)]))
    assert {name: (4, 100.0), "leaf": (1, 25.0)} == {
        key.replace("\u00a0", " "): value for key, value in drawn.items()
    }


def test_frames_are_not_drawn_twice() -> None:
    """Names that begin as another does not cut that one in two."""
    stacks = [("main", 1), ("main (inlined);x", 1), ("main.run;y", 1), ("main;z", 1)]
    assert (2, 50.0) == frames(svg_from_folded(stacks))["main"]


def test_long_names_are_cut() -> None:
    """A name of 100 kB shows both its ends."""
    (name,) = frames(svg_from_folded([("head" + "x" * 100_000 + "tail", 1)]))
    assert (1001, "head", "…", "tail") == (len(name), name[:4], name[500], name[-4:])


def test_diff() -> None:
    """As wide as after; what grew and what shrank is told in percent of after."""
    svg = svg_diff([("main;a", 6), ("main;b", 2)], [("main;a", 3), ("main;b", 3), ("main;c", 2)])
    changes = {
        match[1]: match[4]
        for title in parsed(svg).iter(f"{SVG}title")
        if (match := TITLE.fullmatch(title.text or ""))
    }
    assert {"main": "0.00", "a": "-37.50", "b": "+12.50", "c": "+25.00"} == changes


def test_normalized_diff() -> None:
    """Twice as much of everything is no change once the totals are made equal."""
    before, after = [("main;a", 3), ("main;b", 1)], [("main;a", 6), ("main;b", 2)]
    assert ["+37.50", "+12.50"] == re.findall(r"[+-]\d+\.50", svg_diff(before, after))
    assert [] == re.findall(r"%; [+-]", svg_diff(before, after, normalize=True))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"colors": "pink"}, 'colors is "pink": hot, mem, io'),
        ({"width": 199}, "width is 199: 200 to 100000 pixels are allowed"),
        ({"width": 100_001}, "width is 100001: 200 to 100000 pixels are allowed"),
    ],
)
def test_refused(keys: dict[str, object], message: str) -> None:
    """A palette that is not there and a width that is none are told."""
    with pytest.raises(ValueError, match=re.escape(message)):
        svg_from_folded([("a", 1)], **keys)  # type: ignore[arg-type]


def test_options() -> None:
    """Title, subtitle, unit, width and direction are kept to."""
    svg = svg_from_folded([("a", 1)], title="The title", subtitle="Its subtitle", unit="bytes", width=640)
    root = parsed(svg)
    assert "640" == root.attrib["width"]
    texts = [one.text for one in root.iter(f"{SVG}text")]
    assert {"The title", "Its subtitle"} <= set(texts)
    assert "<title>a (1 bytes, 100.00%)</title>" in svg
    assert "inverted = true" in svg_from_folded([("a", 1)], inverted=True)
    assert "inverted = false" in svg


def test_profiles() -> None:
    """A request draws what it folds to, by service and sample type."""
    profiles = Profiles.decode((OWN / "ebpf-uprobe" / "00001.otlp").read_bytes())
    for sample_type in (None, "events", "samples"):
        folded = profiles.fold(sample_type=sample_type)
        assert svg_from_folded(folded) == profiles.to_svg(sample_type=sample_type)
    with pytest.raises(ValueError, match="nothing to draw"):
        profiles.to_svg(service="nobody")


def names_of(stacks: Iterable[tuple[str, int]]) -> set[str]:
    """The names of all frames."""
    return {frame for stack, _ in stacks for frame in stack.split(";")}


def test_recording() -> None:
    """Of a recording, every frame that is wide enough is drawn under its own name."""
    profiles = Profiles.decode((OWN / "ebpf-linked" / "00001.otlp").read_bytes())
    drawn = set(frames(profiles.to_svg()))
    assert drawn <= {name.replace("\u00a0", " ") for name in names_of(profiles.fold())} | drawn
    assert {"main", "runtime.goexit"} & drawn
