"""The slow twin of `Deltas`: the last request of every series, looked up by value."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from tests.reference.meaning import Reader
from tests.reference.summary import sample_value
from tests.reference.tables import Tables, profiles_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
        ExportProfilesServiceRequest,
    )

Values = Counter[str]
Told = tuple[str, str, int, int, Values]
"""Series, sample type, start, duration, values by what tells samples apart."""


def told(request: ExportProfilesServiceRequest) -> list[Told]:
    """Every Profile of a request."""
    tables = Tables(request.dictionary)
    reader = Reader(tables)
    found = []
    for resource, scope, profile in profiles_of(request):
        kind = reader.value_type(profile.sample_type)
        series: Any = (
            sorted(str(pair) for pair in resource.resource.attributes),
            scope.scope.name,
            kind,
            reader.value_type(profile.period_type),
        )
        values = Values()
        for sample in profile.samples:
            link = tables.links[sample.link_index]
            stack = [
                (one.mapping.filename, one.address, [(line.function, line.line) for line in one.lines])
                for one in reader.stack(sample.stack_index)
            ]
            values[repr((stack, link.trace_id, link.span_id))] += sample_value(sample)
        found.append((repr(series), kind[0], profile.time_unix_nano, profile.duration_nano, values))
    return found


class Twin:
    """Remembers everything."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[int, Values]] = {}

    def differences(self, request: ExportProfilesServiceRequest, names: Collection[str]) -> list[Told]:
        """What is left of a request; samples without a value are not told."""
        made = []
        for series, kind, start, duration, values in told(request):
            if kind not in names or duration or not start:
                made.append((series, kind, start, duration, values))
                continue
            last = self._last.get(series)
            if last is not None and start <= last[0]:
                continue
            self._last[series] = start, values
            if last is None:
                continue
            restarted = any(values.get(key, value - 1) < value for key, value in last[1].items())
            since = values if restarted else Values({key: n - last[1][key] for key, n in values.items()})
            made.append((series, kind, last[0], start - last[0], since))
        return made
