"""`otelprof components`: what a configuration can name."""

# ruff: noqa: PLC0415 - what is not needed for `--help` is imported where it is used

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def components() -> None:
    """List what is installed, plugins included, by kind and with the package it comes from."""
    from otelprof.cli.output import stdout

    for line in component_lines():
        stdout.print(line, markup=False)


def component_lines() -> Iterator[str]:
    """Kind, type and package of what is installed, one a line; nothing of it is imported."""
    from importlib.metadata import entry_points

    from otelprof.component import Kind

    for kind in Kind:
        for point in sorted(entry_points(group=kind.entry_point_group)):
            package = f"{point.dist.name} {point.dist.version}" if point.dist else ""
            yield f"{kind.value.removesuffix('s'):<10} {point.name:<20} {package}"
