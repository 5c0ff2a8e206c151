"""`otelprof validate`: whether a configuration can be run."""

# ruff: noqa: PLC0415 - what is not needed for `--help` is imported where it is used

import os
from pathlib import Path
from typing import Annotated

import typer


def validate(
    config: Annotated[Path, typer.Option("--config", "-c", help="The configuration file.")],
) -> None:
    """Print every problem of a configuration, or its pipelines and policies when there is none."""
    from otelprof.cli.output import print_warnings, stdout
    from otelprof.component import Kind
    from otelprof.config.resolve import load_config

    resolved = load_config(config, os.environ)
    print_warnings(resolved.warnings)
    for name, pipeline in resolved.pipelines.items():
        stages = (pipeline.receivers, pipeline.processors, pipeline.exporters)
        path = " → ".join(", ".join(map(str, stage)) for stage in stages if stage)
        stdout.print(f"{name}: {path}", markup=False)
    processors = resolved.components[Kind.PROCESSOR]
    for component in dict.fromkeys(
        one for pipeline in resolved.pipelines.values() for one in pipeline.processors
    ):
        for line in processors[component].config.in_words():
            stdout.print(f"{component}: {line}", markup=False)
