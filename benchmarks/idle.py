"""What a sidecar costs that has nothing to do (time from start to ready, resident memory, CPU); commands.

Method: `otelprof run --config config/sidecar.yaml`, as a user starts it, on ports that the system chooses.
Ready is its line `otelprof is ready`, timed from before the process was made. Then it is left alone: after
`--settle` seconds its user and system time is read from the system, and again `--seconds` later, with its
resident memory and how often it woke up (voluntary context switches). One after the other, `--starts` times.
The first start after an installation also reads its files from the disk, and is not counted. Commands are
timed from outside, `--runs` times in turn, their output thrown away.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sysconfig
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil
from recorded import machine

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIG: Final = Path(__file__).resolve().parents[1] / "config" / "sidecar.yaml"
COMMAND: Final = Path(sysconfig.get_path("scripts")) / "otelprof"
STOP_SECS: Final = 20.0
COMMANDS: Final = (
    ("--help",),
    ("replay", "--help"),
    ("components",),
    ("validate", "--config", str(CONFIG)),
    ("health", "--endpoint", "127.0.0.1:1"),
)


@dataclass(frozen=True)
class Start:
    """One start.

    Attributes:
        ready_secs: from the start of the process until it is ready.
        ready_cpu_secs: CPU time of that.
        resident_mib: after the wait.
        cpu_percent: of one core, while it waited.
        wakeups: a second, while it waited.
    """

    ready_secs: float
    ready_cpu_secs: float
    resident_mib: float
    cpu_percent: float
    wakeups: float


def cpu_secs(process: psutil.Process) -> float:
    """User and system time of a process."""
    times = process.cpu_times()
    return float(times.user + times.system)


def wakeups(process: psutil.Process) -> int:
    """How often its threads went to sleep by themselves."""
    tasks = Path(f"/proc/{process.pid}/task")
    lines = [line for one in tasks.glob("*/status") for line in one.read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))


def measure(options: argparse.Namespace) -> Start:
    """Start one, leave it alone, stop it."""
    environ = {**os.environ, "OTELPROF_PORT": "0", "OTELPROF_HTTP_PORT": "0", "OTELPROF_METRICS_PORT": "0"}
    command = [str(COMMAND), "run", "--config", str(options.config)]
    began = time.monotonic()
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603 - ours
        try:
            assert process.stderr is not None
            events = (json.loads(line)["event"] for line in process.stderr)
            assert "otelprof is ready" in events, "it did not start; run the command by hand"
            ready_secs = time.monotonic() - began
            seen = psutil.Process(process.pid)
            ready_cpu_secs = cpu_secs(seen)
            time.sleep(options.settle)
            cpu, woken, since = cpu_secs(seen), wakeups(seen), time.monotonic()
            time.sleep(options.seconds)
            elapsed = time.monotonic() - since
            return Start(
                ready_secs,
                ready_cpu_secs,
                seen.memory_info().rss / (1 << 20),
                100 * (cpu_secs(seen) - cpu) / elapsed,
                (wakeups(seen) - woken) / elapsed,
            )
        finally:
            process.terminate()
            process.wait(STOP_SECS)


def command_secs(words: Sequence[str]) -> float:
    """Wall time of one command."""
    began = time.monotonic()
    subprocess.run([str(COMMAND), *words], capture_output=True, check=False, timeout=60)  # noqa: S603 - ours
    return time.monotonic() - began


def line(name: str, values: Sequence[float], form: str, bar: float | None = None) -> str:
    """One figure: minimum, median and maximum, and whether the median is within its bar."""
    text = " / ".join(format(one, form) for one in (min(values), statistics.median(values), max(values)))
    if bar is None:
        return f"{name:<28} {text}"
    verdict = "within" if statistics.median(values) <= bar else "OVER"
    return f"{name:<28} {text}   {verdict} {bar:g}"


def main() -> None:
    """Measure, and print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--config", type=Path, default=CONFIG, help="with JSON logs")
    parser.add_argument("--starts", type=int, default=7)
    parser.add_argument("--settle", type=float, default=2.0, help="seconds before the measurement")
    parser.add_argument("--seconds", type=float, default=10.0, help="of the measurement")
    parser.add_argument("--runs", type=int, default=11, help="of each command")
    options = parser.parse_args()
    measure(argparse.Namespace(config=options.config, settle=0.0, seconds=0.01))
    starts = [measure(options) for _ in range(options.starts)]
    print(f"{machine()}; {options.starts} starts of {options.config.name}, {options.seconds:g} s each")
    print(f"{'':<28} min / median / max")
    print(line("start to ready, s", [one.ready_secs for one in starts], ".2f", 1.5))
    print(line("CPU time of the start, s", [one.ready_cpu_secs for one in starts], ".2f"))
    print(line("resident memory, idle, MiB", [one.resident_mib for one in starts], ".1f", 90))
    print(line("CPU, idle, % of a core", [one.cpu_percent for one in starts], ".2f", 0.5))
    print(line("wake-ups a second, idle", [one.wakeups for one in starts], ".1f"))
    rounds = [[command_secs(words) for words in COMMANDS] for _ in range(options.runs)]
    for words, secs in zip(COMMANDS, zip(*rounds, strict=True), strict=True):
        name = " ".join(
            word for word in words if word.startswith("--help") or not word.startswith(("-", "/", "1"))
        )
        print(line(f"otelprof {name}, s", secs, ".2f"))


if __name__ == "__main__":
    main()
