"""`otelprof gate calibrate`: what the gate sees in runs as these, and how often it cries wolf."""

# ruff: noqa: PLC0415 - what is not needed for `--help` is imported where it is used

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads it
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from otelprof.cli import gate_options as options
from otelprof.cli.report_format import ReportFormat

if TYPE_CHECKING:
    from otelprof.gate.calibrate import Calibration, Size

_MAX_PAIRS: Final = 100_000


def calibrate(  # noqa: PLR0913 - the options of the command
    path: Annotated[Path, typer.Argument(help="A folder of runs of one version.")],
    *,
    config: options.ConfigFile = None,
    work: options.WorkUnit = None,
    of_type: Annotated[str, typer.Option("--type", help="Of profile.")] = "cpu",
    pairs: Annotated[int, typer.Option(min=1, max=_MAX_PAIRS, help="How many comparisons to draw.")] = 1000,
    kind: Annotated[ReportFormat, typer.Option("--format", help="What to write.")] = ReportFormat.TEXT,
) -> None:
    """Compare runs without a change with each other: how often that fails, and what would be seen in them."""
    options.require_arithmetic()
    import json
    from datetime import UTC, datetime

    from otelprof.cli.output import write
    from otelprof.clock import SystemClock
    from otelprof.gate.calibrate import calibrate as measured
    from otelprof.gate.calibrate import pool_of
    from otelprof.gate.config import Limits
    from otelprof.gate.runs import read_runs

    settings = options.read_config(config)
    limits = Limits.of(settings.thresholds, datetime.fromtimestamp(SystemClock().now(), UTC))
    runs = read_runs(path, service=settings.service, types=[of_type])
    pool = pool_of(runs, of_type, settings, options.work_unit(work, settings))
    found = measured(pool, settings, limits, pairs=pairs, seed=1)
    said = (
        json.dumps(_json(found), indent=2) + "\n"
        if kind is ReportFormat.JSON
        else _text(found, limits.growth)
    )
    write(said, None)


def _json(found: Calibration) -> dict[str, Any]:
    from dataclasses import asdict
    from math import isinf

    said = asdict(found)
    for size in said["sizes"]:
        size["covered_share"] = None if isinf(size["covered_share"]) else size["covered_share"]
    return said


def _text(found: Calibration, growth: float) -> str:
    from otelprof.gate.calibrate import SHARES

    shares = ", ".join(f"{share:.0%}" for share in SHARES)
    what = (
        f"{found.runs} runs of {found.samples_per_run:,.0f} samples; they scatter by {found.excess_noise:.0%}"
        f" beyond sampling; {found.tests} tests in a gate run"
    )
    head = f"runs a side  FAIL  INCONCLUSIVE  covers from  smallest growth found, of a function of {shares}"
    lines = [what, "", head]
    lines += [_line(size) for size in found.sizes]
    wanted = f"to find +{growth:.0%} of a function of {SHARES[0]:.0%} of the cost"
    runs = f"{found.runs_to_buy} runs a side as these" if found.runs_to_buy else "no number of runs as these"
    times = found.samples_to_buy
    samples = (
        f"5 runs a side with {times} times the samples" if times else "not by samples alone: steadier runs"
    )
    return "\n".join([*lines, "", f"to buy, {wanted}: {runs}, or {samples}"]) + "\n"


def _line(size: Size) -> str:
    def rate(count: int) -> str:
        return f"{count / size.pairs:.1%}" if size.pairs else "-"

    covers = f"{size.covered_share:.1%}" if size.covered_share <= 1 else "nothing"
    growths = ", ".join("-" if one is None else f"+{one:.0%}" for one in size.smallest_growth.values())
    return f"{size.runs:>11}  {rate(size.failed):>4}  {rate(size.inconclusive):>12}  {covers:>11}  {growths}"
