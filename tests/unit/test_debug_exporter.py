"""What the `debug` exporter writes."""

from __future__ import annotations

from typing import Literal

import pytest
import structlog

from otelprof._core import Profiles
from otelprof.clock import SystemClock
from otelprof.component import ComponentSettings, Kind
from otelprof.exporter.debug import DebugExporter, DebugExporterConfig
from otelprof.exporter.stack_tree import stack_tree, tree_lines
from otelprof.model import ComponentId
from otelprof.telemetry.metrics import Metrics
from otelprof.telemetry.quantity import human
from tests.e2e.harness import request


def written(
    profiles: Profiles,
    capsys: pytest.CaptureFixture[str],
    verbosity: Literal["basic", "normal", "detailed"] = "normal",
) -> list[str]:
    """The lines of one request."""
    logger = structlog.get_logger("test")
    settings = ComponentSettings(ComponentId("debug"), Kind.EXPORTER, logger, Metrics(), SystemClock())
    exporter = DebugExporter(DebugExporterConfig(verbosity=verbosity), settings)
    exporter.start()
    exporter.export(profiles)
    exporter.shutdown()
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def decoded(*, service: str = "checkout", function: str = "main") -> Profiles:
    """A request of three samples in one function."""
    message = request(samples=3, service=service)
    message.dictionary.string_table[3] = function
    return Profiles.decode(message.SerializeToString())


def test_basic_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Basic says how much came."""
    profiles = decoded()
    expected = f"debug: 1 profile · 3 samples · 1 service · 0 % linked · {profiles.body_bytes} B"
    assert [expected] == written(profiles, capsys, "basic")


def test_normal_tells_services_and_functions(capsys: pytest.CaptureFixture[str]) -> None:
    """Normal adds what each service sent, and where the busiest one spends it."""
    lines = written(decoded(), capsys)
    assert ["checkout", "samples:count", "1", "3", "0", "%", "6"] == lines[2].split()
    assert ["100", "%", "100", "%", "main"] == lines[4].split()
    assert 5 == len(lines)


def test_detailed_adds_the_hottest_stacks(capsys: pytest.CaptureFixture[str]) -> None:
    """Detailed draws the hottest stacks as a tree."""
    lines = written(decoded(), capsys, "detailed")
    assert ["  hottest 1 of 1 stacks of checkout samples", "  100 % └ main"] == lines[5:]


def test_hostile_names_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    """Escape sequences and markup in names are shown, not obeyed."""
    profiles = decoded(service="\x1b[2J[red]shop", function="main[/]\u202e")
    out = "\n".join(written(profiles, capsys, "detailed"))
    assert r"\x1b[2J[red]shop" in out
    assert r"main[/]\u202e" in out
    assert not {"\x1b", "\u202e"} & set(out)


def test_a_request_without_profiles(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is said of nothing."""
    assert ["debug: 0 profiles · 0 samples · 0 services · 0 % linked · 0 B"] == written(
        Profiles.decode(b""), capsys, "detailed"
    )


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (1_310_000_000, "nanoseconds", "1.31 s"),
        (20, "ns", "20 ns"),
        (2_500, "microseconds", "2.50 ms"),
        (7_200, "s", "2 h"),
        (4 << 20, "bytes", "4 MiB"),
        (1_536, "By", "1.50 KiB"),
        (0, "bytes", "0 B"),
        (12_500, "count", "12.50 k"),
        (3, "", "3"),
        (0, "count", "0"),
        (-2_000, "count", "-2 k"),
        (5, "widgets\x07", "5 widgets\\x07"),
    ],
)
def test_human_units(value: int, unit: str, expected: str) -> None:
    """A value is written in the unit that a person would choose."""
    assert expected == human(value, unit)


def test_stacks_are_merged_by_their_callers() -> None:
    """Common callers are one node, the hottest branch is first, a chain is one line."""
    stacks = [("main;serve;parse", 5), ("main;serve;write;flush", 3), ("main;idle", 1)]
    lines = [f"{value} {branch}{frames}" for value, branch, frames in tree_lines(stack_tree(stacks))]
    assert [
        "9 └ main",
        "8   ├ serve",
        "5   │ ├ parse",
        "3   │ └ write → flush",
        "1   └ idle",
    ] == lines


def test_long_chains_are_cut_in_the_middle() -> None:
    """Of a deep stack the two frames at each end are shown, and deep means any depth."""
    deep = ";".join(f"f{number}" for number in range(5_000))
    assert [(1, "└ ", "f0 → f1 → … 4996 more … → f4998 → f4999")] == list(tree_lines(stack_tree([(deep, 1)])))


def test_a_stack_that_ends_within_another() -> None:
    """A caller that was also hit itself keeps its own line."""
    lines = list(tree_lines(stack_tree([("main;work", 2), ("main", 1)])))
    assert [(3, "└ ", "main"), (2, "  └ ", "work")] == lines
