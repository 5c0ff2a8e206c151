"""What recordings hold, for a person at a terminal of any width."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from rich.table import Table
from rich.text import Text

from otelprof.exporter.stack_tree import stack_tree, tree_lines
from otelprof.telemetry.quantity import human, share
from otelprof.telemetry.text import counted, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

    from otelprof.cli.inspection import Facts, Inspection, Stacks, Sums, TypeKey

_NARROW_CHARS: Final = 72
"""A terminal narrower than this gets lines in the place of tables."""
_MAX_ROWS: Final = 30
_NANOS: Final = 10**9

# What they are of, and what was wrong with them.
REPAIRS: Final = {
    "zero_entry_added": ("table", "without its zero entry"),
    "negative_line_cleared": ("line", "or column below zero"),
    "mapping_range_cleared": ("mapping", "whose start is not below its limit"),
    "values_summed": ("sample", "of several values without timestamps"),
    "values_filled": ("sample", "without a value beside others that have one"),
    "profile_split": ("profile", "of samples with and without timestamps"),
    "window_widened": ("profile", "with a timestamp outside of its window"),
    "profile_id_made": ("profile", "without a profile_id"),
}
REJECTIONS: Final = {
    "missing_dictionary": "samples without a dictionary",
    "profile_id_length": "a profile_id that is not 16 bytes",
    "index_out_of_range": "an index outside of its table",
    "zero_entry": "an entry 0 that is something, as before OTLP 1.10",
    "invalid_utf8": "a string that is not UTF-8",
    "link_id_length": "link ids that are not 16 and 8 bytes",
    "duplicate_attribute_key": "an attribute twice on one owner",
    "too_many_attributes": "too many attributes",
    "attribute_too_deep": "attributes that are nested too deep",
    "stack_too_deep": "a stack that is too deep",
    "empty_sample": "a sample without values and timestamps, as before OTLP 1.10",
    "values_timestamps_mismatch": "not as many values as timestamps",
    "values_types_mismatch": "not one value for each sample type, in OTLP 1.7",
    "value_overflow": "values whose sum is no int64",
    "timestamp_out_of_window": "a timestamp far outside of the window",
    "policy": "a policy",
}


class Report:
    """Prints an inspection.

    Args:
        console: where to; its width is kept to.
        top: how many functions, and how many stacks of the tree.
    """

    def __init__(self, console: Console, top: int) -> None:
        self._console = console
        self._top = top
        self._is_narrow = console.width < _NARROW_CHARS

    def print(self, inspection: Inspection) -> None:
        """Each file, all of them together when there are several, and where the time goes."""
        for facts in inspection.files:
            self._facts(facts)
        if len(inspection.files) > 1:
            self._facts(inspection.total)
        leading = inspection.leading
        if leading is not None and inspection.stacks[leading].value:
            self._functions(leading, inspection.stacks[leading])
            self._tree(leading, inspection.stacks[leading])

    def _facts(self, facts: Facts) -> None:
        self._print(_headline(facts), style="bold")
        if not facts.requests:
            return
        self._line("holds", _holds(facts))
        self._line("rules", "; ".join(rules(facts)) or "kept")
        whole = facts.whole
        if not whole.samples:
            self._console.print()
            return
        self._line("taken", _window(facts.window))
        linked = f"{_percent(whole.linked_samples, whole.samples)} of samples are linked to a span"
        if whole.recoverable_samples:
            after = whole.linked_samples + whole.recoverable_samples
            linked += f", {_percent(after, whole.samples)} once links are recovered from attributes"
        self._line("linked", linked)
        self._line("bytes", _bytes(facts))
        self._sums(facts)
        self._console.print()

    def _line(self, name: str, text: str) -> None:
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_column(width=8, no_wrap=True)
        grid.add_column(overflow="fold")
        grid.add_row(Text(f"  {name}", style="dim"), Text(printable(text, 5000)))
        self._console.print(grid)

    def _print(self, text: str, style: str = "") -> None:
        """One line, whatever the width."""
        self._console.print(Text(text, style=style), no_wrap=True, overflow="ellipsis", crop=True)

    def _sums(self, facts: Facts) -> None:
        rows = sorted(facts.sums.items(), key=lambda item: -item[1].samples)
        if self._is_narrow:
            for key, sums in rows[:_MAX_ROWS]:
                self._print(f"  {printable(key[0], 200)}")
                self._print(f"    {_type_name(key[1:])} {human(sums.value, key[2])}")
                linked = share(sums.linked_samples, sums.samples)
                self._print(f"    {counted(sums.samples, 'sample')}, {linked} linked")
        else:
            self._console.print(_table(rows[:_MAX_ROWS]))
        if len(rows) > _MAX_ROWS:
            self._print(f"  … {len(rows) - _MAX_ROWS} more")

    def _functions(self, key: TypeKey, stacks: Stacks) -> None:
        whole = f"{human(stacks.value, key[1])} in {counted(stacks.samples, 'sample')}"
        self._print(f"functions by {_type_name(key)} ({whole})", style="bold")
        value = "" if self._is_narrow else f" {'value':>10}"
        self._print(f"  {'self':>7} {'total':>7}{value}  function", style="dim")
        for name, own, total in stacks.top(self._top):
            value = "" if self._is_narrow else f" {human(own, key[1]):>10}"
            shares = f"{_percent(own, stacks.value):>7} {_percent(total, stacks.value):>7}"
            self._print(f"  {shares}{value}  {printable(name)}")
        self._console.print()

    def _tree(self, key: TypeKey, stacks: Stacks) -> None:
        folded = stacks.folded()
        hottest = folded[: self._top]
        of = f"{len(hottest)} of {counted(len(folded), 'stack')}"
        self._print(f"hottest {of} by {_type_name(key)}", style="bold")
        for value, branch, frames in tree_lines(stack_tree(hottest)):
            self._print(f"  {share(value, stacks.value):>5} {branch}{printable(frames)}")


def rules(facts: Facts) -> list[str]:
    """How a file breaks the rules of the profiling SIG, in words; what only could be smaller as well."""
    words = [
        f"{counted(count, 'request')} of OTLP {revision}, translated"
        for revision, count in facts.revisions.items()
    ]
    words += [
        f"{counted(count, 'profile')} refused for {REJECTIONS[reason]} ({facts.first_messages[reason]})"
        for reason, count in facts.rejections.items()
    ]
    for repair, count in facts.repairs.items():
        noun, fault = REPAIRS[repair]
        words.append(f"{counted(count, noun)} {fault}, repaired")
    for what, tables in (("unused", facts.orphans), ("duplicate", facts.duplicates)):
        count = tables.total()
        if count:
            where = ", ".join(f"{number:,} in {table}" for table, number in tables.items() if number)
            words.append(f"{count:,} {what} dictionary {'entry' if count == 1 else 'entries'} ({where})")
    return words


def _headline(facts: Facts) -> str:
    parts = [printable(facts.name, 200)]
    if facts.format:
        parts.append(facts.format)
    if facts.requests:
        parts.append(counted(facts.requests, "request"))
    if facts.unreadable:
        parts.append(f"{facts.unreadable:,} unreadable")
    return " · ".join(parts)


def _holds(facts: Facts) -> str:
    whole = facts.whole
    services = len({service for service, _, _ in facts.sums})
    return ", ".join(
        (counted(whole.profiles, "profile"), counted(whole.samples, "sample"), counted(services, "service"))
    )


def _window(window: tuple[int, int] | None) -> str:
    if window is None:
        return "at no time that is told"
    start, end = (_moment(nanos) for nanos in window)
    return f"{start} to {end} UTC ({human(window[1] - window[0], 'ns')})"


def _moment(nanos: int) -> str:
    try:
        return f"{datetime.fromtimestamp(nanos // _NANOS, UTC):%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return f"{nanos} ns after 1970"


def _bytes(facts: Facts) -> str:
    tables = sorted(((size, name) for name, size in facts.table_bytes.items() if size), reverse=True)
    parts = ", ".join(
        f"{name.removesuffix('_table')} {share(size, facts.wire_bytes)}" for size, name in tables
    )
    sizes = [f"{human(facts.stored_bytes, 'By')} stored"]
    if facts.body_bytes != facts.stored_bytes:
        sizes.append(f"{human(facts.body_bytes, 'By')} as OTLP")
    sizes.append(f"{human(facts.wire_bytes, 'By')} as otelprof writes it")
    return f"{', '.join(sizes)}: {parts}"


def _table(rows: Iterable[tuple[tuple[str, str, str], Sums]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("  service", no_wrap=True, overflow="ellipsis", min_width=10)
    table.add_column("sample type", no_wrap=True, overflow="ellipsis", min_width=8)
    for name in ("profiles", "samples", "linked", "value"):
        table.add_column(name, justify="right", no_wrap=True)
    for (service, name, unit), sums in rows:
        table.add_row(
            Text(f"  {printable(service, 200)}"),
            Text(_type_name((name, unit))),
            f"{sums.profiles:,}",
            f"{sums.samples:,}",
            share(sums.linked_samples, sums.samples),
            Text(human(sums.value, unit)),
        )
    return table


def _type_name(key: Sequence[str]) -> str:
    return printable(f"{key[0]}:{key[1]}" if key[1] else key[0] or "(no type)", 60)


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "0 %"
