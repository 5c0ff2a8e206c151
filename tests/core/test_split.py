"""What profilers really send is split without losing anything, alone and ten requests at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from otelprof._core import Merger, Profiles
from tests.core.test_merge import batch_name, batches, decoded
from tests.recordings import name, recordings
from tests.reference.pieces import assert_not_wasteful, assert_split
from tests.reference.tables import profiles_of

if TYPE_CHECKING:
    from pathlib import Path

SHARES = (2, 4, 8)
SMALLEST = sorted(recordings(), key=lambda path: path.stat().st_size)[:4]


@pytest.mark.parametrize("paths", batches(), ids=batch_name)
def test_merged(paths: list[Path]) -> None:
    """A merge splits into a half, a quarter, an eighth of its size without loss, and without waste.

    Greedy splitting needs no more than twice as many pieces as would hold it if no symbol had to be repeated,
    and one more for each Profile. A Sample that is too large takes a piece of its own, and ends another.
    """
    whole = Merger().merge(decoded(paths))
    whole_size = len(whole.to_otlp())
    for share in SHARES:
        sizes = [len(piece) for piece in assert_split(whole, whole_size // share, duplicates=True)]

        assert_not_wasteful(sizes, whole_size // share)
        too_large = sum(size > whole_size // share for size in sizes)
        assert len(sizes) <= 2 * share + whole.profile_count + 2 * too_large


@pytest.mark.parametrize("path", recordings(), ids=name)
def test_recording(path: Path) -> None:
    """A recording splits into quarters without loss and without waste, and is one piece when it fits."""
    whole = Profiles.decode(path.read_bytes())
    body = whole.to_otlp()
    sizes = [len(piece) for piece in assert_split(whole, len(body) // 4)]

    assert_not_wasteful(sizes, len(body) // 4)
    assert [body] == [piece.to_otlp() for piece in whole.split(len(body))]


@pytest.mark.parametrize("path", SMALLEST, ids=name)
def test_by_sample(path: Path) -> None:
    """At a limit of one byte there is a piece for each Sample, and for each Profile that has none."""
    whole = Profiles.decode(path.read_bytes())
    held = [len(profile.samples) for *_, profile in profiles_of(whole.to_proto())]

    assert sum(max(count, 1) for count in held) == len(assert_split(whole, 1))
