"""Reading a store back: what the commands say, and why there is nothing to say."""

from __future__ import annotations

import gzip
import json
import shutil
import sys
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

import pytest

from otelprof._core import Profiles
from otelprof.cli.app import main
from otelprof.errors import RequestTooLargeError, StoreError
from otelprof.query.flamegraph import flame_graph
from otelprof.store.policy import append_policy
from otelprof.store.reader import StoreReader
from otelprof.store.schema import Table
from otelprof.store.selection import Selection
from otelprof.store.store import Store
from otelprof.store.writer import StoreWriter
from otelprof.telemetry.journal import PolicyEvent
from otelprof.testing.clock import SimulatedClock
from tests.e2e.harness import request

if TYPE_CHECKING:
    from pathlib import Path

    from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
        ExportProfilesServiceRequest,
    )

SLOW: Final = "0a" * 16
OTHER: Final = "0b" * 16
SPAN: Final = "0c" * 8
NOW: Final = 1_750_000_000
PERIOD_NANOS: Final = 10_000_000
HOSTILE: Final = "it's \"; DROP TABLE samples; -- \\' <b>"


def linked(
    service: str = "checkout", *, trace_id: str = SLOW, state: str = "slow"
) -> ExportProfilesServiceRequest:
    """Two samples of CPU at 10 ms, of which the second, of 3, is of a trace with a span `GET /cart`."""
    message = request(samples=2, service=service)
    d = message.dictionary
    d.string_table.extend(
        ["cpu", "nanoseconds", "pay", "otelprof.trace.state", state, "otelprof.span.name", "GET /cart"]
    )
    d.link_table.add(trace_id=bytes.fromhex(trace_id), span_id=bytes.fromhex(SPAN))
    d.attribute_table.add(key_strindex=7).value.string_value = state
    d.attribute_table.add(key_strindex=9).value.string_value = "GET /cart"
    d.function_table.add(name_strindex=6)
    d.location_table.add().lines.add(function_index=2)
    d.stack_table.add(location_indices=[2, 1])
    profile = message.resource_profiles[0].scope_profiles[0].profiles[0]
    profile.time_unix_nano = NOW * 10**9
    profile.period_type.type_strindex, profile.period_type.unit_strindex = 4, 5
    profile.period = PERIOD_NANOS
    of_trace = profile.samples[1]
    of_trace.values[0] = 3
    of_trace.stack_index, of_trace.link_index = 2, 1
    of_trace.attribute_indices.extend([1, 2])
    return message


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with two linked services, one of a hostile name, and one without links."""
    folder = str(tmp_path_factory.mktemp("store"))
    writer = StoreWriter(Store(folder), SimulatedClock(start_secs=NOW))
    plain = request(samples=2, service="plain")
    for profile in plain.resource_profiles[0].scope_profiles[0].profiles:
        profile.time_unix_nano = (NOW + 60) * 10**9
    for message in (linked(), linked(HOSTILE, trace_id=OTHER, state="kept"), plain):
        writer.write(Profiles.decode(message.SerializeToString()))
    return folder


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Run a command: exit code, stdout, stderr."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["otelprof", *map(str, arguments)])
        patch.setenv("COLUMNS", "100")
        with pytest.raises(SystemExit) as caught:
            main()
    captured = capsys.readouterr()
    return int(caught.value.code or 0), captured.out, captured.err


def test_a_trace_needs_nothing_but_its_id(capsys: pytest.CaptureFixture[str], store: str) -> None:
    """Folded stacks have stored values, root first; what they stand for is told on stderr."""
    code, out, err = run(
        capsys, "flamegraph", "--store", store, "--trace-id", SLOW.upper(), "--format", "folded"
    )
    assert (0, "main;pay 3\n") == (code, out)
    assert (
        f"note: of trace {SLOW}: 3 samples, 30 ms of CPU, sample type samples:count, service checkout\n"
        == err
    )


def test_the_store_may_stand_in_the_environment(
    capsys: pytest.CaptureFixture[str], store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`OTELPROF_STORE` says where it is, and a span is enough as well."""
    monkeypatch.setenv("OTELPROF_STORE", store)
    arguments = ("flamegraph", "--span-id", SPAN, "--service", "checkout", "--format", "folded")
    assert (0, "main;pay 3\n") == run(capsys, *arguments)[:2]


@pytest.mark.parametrize(
    ("arguments", "folded"),
    [
        (("--service", "checkout"), "main;pay 3\nmain 1\n"),
        (("--service", HOSTILE), "main;pay 3\nmain 1\n"),
        (("--label", f"service.name={HOSTILE}", "--span-name", "GET /cart"), "main;pay 3\n"),
        (("--slow",), "main;pay 3\n"),
        (("--slow", "--error", "--type", "samples"), "main;pay 3\n"),
        (("--since", "2025-06-15T15:07:40Z"), "main 3\n"),
        (("--until", "2025-06-15T15:07:40Z"), "main;pay 6\nmain 2\n"),
        (("--since", "1970-01-01", "--service", "plain"), "main 3\n"),
    ],
)
def test_selections(
    capsys: pytest.CaptureFixture[str], store: str, arguments: tuple[str, ...], folded: str
) -> None:
    """A service, a label, a group and a time select what they say, whatever they are made of."""
    assert (0, folded) == run(capsys, "flamegraph", "--store", store, "--format", "folded", *arguments)[:2]


def test_formats(capsys: pytest.CaptureFixture[str], store: str, tmp_path: Path) -> None:
    """Every format holds the same stacks."""
    command = ("flamegraph", "--store", store, "--service", "checkout")
    svg = tmp_path / "flame.svg"
    assert 0 == run(capsys, *command, "-o", svg)[0]
    drawn = ET.fromstring(svg.read_text())  # noqa: S314 - ours
    titles = {title.text for title in drawn.iter("{http://www.w3.org/2000/svg}title")}
    assert "pay (3 count, 75.00%)" in titles
    pprof = tmp_path / "cpu.pb.gz"
    assert 0 == run(capsys, *command, "--format", "pprof", "-o", pprof)[0]
    again = Profiles.from_pprof(gzip.decompress(pprof.read_bytes()))
    assert [("main;pay", 3), ("main", 1)] == again.fold()
    assert SLOW in json.dumps(again.to_json().decode())
    scope = json.loads(run(capsys, *command, "--format", "speedscope")[1])
    assert [1, 3] == sorted(scope["profiles"][0]["weights"])
    found: dict[str, Any] = json.loads(run(capsys, *command, "--format", "json")[1])
    assert [{"frames": ["main", "pay"], "value": 3}, {"frames": ["main"], "value": 1}] == found["stacks"]
    assert (4, 4, 0.04) == (found["samples"], found["value"], found["seconds"])
    assert "100 % └ main\n" in run(capsys, *command, "--format", "tree")[1]


def test_a_trace_against_its_group(capsys: pytest.CaptureFixture[str], store: str) -> None:
    """The group of a trace are others with its span name; it must not be empty."""
    command = ("flamegraph", "--store", store, "--trace-id", SLOW, "--against-group")
    code, _, err = run(capsys, *command)
    assert 1 == code
    assert f"the store has no samples of other traces than {SLOW}, service checkout" in err
    code, out, _ = run(capsys, *command, "--span-name", "GET /cart", "--format", "folded")
    assert (0, "main;pay 3 3\n") == (code, out)
    assert "</svg>" in run(capsys, *command, "--span-name", "GET /cart")[1]
    assert 2 == run(capsys, "flamegraph", "--store", store, "--against-group")[0]


def test_traces(capsys: pytest.CaptureFixture[str], store: str) -> None:
    """Traces come with their state, services, span and what they took."""
    code, out, _ = run(capsys, "traces", "--store", store, "--slow", "--format", "json")
    (trace,) = json.loads(out)
    assert 0 == code
    assert [SLOW, "slow", ["checkout"], "GET /cart", 3, 0.03] == [
        trace[key] for key in ("trace_id", "state", "services", "span_name", "samples", "seconds")
    ]
    code, out, _ = run(capsys, "traces", "--store", store)
    assert [SLOW, OTHER] == [line.split()[0] for line in out.splitlines()[1:]]
    assert 1 == run(capsys, "traces", "--store", store, "--service", "plain")[0]


def test_top(capsys: pytest.CaptureFixture[str], store: str) -> None:
    """Functions come by what they take themselves."""
    code, out, _ = run(capsys, "top", "--store", store, "--service", "checkout", "--format", "json")
    assert 0 == code
    assert [("pay", 3, 3), ("main", 1, 4)] == [
        (row["function"], row["self"], row["total"]) for row in json.loads(out)
    ]
    assert "75 %" in run(capsys, "top", "--store", store, "--service", "checkout")[1]


def test_services(capsys: pytest.CaptureFixture[str], store: str) -> None:
    """Services come with what is there of them, how much is linked, and since when."""
    code, out, _ = run(capsys, "services", "--store", store, "--format", "json")
    rows = {row["service"]: row for row in json.loads(out)}
    assert 0 == code
    assert {"checkout", "plain", HOSTILE} == set(rows)
    assert (2, 1, 1, "2025-06-15T15:06:40Z") == tuple(
        rows["checkout"][key] for key in ("stored_samples", "linked_samples", "days", "first_window")
    )
    assert "50 %" in run(capsys, "services", "--store", store)[1]


def test_why_a_trace_is_empty(capsys: pytest.CaptureFixture[str], store: str, tmp_path: Path) -> None:
    """What is known of a trace that is not there is told, with the rules that the store knows of."""
    copy = str(tmp_path / "store")
    shutil.copytree(store, copy)
    command = ("flamegraph", "--store", copy, "--trace-id", "0d" * 16)
    code, out, err = run(capsys, *command)
    assert (1, "") == (code, out)
    assert "no sampling rule that keeps less than all is known" in err
    rule = PolicyEvent(NOW, "sampling", "rule", what="rule 1: 10 % of traces", probability=0.1)
    append_policy(Store(copy), "", [rule])
    assert "in force since 2025-06-15 15:06:40 UTC: rule 1: 10 % of traces" in run(capsys, *command)[2]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--service", "chekout"), "no service here is called chekout (did you mean 'checkout'?)"),
        (("--service", "plain", "--trace-id", SLOW), "nothing of plain is linked"),
        (("--trace-id", SLOW, "--type", "cpu"), "there is something without this sample type"),
        (("--service", "plain", "--until", "1999-01-01"), "it is out of retention, or was never stored"),
        (("--service", "plain", "--since", "1h"), "later ones are not flushed yet"),
    ],
)
def test_why_others_are_empty(
    capsys: pytest.CaptureFixture[str], store: str, arguments: tuple[str, ...], reason: str
) -> None:
    """So is what is known of a service, a type or a time."""
    code, _, err = run(capsys, "flamegraph", "--store", store, *arguments)
    assert 1 == code
    assert reason in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("--trace-id", "xyz"),
        ("--span-id", "0" * 16),
        ("--label", "no sign"),
        ("--since", "yesterday"),
        ("--store-option", "=x"),
        ("--store", "s3://key:secret@bucket/x"),
    ],
)
def test_mistakes_are_told(
    capsys: pytest.CaptureFixture[str], store: str, arguments: tuple[str, ...]
) -> None:
    """What is no id, no time, no pair, or a URL with credentials, is refused before anything is read."""
    assert 2 == run(capsys, "flamegraph", "--store", store, *arguments)[0]


def test_a_store_that_is_not_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """It is an error that says so, and exit code 1, of every command."""
    for command in ("flamegraph", "traces", "top", "services"):
        code, _, err = run(capsys, command, "--store", tmp_path / "none")
        assert 1 == code
        assert f"error: nothing is stored at {tmp_path}/none yet" in err


def test_files_that_went_while_they_were_read(store: str, tmp_path: Path) -> None:
    """A reader whose files are gone reads again from fresh snapshots; of a torn store it says so."""
    copy = tmp_path / "store"
    shutil.copytree(store, copy)
    reader = StoreReader(Store(str(copy)))
    selection = Selection(service="checkout")
    assert flame_graph(reader, selection) is not None
    # What compaction does: the same rows in one file, and the old files gone.
    samples = Store(str(copy)).table(Table.SAMPLES)
    samples.optimize.compact()
    samples.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)
    graph = flame_graph(reader, selection)
    assert graph is not None
    assert [("main;pay", 3), ("main", 1)] == graph.profiles.fold()
    stacks = Store(str(copy)).table(Table.STACKS)
    stacks.delete()
    with pytest.raises(StoreError, match="is not whole"):
        flame_graph(StoreReader(Store(str(copy))), selection)


def test_a_reader_sees_what_came_later(store: str, tmp_path: Path) -> None:
    """After a refresh, and not before."""
    copy = str(tmp_path / "store")
    shutil.copytree(store, copy)
    reader = StoreReader(Store(copy))
    selection = Selection(service="late")
    assert flame_graph(reader, selection) is None
    writer = StoreWriter(Store(copy), SimulatedClock(start_secs=NOW))
    writer.write(Profiles.decode(linked("late").SerializeToString()))
    assert flame_graph(reader, selection) is None
    reader.refresh()
    graph = flame_graph(reader, selection)
    assert graph is not None
    assert "4 samples, 40 ms of CPU" == graph.in_words


def test_a_query_has_so_much_memory(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that takes more is told to ask for less, and is not tried again."""
    monkeypatch.setattr("otelprof.store.reader._MEMORY_BYTES", 1 << 20)
    reader = StoreReader(Store(store))
    asked = []

    def ask() -> None:
        asked.append(1)
        reader.query(
            "SELECT n, count(*) FROM (SELECT a.value * 100000 + b.value AS n "
            "FROM generate_series(1, 1000) a, generate_series(1, 1000) b) GROUP BY n ORDER BY n"
        )

    with pytest.raises(RequestTooLargeError, match=r"more than 1 MiB of memory: ask for one service"):
        reader.steadily(ask)
    assert len(asked) == 1
