"""`otelprof compact`: keeps a store small, and as long as it is to be kept."""

# ruff: noqa: PLC0415 - what is not needed for `--help` is imported where it is used

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from otelprof.cli.store_options import StoreOptions, StoreUrl, open_store, pairs, progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from otelprof.store.maintenance import Step
    from otelprof.store.retention import RetentionConfig
    from otelprof.store.rewrite import Written

_STATES: Final = ("error", "slow", "incident")


def compact(  # noqa: PLR0913 - these are the options of the command
    store: StoreUrl,
    *,
    store_option: StoreOptions = None,
    retention: Annotated[
        list[str] | None,
        typer.Option(
            "--retention",
            help="fine=7d, downsampled=30d, summary=90d, top_stacks=1000, or error=30d, slow=…, incident=… "
            "for traces that stay fine for longer; repeatable. As in the exporter's configuration.",
        ),
    ] = None,
    delete_after: Annotated[
        str, typer.Option(help="How long files stay that no version needs: longer than any query or flush.")
    ] = "24h",
    now: Annotated[
        bool, typer.Option("--now", help="Also compact what is little, and the day that still grows.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what is due, and do nothing.")] = False,
) -> None:
    """Make large files of small ones, fold old days into coarser tiers, and remove what is too old.

    May run beside writers, readers and others of its kind, and may be killed. Exits with 1 when a step
    failed.
    """
    from otelprof.clock import SystemClock
    from otelprof.store.maintenance import Maintenance

    maintenance = Maintenance(
        open_store(store, store_option),
        _retention(pairs(retention, "--retention")),
        SystemClock(),
        delete_after_secs=_delete_after_secs(delete_after),
        eager=now,
    )
    steps = maintenance.plan() if dry_run else list(_shown(maintenance.run()))
    if dry_run:
        for step in steps:
            _print(step)
    _print_total(steps, dry_run=dry_run)
    if any(step.error for step in steps):
        raise typer.Exit(1)


def _retention(words: dict[str, str]) -> RetentionConfig:
    from pydantic import ValidationError

    from otelprof.store.retention import RetentionConfig

    keep = {state: words.pop(state) for state in _STATES if state in words}
    values: dict[str, Any] = {**words, "keep": keep}
    try:
        return RetentionConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        message = f"--retention {where}: {first['msg']}" if where else f"--retention: {first['msg']}"
        raise typer.BadParameter(message) from error


def _delete_after_secs(text: str) -> float:
    from pydantic import ValidationError

    from otelprof.store.maintenance import MaintenanceConfig

    try:
        return MaintenanceConfig.model_validate({"delete_after": text}).delete_after
    except ValidationError as error:
        message = f"--delete-after: {error.errors()[0]['msg']}"
        raise typer.BadParameter(message) from error


def _shown(steps: Iterable[Step]) -> Iterator[Step]:
    """The steps as they are done, each printed."""
    with progress("maintaining the store"):
        for step in steps:
            _print(step)
            yield step


def _print(step: Step) -> None:
    """A line for a step that did something, or is to."""
    from otelprof.cli.output import stderr, stdout

    what = f"{step.action.value:<8} {step.table.value:<8} {step.day or '':<10}".rstrip()
    if step.error is not None:
        stderr.print(f"{what}  failed, and is tried again next time: {step.error}", markup=False)
    elif step.day is None:
        if step.before.files:
            stdout.print(f"{what}  {step.before.files:,} files deleted", markup=False)
    elif step.after is None:
        stdout.print(f"{what}  {_amount(step.before)}", markup=False)
    else:
        stdout.print(f"{what}  {_amount(step.before)} -> {_amount(step.after)}", markup=False)


def _amount(written: Written) -> str:
    from otelprof.telemetry.quantity import human
    from otelprof.telemetry.text import counted

    files, rows = counted(written.files, "file"), counted(written.rows, "row")
    return f"{files}, {rows}, {human(written.size_bytes, 'By')}"


def _print_total(steps: Iterable[Step], *, dry_run: bool) -> None:
    from otelprof.cli.output import stdout
    from otelprof.store.rewrite import Written

    def total(of: Iterable[Written]) -> Written:
        amounts = [(one.files, one.rows, one.size_bytes) for one in of]
        return Written(*map(sum, zip((0, 0, 0), *amounts, strict=True)))

    counted = [step for step in steps if step.day is not None and step.error is None]
    before = _amount(total(step.before for step in counted))
    if not counted:
        stdout.print("nothing is due" if dry_run else "nothing was due")
    elif dry_run:
        stdout.print(f"due       {before}", markup=False)
    else:
        after = _amount(total(step.after for step in counted if step.after is not None))
        stdout.print(f"in all    {before} -> {after}", markup=False)
