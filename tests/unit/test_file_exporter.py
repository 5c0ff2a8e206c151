"""The `file` exporter: what stands in its files, whatever happens to them."""

from __future__ import annotations

import errno
import os
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest
import structlog
import zstandard
from pydantic import ValidationError

from otelprof.component import ComponentSettings, Kind
from otelprof.errors import ConfigError, RetryableError
from otelprof.exporter.file import FileExporter, FileExporterConfig
from otelprof.model import ComponentId
from otelprof.recording.framing import framed
from otelprof.recording.reader import open_recording
from otelprof.telemetry.metrics import EXPORTER_SENT_BYTES, Metrics
from otelprof.testing.clock import SimulatedClock
from otelprof.testing.contract import small_profiles

if TYPE_CHECKING:
    from pathlib import Path

BODY = small_profiles().to_otlp()
CLOCK_START = 1_663_131_734.173  # 2022-09-14T05:02:14.173


def exporter(path: Path, clock: SimulatedClock | None = None, **keys: Any) -> FileExporter:
    """An exporter that puts each request on the disk before it returns, unless it is told otherwise."""
    logger = structlog.get_logger("test")
    settings = ComponentSettings(
        ComponentId("file"), Kind.EXPORTER, logger, Metrics(), clock or SimulatedClock(start_secs=CLOCK_START)
    )
    return FileExporter(FileExporterConfig(path=path, **{"flush_interval": 0.0, **keys}), settings)


def write(path: Path, count: int = 1, clock: SimulatedClock | None = None, **keys: Any) -> None:
    """Run an exporter for so many requests."""
    one = exporter(path, clock, **keys)
    one.start()
    for _ in range(count):
        one.export(small_profiles())
    one.shutdown()


def bodies(path: Path) -> list[bytes]:
    """The requests of a file."""
    with open_recording(path) as recording:
        return [record.body for record in recording]


def names(folder: Path) -> set[str]:
    """The files of a folder."""
    return {path.name for path in folder.iterdir()}


def test_bytes(tmp_path: Path) -> None:
    """A file is requests, each after its length; only its owner can read it."""
    path = tmp_path / "a.otlp"
    write(path, 2)
    assert framed(BODY) * 2 == path.read_bytes()
    assert 0o600 == path.stat().st_mode & 0o777


def test_zstd(tmp_path: Path) -> None:
    """Each request is compressed by itself, before its length."""
    path = tmp_path / "a.otlp"
    write(path, 2, compression="zstd")
    record = zstandard.ZstdCompressor().compress(BODY)
    assert framed(record) * 2 == path.read_bytes()
    assert [BODY] * 2 == bodies(path)


def test_group_may_read(tmp_path: Path) -> None:
    """Permissions of a new file can be wider by the group."""
    write(tmp_path / "a.otlp", permissions="0640")
    assert 0o640 == (tmp_path / "a.otlp").stat().st_mode & 0o777


def test_rotates_by_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that would grow over its size is moved aside, with the time in its name."""
    monkeypatch.setattr("otelprof.exporter.file._MIB", 2 * len(framed(BODY)))
    write(tmp_path / "a.otlp", 5, rotation={"max_megabytes": 1})
    assert {
        "a.otlp",
        "a-2022-09-14T05-02-14.173.otlp",
        "a-2022-09-14T05-02-14.174.otlp",
    } == names(tmp_path)
    assert [1, 2, 2] == sorted(len(bodies(path)) for path in tmp_path.iterdir())


def test_rotates_by_age(tmp_path: Path) -> None:
    """A file that is old enough is moved aside by the next request."""
    clock = SimulatedClock(start_secs=CLOCK_START)
    one = exporter(tmp_path / "a.otlp", clock, rotation={"interval": "1h"})
    one.start()
    for _ in range(3):
        one.export(small_profiles())
        clock.advance(1800.0)
    one.shutdown()
    assert {"a.otlp", "a-2022-09-14T06-02-14.173.otlp"} == names(tmp_path)


def test_removes_old_files(tmp_path: Path) -> None:
    """Of old files only so many stay, and none over its age; files that only look alike are let be."""
    clock = SimulatedClock(start_secs=CLOCK_START)
    kept = {"a-2022-09-13.otlp", "b-2020-01-01T00-00-00.000.otlp", "a-2020-01-01T00-00-00.000.txt"}
    for name in (*kept, "a-2020-01-01T00-00-00.000.otlp", "a-2022-09-13T06-00-00.000.otlp"):
        (tmp_path / name).touch()
    write(tmp_path / "a.otlp", clock=clock)
    write(tmp_path / "a.otlp", clock=clock, rotation={"max_days": 1})
    moved = "a-2022-09-14T05-02-14.173.otlp"
    assert {*kept, "a.otlp", moved, "a-2022-09-13T06-00-00.000.otlp"} == names(tmp_path)

    clock.advance(1.0)
    write(tmp_path / "a.otlp", clock=clock, rotation={"max_backups": 1})
    assert {*kept, "a.otlp", "a-2022-09-14T05-02-15.173.otlp"} == names(tmp_path)


def test_nothing_is_written_over(tmp_path: Path) -> None:
    """A recording that is there stays: the start is refused, it is gone on with, or it is moved aside."""
    path = tmp_path / "a.otlp"
    write(path)
    with pytest.raises(ConfigError, match=r"exporters\.file\.path: .* is there: write append: true"):
        exporter(path).start()
    write(path, append=True)
    assert [BODY] * 2 == bodies(path)
    write(path, rotation={})
    assert [1, 2] == sorted(len(bodies(one)) for one in tmp_path.iterdir())


@pytest.mark.parametrize("keys", [{}, {"append": True}, {"rotation": {}}])
def test_foreign_files(tmp_path: Path, keys: dict[str, Any]) -> None:
    """What is no recording is never written to, nor what a link points to, nor what is no plain file."""
    foreign = tmp_path / "notes.txt"
    foreign.write_text("not yours", encoding="utf-8")
    link = tmp_path / "link.otlp"
    link.symlink_to(tmp_path / "nowhere")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, message in (
        (foreign, "no recording of otelprof"),
        (link, "cannot be written: Too many levels of symbolic links"),
        (pipe, "no plain file"),
        (tmp_path / "no" / "folder", "cannot be written: No such file or directory"),
    ):
        with pytest.raises(ConfigError, match=message):
            exporter(path, **keys).start()
    assert "not yours" == foreign.read_text(encoding="utf-8")
    assert {"notes.txt", "link.otlp", "pipe"} == names(tmp_path)


@pytest.mark.parametrize("torn", [framed(BODY)[:2], framed(BODY)[:-1], bytes(100)])
def test_torn_files_are_moved_aside(tmp_path: Path, torn: bytes) -> None:
    """Nothing is written behind a torn record, where no reader would find it."""
    path = tmp_path / "a.otlp"
    path.write_bytes(framed(BODY) + torn)
    write(path, append=True)
    (aside,) = names(tmp_path) - {"a.otlp"}
    assert ([BODY], [BODY]) == (bodies(path), bodies(tmp_path / aside))


def test_one_writer(tmp_path: Path) -> None:
    """Two exporters cannot write to one file."""
    first = exporter(tmp_path / "a.otlp")
    first.start()
    with pytest.raises(ConfigError, match="is written by another exporter or process"):
        exporter(tmp_path / "a.otlp").start()
    first.shutdown()


@pytest.mark.parametrize("cannot_cut", [False, True])
def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, cannot_cut: bool) -> None:
    """On a full disk a request can be tried again, and what was written of it hides no later one."""
    path = tmp_path / "a.otlp"
    one = exporter(path)
    one.start()
    one.export(small_profiles())
    real, full = os.write, OSError(errno.ENOSPC, "No space left on device")

    def failing(fd: int, data: bytes) -> int:
        if len(data) < len(framed(BODY)):
            raise full
        return real(fd, bytes(data[:10]))

    def no_cut(*_: object) -> None:
        raise full

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", failing)
        if cannot_cut:
            patch.setattr(os, "ftruncate", no_cut)
        with pytest.raises(RetryableError, match=r"a\.otlp cannot be written: No space left on device"):
            one.export(small_profiles())
    one.export(small_profiles())
    one.shutdown()
    assert [BODY] * 2 == [body for file in sorted(tmp_path.iterdir()) for body in bodies(file)]
    assert (2 if cannot_cut else 1) == len(names(tmp_path))


def test_a_torn_record_that_cannot_be_mended_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the torn end can neither be cut off nor moved aside, nothing is written behind it."""
    path = tmp_path / "a.otlp"
    one = exporter(path)
    one.start()
    one.export(small_profiles())
    full, real = OSError(errno.EIO, "Input/output error"), os.write

    def failing(*_: object) -> None:
        raise full

    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", failing)
        patch.setattr(type(path), "rename", failing)
        for write_ in (lambda fd, data: real(fd, bytes(data[:10])) if len(data) > 100 else failing(), real):
            patch.setattr(os, "write", write_)
            with pytest.raises(RetryableError, match="Input/output error"):
                one.export(small_profiles())
    one.export(small_profiles())
    one.shutdown()
    assert [BODY] * 2 == bodies(path)


def test_goes_on_when_its_file_was_taken_away(tmp_path: Path) -> None:
    """A file that somebody moved is no reason to stop: the next rotation begins a new one."""
    clock = SimulatedClock(start_secs=CLOCK_START)
    path = tmp_path / "a.otlp"
    one = exporter(path, clock, rotation={"interval": "1h"})
    one.start()
    one.export(small_profiles())
    path.rename(tmp_path / "moved")
    clock.advance(3600.0)
    one.export(small_profiles())
    one.shutdown()
    assert ([BODY], [BODY]) == (bodies(path), bodies(tmp_path / "moved"))


def test_flushes_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written is put on the disk after an interval, by itself, and once more at the shutdown."""
    flushed = Event()
    synced: list[int] = []

    def fsync(fd: int) -> None:
        synced.append(fd)
        flushed.set()

    monkeypatch.setattr(os, "fsync", fsync)
    one = exporter(tmp_path / "a.otlp", flush_interval=0.01)
    one.start()
    one.export(small_profiles())
    assert flushed.wait(10.0)
    before = len(synced)
    one.shutdown()
    assert (1, 2) == (before, len(synced))


def test_counts_bytes(tmp_path: Path) -> None:
    """Delivered bytes are counted as those of the other exporters."""
    metrics = Metrics()
    logger = structlog.get_logger("test")
    settings = ComponentSettings(
        ComponentId("file"), Kind.EXPORTER, logger, metrics, SimulatedClock(start_secs=CLOCK_START)
    )
    one = FileExporter(FileExporterConfig(path=tmp_path / "a.otlp", compression="zstd"), settings)
    one.start()
    one.export(small_profiles())
    one.shutdown()
    assert len(BODY) == metrics.value(EXPORTER_SENT_BYTES, exporter="file")


def test_json_is_not_offered(tmp_path: Path) -> None:
    """A collector's `format: json` says what to write instead."""
    with pytest.raises(ValidationError, match="'json' is not offered: write proto"):
        FileExporterConfig(path=tmp_path, format="json")
