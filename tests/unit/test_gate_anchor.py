"""The anchor of an audit log in a store: one head, whoever writes, and nothing is cut off unseen."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from otelprof.errors import PermanentError, UnavailableError
from otelprof.gate.anchor import AnchorStore
from otelprof.gate.audit import anchored_head, append, read, verify
from tests.e2e.s3_api import s3_api
from tests.unit.command import otelprof

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, str]]:
    """The options of an S3 API."""
    with s3_api() as options:
        yield options


@pytest.fixture(params=["folder", "s3"])
def anchor(request: pytest.FixtureRequest, tmp_path: Path) -> AnchorStore:
    """An anchor without any record."""
    if request.param == "folder":
        return AnchorStore(f"file://{tmp_path}/anchor", makes_folder=True)
    return AnchorStore(f"s3://profiles/{tmp_path.name}", request.getfixturevalue("s3"))


def add(log: Path, anchor: AnchorStore | None, what: str) -> list[str]:
    """Append a record: what the log holds then."""
    return [str(one.data["what"]) for one in append(log, "test", {"what": what}, NOW, None, anchor).records]


def test_one_behind_the_other(anchor: AnchorStore, tmp_path: Path) -> None:
    """Each record stands in the store as it does in the log, and the newest is the head."""
    log = tmp_path / "log"
    assert (0, None) == (anchor.newest(), anchored_head(anchor))
    assert ["a", "b"] == [add(log, anchor, what)[-1] for what in ("a", "b")]

    assert verify(read(log)).head == anchored_head(anchor)
    assert read(log) == anchor.line(1) + anchor.line(2)


def test_what_others_appended_comes_first(anchor: AnchorStore, tmp_path: Path) -> None:
    """Two checkouts of one log do not fork it: the second one takes over what the first one wrote."""
    first, second = tmp_path / "first", tmp_path / "second"
    add(first, anchor, "common")
    second.write_bytes(read(first))
    add(first, anchor, "of the first")

    assert ["common", "of the first", "of the second"] == add(second, anchor, "of the second")
    assert ["common", "of the first", "of the second", "again"] == add(first, anchor, "again")
    assert verify(read(first)).head == anchored_head(anchor)


def test_at_the_same_time(anchor: AnchorStore, tmp_path: Path) -> None:
    """Whoever is second goes on behind the first: every record is there once, in one chain."""
    names = [f"log{at}" for at in range(4)]
    threads = [
        threading.Thread(target=add, args=(tmp_path / name, anchor, name), name=name) for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = verify(b"".join(anchor.line(at + 1) for at in range(4)))

    assert (None, set(names)) == (found.line, {record.data["what"] for record in found.records})


def test_a_log_that_is_behind_is_made_whole(anchor: AnchorStore, tmp_path: Path) -> None:
    """What was anchored and is not in the log, as after a full disk, or when it was cut off, comes back."""
    log = tmp_path / "log"
    for what in ("a", "b", "c"):
        add(log, anchor, what)
    whole = read(log)
    log.write_bytes(whole[: whole.index(b"\n") + 1])
    head = anchored_head(anchor)

    assert head is not None
    assert "3 records were anchored and 1 are there" in str(verify(read(log)).missing(head))
    assert ["a", "b", "c", "d"] == add(log, anchor, "d")
    assert read(log).startswith(whole)


def test_a_log_that_was_written_anew_is_not_gone_on_with(anchor: AnchorStore, tmp_path: Path) -> None:
    """Whether it is shorter or longer than what is anchored."""
    add(tmp_path / "log", anchor, "a")
    add(tmp_path / "log", anchor, "b")
    for length in (1, 2, 3):
        other = tmp_path / f"other{length}"
        for at in range(length):
            add(other, None, f"other {at}")
        before = read(other)
        with pytest.raises(PermanentError, match="written anew"):
            add(other, anchor, "x")
        assert (before, 2) == (read(other), anchor.newest())


def test_an_answer_that_was_lost(anchor: AnchorStore) -> None:
    """A record that is there already is the same, or another one."""
    assert [True, True, False] == [anchor.add(1, line) for line in (b"a\n", b"a\n", b"b\n")]


def test_an_object_that_was_changed(tmp_path: Path) -> None:
    """It is said what is no record, what is missing, and what is too large to be read."""
    anchor = AnchorStore(f"file://{tmp_path}/anchor", makes_folder=True)
    add(tmp_path / "log", anchor, "a")
    path = tmp_path / "anchor" / "000000001.json"
    record = json.loads(path.read_bytes())
    for content, said in ((b"{}\n", "is none"), (b"x" * (1 << 17), "more than")):
        path.write_bytes(content)
        with pytest.raises(PermanentError, match=said):
            add(tmp_path / "log", anchor, "b")
    path.rename(path.with_name("000000009.json"))
    with pytest.raises(PermanentError, match="lacks record 1"):
        add(tmp_path / "empty", anchor, "b")
    assert 1 == record["sequence"]


def test_a_store_that_cannot_be_reached(s3: dict[str, str], tmp_path: Path) -> None:
    """Nothing is appended, and it may be tried again; what is no URL of a store is wrong for good."""
    with pytest.raises(UnavailableError, match="s3://nowhere"):
        add(tmp_path / "log", AnchorStore("s3://nowhere/x", s3), "a")
    assert b"" == read(tmp_path / "log")
    for url, options in (
        ("ftp://x/y", {}),
        ("s3://key:secret@x/y", {}),
        ("s3://x", {"no_such_option": "1"}),
        (f"file://{tmp_path}/nowhere", {}),
    ):
        with pytest.raises(PermanentError):
            AnchorStore(url, options)


def test_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, s3: dict[str, str]
) -> None:
    """An override is anchored, and verified: behind the anchor, cut off, and with nothing anchored."""
    monkeypatch.chdir(tmp_path)
    options = [f"--anchor-option={key}={value}" for key, value in s3.items()]
    url = f"s3://profiles/{tmp_path.name}/audit"
    of_anchor = ("--anchor", url, *options)
    by_hand = ("gate", "override", "--reason", "asked for", "--who", "somebody", "--pull-request")
    verified = ("audit", "verify", *of_anchor)

    code, _, err = otelprof(capsys, *verified)
    assert (3, True) == (code, "nothing is anchored at" in err)
    assert 0 == otelprof(capsys, *by_hand, "7", *of_anchor)[0]
    head = otelprof(capsys, *by_hand, "8", *of_anchor)[1]
    assert (0, head, "") == otelprof(capsys, *verified)
    whole = Path("otelprof-audit.jsonl").read_bytes()
    assert 0 == otelprof(capsys, *by_hand, "9")[0]
    assert "1 record behind the anchor" in otelprof(capsys, *verified)[2]
    Path("otelprof-audit.jsonl").write_bytes(whole[: whole.index(b"\n") + 1])
    code, out, err = otelprof(capsys, *verified)
    assert (1, "", True) == (code, out, "cut off at its end" in err)
