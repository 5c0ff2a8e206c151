"""Two versions in a store that the exporter wrote: what changed between them, and what the gate says."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest

from otelprof._core import Profiles
from tests.e2e.harness import one_pipeline, running
from tests.gate_programs import Program, Stacks, folded
from tests.unit.command import otelprof

if TYPE_CHECKING:
    from pathlib import Path

START: Final = 1_750_000_320
WINDOW: Final = 60
WINDOWS: Final = 8
PERIOD: Final = 10_000_000
SLOW: Final = "app.f07"
FLUSH_SECS: Final = 30.0


def body(stacks: Stacks, version: str, instance: str, at: int) -> bytes:
    """What a profiler sends of one window of one process: CPU time at 100 Hz."""
    resource = [
        ("service.name", "checkout"),
        ("service.version", version),
        ("service.instance.id", instance),
    ]
    of_time = {stack: value * PERIOD for stack, value in stacks.items()}
    message = Profiles.from_folded(
        folded(of_time).encode(), sample_type=("cpu", "nanoseconds"), resource=resource
    ).to_proto()
    profile = message.resource_profiles[0].scope_profiles[0].profiles[0]
    profile.time_unix_nano, profile.duration_nano = at * 10**9, WINDOW * 10**9
    profile.period = PERIOD
    profile.period_type.CopyFrom(profile.sample_type)
    return message.SerializeToString()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Versions 1.3, 1.4 (the same program), and 1.5 (one function is twice as dear), on two pods each."""
    folder = tmp_path_factory.mktemp("versions")
    made = Program(np.random.default_rng(2), functions=20)
    at = START
    config = one_pipeline(
        exporters={"object_storage": {"url": str(folder / "store"), "flush_interval": "50ms"}}
    )
    with running(config, folder) as service:
        for version, dearer in (("1.3", {}), ("1.4", {}), ("1.5", {SLOW: 2.0})):
            for _ in range(WINDOWS):
                for pod in ("a", "b"):
                    sent = body(made.run(1500, {}, dearer), version, f"{version}-{pod}", at)
                    assert "OK" == service.export(sent).code.name
                at += WINDOW
    deadline = time.monotonic() + FLUSH_SECS
    while not (folder / "store" / "samples").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return str(folder / "store")


def gate(
    capsys: pytest.CaptureFixture[str], store: str, *arguments: object
) -> tuple[int, dict[str, Any], str]:
    """Exit code, report and notes of a gate run on the store."""
    code, out, err = otelprof(
        capsys, "gate", "--store", store, "--service", "checkout", "--format", "json", *arguments
    )
    return code, json.loads(out) if out else {}, err


def versions(before: str, after: str) -> tuple[str, ...]:
    """The options that name two versions."""
    return "--baseline", f"service.version={before}", "--candidate", f"service.version={after}"


@pytest.mark.parametrize(
    ("cut", "runs"),
    [
        (("--window", "1m"), 8),
        (("--window", "2m", "--run-label", "service.instance.id"), 8),
        ((), 8),
    ],
)
def test_a_regression_is_named(
    capsys: pytest.CaptureFixture[str], store: str, cut: tuple[str, ...], runs: int
) -> None:
    """Windows of a version are runs: what became dearer fails by name, per second of a process."""
    code, report, _ = gate(capsys, store, *versions("1.4", "1.5"), *cut)

    assert (1, [SLOW]) == (code, [one["function"] for one in report["findings"]])
    assert {runs} == set(report["covers"][0]["runs"])
    assert report["findings"][0]["growth"] == pytest.approx(1.0, abs=0.15)


def test_no_change_passes(capsys: pytest.CaptureFixture[str], store: str) -> None:
    """Two versions of the same program pass, per unit of what each did as well; times choose as labels do."""
    assert 0 == gate(capsys, store, *versions("1.3", "1.4"))[0]
    assert 0 == gate(capsys, store, *versions("1.3,work=5000", "1.4,work=5000"))[0]
    middle = f"{datetime.fromtimestamp(START + WINDOWS * WINDOW, UTC):%Y-%m-%dT%H:%M:%SZ}"
    end = f"{datetime.fromtimestamp(START + 2 * WINDOWS * WINDOW, UTC):%Y-%m-%dT%H:%M:%SZ}"
    sides = ("--baseline", f"until={middle}", "--candidate", f"since={middle},until={end}")
    code, report, _ = gate(capsys, store, *sides)
    assert (0, [WINDOWS, WINDOWS]) == (code, report["covers"][0]["runs"])


def test_twice_the_work_is_no_regression(capsys: pytest.CaptureFixture[str], store: str) -> None:
    """What a side says it did is what its cost is divided by."""
    code, report, _ = gate(capsys, store, *versions("1.4,work=5000", "1.3,work=2500"))
    assert 1 == code
    assert report["findings"][0]["growth"] == pytest.approx(1.0, abs=0.1)


def test_what_changed_between_the_last_two_versions(capsys: pytest.CaptureFixture[str], store: str) -> None:
    """No more than the service has to be said; what became dearer comes first, per second of a process."""
    code, out, err = otelprof(capsys, "diff", "--store", store, "--service", "checkout", "--format", "json")
    report = json.loads(out)

    assert (0, "second") == (code, report["per"])
    assert "note: the two versions that came last: service.version=1.4, service.version=1.5\n" in err
    dearest = max(report["functions"], key=lambda one: one["own_after"] - one["own_before"])
    assert SLOW == dearest["function"]
    assert dearest["own_after"] / dearest["own_before"] == pytest.approx(2.0, abs=0.2)
    named = otelprof(
        capsys, "diff", "--store", store, "service.version=1.4", "service.version=1.5", "--format", "json"
    )
    assert report["functions"] == json.loads(named[1])["functions"]


def test_a_version_against_a_file(capsys: pytest.CaptureFixture[str], store: str, tmp_path: Path) -> None:
    """A side of a store may stand against one of files; what is told of functions needs no second side."""
    path = tmp_path / "cpu.otlp"
    path.write_bytes(body({("main", SLOW): 100}, "dev", "laptop", START))
    code, out, _ = otelprof(capsys, "diff", "--store", store, "service.version=1.4", path)
    assert (0, True) == (code, SLOW in out)
    arguments = ("--function", SLOW, "--speedup", "2", "--format", "json")
    code, out, _ = otelprof(capsys, "impact", "--store", store, "service.version=1.5", *arguments)
    assert (0, True) == (code, 0.01 < json.loads(out)["own_share"] < 0.6)
    code, out, _ = otelprof(
        capsys, "explain", "--store", store, "--before", "service.version=1.4", "--after",
        "service.version=1.5", "--latency-before", "p50=10ms", "--latency-after", "p50=12ms",
    )  # fmt: skip
    assert (0, True) == (code, SLOW in out)


@pytest.mark.parametrize(
    ("side", "said"),
    [
        ("service.version=9", "versions there: 1.3, 1.4, 1.5"),
        ("service.version=1.4,service.version=1.5", "is no KEY=VALUE of its own"),
        ("service.version=1.4,", "is no KEY=VALUE of its own"),
        ("service.version=1.4,work=none", "a number above zero is wanted"),
        ("since=yesterday", "is no time"),
        ("nowhere", "is neither a file nor a folder"),
    ],
)
def test_what_is_no_selection(capsys: pytest.CaptureFixture[str], store: str, side: str, said: str) -> None:
    """It is said what is wrong, and which versions there are; that is no verdict."""
    code, _, err = gate(capsys, store, "--baseline", side, "--candidate", "service.version=1.4")
    assert (3, True) == (code, said in err)


def test_a_selection_needs_a_store(capsys: pytest.CaptureFixture[str]) -> None:
    """Without one it is said how to name it."""
    code, _, err = otelprof(capsys, "diff", "service.version=1.4", "service.version=1.5")
    assert (2, True) == (code, "--store" in err)
    code, _, err = otelprof(capsys, "diff", "service.version=1.4")
    assert (2, True) == (code, "two sides are needed" in err)
