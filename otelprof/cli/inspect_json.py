"""What recordings hold, for a program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otelprof.cli.inspect_text import rules

if TYPE_CHECKING:
    from otelprof.cli.inspection import Facts, Inspection


def report(inspection: Inspection, top: int) -> dict[str, Any]:
    """The numbers of the text report, ready for `json.dump`; times are unix nanoseconds."""
    return {
        "files": [_facts(facts) for facts in inspection.files],
        "total": _facts(inspection.total),
        "sample_types": [
            {
                "sample_type": name,
                "unit": unit,
                "samples": stacks.samples,
                "value": stacks.value,
                "functions": [
                    {"name": function, "self": own, "total": total}
                    for function, own, total in stacks.top(top)
                ],
            }
            for (name, unit), stacks in inspection.stacks.items()
        ],
    }


def _facts(facts: Facts) -> dict[str, Any]:
    return {
        "name": facts.name,
        "format": facts.format or None,
        "requests": facts.requests,
        "unreadable": facts.unreadable,
        "faults": facts.faults,
        "torn_bytes": facts.torn_bytes,
        "stored_bytes": facts.stored_bytes,
        "body_bytes": facts.body_bytes,
        "wire_bytes": facts.wire_bytes,
        "table_bytes": dict(facts.table_bytes),
        "window": facts.window,
        "revisions": dict(facts.revisions),
        "rejections": dict(facts.rejections),
        "repairs": dict(facts.repairs),
        "orphans": {table: count for table, count in facts.orphans.items() if count},
        "duplicates": {table: count for table, count in facts.duplicates.items() if count},
        "rules": rules(facts),
        "services": [
            {
                "service": service,
                "sample_type": name,
                "unit": unit,
                "profiles": sums.profiles,
                "samples": sums.samples,
                "linked_samples": sums.linked_samples,
                "recoverable_samples": sums.recoverable_samples,
                "value": sums.value,
            }
            for (service, name, unit), sums in facts.sums.items()
        ],
    }
