"""From a request to series: pieces of one pprof each, named, labelled, dated, as small as the server takes.

A piece stays a handle until it is its turn, so that no more pprofs are in memory than are sent at once.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from otelprof.exporter.pyroscope.labels import LabelRules, LabelSet, labels
from otelprof.exporter.pyroscope.names import naming
from otelprof.exporter.pyroscope.otlp import MAX_LABELS, renamed, sent_types

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from otelprof._core import Pprof, PprofPiece, Profiles
    from otelprof.clock import Clock
    from otelprof.exporter.pyroscope.config import PyroscopeExporterConfig

_NANOS_PER_SEC: Final = 10**9
# The server takes what is up to ten minutes ahead of its own clock.
_MAX_FUTURE_SECS: Final = 300
# Resources of which the labels are remembered, and how long their texts may be.
_REMEMBERED: Final = 128
_MAX_REMEMBERED_CHARACTERS: Final = 8192
# What a location takes in a sample, at most, for as many locations as fit into a pprof.
_LOCATION_BYTES: Final = 3


class Loss(StrEnum):
    """Why samples are not there in the end; the label `reason` of `otelprof_pyroscope_lost_samples`."""

    TOO_OLD = "too_old"
    TOO_LARGE = "too_large"
    NEGATIVE = "negative_value"
    REFUSED = "refused"
    UNANSWERED = "unanswered"
    BASELINE = "baseline"
    LATE = "late"


class Change(StrEnum):
    """What was changed beside values; the label `change` of `otelprof_pyroscope_changes`."""

    STACK_CUT = "stack_cut"
    LABEL_CUT = "label_value_cut"
    LABEL_LEFT_OUT = "label_left_out"
    NAME_RESPELLED = "name_respelled"
    TIME_CLAMPED = "time_clamped"


@dataclass(frozen=True)
class Series:
    """What one push sends.

    Attributes:
        labels: names and values, sorted by name.
        pprof: of one or more sample types.
        changes: what was changed so that the server takes it.
    """

    labels: tuple[tuple[str, str], ...]
    pprof: Pprof
    changes: Counter[Change] = field(default_factory=Counter)


class SeriesMaker:
    """Makes series of pieces.

    Args:
        config: names, labels and limits.
        clock: what the age of a profile is measured with.
    """

    def __init__(self, config: PyroscopeExporterConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._is_otlp = config.mode == "otlp"
        # A sample's labels become labels of its series, on the server.
        max_labels = min(config.max_labels, MAX_LABELS) if self._is_otlp else config.max_labels
        room = max(max_labels - len(config.sample_labels), len(config.external_labels) + 2)
        self._rules = LabelRules(config.labels, config.external_labels, room)
        # A resource sends again and again.
        self._remembered = lru_cache(maxsize=_REMEMBERED)(
            lambda name, resource: labels(name, dict(resource), self._rules)
        )

    def pieces(self, profiles: Profiles) -> list[PprofPiece]:
        """Pieces that become one pprof each, not much larger than the server takes."""
        config = self._config
        pieces = profiles.split_for_pprof(
            config.max_profile_samples, config.max_profile_size // _LOCATION_BYTES
        )
        return [one for piece in pieces for one in sent_types(piece)] if self._is_otlp else pieces

    def is_too_old(self, piece: PprofPiece) -> bool:
        """Whether the server would refuse a piece for its age."""
        max_age, start = self._config.max_age, piece.time_unix_nano
        return max_age > 0 and 0 < start < (self._clock.now() - max_age) * _NANOS_PER_SEC

    def series(self, piece: PprofPiece) -> Iterator[tuple[PprofPiece, Series | None]]:
        """The series that a piece becomes, each with its part of the piece; None of what is too large."""
        made = self._made(piece)
        size = len(made.pprof.body) + sum(len(name) + len(value.encode()) for name, value in made.labels)
        rows = piece.sample_count // len(piece.sample_types)
        count = made.pprof.sample_count
        if size <= self._config.max_profile_size and count <= self._config.max_profile_samples:
            yield piece, made
        elif rows <= 1:
            yield piece, None
        else:
            for part in piece.profiles.split_for_pprof((rows + 1) // 2, self._config.max_profile_size):
                yield from self.series(part)

    def _made(self, piece: PprofPiece) -> Series:
        config, changes = self._config, Counter[Change]()
        named = naming(piece.sample_types, piece.period_type, piece.period, config.profile_names)
        if self._is_otlp:
            named = renamed(named)
        found = self._labels(named.name, piece.resource)
        start, now = piece.time_unix_nano, self._clock.now()
        if start > (now + _MAX_FUTURE_SECS) * _NANOS_PER_SEC:
            start = int(now * _NANOS_PER_SEC)
            changes[Change.TIME_CLAMPED] = 1
        pprof = piece.to_pprof(
            labels=config.sample_labels,
            max_depth=config.max_stack_depth,
            sample_types=named.sample_types,
            period_type=named.period_type,
            period=named.period,
            time_unix_nano=start,
        )
        changes[Change.STACK_CUT] = pprof.cut_sample_count
        changes[Change.LABEL_CUT] = found.cut
        changes[Change.LABEL_LEFT_OUT] = found.left_out
        changes[Change.NAME_RESPELLED] = named.respelled
        return Series(found.pairs, pprof, changes)

    def _labels(self, name: str, resource: Mapping[str, str]) -> LabelSet:
        """The labels of a series."""
        if sum(map(len, (*resource, *resource.values()))) > _MAX_REMEMBERED_CHARACTERS:
            return labels(name, resource, self._rules)
        return self._remembered(name, tuple(resource.items()))
