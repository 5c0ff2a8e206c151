"""Requests of one day, of few services, stacks and traces, so that rows meet in every tier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from hypothesis import strategies as st
from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest,
)

from otelprof._core import Profiles

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MIDNIGHT_SECS: Final = 4_102_444_800  # 2100-01-01: after every commit that a test makes
NANOS: Final = 1_000_000_000


class Observed(NamedTuple):
    """A sample, with all that is around it."""

    service: str
    sample_type: tuple[str, str]
    period: int
    minute: int
    duration_secs: int
    stack: tuple[str, ...]
    trace: int
    state: str
    thread: str
    value: int


OBSERVED: Final = st.builds(
    Observed,
    service=st.sampled_from(["cart", "o'clock\n"]),
    sample_type=st.sampled_from([("cpu", "nanoseconds"), ("alloc", "bytes")]),
    period=st.sampled_from([0, 10]),
    minute=st.integers(0, 24 * 60 - 1) | st.integers(0, 7),
    duration_secs=st.sampled_from([10, 10, 600]),
    stack=st.sampled_from([("a", "main"), ("b", "main"), ("c", "b", "main"), ("d'", "main")]),
    trace=st.integers(0, 3),
    state=st.sampled_from(["", "kept", "error", "slow", "incident", "unknown"]),
    thread=st.sampled_from(["1", "2"]),
    value=st.one_of(
        st.integers(1, 5), st.sampled_from([-2, -(2**63), -(2**63), 2**62, 2**63 - 1, 2**63 - 1])
    ),
)


def request_of(observed: Iterable[Observed], *, midnight_secs: int = MIDNIGHT_SECS) -> Profiles:
    """A request that holds the samples, each in a Profile of its own."""
    request = ExportProfilesServiceRequest()
    dictionary = request.dictionary
    strings = {"": 0}
    stacks: dict[tuple[str, ...], int] = {(): 0}

    def index(text: str) -> int:
        return strings.setdefault(text, len(strings))

    for table in ("mapping", "location", "function", "link", "attribute", "stack"):
        getattr(dictionary, f"{table}_table").add()

    def stack_index(names: Sequence[str]) -> int:
        if tuple(names) not in stacks:
            stacks[tuple(names)] = len(stacks)
            first = len(dictionary.location_table)
            for name in names:
                dictionary.function_table.add(name_strindex=index(name))
                dictionary.location_table.add().lines.add(function_index=len(dictionary.function_table) - 1)
            dictionary.stack_table.add(location_indices=range(first, first + len(names)))
        return stacks[tuple(names)]

    def attribute(key: str, text: str) -> int:
        one = dictionary.attribute_table.add(key_strindex=index(key))
        one.value.string_value = text
        return len(dictionary.attribute_table) - 1

    for one in observed:
        of_service = request.resource_profiles.add()
        of_service.resource.attributes.add(key="service.name").value.string_value = one.service
        profile = of_service.scope_profiles.add().profiles.add(
            time_unix_nano=(midnight_secs + 60 * one.minute) * NANOS + 1_000,
            duration_nano=one.duration_secs * NANOS,
            period=one.period,
        )
        profile.sample_type.type_strindex, profile.sample_type.unit_strindex = map(index, one.sample_type)
        profile.period_type.type_strindex = index("cpu" if one.period else "")
        sample = profile.samples.add(stack_index=stack_index(one.stack), values=[one.value])
        sample.attribute_indices.append(attribute("thread.id", one.thread))
        if one.state:
            sample.attribute_indices.append(attribute("otelprof.trace.state", one.state))
        if one.trace:
            dictionary.link_table.add(trace_id=bytes([one.trace] * 16), span_id=bytes([one.trace] * 8))
            sample.link_index = len(dictionary.link_table) - 1
    dictionary.string_table.extend(strings)
    return Profiles.decode(request.SerializeToString())
