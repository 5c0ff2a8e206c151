"""Files that are read again when they change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otelprof.config.file_watch import FileWatch
from otelprof.testing.clock import SimulatedClock

if TYPE_CHECKING:
    from pathlib import Path


def test_every_way_to_change(tmp_path: Path) -> None:
    """A file that is written, replaced, removed, put back, or reached by another link has changed, once."""
    clock = SimulatedClock()
    one, other, link = tmp_path / "one", tmp_path / "other", tmp_path / "link"
    one.write_text("1", encoding="utf-8")
    other.write_text("1", encoding="utf-8")
    link.symlink_to(one)
    watch = FileWatch([link], 1.0, clock)

    def changes() -> list[bool]:
        clock.advance(1.0)
        found = watch.has_changed()
        clock.advance(1.0)
        return [found, watch.has_changed()]

    assert [False, False] == changes()
    one.write_text("22", encoding="utf-8")
    assert [True, False] == changes()
    (tmp_path / "new").write_text("33", encoding="utf-8")
    (tmp_path / "new").replace(one)
    assert [True, False] == changes()
    one.unlink()
    assert [True, False] == changes()
    one.write_text("33", encoding="utf-8")
    assert [True, False] == changes()
    link.unlink()
    link.symlink_to(other)
    assert [True, False] == changes()


def test_it_is_looked_at_now_and_then(tmp_path: Path) -> None:
    """Within the interval a change is not seen; without files there is nothing to see."""
    clock = SimulatedClock()
    watch = FileWatch([tmp_path / "one"], 10.0, clock)
    (tmp_path / "one").write_text("1", encoding="utf-8")
    clock.advance(9.0)
    assert not watch.has_changed()
    clock.advance(1.0)
    assert watch.has_changed()
    empty = FileWatch([], 0.0, clock)
    assert not empty.has_changed()
