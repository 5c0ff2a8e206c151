"""Options that the commands of the gate share."""

# ruff: noqa: PLC0415 - what is not needed for `--help` is imported where it is used

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from otelprof.gate.config import GateConfig
    from otelprof.gate.runs import Work

ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="gate.yaml: types, thresholds, variants; defaults without it.")
]
WorkUnit = Annotated[
    str | None,
    typer.Option(
        "--work",
        help="What cost is divided by: requests=7000 for every run, a key of run.json, or share.",
    ),
]


def require_arithmetic() -> None:
    """Say what is missing before anything is read.

    Raises:
        PermanentError: numpy or scipy is not installed.
    """
    from importlib.util import find_spec

    from otelprof.errors import PermanentError

    if find_spec("numpy") is None or find_spec("scipy") is None:
        message = "comparing runs needs numpy and scipy: pip install 'otelprof[gate]'"
        raise PermanentError(message)


def read_config(path: Path | None) -> GateConfig:
    """The configuration of a file; the defaults without one.

    Raises:
        ConfigError: with everything that is wrong.
    """
    import os

    from otelprof.gate.config import GateConfig, load_gate_config

    return GateConfig() if path is None else load_gate_config(path, os.environ)


def work_unit(work: str | None, config: GateConfig) -> Work:
    """What costs are divided by."""
    from otelprof.gate.runs import Work

    try:
        return Work.parse(config.work if work is None else work)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
