"""Sampling decides as the tracing side does: the very same traces, in both directions."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import pytest
from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest,
)
from opentelemetry.sdk.trace._sampling_experimental import composable_traceid_ratio_based, composite_sampler
from opentelemetry.sdk.trace.sampling import Decision, Sampler, TraceIdRatioBased

from otelprof._core import Limits, Profiles
from otelprof.processor.sampling.config import SamplingConfig
from otelprof.processor.sampling.policy import core_policy

if TYPE_CHECKING:
    from collections.abc import Callable

TRACES: Final = 100_000
EDGES: Final = (
    1,
    (1 << 63) - 1,
    1 << 63,
    (1 << 63) + 1,
    (1 << 64) - 1,
    (1 << 56) - 1,
    1 << 56,
    (1 << 128) - 1,
)
LONG_MIN: Final = -(1 << 63)

each_probability = pytest.mark.parametrize("probability", [0.1, 0.01])


@pytest.fixture(scope="module")
def trace_ids() -> list[int]:
    """Random trace ids, and those where arithmetic is apt to break."""
    chance = random.Random(20)  # noqa: S311 - repeatable, not secret
    return [*EDGES, *(chance.getrandbits(128) for _ in range(TRACES - len(EDGES)))]


@pytest.fixture(scope="module")
def profiles(trace_ids: list[int]) -> Profiles:
    """One request with a sample of each trace."""
    message = ExportProfilesServiceRequest()
    tables = message.dictionary
    tables.string_table.extend(["", "samples", "count"])
    for table in (tables.mapping_table, tables.location_table, tables.function_table):
        table.add()
    tables.stack_table.add()
    tables.attribute_table.add()
    tables.link_table.add()
    profile = message.resource_profiles.add().scope_profiles.add().profiles.add(profile_id=b"x" * 16)
    profile.sample_type.type_strindex, profile.sample_type.unit_strindex = 1, 2
    for index, trace_id in enumerate(trace_ids, 1):
        tables.link_table.add(trace_id=trace_id.to_bytes(16, "big"), span_id=b"12345678")
        profile.samples.add(link_index=index, values=[1])
    return Profiles.decode(message.SerializeToString(), Limits(max_body_bytes=1 << 28))


def kept(profiles: Profiles, **rule: Any) -> set[int]:
    """The traces whose samples stay under a rule."""
    policy = core_policy(SamplingConfig.model_validate({"rules": [rule]}).rules)
    message = profiles.select(policy).profiles.to_proto()
    links = message.dictionary.link_table
    return {
        int.from_bytes(links[sample.link_index].trace_id, "big")
        for resource in message.resource_profiles
        for scope in resource.scope_profiles
        for profile in scope.profiles
        for sample in profile.samples
    }


def sampled(sampler: Sampler, trace_ids: list[int]) -> set[int]:
    """The traces that a sampler of the SDK keeps."""
    decisions = {one: sampler.should_sample(None, one, "span").decision for one in trace_ids}
    return {one for one, decision in decisions.items() if decision is Decision.RECORD_AND_SAMPLE}


@each_probability
def test_the_consistent_sampler(profiles: Profiles, trace_ids: list[int], probability: float) -> None:
    """The SDK's consistent sampler and ours keep the very same traces."""
    sampler = composite_sampler(composable_traceid_ratio_based(probability))
    assert sampled(sampler, trace_ids) == kept(profiles, sampling_probability=probability)


@each_probability
def test_the_threshold_of_a_tracestate(profiles: Profiles, trace_ids: list[int], probability: float) -> None:
    """The `th` that the SDK writes into a tracestate, copied into a rule, keeps the very same traces."""
    sampler = composite_sampler(composable_traceid_ratio_based(probability))
    state = sampler.should_sample(None, (1 << 128) - 1, "span").trace_state
    assert state is not None
    assert sampled(sampler, trace_ids) == kept(profiles, th=state["ot"].removeprefix("th:"))


@each_probability
def test_the_ratio_sampler_of_python(profiles: Profiles, trace_ids: list[int], probability: float) -> None:
    """Python's `TraceIdRatioBased` and the mode for it keep the very same traces."""
    sampler = TraceIdRatioBased(probability)
    assert sampled(sampler, trace_ids) == kept(profiles, sampling_probability=probability, mode="python")


def java_keeps(trace_id: int, probability: float) -> bool:
    """Java's `TraceIdRatioBasedSampler`, in numbers that do not wrap by themselves."""
    low = trace_id & ((1 << 64) - 1)
    signed = low - (1 << 64) if low >> 63 else low
    # Math.abs(Long.MIN_VALUE) is Long.MIN_VALUE.
    return (signed if signed == LONG_MIN else abs(signed)) < int(probability * 2.0**63)


def go_keeps(trace_id: int, probability: float) -> bool:
    """Go's `TraceIDRatioBased`."""
    return (trace_id & ((1 << 64) - 1)) >> 1 < int(probability * 2.0**63)


@each_probability
@pytest.mark.parametrize(("mode", "keeps"), [("java", java_keeps), ("go", go_keeps)])
def test_the_ratio_samplers_of_java_and_go(
    profiles: Profiles,
    trace_ids: list[int],
    probability: float,
    mode: str,
    keeps: Callable[[int, float], bool],
) -> None:
    """The modes for Java and Go keep what their samplers keep, by their public behaviour."""
    expected = {one for one in trace_ids if keeps(one, probability)}
    assert expected == kept(profiles, sampling_probability=probability, mode=mode)


def test_what_stays_stays_at_more(profiles: Profiles) -> None:
    """Traces that stay at a probability stay at every larger one."""
    nested = [kept(profiles, sampling_probability=p) for p in (0.001, 0.01, 0.1, 0.5, 1)]
    assert all(less <= more for less, more in pairwise(nested))
    assert TRACES == len(nested[-1])
