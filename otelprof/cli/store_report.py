"""Answers from a store as tables, for a person and for a program."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from otelprof.telemetry.quantity import human, share
from otelprof.telemetry.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from otelprof.query.services import ServiceRow
    from otelprof.query.traces import HottestTraces, TraceRow
    from otelprof.query.weight import TypeKey, Weight

_MICROS: Final = 10**6
_MAX_NAME_CHARS: Final = 200


def print_json(found: object) -> None:
    """Print a value as JSON."""
    print(json.dumps(found, indent=2))  # noqa: T201 - stdout is where a program reads it


def services_table(rows: Sequence[ServiceRow]) -> None:
    """Print services and sample types."""
    table = new_table(
        ("service", "sample type"), ("samples", "amount", "linked", "first seen", "last seen", "days")
    )
    for row in rows:
        table.add_row(
            _name(row.service),
            _type(row.sample_type, row.unit),
            f"{row.weight.samples:,}",
            _amount(row.weight, row.unit),
            share(row.linked, row.stored),
            _moment(row.first),
            _moment(row.last),
            f"{row.days:,}",
        )
    print_table(table)


def services_json(rows: Iterable[ServiceRow]) -> list[dict[str, Any]]:
    """The same for a program; times are RFC 3339."""
    return [
        {
            "service": row.service,
            "sample_type": row.sample_type,
            "unit": row.unit,
            **_weight(row.weight),
            "stored_samples": row.stored,
            "linked_samples": row.linked,
            "first_window": _rfc3339(row.first),
            "last_window": _rfc3339(row.last),
            "days": row.days,
        }
        for row in rows
    ]


def traces_table(found: HottestTraces) -> None:
    """Print traces, those with the largest values first."""
    table = new_table(("trace id", "state", "services", "span"), ("samples", "amount", "window"))
    for row in found.traces:
        table.add_row(
            Text(row.trace_id),
            Text(printable(row.state, 20) or "-"),
            _name(", ".join(row.services)),
            _name(row.span_name or "-"),
            f"{row.weight.samples:,}",
            _amount(row.weight, found.unit),
            _moment(row.first),
        )
    print_table(table)


def traces_json(found: HottestTraces) -> list[dict[str, Any]]:
    """The same for a program."""

    def trace(row: TraceRow) -> dict[str, Any]:
        return {
            "trace_id": row.trace_id,
            "state": row.state or None,
            "services": row.services,
            "span_name": row.span_name or None,
            "sample_type": found.sample_type,
            "unit": found.unit,
            **_weight(row.weight),
            "first_window": _rfc3339(row.first),
            "last_window": _rfc3339(row.last),
        }

    return [trace(row) for row in found.traces]


def functions_table(functions: Iterable[tuple[str, int, int]], key: TypeKey, whole: int) -> None:
    """Print functions with their own value and that of all below them."""
    table = new_table((), ("self", "", "total", "", "function"))
    table.columns[-1].justify = "left"
    for name, own, total in functions:
        values = (human(own, key[1]), share(own, whole), human(total, key[1]), share(total, whole))
        table.add_row(*map(Text, values), _name(name))
    print_table(table)


def new_table(texts: Sequence[str], numbers: Sequence[str]) -> Table:
    """A table with columns of texts, then of numbers."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in texts:
        table.add_column(name, no_wrap=True)
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def print_table(table: Table) -> None:
    """Print it, as wide as the terminal; whole where there is none."""
    # A pipe has no width: what reads it wants whole names.
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, emoji=False, width=1000)
    with console.capture() as capture:
        console.print(table)
    console.out("\n".join(line.rstrip() for line in capture.get().splitlines()), highlight=False)


def _name(text: str) -> Text:
    return Text(printable(text, _MAX_NAME_CHARS))


def _type(sample_type: str, unit: str) -> Text:
    return _name(f"{sample_type}:{unit}" if unit else sample_type or "(no type)")


def _amount(weight: Weight, unit: str) -> Text:
    return Text(human(weight.value, unit) if weight.seconds is None else human(weight.seconds, "s"))


def _weight(weight: Weight) -> dict[str, Any]:
    return {"samples": weight.samples, "value": weight.value, "seconds": weight.seconds}


def _moment(micros: int) -> str:
    return f"{datetime.fromtimestamp(micros / _MICROS, UTC):%Y-%m-%d %H:%M:%S}"


def _rfc3339(micros: int) -> str:
    return datetime.fromtimestamp(micros / _MICROS, UTC).isoformat().replace("+00:00", "Z")
