"""How many samples rows are, and how much time they stand for; which sample type to look at first."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from otelprof.store.reader import as_dicts
from otelprof.telemetry.quantity import SECONDS_IN, human
from otelprof.telemetry.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from otelprof.store.reader import Period, StoreReader, TypeRows
    from otelprof.store.selection import Selection

TypeKey = tuple[str, str]
"""A sample type: its name and its unit."""

_COUNTS: Final = frozenset({"count", "1", ""})
_CPU: Final = "cpu"
_NANO: Final = 1e-9


@dataclass(frozen=True)
class Weight:
    """What rows of one sample type stand for.

    Attributes:
        value: their sum, in the unit of the type.
        samples: how often the profiler looked, where values or period say so; stored samples otherwise.
        seconds: of time; None when neither the unit nor the period is one of time.
    """

    value: int
    samples: int
    seconds: float | None

    def in_words(self, sample_type: str, unit: str) -> str:
        """As a person would say it: 4 samples, 40 ms of CPU."""
        samples = counted(self.samples, "sample")
        if self.seconds is None:
            return f"{samples}, {human(self.value, unit)} of {sample_type or '(no type)'}"
        # A count of samples by time is one of CPU: other clocks have types of their own.
        of = "CPU" if sample_type in {_CPU, "samples"} else sample_type
        return f"{samples}, {human(round(self.seconds / _NANO), 'ns')} of {of}"


def weight(of_type: TypeRows, periods: Mapping[int, Period]) -> Weight:
    """What rows stand for.

    Args:
        of_type: the rows.
        periods: by the id of their labels.
    """
    sums: dict[int, list[int]] = {}
    columns = (of_type.rows[name].to_pylist() for name in ("labels_id", "value", "count"))
    for labels_id, value, count in zip(*columns, strict=True):
        of_labels = sums.setdefault(labels_id, [0, 0])
        of_labels[0] += value
        of_labels[1] += count
    return total(part(of_type.key, periods.get(one), value, count) for one, (value, count) in sums.items())


def total(parts: Iterable[Weight]) -> Weight:
    """All parts together; no time when one of them has none."""
    whole = Weight(0, 0, 0.0)
    for one in parts:
        seconds = None if one.seconds is None or whole.seconds is None else whole.seconds + one.seconds
        whole = Weight(whole.value + one.value, whole.samples + one.samples, seconds)
    return whole


def part(key: TypeKey, period: Period | None, value: int, count: int) -> Weight:
    """What rows of one period stand for.

    Args:
        key: name and unit of the sample type.
        period: what they were sampled by.
        value: their sum.
        count: stored samples.
    """
    unit = key[1]
    if unit in SECONDS_IN:
        # A Sample of 30 ms that was taken every 10 ms stands for three.
        says_so = period is not None and key == (period.type, period.unit) and period.period > 0
        samples = round(value / period.period) if period and says_so else count
        return Weight(value, samples, value * SECONDS_IN[unit])
    if is_count(key):
        each = SECONDS_IN.get(period.unit, 0) * period.period if period else 0
        return Weight(value, value, value * each if each > 0 else None)
    return Weight(value, count, None)


def is_count(key: TypeKey) -> bool:
    """Whether values of a sample type, by name and unit, are numbers of samples."""
    return key[0] == "samples" and key[1] in _COUNTS


def leading(
    rows: Mapping[TypeKey, int], labels: Mapping[TypeKey, set[int]], periods: Mapping[int, Period]
) -> TypeKey:
    """The sample type to look at first: CPU time, else a count of samples of it, else what has most rows.

    Args:
        rows: how many each has; of one at least.
        labels: the ids of the labels of each.
        periods: by these ids.
    """

    def rank(key: TypeKey) -> tuple[bool, bool, int]:
        is_of_cpu = key[0] == _CPU
        if is_count(key):
            is_of_cpu = any(periods[one].type == _CPU for one in labels[key] if one in periods)
        return key[0] == _CPU and key[1] in SECONDS_IN, is_of_cpu, rows[key]

    return max(rows, key=rank)


def leading_of(reader: StoreReader, selection: Selection) -> TypeKey | None:
    """The sample type of a selection to look at first; None when it has no rows.

    Raises:
        StoreError: the store is not to be used.
        UnavailableError: it cannot be reached.
    """
    found = as_dicts(
        reader.bounded(
            "SELECT sample_type, unit, labels_id, date, count(*) AS rows FROM samples "
            f"WHERE {selection.where()} GROUP BY sample_type, unit, labels_id, date "
            "ORDER BY sample_type, unit"
        )
    )
    rows: Counter[TypeKey] = Counter()
    labels: dict[TypeKey, set[int]] = {}
    for row in found:
        key = (row["sample_type"], row["unit"])
        rows[key] += row["rows"]
        labels.setdefault(key, set()).add(row["labels_id"])
    periods = reader.periods_of({row["labels_id"] for row in found}, {str(row["date"]) for row in found})
    return leading(rows, labels, periods) if rows else None
