"""What overrides make of a report: all are shown until they end; those that bear on it may make FAIL PASS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otelprof.gate.check import Verdict
from otelprof.gate.override import active, covering

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from otelprof.gate.override import Override, Scope


def overridden(
    report: dict[str, Any], overrides: Sequence[Override], scope: Scope, now: datetime
) -> dict[str, Any]:
    """A report with overrides.

    FAIL becomes PASS when each finding is of a function that an override covers. A variant that was not run,
    and INCONCLUSIVE, which names nothing that somebody could take on themselves, stay as they are.

    Args:
        report: as `report` makes it.
        overrides: all of the audit log.
        scope: what was compared; an override of something else is shown, and changes nothing.
        now: with a time zone.
    """
    bearing = active(overrides, now, scope)
    covered = [covering(one["function"], bearing) for one in report["findings"]]
    findings = [
        {**finding, "overridden": None if override is None else str(override)}
        for finding, override in zip(report["findings"], covered, strict=True)
    ]
    all_covered = bool(covered) and None not in covered and not report["missing_variants"]
    is_passed = report["verdict"] == Verdict.FAIL.value and all_covered
    return {
        **report,
        "verdict": Verdict.PASS.value if is_passed else report["verdict"],
        "verdict_without_overrides": report["verdict"],
        "findings": findings,
        "overrides": [str(one) for one in active(overrides, now)],
    }
