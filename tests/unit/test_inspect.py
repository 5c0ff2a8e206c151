"""`otelprof inspect`: what files hold, in words and in other formats, at any width."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from otelprof._core import REJECTION_REASONS, REPAIRS, Profiles
from otelprof.cli import inspection
from otelprof.cli.app import main
from otelprof.cli.inspect_text import REJECTIONS
from otelprof.cli.inspect_text import REPAIRS as REPAIRS_IN_WORDS
from otelprof.processor.linkage import DEFAULT_RECOVER
from otelprof.recording.framing import framed
from tests.e2e.harness import add_profile, request
from tests.recordings import OWN
from tests.reference.hostile import HOSTILE_NAMES

if TYPE_CHECKING:
    from pathlib import Path

LINKED = OWN / "ebpf-linked" / "00001.otlp"
UPROBE = OWN / "ebpf-uprobe" / "00001.otlp"
OLD = OWN / "old-schema" / "ap44-burn-cpu.otlp"
HEAP = OWN / "pprof" / "heap.pb.gz"


def inspect(
    capsys: pytest.CaptureFixture[str], *arguments: object, columns: int = 100
) -> tuple[int, str, str]:
    """Run the command: exit code, stdout, stderr."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["otelprof", "inspect", *map(str, arguments)])
        patch.setenv("COLUMNS", str(columns))
        with pytest.raises(SystemExit) as caught:
            main()
    captured = capsys.readouterr()
    return int(caught.value.code or 0), captured.out, captured.err


def report(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    """The report of a run that went well."""
    code, out, _ = inspect(capsys, *arguments, "--format", "json")
    assert 0 == code
    found: dict[str, Any] = json.loads(out)
    return found


def test_text(capsys: pytest.CaptureFixture[str]) -> None:
    """A recording's services, sample types, window, links, rules and bytes are told, then its functions."""
    code, out, err = inspect(capsys, LINKED)
    assert (0, "") == (code, err)
    lines = out.splitlines()
    assert f"{LINKED} · OTLP · 1 request"[:90] == lines[0][:90]
    assert "  holds  13 profiles, 367 samples, 2 services" == lines[1]
    assert (
        "  linked 13.6 % of samples are linked to a span, 24.3 % once links are recovered from attributes"
        in lines
    )
    assert "  rules  13 profiles without a profile_id, repaired" in lines
    assert any(
        re.match(r"  bytes  103.74 KiB stored, .* as otelprof writes it: string \d+ %, location", line)
        for line in lines
    )
    assert "  linked-java      samples:count         1       59    85 %     92" in lines
    assert "functions by samples:count (409 in 367 samples)" in lines
    assert "hottest 10 of 250 stacks by samples:count" in lines


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    """A program reads the same numbers as the core says."""
    profiles = Profiles.decode(LINKED.read_bytes())
    found = report(capsys, LINKED, "--top", 3)
    (facts,) = found["files"]
    rows = [
        {
            "service": row.service,
            "sample_type": row.sample_type,
            "unit": row.unit,
            "profiles": row.profile_count,
            "samples": row.sample_count,
            "linked_samples": row.linked_sample_count,
            "recoverable_samples": sum(
                link.sample_count
                for link in profiles.link(DEFAULT_RECOVER).coverage
                if (link.service, link.state) == (row.service, "recovered")
            ),
            "value": row.value,
        }
        for row in profiles.summary
    ]
    assert rows == facts["services"]
    assert (list(profiles.window or ()), profiles.table_bytes) == (facts["window"], facts["table_bytes"])
    (only,) = found["sample_types"]
    top = profiles.top_functions(2**31)[: len(only["functions"])]
    assert 3 == len(top)
    assert [row[1] for row in top] == [row["self"] for row in only["functions"]]


def test_totals(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Several files, and several requests of one file, add up."""
    path = tmp_path / "both.otlp"
    path.write_bytes(framed(LINKED.read_bytes()) + framed(UPROBE.read_bytes()))
    apart, together = report(capsys, LINKED, UPROBE), report(capsys, path)
    assert [1, 1] == [facts["requests"] for facts in apart["files"]]
    total, (one,) = apart["total"], together["files"]
    for key in ("services", "requests", "window", "repairs", "table_bytes", "body_bytes", "rules"):
        assert total[key] == one[key]
    assert apart["sample_types"] == together["sample_types"]


def test_filters(capsys: pytest.CaptureFixture[str]) -> None:
    """A service or a sample type is looked at alone, in every format."""
    found = report(capsys, LINKED, "--service", "linked-java")
    assert ["linked-java"] == [row["service"] for row in found["total"]["services"]]
    found = report(capsys, UPROBE, "--type", "events")
    assert ["events"] == [one["sample_type"] for one in found["sample_types"]]
    _, out, err = inspect(capsys, UPROBE, "--type", "events", "--format", "folded")
    expected = Profiles.decode(UPROBE.read_bytes()).fold(sample_type="events")
    assert ("".join(f"{stack} {value}\n" for stack, value in expected), "") == (out, err)


def test_other_types_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Where one sample type had to be chosen, the others are named on stderr."""
    _, _, err = inspect(capsys, UPROBE, "--format", "folded")
    assert "note: stacks and functions are those of events:count; with --type: samples:count" == err.strip()


def test_folded_is_read_again(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What is written folded reads back to the same stacks."""
    path = tmp_path / "a.folded"
    assert 0 == inspect(capsys, LINKED, "--format", "folded", "-o", path)[0]
    _, again, _ = inspect(capsys, path, "--format", "folded")
    assert path.read_text(encoding="utf-8") == again


def test_otlp(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """All that was chosen is written as one request, which stands for the same."""
    path = tmp_path / "merged.otlp"
    inspect(capsys, LINKED, UPROBE, "--format", "otlp", "-o", path)
    before, after = (report(capsys, *files)["total"]["services"] for files in ((LINKED, UPROBE), (path,)))
    assert before == after


def test_svg(capsys: pytest.CaptureFixture[str]) -> None:
    """A flame graph says whose it is, and of what."""
    code, out, _ = inspect(capsys, LINKED, "--service", "linked-java", "--format", "svg")
    texts = [one.text for one in ET.fromstring(out).iter("{http://www.w3.org/2000/svg}text")]  # noqa: S314 - ours
    assert 0 == code
    assert {"linked-java", "samples: 92 in 59 samples"} <= set(texts)


def test_speedscope(capsys: pytest.CaptureFixture[str]) -> None:
    """A speedscope file has one profile for each service and sample type, which stands for all of it."""
    _, out, _ = inspect(capsys, UPROBE, "--format", "speedscope")
    profiles = Profiles.decode(UPROBE.read_bytes())
    expected: Counter[str] = Counter()
    for row in profiles.summary:
        expected[f"{row.service} {row.sample_type}"] += row.value
    assert expected == {one["name"]: one["endValue"] for one in json.loads(out)["profiles"]}


def test_pprof(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What is one pprof becomes one again, with all of its sample types."""
    made = tmp_path / "heap.pb.gz"
    assert (0, "") == inspect(capsys, HEAP, "--format", "pprof", "-o", made)[:2]
    before, after = (Profiles.from_pprof(path.read_bytes()) for path in (HEAP, made))
    assert {(row.sample_type, row.unit): row.value for row in before.summary} == {
        (row.sample_type, row.unit): row.value for row in after.summary
    }
    assert b"\x1f\x8b" == made.read_bytes()[:2]


def test_several_pprofs_need_a_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What is more than one pprof is written into a folder, a file each; elsewhere that is said."""
    code, out, err = inspect(capsys, LINKED, "--format", "pprof", "-o", tmp_path / "one.pb.gz")
    assert (1, "") == (code, out)
    assert "this makes 13 pprofs, one for each resource and window: write -o FOLDER" in " ".join(err.split())
    assert (0, "") == inspect(capsys, LINKED, "--format", "pprof", "-o", tmp_path)[:2]
    made = [Profiles.from_pprof(path.read_bytes()) for path in sorted(tmp_path.glob("*.pb.gz"))]
    assert 13 == len(made)
    total = sum(row.value for row in Profiles.decode(LINKED.read_bytes()).summary)
    assert total == sum(row.value for one in made for row in one.summary)


def test_older_revisions_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    """A request of an older revision says which, and is shown as it was meant."""
    code, out, _ = inspect(capsys, OLD)
    assert 0 == code
    assert "rules 1 request of OTLP 1.9, translated" in " ".join(out.split())
    assert {"1.9": 1} == report(capsys, OLD)["total"]["revisions"]


def test_what_breaks_the_rules_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A Profile that is refused says why, in words."""
    bad = request()
    add_profile(bad, stack_index=99)
    path = tmp_path / "bad.otlp"
    path.write_bytes(bad.SerializeToString())
    code, out, _ = inspect(capsys, path)
    assert 0 == code
    assert "1 profile refused for an index outside of its table" in " ".join(out.split())


def test_other_formats_break_no_rule(capsys: pytest.CaptureFixture[str]) -> None:
    """A pprof is told in its own sample types, each with its total in human units, and by no rule of OTLP."""
    code, out, err = inspect(capsys, OWN / "pprof" / "heap.pb.gz")
    assert 0 == code
    assert "  rules  kept" in out.splitlines()
    assert "  unknown_service  inuse_space:bytes           1      414     0 %  5.44 MiB" in out.splitlines()
    assert "functions by inuse_space:bytes (5.44 MiB in 414 samples)" in out.splitlines()
    assert err.startswith(
        "note: stacks and functions are those of inuse_space:bytes; with --type: alloc_objects:"
    )


def test_every_rule_has_words() -> None:
    """Whatever is refused or repaired can be said."""
    assert set(REJECTION_REASONS) == set(REJECTIONS)
    assert set(REPAIRS) == set(REPAIRS_IN_WORDS)


def test_unreadable_files(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What cannot be read is said on stderr, the rest is told all the same, and the exit code is 1."""
    bad = tmp_path / "bad.otlp"
    bad.write_bytes(framed(LINKED.read_bytes()) + framed(b"\x0a\x7f"))
    unknown = tmp_path / "unknown"
    unknown.write_bytes(b"\x7fELF")
    code, out, err = inspect(capsys, bad, unknown, columns=200)
    assert 1 == code
    assert " · OTLP records · 1 request · 1 unreadable" in out
    assert f"error: {bad}: request 2: malformed protobuf at byte" in err
    assert f"error: {unknown}: it is in no format that is known; tried:" in err


def test_torn_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A torn file is read as far as it goes; that is told, and no failure."""
    path = tmp_path / "torn.otlp"
    path.write_bytes(framed(LINKED.read_bytes()) + framed(b"abc")[:-1])
    code, _, err = inspect(capsys, path)
    assert (0, f"note: {path} is torn: its last 6 bytes are no whole record\n") == (code, err)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere is neither a file nor a folder"),
        (["{folder}"], "holds no file with one of the endings"),
        ([str(LINKED), "--format", "gif"], "'gif' is not one of"),
    ],
)
def test_usage(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], message: str
) -> None:
    """A command that is used wrongly exits with 2, and writes nothing."""
    code, out, err = inspect(capsys, *(one.format(folder=tmp_path) for one in arguments))
    assert (2, "") == (code, out)
    assert message in " ".join(err.replace("│", "").split())


@pytest.mark.parametrize("kind", ["otlp", "pprof"])
def test_binary_does_not_go_to_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Bytes are not written to a terminal."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    code, out, err = inspect(capsys, LINKED, "--format", kind)
    assert (2, "") == (code, out)
    assert f"{kind} is binary and stdout is a terminal: write -o FILE" in " ".join(
        err.replace("│", "").split()
    )


@pytest.mark.parametrize("kind", ["svg", "folded", "speedscope", "pprof"])
def test_nothing_to_write(capsys: pytest.CaptureFixture[str], kind: str) -> None:
    """Where nothing is left to draw, that is said."""
    code, out, err = inspect(capsys, LINKED, "--service", "nobody", "--format", kind)
    assert (1, "") == (code, out)
    assert err.startswith("error: there is no sample to write")


def test_output_that_cannot_be_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """An output that cannot be written is told by its name."""
    path = tmp_path / "no" / "folder"
    code, _, err = inspect(capsys, LINKED, "-o", path)
    assert (1, f"error: {path} cannot be written: No such file or directory\n") == (code, err)


@pytest.mark.parametrize("name", HOSTILE_NAMES.values(), ids=HOSTILE_NAMES)
def test_hostile_text(capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str) -> None:
    """Names of every kind stay on their lines, within the width, and printable."""
    message = request(samples=2, service=name.replace("\x00", "") or "x")
    message.dictionary.string_table[1] = name
    message.dictionary.string_table[3] = name
    path = tmp_path / "a.otlp"
    path.write_bytes(message.SerializeToString())
    code, out, err = inspect(capsys, path, columns=40)
    assert (0, "") == (code, err)
    assert [] == [line for line in out.splitlines() if not line.isprintable()]
    assert max(len(line) for line in out.splitlines() if str(tmp_path)[:10] not in line) <= 40


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("path", [LINKED, UPROBE, OLD], ids=lambda path: path.stem)
def test_width(capsys: pytest.CaptureFixture[str], path: Path, columns: int) -> None:
    """No line is wider than the terminal."""
    _, out, _ = inspect(capsys, path, columns=columns)
    assert max(map(len, out.splitlines())) <= columns


def test_more_stacks_than_are_kept(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of too many stacks the coldest are one; totals and functions stay exact, and it is told."""
    exact = report(capsys, LINKED)
    monkeypatch.setattr(inspection, "MAX_STACKS", 100)
    code, out, err = inspect(capsys, LINKED, "--format", "folded")
    assert 51 == len(out.splitlines())
    values = [int(line.rpartition(" ")[2]) for line in out.splitlines()]
    assert (0, exact["sample_types"][0]["value"]) == (code, sum(values))
    assert "note: the 200 coldest stacks of samples are summed up as (other)\n" == err
    assert exact["sample_types"] == report(capsys, LINKED)["sample_types"]
