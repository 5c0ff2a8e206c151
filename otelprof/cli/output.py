"""What commands print: results to stdout, what went wrong to stderr."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.text import Text

from otelprof.errors import ConfigError, ConfigProblem, PermanentError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from otelprof.errors import OtelprofError

# One line is one thing, for `grep` as for people: nothing is wrapped.
stdout: Final = Console(soft_wrap=True, highlight=False)
stderr: Final = Console(stderr=True, soft_wrap=True, highlight=False)


def print_error(error: OtelprofError) -> None:
    """Say what went wrong, without a traceback."""
    problems = error.problems if isinstance(error, ConfigError) else [ConfigProblem("", str(error))]
    print_problems("error", "bold red", problems)


def print_warnings(warnings: Iterable[ConfigProblem]) -> None:
    """Say what is probably a mistake."""
    print_problems("warning", "bold yellow", warnings)


def print_problems(word: str, style: str, problems: Iterable[ConfigProblem]) -> None:
    """Print problems to stderr, one a line."""
    for problem in problems:
        # Text, not markup: a path may hold brackets.
        stderr.print(Text.assemble((f"{word}: ", style), str(problem)))


def write(content: str | bytes, output: Path | None) -> None:
    """Write what was asked for to a file, or to stdout.

    Raises:
        PermanentError: it cannot be written.
    """
    body = content.encode() if isinstance(content, str) else content
    if output is None:
        sys.stdout.flush()
        sys.stdout.buffer.write(body)
        sys.stdout.buffer.flush()
        return
    try:
        output.write_bytes(body)
    except OSError as error:
        message = f"{output} cannot be written: {error.strerror or error}"
        raise PermanentError(message) from error
