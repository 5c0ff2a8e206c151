"""Which rows of `samples` are meant, and the condition in SQL that says so."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MICROS: Final = 10**6
SERVICE_NAME: Final = "service.name"
_TRACE_ID: Final = re.compile(r"[0-9a-f]{32}")
_SPAN_ID: Final = re.compile(r"[0-9a-f]{16}")
_MAX_MICROS: Final = 253_402_300_799 * MICROS
"""The end of the year 9999."""


def check_trace_id(text: str) -> str:
    """A trace id as the store has it: 32 hexadecimal digits in lower case, not all zero.

    Raises:
        ValueError: it is none.
    """
    return _checked(text, _TRACE_ID, "trace id: 32")


def check_span_id(text: str) -> str:
    """A span id as the store has it: 16 hexadecimal digits in lower case, not all zero.

    Raises:
        ValueError: it is none.
    """
    return _checked(text, _SPAN_ID, "span id: 16")


def _checked(text: str, pattern: re.Pattern[str], what: str) -> str:
    lower = text.strip().lower()
    if not pattern.fullmatch(lower) or not lower.strip("0"):
        message = f"{text!r} is no {what} hexadecimal digits are wanted, not all of them 0"
        raise ValueError(message)
    return lower


@dataclass(frozen=True)
class Selection:
    """What is asked for; None, and nothing in a mapping, is all.

    Attributes:
        trace_id: 32 hexadecimal digits.
        span_id: 16 hexadecimal digits.
        service: `service.name`.
        sample_type: its name.
        labels: attributes of the resource, the Profile or the Sample, each with its text.
        since: unix microseconds; windows that start then or later.
        until: unix microseconds; windows that start earlier.
        span_name: of the span that a sample is linked to.
        trace_states: any of `kept`, `error`, `slow`, `incident`.
        linked: only samples with a trace id.
        other_than_trace: without the samples of this trace.

    Raises:
        ValueError: an id is none, or a time is out of range.
    """

    trace_id: str | None = None
    span_id: str | None = None
    service: str | None = None
    sample_type: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    since: int | None = None
    until: int | None = None
    span_name: str | None = None
    trace_states: tuple[str, ...] = ()
    linked: bool = False
    other_than_trace: str | None = None

    def __post_init__(self) -> None:
        for trace_id in (self.trace_id, self.other_than_trace):
            if trace_id is not None and check_trace_id(trace_id) != trace_id:
                message = f"{trace_id!r} is not in lower case"
                raise ValueError(message)
        if self.span_id is not None and check_span_id(self.span_id) != self.span_id:
            message = f"{self.span_id!r} is not in lower case"
            raise ValueError(message)
        for moment in (self.since, self.until):
            if moment is not None and not 0 <= moment <= _MAX_MICROS:
                message = f"{moment} is no time in microseconds between 1970 and 9999"
                raise ValueError(message)

    def where(self) -> str:
        """The condition on a row of `samples`."""
        return " AND ".join(self._conditions()) or "TRUE"

    def _conditions(self) -> Iterator[str]:
        for column in ("trace_id", "span_id", "service", "sample_type", "span_name"):
            value = getattr(self, column)
            if value is not None:
                yield f"{column} = {literal(value)}"
        if self.trace_states:
            yield f"trace_state IN ({', '.join(map(literal, self.trace_states))})"
        if self.linked:
            yield "trace_id IS NOT NULL"
        if self.other_than_trace is not None:
            yield f"trace_id <> {literal(self.other_than_trace)}"
        # The date is the partition: days that are out of the question are not even listed.
        if self.since is not None:
            yield f"date >= {_date(self.since)} AND window_start >= to_timestamp_micros({self.since})"
        if self.until is not None:
            yield f"date <= {_date(self.until)} AND window_start < to_timestamp_micros({self.until})"
        yield from self._of_labels()

    def _of_labels(self) -> Iterator[str]:
        in_labels = []
        for key, text in self.labels.items():
            if key == SERVICE_NAME:
                # A column, which has a word for resources that do not say it.
                yield f"service = {literal(text)}"
            else:
                quoted = literal(key), literal(text)
                in_labels.append("(resource[{0}] = {1} OR attributes[{0}] = {1})".format(*quoted))
        if in_labels:
            yield f"labels_id IN (SELECT labels_id FROM labels WHERE {' AND '.join(in_labels)})"


def literal(text: str) -> str:
    """A text as SQL has it: there is no other escape than that of the quote."""
    return "'" + text.replace("'", "''") + "'"


def _date(micros: int) -> str:
    return f"DATE '{datetime.fromtimestamp(micros // MICROS, UTC):%Y-%m-%d}'"


_MAX_LISTED: Final = 20
"""Of a list up to this length, the engine asks statistics which files and pages can hold one of it."""


def any_of(ids: Iterable[int]) -> str:
    """The right side of `IN` for ids: a list; a long one as one text, since entries cost time in planning."""
    texts = [str(one) for one in ids]
    if len(texts) <= _MAX_LISTED:
        return f"({', '.join(texts) or 'NULL'})"
    return f"(SELECT CAST(unnest(string_to_array('{','.join(texts)}', ',')) AS BIGINT))"
