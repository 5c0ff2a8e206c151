"""What the gate says, as JSON: the one form that text and markdown are written from as well."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otelprof.gate.check import Checked, Compared
    from otelprof.gate.judgement import Finding

_DIGITS: Final = 6


def report(checked: Checked) -> dict[str, Any]:
    """The report as it is written in JSON.

    Costs are per unit of work, in the unit of their comparison. `growth` is null for what is new.
    """
    findings = [
        _finding(compared, one) for compared in checked.compared for one in compared.judgement.findings
    ]
    findings.sort(key=lambda one: -(one["share_growth"]))
    for one in findings:
        del one["share_growth"]
    missing = [
        {"function": None, "why": f"the variant {name} has no runs: it is required"}
        for name in checked.missing
    ]
    return {
        "verdict": checked.verdict.value,
        "findings": findings,
        "missing_variants": missing,
        "warnings": list(checked.warnings),
        "covers": [_covers(compared, checked) for compared in checked.compared],
        "needs": list(checked.needs),
        "thresholds": {
            "growth": checked.limits.growth,
            "min_points": checked.limits.min_points,
            "points": checked.limits.points,
            "alpha": checked.config.alpha,
        },
        "baseline_age_seconds": checked.baseline_age_seconds,
    }


def _finding(compared: Compared, finding: Finding) -> dict[str, Any]:
    total = compared.displacement.comparison.totals[0] if compared.displacement else 1.0
    growth = finding.growth
    return {
        "function": finding.function,
        "profile": compared.label,
        "share_before": round(finding.share_before, _DIGITS),
        "share_after": round(finding.share_after, _DIGITS),
        "cost_before": finding.before * compared.sample_cost,
        "cost_after": finding.after * compared.sample_cost,
        "unit": _unit(compared),
        "growth": None if math.isinf(growth) else round(growth, _DIGITS),
        "p_adjusted": finding.p_adjusted,
        "why": finding.why,
        "share_growth": (finding.after - finding.before) / total,
    }


def _unit(compared: Compared) -> str:
    return f"{compared.unit} per {compared.work}" if compared.work else f"{compared.unit} per run"


def _covers(compared: Compared, checked: Checked) -> dict[str, Any]:
    share = compared.judgement.covered_share
    return {
        "profile": compared.label,
        "min_share": None if math.isinf(share) else round(share, _DIGITS),
        "growth": checked.limits.growth,
        "power": checked.config.power,
        "runs": list(compared.runs),
        "samples_per_run": [round(one) for one in compared.samples],
        "unit": _unit(compared),
    }


def explained(checked: Checked, function: str) -> list[dict[str, Any]]:
    """All that the gate knows of a function: its costs run by run, what the test says, and what became of it.

    Args:
        checked: what it said.
        function: its whole name, or the end of it.
    """
    return [
        _explained(compared, place)
        for compared in checked.compared
        if compared.displacement is not None
        for place in _matching(compared.displacement.comparison.table.functions, function)
    ]


def _matching(functions: Iterable[str], wanted: str) -> list[int]:
    functions = list(functions)
    exact = [place for place, name in enumerate(functions) if name == wanted]
    return exact or [place for place, name in enumerate(functions) if name.endswith(wanted)]


def _explained(compared: Compared, place: int) -> dict[str, Any]:
    assert compared.displacement is not None  # noqa: S101 - as the caller chose
    displacement, comparison = compared.displacement, compared.displacement.comparison
    table = comparison.table
    before, after = comparison.sides(table.cumulative[place][None, :])
    tested = comparison.test(table.cumulative[place][None, :])
    group = next((first for first, members in comparison.groups.items() if place in members), None)
    tested_as = table.functions[place if group is None else group]
    is_tested = group is not None and group in comparison.rows
    outcome = compared.judgement.outcomes.get(table.functions[place])
    if outcome is None and is_tested:
        outcome = f"as {tested_as}: {compared.judgement.outcomes[tested_as]}"
    moved = displacement.of(place)
    return {
        "function": table.functions[place],
        "profile": compared.label,
        "unit": _unit(compared),
        "shares": [float(one[place]) for one in comparison.shares],
        "costs_before": [float(one) for one in np.round(before[0] * compared.sample_cost, 3)],
        "costs_after": [float(one) for one in np.round(after[0] * compared.sample_cost, 3)],
        "growth": None if math.isinf(tested.growth[0]) else float(tested.growth[0]),
        "p": float(tested.p[0]),
        "tests": len(comparison.rows) + 1,
        "excess_noise": comparison.noise.excess**0.5,
        "moved": moved.amount * compared.sample_cost,
        "renamed_from": table.functions[displacement.renamed[place]]
        if place in displacement.renamed
        else None,
        "outcome": outcome or "too small to be tested",
    }
