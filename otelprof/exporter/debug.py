"""The `debug` exporter: writes what came to stdout, for a person."""

import io
import sys
from collections.abc import Sequence
from shutil import get_terminal_size
from threading import Lock
from typing import Final, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from otelprof._core import Profiles, SummaryRow
from otelprof.component import ComponentSettings, ExporterFactory
from otelprof.config.exporter import ExporterConfig
from otelprof.errors import UnavailableError
from otelprof.exporter.stack_tree import stack_tree, tree_lines
from otelprof.telemetry.quantity import human, share
from otelprof.telemetry.text import counted, printable

_MAX_NAME_CHARS: Final = 60
_MAX_ROWS: Final = 20
_TOP_FUNCTIONS: Final = 5
_HOTTEST_STACKS: Final = 10
# In a file, and in the narrowest terminal; a wider one is used as it is.
_WIDTH_CHARS: Final = 120
_MIN_WIDTH_CHARS: Final = 60


class DebugExporterConfig(ExporterConfig):
    """How much to write.

    Attributes:
        verbosity: `basic` a line for each request; `normal` its services, sample types and top functions;
            `detailed` its hottest stacks as well.
    """

    verbosity: Literal["basic", "normal", "detailed"] = "normal"


class DebugExporter:
    """Writes one block for each request."""

    def __init__(self, config: DebugExporterConfig, settings: ComponentSettings) -> None:
        self._verbosity = config.verbosity
        self._id = str(settings.id)
        self._lock = Lock()
        self._running = False

    def start(self) -> None:
        """Write from now on."""
        self._running = True

    def shutdown(self) -> None:
        """Write nothing more."""
        self._running = False

    def export(self, profiles: Profiles) -> None:
        """Write a request.

        Raises:
            UnavailableError: the exporter does not run, or stdout cannot be written to.
        """
        if not self._running:
            message = f"the exporter {self._id} does not run"
            raise UnavailableError(message)
        block = self._block(profiles)
        try:
            with self._lock:
                sys.stdout.write(block)
                sys.stdout.flush()
        except OSError as error:
            message = f"stdout cannot be written to: {error}"
            raise UnavailableError(message) from error

    def _block(self, profiles: Profiles) -> str:
        out = io.StringIO()
        terminal = sys.stdout.isatty()
        width = max(_MIN_WIDTH_CHARS, get_terminal_size().columns) if terminal else _WIDTH_CHARS
        console = Console(file=out, force_terminal=terminal, width=width, markup=False, highlight=False)
        console.print(Text(_headline(self._id, profiles), style="bold"))
        rows = profiles.summary
        if self._verbosity != "basic" and rows:
            console.print(_services(rows))
            busiest = max(rows, key=lambda row: row.sample_count)
            _print_functions(console, profiles, busiest)
            if self._verbosity == "detailed":
                _print_stacks(console, profiles, busiest)
        return out.getvalue()


def _headline(exporter: str, profiles: Profiles) -> str:
    linked = sum(row.linked_sample_count for row in profiles.summary)
    parts = [
        f"{exporter}: {counted(profiles.profile_count, 'profile')}",
        counted(profiles.sample_count, "sample"),
        counted(len({row.service for row in profiles.summary}), "service"),
        f"{share(linked, profiles.sample_count)} linked",
        human(profiles.body_bytes, "By"),
    ]
    rejected = sum(rejection.profile_count for rejection in profiles.rejections)
    if rejected:
        parts.append(f"{counted(rejected, 'profile')} refused")
    return " · ".join(parts)


def _services(rows: Sequence[SummaryRow]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    table.add_column("  service")
    table.add_column("sample type")
    for name in ("profiles", "samples", "linked", "value"):
        table.add_column(name, justify="right")
    ordered = sorted(rows, key=lambda row: -row.sample_count)
    for row in ordered[:_MAX_ROWS]:
        table.add_row(
            Text("  " + printable(row.service, _MAX_NAME_CHARS)),
            Text(printable(f"{row.sample_type}:{row.unit}", _MAX_NAME_CHARS)),
            str(row.profile_count),
            str(row.sample_count),
            share(row.linked_sample_count, row.sample_count),
            human(row.value, row.unit),
        )
    if len(ordered) > _MAX_ROWS:
        table.add_row(f"  … {len(ordered) - _MAX_ROWS} more")
    return table


def _print_functions(console: Console, profiles: Profiles, row: SummaryRow) -> None:
    functions = profiles.top_functions(_TOP_FUNCTIONS, service=row.service, sample_type=row.sample_type)
    if not functions:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    table.add_column("  self", justify="right")
    table.add_column("total", justify="right")
    table.add_column(Text(f"function of {_name(row)}"))
    for name, self_value, total_value in functions:
        table.add_row(
            "  " + share(self_value, row.value), share(total_value, row.value), Text(printable(name))
        )
    console.print(table)


def _print_stacks(console: Console, profiles: Profiles, row: SummaryRow) -> None:
    stacks = profiles.fold(service=row.service, sample_type=row.sample_type)
    hottest = stacks[:_HOTTEST_STACKS]
    console.print(Text(f"  hottest {len(hottest)} of {len(stacks)} stacks of {_name(row)}", style="dim"))
    for value, branch, frames in tree_lines(stack_tree(hottest)):
        console.print(
            Text(f"  {share(value, row.value):>5} {branch}{printable(frames)}"),
            no_wrap=True,
            overflow="ellipsis",
        )


def _name(row: SummaryRow) -> str:
    return printable(f"{row.service} {row.sample_type}", 2 * _MAX_NAME_CHARS)


factory: Final = ExporterFactory(DebugExporterConfig, DebugExporter)
