"""`otelprof cost`: what a store costs now, by service; `otelprof cost plan`: what one will."""

# ruff: noqa: PLC0415 - what is not needed for `--help` is imported where it is used

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from otelprof.cli import store_options as options
from otelprof.cli.report_format import ReportFormat

if TYPE_CHECKING:
    from otelprof.store.cost import Costs, Fleet, Plan, Prices, Ratios

app: Final = typer.Typer(
    name="cost", help="What profiles in object storage cost: now, or for a fleet that is planned."
)


GbPrice = Annotated[float, typer.Option("--price-gb-month", min=0, help="$ for a GB (10^9 bytes) a month.")]
PutPrice = Annotated[float, typer.Option("--price-puts", min=0, help="$ for 1,000 PUTs.")]
Format = Annotated[ReportFormat, typer.Option("--format", help="How to print.")]


@app.callback(invoke_without_command=True)
def now(  # noqa: PLR0913 - these are the options of the command
    context: typer.Context,
    store: options.StoreUrl = "",
    *,
    store_option: options.StoreOptions = None,
    gb_month: GbPrice = 0.023,
    puts_1000: PutPrice = 0.005,
    output: Format = ReportFormat.TEXT,
) -> None:
    """What each service in a store takes, by tier, and what it costs a month at these prices.

    The default prices are those of S3 Standard in us-east-1. What reading costs is not in it.
    """
    if context.invoked_subcommand is not None:
        return
    from otelprof.cli.output import stdout
    from otelprof.store.cost import Prices, costs
    from otelprof.store.store import Store

    if not store:
        message = "say which store: --store URL, or OTELPROF_STORE"
        raise typer.BadParameter(message)
    found = costs(Store(store, options.pairs(store_option, "--store-option")))
    prices = Prices(gb_month=gb_month, puts_1000=puts_1000)
    if output is ReportFormat.JSON:
        stdout.print_json(data=_costs_json(found, prices))
    else:
        _print_costs(found, prices)


@app.command()
def plan(  # noqa: PLR0913 - these are the options of the command
    *,
    services: Annotated[int, typer.Option(min=1, help="Services of the fleet.")] = 200,
    profile_bytes: Annotated[
        str, typer.Option(help="Of a profile as it is sent, without compression.")
    ] = "200KB",
    profiles_per_hour: Annotated[
        float, typer.Option(min=0, help="Of each service, all sample types: two types of 30 s each make 240.")
    ] = 240,
    linked_share: Annotated[float, typer.Option(min=0, max=1, help="Of samples, with a trace id.")] = 0.5,
    trace_probability: Annotated[
        float,
        typer.Option(min=0, max=1, help="Of traces, that keep their samples' ids; the rest is demoted."),
    ] = 0.1,
    writers: Annotated[int, typer.Option(min=1, help="Processes with an object_storage exporter.")] = 2,
    flush_interval: Annotated[str, typer.Option(help="Between two flushes of one writer.")] = "60s",
    fine: Annotated[str, typer.Option(help="Until which age profiles are kept as they came.")] = "7d",
    downsampled: Annotated[str, typer.Option(help="Until which age in windows of five minutes.")] = "30d",
    summary: Annotated[str, typer.Option(help="Until which age a row of each stack and day.")] = "90d",
    gb_month: GbPrice = 0.023,
    puts_1000: PutPrice = 0.005,
    output: Format = ReportFormat.TEXT,
) -> None:
    """What a fleet that is not stored yet will cost a month, once it runs as long as profiles are kept."""
    from pydantic import TypeAdapter, ValidationError

    from otelprof.cli.output import stdout
    from otelprof.config.units import Size, parse_duration
    from otelprof.store.cost import Fleet, Prices, Ratios
    from otelprof.store.cost import plan as bill

    try:
        size = float(TypeAdapter(Size).validate_python(profile_bytes))
        days = [parse_duration(text) / 86_400 for text in (fine, downsampled, summary)]
        flush_secs = parse_duration(flush_interval)
    except ValidationError as error:
        raise typer.BadParameter(error.errors()[0]["msg"]) from error
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if flush_secs <= 0:
        message = "--flush-interval must be more than 0"
        raise typer.BadParameter(message)
    fleet = Fleet(
        services, size, profiles_per_hour, linked_share, trace_probability, writers, flush_secs, *days
    )
    prices, ratios = Prices(gb_month=gb_month, puts_1000=puts_1000), Ratios()
    found = bill(fleet, prices, ratios)
    if output is ReportFormat.JSON:
        stdout.print_json(data=_plan_json(fleet, found, ratios))
    else:
        _print_plan(fleet, found, prices, ratios)


def _costs_json(found: Costs, prices: Prices) -> dict[str, object]:
    services = {
        name: {
            "rows": cost.rows,
            "linked_rows": cost.linked_rows,
            "bytes_by_tier": {tier: round(size) for tier, size in cost.by_tier.items()},
            "symbol_bytes": round(cost.symbol_bytes),
            "dollars_a_month": found.month_of(name, prices),
        }
        for name, cost in found.services.items()
    }
    return {
        "services": services,
        "bytes_by_table": {table.value: size for table, size in found.table_bytes.items()},
        "days": found.days,
        "puts_a_day": found.puts_a_day,
        "dollars_a_month": found.month(prices),
    }


def _print_costs(found: Costs, prices: Prices) -> None:
    from rich.table import Table as Grid

    from otelprof.cli.output import stdout
    from otelprof.telemetry.quantity import human
    from otelprof.telemetry.text import printable

    tiers = sorted({tier for cost in found.services.values() for tier in cost.by_tier})
    grid = Grid("service", "rows", "linked", *tiers, "symbols", "$ a month")
    for column in grid.columns[1:]:
        column.justify = "right"
    by_size = sorted(found.services.items(), key=lambda item: -item[1].stored_bytes)
    for name, cost in by_size:
        of_tiers = [human(cost.by_tier.get(tier, 0.0), "By") for tier in tiers]
        linked = f"{100 * cost.linked_rows / cost.rows:.0f} %" if cost.rows else "-"
        dollars = f"{found.month_of(name, prices):.4f}"
        grid.add_row(
            printable(name, 60), f"{cost.rows:,}", linked, *of_tiers, human(cost.symbol_bytes, "By"), dollars
        )
    stdout.print(grid)
    tables = ", ".join(f"{table.value} {human(size, 'By')}" for table, size in found.table_bytes.items())
    stdout.print(f"{found.days} days: {tables}; {found.puts_a_day:,.0f} PUTs a day")
    stdout.print(
        f"{found.month(prices):.2f} $ a month while it stays as it is"
        f" ({prices.gb_month:g} $ a GB, {prices.puts_1000:g} $ for 1,000 PUTs)"
    )


def _plan_json(fleet: Fleet, found: Plan, ratios: Ratios) -> dict[str, object]:
    from dataclasses import asdict

    return {"fleet": asdict(fleet), "ratios": asdict(ratios), **asdict(found)}


def _print_plan(fleet: Fleet, found: Plan, prices: Prices, ratios: Ratios) -> None:
    from otelprof.cli.output import stdout
    from otelprof.store.cost import GB

    raw = found.raw_bytes_a_day / GB
    stdout.print(
        f"{fleet.services} services x {fleet.profiles_per_hour:g} profiles an hour x"
        f" {fleet.profile_bytes / 1e3:g} kB = {raw:.0f} GB a day as it is sent"
    )
    stdout.print(
        "  (240 profiles an hour are two sample types of 30 s each; with one of them it is half, 120 an hour)"
    )
    stdout.print(f"stored: {found.fine_bytes_a_day / GB:.2f} GB a day, in the end", end=" ")
    stdout.print(", ".join(f"{tier} {size / GB:.1f} GB" for tier, size in found.stored_bytes.items()))
    storage = sum(found.stored_bytes.values()) / GB * prices.gb_month
    requests = found.puts_a_month / 1000 * prices.puts_1000
    stdout.print(f"PUTs: {found.puts_a_month:,.0f} a month by {fleet.writers} writers")
    stdout.print(f"[bold]{found.month:.2f} $ a month[/]: {storage:.2f} for storage, {requests:.2f} for PUTs")
    stdout.print(
        f"assumed: tables {ratios.unlinked:g}x smaller than what is sent, {ratios.linked:g}x with ids on half"
        f" of the samples;\n  {fleet.linked_share:.0%} linked, {fleet.trace_probability:.0%} of traces kept"
    )
