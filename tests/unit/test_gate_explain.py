"""Which part of a change in latency is CPU, and which is waiting, and where."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from otelprof._core import Profiles
from otelprof.cli.app import main
from otelprof.errors import PermanentError
from otelprof.gate.cause import Verdict, cause
from otelprof.gate.explain import Explanation, explain
from otelprof.gate.explain_report import as_json, as_markdown, as_text, headline
from otelprof.gate.figures import (
    Figure,
    Figures,
    figures,
    measured,
    merged,
    parse_figures,
    parse_file,
    spread,
)
from otelprof.gate.runs import Work, read_runs
from otelprof.gate.waiting import Kind, Site
from tests.unit.command import otelprof

if TYPE_CHECKING:
    from collections.abc import Mapping

GATES: Final = Path(__file__).resolve().parents[3] / "shared/data/gates/go-jsonsvc"
MS: Final = 1_000_000
LOCK: Final = "main.serve;main.audit;sync.(*Mutex).Lock;runtime.gopark"
SLEEP: Final = "main.serve;main.audit;time.Sleep;runtime.gopark"
CLIENT: Final = "main.main;net/http.(*Client).Do;runtime.selectgo"
IDLE: Final = (
    "net/http.(*Server).Serve;net.(*TCPListener).Accept;internal/poll.runtime_pollWait;runtime.gopark"
)
SCORE: Final = "main.serve;main.score"

REQUESTS: Final = 100
Run = dict[str, dict[str, int]]
"""Milliseconds by stack, by type of profile."""


def write_runs(folder: Path, runs: list[Run], **told: float) -> Path:
    """Run folders, each of 100 requests in 10 seconds."""
    for number, run in enumerate(runs):
        place = folder / f"run{number}"
        place.mkdir(parents=True)
        for name, stacks in run.items():
            text = "".join(f"{stack} {value * MS}\n" for stack, value in stacks.items()).encode()
            profiles = Profiles.from_folded(text, sample_type=(name, "nanoseconds"))
            (place / f"{name}.otlp").write_bytes(profiles.to_otlp())
        said = {"requests": REQUESTS, "wall_s": 10, **told}
        (place / "run.json").write_text(json.dumps(said), encoding="utf-8")
    return folder


def explained(folder: Path, before: list[Run], after: list[Run], told: Figures | None = None) -> Explanation:
    """What explains the change between such runs."""
    sides = [read_runs(write_runs(folder / name, runs)) for name, runs in (("b", before), ("a", after))]
    return explain(sides[0], sides[1], told or Figures(), Work("requests"))


def p50(before: float, after: float) -> Figures:
    """A latency, in milliseconds."""
    return figures({"p50": before / 1000}, {"p50": after / 1000})


def test_a_win_under_a_lock(tmp_path: Path) -> None:
    """CPU as before, and the wait for a lock gone: off-CPU, and the lock is named with who holds it."""
    cpu = {SCORE: 200}
    before: Run = {
        "cpu": cpu,
        "wall": {LOCK: 3600, SLEEP: 400, CLIENT: 4400, IDLE: 10_000, SCORE: 250},
        "block": {LOCK: 3590, CLIENT: 4300},
        "mutex": {"main.serve;main.audit;sync.(*Mutex).Unlock": 3500},
    }
    after: Run = {
        "cpu": {SCORE: 203},
        "wall": {SLEEP: 420, CLIENT: 800, IDLE: 10_000, SCORE: 250},
        "block": {CLIENT: 790},
        "mutex": {SCORE: 0},
    }
    found = explained(tmp_path, [before, before], [after, after], p50(44, 8))

    assert (Verdict.OFF_CPU, [Site(Kind.LOCK, "main.audit", "sync.(*Mutex).Lock")]) == (
        found.verdict,
        [one.site for one in found.named],
    )
    assert [0.036, -0.036 + 0.0002] == pytest.approx([found.named[0].before, found.all_waiting])
    assert ["main.audit"] == [one.site.function for one in found.holders if one.delta < -0.001]
    assert [] == list(found.missing)
    assert (
        "The win is off-CPU, here: waits for a lock: main.audit (sync.(*Mutex).Lock), -36 ms a request."
        == headline(found)
    )


def test_what_is_there_twice_is_told_and_counted_once(tmp_path: Path) -> None:
    """Wall holds what runs, block and mutex its locks, a caller's wait the callee's work."""
    before: Run = {
        "cpu": {SCORE: 200},
        "wall": {LOCK: 3600, CLIENT: 4400, IDLE: 10_000, SCORE: 500},
        "block": {LOCK: 3590},
        "mutex": {LOCK: 3500},
    }
    notes = explained(tmp_path, [before, before], [before, before]).notes
    runs, locks, others, idle = notes
    assert runs.startswith(
        "the wall profile contains what runs, 5 ms a request, of which the cpu profile has 2 ms"
    )
    assert locks.startswith(
        "35.90 ms a request of block and 35 ms a request of mutex are the waits for locks that wall"
    )
    assert others.startswith("wall contains 44 ms a request that waits for another thread")
    assert idle.startswith("wall contains 1 thread that wait for work")


def test_a_regression_on_cpu(tmp_path: Path) -> None:
    """CPU that grew is on-CPU, and the function is named; what waited as before is not."""
    before: Run = {"cpu": {SCORE: 1000, "main.serve": 500}, "wall": {SLEEP: 1000, SCORE: 1500}}
    after: Run = {"cpu": {SCORE: 2000, "main.serve": 480}, "wall": {SLEEP: 1010, SCORE: 2500}}
    found = explained(tmp_path, [before, before], [after, after], p50(25, 35))
    assert Verdict.ON_CPU == found.verdict
    assert [Site(Kind.CPU, "main.score")] == [one.site for one in found.named]
    assert headline(found).startswith("The loss is on-CPU, here: on CPU: main.score, +10 ms a request.")


def test_both(tmp_path: Path) -> None:
    """A change that is half of each names both."""
    before: Run = {"cpu": {SCORE: 1000}, "wall": {SLEEP: 1000}}
    after: Run = {"cpu": {SCORE: 2000}, "wall": {SLEEP: 2000}}
    found = explained(tmp_path, [before, before], [after, after], p50(20, 40))
    assert (Verdict.BOTH, 2) == (found.verdict, len(found.named))


def test_a_win_that_no_profile_holds(tmp_path: Path) -> None:
    """When neither CPU nor waiting changed, it is not in these profiles, and nothing is named."""
    run: Run = {"cpu": {SCORE: 1000}, "wall": {SLEEP: 1000}}
    found = explained(tmp_path, [run, run], [run, run], p50(100, 50))
    assert (Verdict.UNEXPLAINED, ()) == (found.verdict, found.named)
    assert "is not in these profiles" in headline(found)


def test_the_case_of_the_utilisation(tmp_path: Path) -> None:
    """p99 -29 %, CPU 58 -> 62 %, CPU diff 1 %: off-CPU; with a profile of waiting, here."""
    told = figures({"p99": 0.12, "cpu": 0.58}, {"p99": 0.085, "cpu": 0.62})
    before: Run = {"cpu": {SCORE: 1000}}
    after: Run = {"cpu": {SCORE: 1010}}
    without = explained(tmp_path / "cpu", [before, before], [after, after], told)
    assert "The win is off-CPU; where, these profiles do not tell." == headline(without)
    assert ["wall or offcpu of both sides, or block and mutex: where it waits"] == list(without.missing)
    assert (
        "busy CPU went from 0.58 to 0.62, the cost a request by +1%: busy CPU is cost x throughput, and by"
        " itself no cost"
    ) in without.notes
    assert any("p99 is no mean" in note for note in without.notes)

    before["wall"], after["wall"] = {LOCK: 2000, SLEEP: 500}, {LOCK: 500, SLEEP: 500}
    found = explained(tmp_path / "wall", [before, before], [after, after], told)
    assert (
        "The win is off-CPU, here: waits for a lock: main.audit (sync.(*Mutex).Lock), -15 ms a request."
        == headline(found)
    )


def test_figures_without_profiles() -> None:
    """Figures alone explain nothing, and what is missing is told; nothing at all is an error."""
    found = explain((), (), figures({"p99": 0.12}, {"p99": 0.085}))
    assert Verdict.UNEXPLAINED == found.verdict
    assert 2 == len(found.missing)
    with pytest.raises(PermanentError, match="nothing to compare"):
        explain((), (), Figures())


def test_block_and_mutex_without_wall(tmp_path: Path) -> None:
    """Without wall, waiting comes from block, without that from mutex; what they lack is told."""
    before: Run = {"cpu": {SCORE: 1000}, "block": {LOCK: 3000}, "mutex": {LOCK: 3000}}
    after: Run = {"cpu": {SCORE: 1000}, "block": {LOCK: 100}, "mutex": {LOCK: 100}}
    found = explained(tmp_path / "block", [before, before], [after, after], p50(40, 11))
    assert Verdict.OFF_CPU == found.verdict
    assert -0.029 == pytest.approx(found.all_waiting)
    assert ["wall or offcpu of both sides: a block profile knows of no sleep and of no IO"] == list(
        found.missing
    )
    for run in (before, after):
        del run["block"]
    found = explained(tmp_path / "mutex", [before, before], [after, after], p50(40, 11))
    assert Verdict.OFF_CPU == found.verdict
    assert ["wall or offcpu of both sides, or block: a mutex profile knows of locks alone"] == list(
        found.missing
    )


def test_a_ticker_is_no_request(tmp_path: Path) -> None:
    """A thread that sleeps all the time on both sides is in the background."""
    before: Run = {"cpu": {SCORE: 100}, "wall": {"main.tick;time.Sleep": 10_000, SLEEP: 100}}
    found = explained(tmp_path, [before, before], [before, before])
    assert ["main.audit"] == [one.site.function for one in found.waiting]


def test_waiting_for_a_worker(tmp_path: Path) -> None:
    """When only the wait for another thread changed, that is named, since its cause is not in the profile."""
    before: Run = {"cpu": {SCORE: 100}, "wall": {CLIENT: 4000, SCORE: 100}}
    after: Run = {"cpu": {SCORE: 100}, "wall": {CLIENT: 1000, SCORE: 100}}
    found = explained(tmp_path, [before, before], [after, after], p50(41, 11))
    assert (Verdict.OFF_CPU, [Kind.OTHERS]) == (found.verdict, [one.site.kind for one in found.named])


def test_noise_is_not_named(tmp_path: Path) -> None:
    """What scatters as much as it changed is noise: of CPU as of a latency that the runs measured."""
    before: list[Run] = [{"cpu": {SCORE: value}} for value in (900, 1000, 1100, 1200)]
    after: list[Run] = [{"cpu": {SCORE: value}} for value in (950, 1050, 1150, 1250)]
    found = explained(tmp_path, before, after, p50(10, 20))
    assert found.all_cpu is not None
    assert found.all_cpu.is_noise
    assert Verdict.OFF_CPU == found.verdict
    assert "(within the noise of the runs)" in as_text(found)
    assert spread([1, 1, 1], [5, 5]) == 0
    assert Verdict.NO_CHANGE == cause(Figure("p50", 1, 2, noise=1.5), cpu=(1, 1), waiting=0)


@pytest.mark.parametrize(
    ("latency", "cpu", "waiting", "others", "verdict"),
    [
        (Figure("p50", 10, 9.6), (1, -1), -1, 0, Verdict.NO_CHANGE),
        (Figure("p50", 10, 5), (8, -4), -1, 0, Verdict.ON_CPU),
        (Figure("p50", 10, 5), (8, 4), -5, 0, Verdict.OFF_CPU),
        (Figure("p50", 10, 5), (8, -0.5), -0.5, 0, Verdict.UNEXPLAINED),
        (Figure("p50", 10, 5), (8, -0.5), -0.5, -4, Verdict.OFF_CPU),
        (Figure("p99", 100, 50), (8, 0), -1, 0, Verdict.OFF_CPU),
        (Figure("p50", 10, 5), (8, 4), 4, 0, Verdict.UNEXPLAINED),
        (Figure("p50", 10, 5), None, -4, 0, Verdict.OFF_CPU),
        (Figure("p50", 10, 5), None, None, 0, Verdict.UNEXPLAINED),
        (Figure("p50", 10, 5), (0, 0), None, 0, Verdict.UNEXPLAINED),
        (Figure("p50", 10, 5), (8, -4), None, 0, Verdict.ON_CPU),
        (Figure("p50", 10, 5), (8, 4), None, 0, Verdict.OFF_CPU),
        (None, (8, -4), None, 0, Verdict.ON_CPU),
        (None, (8, -0.1), None, 0, Verdict.NO_CHANGE),
        (None, (8, 1), -4, 0, Verdict.OFF_CPU),
        (None, (8, 0), 0, 0, Verdict.UNEXPLAINED),
    ],
)
def test_causes(
    latency: Figure | None,
    cpu: tuple[float, float] | None,
    waiting: float | None,
    others: float,
    verdict: Verdict,
) -> None:
    """What went the way of the latency is its cause; what went the other way is none."""
    assert verdict == cause(latency, cpu=cpu, waiting=waiting, others=others)


def test_figures_are_read() -> None:
    """From options, from a file, and from what every run says; what was told comes first."""
    assert {"p99": 0.12, "mean": 0.04, "cpu": 0.58} == parse_figures(["p99=120ms", "mean=40ms"], "58%")
    assert {"cpu": 3.5} == parse_figures([], "3.5")
    content = b'{"before": {"p99": "120ms", "cpu": "58%"}, "after": {"p99": 0.085, "cpu": 0.62, "p50": 1}}'
    read = parse_file(content)
    assert ((Figure("p99", 0.12, 0.085),), Figure("cpu", 0.58, 0.62)) == (read.latency, read.cpu)


def test_figures_of_runs(tmp_path: Path) -> None:
    """Medians of what each `run.json` says; what one run does not say is left out."""
    sides = [
        read_runs(write_runs(tmp_path / name, [{"cpu": {SCORE: 1}}] * 2, **told))
        for name, told in (
            ("b", {"p50_us": 2000, "cpu_s": 5, "p99_ms": 9}),
            ("a", {"p50_us": 1000, "cpu_s": 6}),
        )
    ]
    found = measured(sides[0], sides[1], Work("requests"))
    assert (Figure("p50", 0.002, 0.001),) == found.latency
    assert (Figure("cpu", 0.5, 0.6), Figure("requests a second", 10, 10)) == (found.cpu, found.throughput)
    told = merged(figures({"p99": 0.1}, {"p99": 0.2}), found)
    assert (["p99", "p50"], found.cpu) == ([one.name for one in told.latency], told.cpu)
    assert Figures() == measured((), ())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[" * 100_000,
        b"[]",
        b'{"before": {}}',
        b'{"before": {}, "after": []}',
        b'{"before": {"p99": "fast"}, "after": {}}',
        b'{"before": {"p99": null}, "after": {}}',
        b'{"before": {"p99": 0}, "after": {}}',
        b'{"before": {"p99": -1}, "after": {}}',
        b'{"before": {"p99": 1e999}, "after": {}}',
        b'{"before": {"cpu": {}}, "after": {}}',
        b'{"before": {"speed": 1}, "after": {}}',
    ],
)
def test_what_is_no_figure_is_told(content: bytes) -> None:
    """A file of something else is refused, with what was expected."""
    with pytest.raises(ValueError, match=r"expected|JSON|figure|duration|neither|objects"):
        parse_file(content)


def test_a_run_without_time_or_work(tmp_path: Path) -> None:
    """What cannot be divided by anything is refused; counts instead of time are left out, and told."""
    place = write_runs(tmp_path / "b", [{"cpu": {SCORE: 1}}] * 2)
    for path in place.rglob("run.json"):
        path.unlink()
    runs = read_runs(place)
    with pytest.raises(PermanentError, match="says neither how long it was nor how much it did"):
        explain(runs, runs, p50(1, 2), Work("requests"))

    for run in ("x", "y"):
        (tmp_path / "c" / run).mkdir(parents=True)
        (tmp_path / "c" / run / "wall.folded").write_text(f"{LOCK} 5\n", encoding="utf-8")
    counts = read_runs(tmp_path / "c")
    notes = explain(counts, counts, p50(1, 2), Work("requests", 10)).notes
    assert "wall was left out: it counts something else than time" in notes


def test_what_may_be_the_cause(tmp_path: Path) -> None:
    """What is large enough and within the noise is told as what it may be, and more runs are asked for."""
    before: list[Run] = [{"wall": {SLEEP: value}} for value in (1000, 3000)]
    after: list[Run] = [{"wall": {SLEEP: value}} for value in (500, 1500)]
    found = explained(tmp_path, before, after, p50(20, 10))
    assert (Verdict.UNEXPLAINED, ["main.audit"]) == (
        found.verdict,
        [one.site.function for one in found.doubtful],
    )
    assert headline(found).startswith("The win may be here, within the noise of the runs: sleeps: main.audit")


def test_a_single_run_is_told(tmp_path: Path) -> None:
    """One run of a side cannot tell a change from noise, and seconds are no work."""
    run: Run = {"cpu": {SCORE: 1000}}
    sides = [read_runs(write_runs(tmp_path / name, [run])) for name in "ba"]
    found = explain(sides[0], sides[1], p50(1, 2))
    notes = found.notes
    assert headline(found).endswith("One run of a side cannot tell a change from noise.")
    assert any(note.startswith("single run: 1 run before and 1 run after") for note in notes)
    assert any(note.startswith("no work is known") for note in notes)


HOSTILE: Final = "main.serve;main.|`<img>`@owner\x1b[2J;time.Sleep"


def hostile(folder: Path) -> Explanation:
    """An explanation whose largest change is in a function with a hostile name."""
    before: Run = {"cpu": {SCORE: 1}, "wall": {HOSTILE: 1000}}
    after: Run = {"cpu": {SCORE: 1}, "wall": {HOSTILE: 10}}
    return explained(folder, [before, before], [after, after], p50(11, 1))


def test_reports_are_safe(tmp_path: Path) -> None:
    """A hostile name is no markup in Markdown, moves no cursor in a terminal, and is itself in JSON."""
    found = hostile(tmp_path)
    assert "\x1b" not in as_text(found)
    page = as_markdown(found)
    live = re.sub(r"\\.", "", page)  # without what a backslash makes a plain character
    assert [] == [one for one in ("<", "`", "\x1b", "owner[") if one in live] + re.findall("@owner", page)
    row = next(line for line in live.splitlines() if line.startswith("| ") and "img" in line)
    assert 5 == row.count("|")
    document: dict[str, Any] = json.loads(json.dumps(as_json(found)))
    assert "main.|`<img>`@owner [2J" == document["named"][0]["function"]  # the core takes out what is no text
    assert ("off-CPU", "a request") == (document["verdict"], document["costs_of"])


def test_the_command(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Figures of options or of a file, runs of folders, in three formats."""
    cpu: Mapping[str, int] = {SCORE: 100}
    write_runs(tmp_path / "b", [{"cpu": dict(cpu), "wall": {LOCK: 3000}}] * 2, p50_ms=31)
    write_runs(tmp_path / "a", [{"cpu": dict(cpu), "wall": {LOCK: 100}}] * 2, p50_ms=2)
    sides = ("--before", str(tmp_path / "b"), "--after", str(tmp_path / "a"))
    for more, begins in (
        ((), b"The win is off-CPU, here: waits for a lock: main.audit"),
        (("--latency-before", "p99=2ms", "--latency-after", "p99=4ms"), b"The loss is not in these profiles"),
        (("--format", "markdown"), rb"**The win is off\-CPU, here: waits for a lock: main.audit"),
        (("--format", "json"), b'{\n  "verdict": "off-CPU"'),
    ):
        monkeypatch.setattr(sys, "argv", ["otelprof", "explain", *sides, *more])
        with pytest.raises(SystemExit) as caught:
            main()
        assert 0 == caught.value.code
        assert capfdbinary.readouterr().out.startswith(begins)


def test_options_that_do_not_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sides come in pairs, figures too, and either as options or as a file."""
    path = tmp_path / "figures.json"
    path.write_text('{"before": {}, "after": {}}', encoding="utf-8")
    for arguments in (
        ("--before", str(tmp_path)),
        ("--latency-before", "p99=2ms"),
        ("--latency-before", "p99=fast", "--latency-after", "p99=2ms"),
        ("--latency-before", "speed=2ms", "--latency-after", "speed=2ms"),
        ("--cpu-before", "much", "--cpu-after", "60%"),
        ("--cpu-before", "50%", "--cpu-after", "60%", "--figures", str(path)),
        ("--work", "requests=none"),
    ):
        assert 2 == otelprof(capsys, "explain", *arguments)[0]
    assert 1 == otelprof(capsys, "explain", "--figures", str(path))[0]


recorded = pytest.mark.skipif(not GATES.is_dir(), reason="the recorded runs are not beside the repository")


def of_recorded(before: str, after: str) -> Explanation:
    """What explains the change between two sides of the recorded runs."""
    sides = [read_runs(GATES / name) for name in (before, after)]
    return explain(sides[0], sides[1], measured(sides[0], sides[1], Work("requests")), Work("requests"))


@recorded
def test_the_recorded_lock_is_named() -> None:
    """8 workers, 4 ms of waiting taken out of a global mutex: the lock, though CPU fell too."""
    found = of_recorded("io-before", "io-after")
    assert (Verdict.OFF_CPU, [Site(Kind.LOCK, "main.auditLog", "sync.(*Mutex).Lock")]) == (
        found.verdict,
        [one.site for one in found.named],
    )


@recorded
def test_the_recorded_wait_is_named() -> None:
    """A wait of 16 ms that became 4 ms, without a lock."""
    found = of_recorded("io2-before", "io2-after")
    assert (Verdict.OFF_CPU, [Site(Kind.SLEEP, "main.auditLog", "time.Sleep")]) == (
        found.verdict,
        [one.site for one in found.named],
    )


@recorded
def test_nothing_is_explained_where_nothing_changed() -> None:
    """The very same binary, run twice ten times: there is nothing to explain."""
    assert Verdict.NO_CHANGE == of_recorded("base", "aa").verdict
    assert Verdict.NO_CHANGE == of_recorded("base", "aa-shift").verdict


@recorded
def test_the_recorded_lock_from_other_profiles() -> None:
    """Without wall, block names the lock; without both, mutex names who held it."""
    for left_out in (("wall",), ("wall", "block")):
        sides = [
            read_runs(
                GATES / name, types={"cpu", "wall-fgprof", "block", "mutex"} - {"wall-fgprof", *left_out}
            )
            for name in ("io-before", "io-after")
        ]
        found = explain(sides[0], sides[1], measured(sides[0], sides[1]), Work("requests"))
        assert (Verdict.OFF_CPU, ["main.auditLog"]) == (
            found.verdict,
            [one.site.function for one in found.named],
        )
