"""`otelprof components`: what a configuration can name."""

# ruff: noqa: PLC0415 - what is not needed for `--help` is imported where it is used


def components() -> None:
    """List the installed receivers, processors and exporters, with the package each comes from."""
    from importlib.metadata import entry_points

    from otelprof.cli.output import stdout
    from otelprof.component import Kind

    for kind in Kind:
        for point in sorted(entry_points(group=kind.entry_point_group)):
            package = f"{point.dist.name} {point.dist.version}" if point.dist else ""
            stdout.print(f"{kind.value.removesuffix('s'):<10} {point.name:<20} {package}", markup=False)
