"""An explanation as text, Markdown and JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from otelprof.gate.cause import Verdict
from otelprof.gate.report_text import escaped
from otelprof.gate.waiting import IN_WORDS
from otelprof.telemetry.quantity import human
from otelprof.telemetry.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from otelprof.gate.explain import Explanation
    from otelprof.gate.figures import Figure
    from otelprof.gate.sites import Change

MAX_ROWS: Final = 5
"""Of each table: the largest changes."""
_MAX_NAME_CHARS: Final = 200
_MIN_SHOWN: Final = 0.005
"""Of the largest change, below which a row is not worth its place."""


def headline(found: Explanation) -> str:
    """The answer, in a sentence or two."""
    latency = found.figures.main
    what = "change" if latency is None else ("win" if latency.after < latency.before else "loss")
    if found.verdict is Verdict.NO_CHANGE:
        return "Latency has not changed by more than 5 %, or than its noise: there is nothing to explain."
    if found.doubtful:
        where = _where(found.doubtful[0], found.each)
        return f"The {what} may be here, within the noise of the runs: {where}. More runs would tell."
    if found.verdict is Verdict.UNEXPLAINED:
        return (
            f"The {what} is not in these profiles: neither CPU nor waiting changed that way. It may be before"
            " the process (a queue, the network, another service), or in what they do not hold."
        )
    where = "; ".join(_where(one, found.each) for one in found.named[:MAX_ROWS])
    of = {Verdict.BOTH: "on-CPU and off-CPU"}.get(found.verdict, found.verdict.value)
    doubt = " One run of a side cannot tell a change from noise." if found.is_single else ""
    if not where:
        return f"The {what} is {of}; where, these profiles do not tell.{doubt}"
    return f"The {what} is {of}, here: {where}.{doubt}"


def as_text(found: Explanation) -> str:
    """For a terminal."""
    lines = [headline(found), ""]
    lines += [_figure(one) for one in _figures(found)]
    lines += [f"{name}: {value}" for name, value in _parts(found)]
    for title, rows in _tables(found):
        lines += ["", title]
        lines += [
            f"  {_amount(one.before):>10} -> {_amount(one.after):>10}  {_amount(one.delta, signed=True):>11}"
            f"  {_site(one)}{_doubt(one)}"
            for one in rows
        ]
    lines += ["", *(f"note: {note}" for note in found.notes)] if found.notes else []
    lines += [f"missing: {one}" for one in found.missing]
    return "\n".join(lines) + "\n"


def as_markdown(found: Explanation) -> str:
    """For a comment on a pull request."""
    lines = [f"**{escaped(headline(found))}**", ""]
    lines += [f"- {escaped(_figure(one))}" for one in _figures(found)]
    lines += [f"- {escaped(name)}: {escaped(value)}" for name, value in _parts(found)]
    for title, rows in _tables(found):
        lines += ["", f"| {escaped(title)} | before | after | change |", "|---|--:|--:|--:|"]
        lines += [
            f"| {escaped(_site(one))}{_doubt(one)} | {_amount(one.before)} | {_amount(one.after)} |"
            f" {_amount(one.delta, signed=True)} |"
            for one in rows
        ]
    lines += [""] if found.notes or found.missing else []
    lines += [f"> {escaped(note)}\n>" for note in found.notes]
    lines += [f"> missing: {escaped(one)}\n>" for one in found.missing]
    return "\n".join(lines).removesuffix("\n>") + "\n"


def as_json(found: Explanation) -> dict[str, Any]:
    """For a program. Costs are seconds a unit of work."""
    figures = found.figures
    return {
        "verdict": found.verdict.value,
        "headline": headline(found),
        "costs_of": found.each,
        "latency": [_figure_json(one) for one in figures.latency],
        "busy_cpu": None if figures.cpu is None else _figure_json(figures.cpu),
        "throughput": None if figures.throughput is None else _figure_json(figures.throughput),
        "all_cpu": None if found.all_cpu is None else _change_json(found.all_cpu),
        "all_waiting": found.all_waiting,
        "doubtful": [_change_json(one) for one in found.doubtful],
        "named": [_change_json(one) for one in found.named],
        "cpu": [_change_json(one) for one in found.cpu],
        "waiting": [_change_json(one) for one in found.waiting],
        "others": [_change_json(one) for one in found.others],
        "lock_holders": [_change_json(one) for one in found.holders],
        "notes": list(found.notes),
        "missing": list(found.missing),
    }


def _figures(found: Explanation) -> Iterator[Figure]:
    yield from found.figures.latency
    for one in (found.figures.throughput, found.figures.cpu):
        if one is not None:
            yield one


def _parts(found: Explanation) -> Iterator[tuple[str, str]]:
    unit = found.each
    if found.all_cpu is not None:
        change = found.all_cpu
        relative = f" ({change.delta / change.before:+.0%})" if change.before else ""
        yield f"CPU {unit}", f"{_amount(change.delta, signed=True)}{relative}{_doubt(change)}"
    if found.all_waiting is not None:
        yield f"waiting {unit}", _amount(found.all_waiting, signed=True)


def _tables(found: Explanation) -> Iterator[tuple[str, Sequence[Change]]]:
    unit = found.each
    off_cpu = max((abs(one.delta) for one in (*found.waiting, *found.others, *found.holders)), default=0.0)
    on_cpu = max((abs(one.delta) for one in found.cpu), default=0.0)
    for title, rows in (
        (f"waiting {unit}", found.waiting),
        (f"CPU {unit}, by the function of the program that it is for", found.cpu),
        (f"waiting for other threads {unit}, which is counted where those are", found.others),
        (f"locks {unit}, where they were let go", found.holders),
    ):
        least = _MIN_SHOWN * (on_cpu if rows is found.cpu else off_cpu)
        shown = [one for one in rows if abs(one.delta) > least][:MAX_ROWS]
        if shown:
            yield title, shown


def _where(change: Change, unit: str) -> str:
    return f"{_site(change)}, {_amount(change.delta, signed=True)} {unit}"


def _site(change: Change) -> str:
    site = change.site
    by = f" ({printable(site.by, _MAX_NAME_CHARS)})" if site.by else ""
    return f"{IN_WORDS[site.kind]}: {printable(site.function, _MAX_NAME_CHARS)}{by}"


def _doubt(change: Change | Figure) -> str:
    return " (within the noise of the runs)" if change.is_noise else ""


def _figure(figure: Figure) -> str:
    if figure.name == "cpu":
        values = f"{figure.before:.3g} to {figure.after:.3g}"
        return f"busy CPU: {values} ({figure.relative:+.0%})"
    if figure.name.endswith(" a second"):
        return f"{figure.name}: {figure.before:,.4g} to {figure.after:,.4g} ({figure.relative:+.0%})"
    values = f"{_amount(figure.before)} to {_amount(figure.after)} ({figure.relative:+.0%})"
    return f"{figure.name}: {values}{_doubt(figure)}"


def _amount(seconds: float, *, signed: bool = False) -> str:
    sign = "+" if signed and seconds > 0 else ""
    return f"{sign}{human(seconds, 's')}"


def _figure_json(figure: Figure) -> dict[str, Any]:
    return {"name": figure.name, "before": figure.before, "after": figure.after, "relative": figure.relative}


def _change_json(change: Change) -> dict[str, Any]:
    return {
        "kind": change.site.kind.value,
        "function": change.site.function,
        "by": change.site.by,
        "before": change.before,
        "after": change.after,
        "delta": change.delta,
        "is_noise": change.is_noise,
    }
