"""What profilers really send comes out meaning the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from otelprof._core import Profiles
from tests.recordings import name, parsed, recordings
from tests.reference.compare import assert_agreement, rejected, rows
from tests.reference.fold import fold, top_functions, unfolded
from tests.reference.meaning import difference, meaning
from tests.reference.normal_form import expected
from tests.reference.summary import summary
from tests.reference.validate import PlainBounds

if TYPE_CHECKING:
    from pathlib import Path

LIMITS = PlainBounds()


def test_there_are_some() -> None:
    """A checkout has recordings of its own, so that these tests do not pass for want of them."""
    assert recordings()


@pytest.mark.parametrize("path", recordings(), ids=name)
def test_meaning(path: Path) -> None:
    """A recording is handed on with all its samples, stacks, attributes and links, and none is refused."""
    request = parsed(path)
    profiles = Profiles.decode(path.read_bytes())

    assert {} == rejected(profiles)
    assert_agreement(profiles, request, LIMITS)


@pytest.mark.parametrize("path", recordings(), ids=name)
def test_nothing_to_repair_twice(path: Path) -> None:
    """What is handed on for a recording is handed on again as it is, byte for byte."""
    once = Profiles.decode(path.read_bytes()).to_otlp()
    again = Profiles.decode(once)

    assert {} == again.repairs
    assert once == again.to_otlp()


@pytest.mark.parametrize("path", recordings(), ids=name)
def test_views(path: Path) -> None:
    """Summary, stacks, top functions and `to_proto` of a recording are those of the slow twins."""
    profiles = Profiles.decode(path.read_bytes())
    want = expected(parsed(path), LIMITS)

    assert summary(want) == rows(profiles)
    assert fold(want) == profiles.fold() == unfolded(profiles.stack_columns())
    assert top_functions(want, 20) == profiles.top_functions(20)
    assert ([], []) == difference(meaning(want, with_ids=False), meaning(profiles.to_proto(), with_ids=False))
