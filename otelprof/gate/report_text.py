"""The gate's report for people: on a terminal, and in a pull request. Names are hostile text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from otelprof.telemetry.quantity import human
from otelprof.telemetry.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_FINDINGS: Final = 20
_MARKDOWN: Final = re.compile(r"([\\`*_{}\[\]<>()#+!|~@-])")
_NAME_CHARS: Final = 120


def cost(value: float, unit: str) -> str:
    """A cost with its unit: 236 µs per requests."""
    amount, _, per = unit.partition(" per ")
    if amount == "share":
        return f"{100 * value:.1f} %"
    return f"{human(value, 'ns' if amount == 'nanoseconds' else amount)} per {per}"


def percent(growth: float | None) -> str:
    """A growth as it is written: +69 %."""
    return "new" if growth is None else f"{100 * growth:+.0f} %"


def text(report: dict[str, Any]) -> str:
    """The report for a terminal."""
    lines = [f"verdict: {_verdict(report)}"]
    for one in report["findings"][:MAX_FINDINGS]:
        lines += [
            f"  {printable(one['function'], _NAME_CHARS)} ({one['profile']}): {percent(one['growth'])}",
            (
                f"    {cost(one['cost_before'], one['unit'])} -> {cost(one['cost_after'], one['unit'])};"
                f" share {100 * one['share_before']:.1f} % -> {100 * one['share_after']:.1f} %;"
                f" adjusted p {one['p_adjusted']:.2g}"
            ),
            f"    {printable(one['why'])}",
        ]
        lines += [f"    {printable(one['overridden'])}"] if one.get("overridden") else []
    lines += [f"  {printable(one['why'])}" for one in report["missing_variants"]]
    lines += _more(report["findings"])
    lines += [f"covers: {covers(one)}" for one in report["covers"]]
    lines += [f"needs: {printable(one)}" for one in report["needs"]]
    lines += [f"warning: {printable(one)}" for one in report["warnings"]]
    lines += [f"override in force: {printable(one)}" for one in report.get("overrides", ())]
    return "\n".join(lines) + "\n"


def markdown(report: dict[str, Any], *, flame_graph: str | None = None) -> str:
    """The report for a pull request.

    Args:
        report: as `report` makes it.
        flame_graph: where the differential flame graph is, for a link.
    """
    lines = [f"## Performance gate: {_verdict(report)}", ""]
    if report["findings"]:
        lines += [
            "| function | profile | before | after | growth | share | adjusted p | why |",
            "|---|---|---|---|---|---|---|---|",
        ]
    for one in report["findings"][:MAX_FINDINGS]:
        cells = [
            escaped(one["function"]),
            escaped(one["profile"]),
            escaped(cost(one["cost_before"], one["unit"])),
            escaped(cost(one["cost_after"], one["unit"])),
            percent(one["growth"]),
            f"{100 * one['share_before']:.1f} % → {100 * one['share_after']:.1f} %",
            f"{one['p_adjusted']:.2g}",
            escaped(one["why"] + (f"; {one['overridden']}" if one.get("overridden") else "")),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += _more(report["findings"])
    lines += [f"- {escaped(one['why'])}" for one in report["missing_variants"]]
    lines.append("")
    lines += [f"Covers: {escaped(covers(one))}." for one in report["covers"]]
    if report["needs"]:
        lines += ["", "**To be conclusive it needs**", *(f"- {escaped(one)}" for one in report["needs"])]
    if report["warnings"]:
        lines += ["", "**Warnings**", *(f"- {escaped(one)}" for one in report["warnings"])]
    if report.get("overrides"):
        lines += ["", "**Overrides in force**", *(f"- {escaped(one)}" for one in report["overrides"])]
    if flame_graph:
        lines += ["", f"[Differential flame graph]({flame_graph}): red grew, blue shrank."]
    return "\n".join(lines) + "\n"


def covers(one: dict[str, Any]) -> str:
    """What was to be seen, in words."""
    runs, samples = one["runs"], one["samples_per_run"]
    sides = f"{runs[0]} against {runs[1]} runs of {samples[0]} and {samples[1]} samples"
    if one["min_share"] is None or one["min_share"] >= 1:
        return f"{one['profile']}: no function, in {sides}"
    return (
        f"{one['profile']}: functions of {100 * one['min_share']:.1f} % of the cost and more"
        f" (+{one['growth']:.0%} is seen in {one['power']:.0%} of cases), in {sides}"
    )


def explanation(found: Sequence[dict[str, Any]]) -> str:
    """All that is known of a function, for a terminal."""
    lines = []
    for one in found:
        shares = " -> ".join(f"{100 * share:.1f} %" for share in one["shares"])
        lines += [
            f"{printable(one['function'], _NAME_CHARS)} ({one['profile']}): {printable(one['outcome'])}",
            f"  before: {_costs(one['costs_before'], one['unit'])}",
            f"  after:  {_costs(one['costs_after'], one['unit'])}",
            f"  share {shares}; growth {percent(one['growth'])}",
            f"  p {one['p']:.2g}, one of {one['tests']} tests",
            f"  runs scatter by {100 * one['excess_noise']:.0f} % beyond sampling",
            f"  of its growth, {cost(one['moved'], one['unit'])} came from elsewhere",
        ]
        if one["renamed_from"]:
            lines.append(f"  called {printable(one['renamed_from'], _NAME_CHARS)} in the baseline")
    return "\n".join(lines) + "\n"


def escaped(words: str) -> str:
    """Text that markdown shows as it is: no markup, no mention, no HTML, no end of a cell."""
    return _MARKDOWN.sub(r"\\\1", printable(words, 300)).replace("@", "@\u200b")


def _verdict(report: dict[str, Any]) -> str:
    without = report.get("verdict_without_overrides", report["verdict"])
    return (
        str(report["verdict"])
        if without == report["verdict"]
        else f"{report['verdict']}, overridden: {without}"
    )


def _costs(costs: Sequence[float], unit: str) -> str:
    return ", ".join(cost(one, unit).partition(" per ")[0] for one in costs)


def _more(findings: Sequence[dict[str, Any]]) -> list[str]:
    left = len(findings) - MAX_FINDINGS
    return [f"and {left} more: see --format json"] if left > 0 else []
