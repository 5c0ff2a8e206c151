"""The laws of decisions by the tracing side: the core knows what its twin knows, and says it on Samples."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from otelprof._core import Limits, Policy, Profiles, TraceDecisions
from otelprof.errors import InvalidRequestError, RequestTooLargeError
from tests.reference.build import Build
from tests.reference.compare import on_the_wire
from tests.reference.meaning import bag
from tests.reference.pieces import parts
from tests.reference.policies import RULES, traced_requests
from tests.reference.policy import PlainRule, policy, traces_asked_for
from tests.reference.selected import assert_selected, key_of
from tests.reference.traces import PlainDecisions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypothesis.strategies import DrawFn
    from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
        ExportProfilesServiceRequest,
    )

    from tests.reference.meaning import Bag, SampleMeaning

STATE, SPAN_NAME = "otelprof.trace.state", "otelprof.span.name"
MIB = 1 << 20
IDS = [number.to_bytes(16) for number in range(1, 5)]
SPAN_IDS = [number.to_bytes(8) for number in range(1, 4)]
BAD_IDS = [b"", bytes(8), bytes(16), b"short"]
NAMES = ["", "GET /", "poll", "é" * 200]
STATUSES = [Status(), Status(code=Status.STATUS_CODE_OK), Status(code=Status.STATUS_CODE_ERROR, message="no")]


@st.composite
def trace_requests(
    draw: DrawFn, trace_ids: Sequence[bytes] = IDS, span_ids: Sequence[bytes] = SPAN_IDS
) -> ExportTraceServiceRequest:
    """A request of few traces, with some spans that are to be refused."""
    request = ExportTraceServiceRequest()
    for _ in range(draw(st.integers(0, 3))):
        group = request.resource_spans.add()
        for key, value in draw(st.lists(st.sampled_from([("service.name", "cart"), ("host", "a")]))):
            group.resource.attributes.add(key=key).value.string_value = value
        scope = group.scope_spans.add()
        for _ in range(draw(st.integers(0, 5))):
            scope.spans.add(
                trace_id=draw(st.sampled_from([*trace_ids, *trace_ids, *BAD_IDS])),
                span_id=draw(st.sampled_from([*span_ids, *span_ids, *BAD_IDS])),
                name=draw(st.sampled_from(NAMES)),
                start_time_unix_nano=draw(st.integers(0, 20)),
                end_time_unix_nano=draw(st.one_of(st.integers(0, 20), st.just(2**64 - 1))),
                status=draw(st.sampled_from(STATUSES)),
            )
    return request


def observed(requests: Sequence[ExportTraceServiceRequest]) -> tuple[TraceDecisions, PlainDecisions]:
    """Core and twin, having heard the same, and having told the same of it."""
    known, decisions = TraceDecisions(max_bytes=MIB, window_secs=60), PlainDecisions()
    for number, request in enumerate(requests):
        before, errors = len(decisions.traces), sum(one.is_error for one in decisions.traces.values())
        body = request.SerializeToString()
        services, refused = decisions.observe(body)
        told = known.observe(gzip.compress(body) if number % 2 else body, now_secs=number)

        assert (services, refused) == (told.spans_by_service, told.rejected)
        assert services.total() == told.span_count
        assert len(decisions.traces) - before == told.trace_count
        assert sum(one.is_error for one in decisions.traces.values()) - errors == told.error_count
    return known, decisions


def seen(known: TraceDecisions, trace_id: bytes) -> tuple[bool, int] | None:
    """What the core knows of a trace."""
    state = known.state(trace_id)
    return state and (state.is_error, state.duration_nanos)


@given(st.lists(trace_requests(), max_size=4))
def test_known(requests: list[ExportTraceServiceRequest]) -> None:
    """Errors, durations and names of spans are those of all that was heard, in however many requests."""
    known, decisions = observed(requests)

    assert len(decisions.traces) == known.trace_count
    for trace_id in IDS:
        plain = decisions.traces.get(trace_id)
        assert (plain and (plain.is_error, plain.duration_nanos)) == seen(known, trace_id)
        for span_id in SPAN_IDS:
            assert decisions.names.get((trace_id, span_id)) == known.span_name(trace_id, span_id)


@given(st.data(), traced_requests(), RULES)
def test_policy_by_traces(data: Any, request: ExportProfilesServiceRequest, rules: list[PlainRule]) -> None:
    """Rules that ask for traces match by what is known; what is known is said on the Samples that stay."""
    links = [link for link in request.dictionary.link_table if any(link.trace_id)]
    ids = [link.trace_id for link in links] or IDS
    known, decisions = observed(data.draw(st.lists(trace_requests(ids, [b"spanspan"]), max_size=2)))
    profiles = Profiles.decode(request.SerializeToString())
    selected = assert_selected(profiles, rules, known, decisions)

    plain = parts(on_the_wire(selected.profiles))
    annotated = parts(on_the_wire(profiles.select(policy(rules), known).profiles))
    least = min(
        (rule.slower_than_nanos for rule in rules if rule.slower_than_nanos is not None), default=None
    )
    assert [
        [
            sample._replace(attributes=annotated_attributes(sample, decisions, least))
            for sample in part.samples
        ]
        for part in plain
    ] == [list(part.samples) for part in annotated]
    assert [part.head for part in plain] == [part.head for part in annotated]


def annotated_attributes(sample: SampleMeaning, decisions: PlainDecisions, least: int | None) -> Bag:
    """The attributes of a Sample with what is known of its trace."""
    trace = decisions.traces.get(sample.link[0]) if sample.link else None
    if trace is None or sample.link is None:
        return sample.attributes
    state = "slow" if least is not None and trace.duration_nanos > least else "kept"
    texts = {STATE: "error" if trace.is_error else state, SPAN_NAME: decisions.names.get(sample.link)}
    own = [one for one, count in sample.attributes for _ in range(count) if key_of(one) not in texts]
    return bag([*own, *((key, ("string_value", text), "") for key, text in texts.items() if text)])


@given(st.data(), traced_requests(), RULES)
def test_pending(data: Any, request: ExportProfilesServiceRequest, rules: list[PlainRule]) -> None:
    """A request is decided when every trace is known that a rule asks for, in whichever order they come."""
    profiles = Profiles.decode(request.SerializeToString())
    pending = profiles.pending_traces(policy(rules))
    asked = traces_asked_for(request, rules)
    known = TraceDecisions(max_bytes=MIB, window_secs=60)
    heard = set[bytes]()

    assert 16 * len(asked) == pending.memory_bytes
    assert pending.are_decided(known) == (not asked)
    for trace_id in data.draw(st.permutations(sorted(asked | {IDS[0]}))):
        span = ExportTraceServiceRequest()
        span.resource_spans.add().scope_spans.add().spans.add(trace_id=trace_id, span_id=b"spanspan")
        known.observe(span.SerializeToString(), now_secs=0)
        heard.add(trace_id)
        assert pending.are_decided(known) == (asked <= heard)


@given(st.lists(st.tuples(st.sampled_from(IDS), st.floats(0, 30)), min_size=1, max_size=30))
def test_window(moments: list[tuple[bytes, float]]) -> None:
    """A trace is known for the window after it was last heard of, and an eighth more at the most."""
    window_secs = 8.0
    known = TraceDecisions(max_bytes=MIB, window_secs=window_secs)
    last: dict[bytes, float] = {}
    now = 0.0
    for trace_id, passed in moments:
        now += passed
        span = ExportTraceServiceRequest()
        span.resource_spans.add().scope_spans.add().spans.add(trace_id=trace_id, span_id=SPAN_IDS[0])
        known.observe(span.SerializeToString(), now)
        last[trace_id] = now
        for one, heard in last.items():
            is_known = known.state(one) is not None
            assert is_known or now >= heard + window_secs
            assert not is_known or now <= heard + window_secs * 9 / 8


def test_attribute_limit() -> None:
    """A Sample with as many attributes as a reader takes stays as it is; one that was annotated is again."""
    build = Build()
    profile = build.profile(build.scope())
    for count in (256, 255, 254):
        attributes = {f"key {number}": number for number in range(count)}
        build.sample(profile, 1, link=(IDS[0], SPAN_IDS[0]), attributes=attributes)
    known = TraceDecisions(max_bytes=MIB, window_secs=60)
    span = ExportTraceServiceRequest()
    span.resource_spans.add().scope_spans.add().spans.add(trace_id=IDS[0], span_id=SPAN_IDS[0], name="GET /")
    known.observe(span.SerializeToString(), now_secs=0)
    once = Profiles.decode(build.body).select(Policy([]), known).profiles
    twice = Profiles.decode(once.to_otlp()).select(Policy([]), known).profiles

    for profiles in (once, twice):
        assert [] == list(Profiles.decode(profiles.to_otlp()).rejections)
        (annotated,) = parts(on_the_wire(profiles))
        assert [256, 255, 256] == [len(sample.attributes) for sample in annotated.samples]


def test_limits() -> None:
    """A request that is too large, has too many spans or is damaged is refused, and nothing known of it."""
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for trace_id in IDS:
        spans.add(trace_id=trace_id, span_id=SPAN_IDS[0])
    body = request.SerializeToString()
    known = TraceDecisions(max_bytes=MIB, window_secs=60)
    for limits in (Limits(max_body_bytes=len(body) - 1), Limits(max_table_entries=3)):
        with pytest.raises(RequestTooLargeError):
            known.observe(body, 0.0, limits)
    for damaged in (body[:-1], gzip.compress(body)[:-9], b"\x0a\x7f"):
        with pytest.raises(InvalidRequestError):
            known.observe(damaged, 0.0)
    assert 0 == known.trace_count
    assert len(IDS) == known.observe(body, 0.0, Limits(max_table_entries=4)).trace_count


@pytest.mark.parametrize(
    "arguments", [(1000, 60), (MIB, 0), (MIB, -1), (MIB, float("nan")), (MIB, float("inf"))]
)
def test_bounds(arguments: tuple[int, float]) -> None:
    """There is always a bound in bytes that holds something, and one in time."""
    with pytest.raises(ValueError, match="allowed"):
        TraceDecisions(max_bytes=arguments[0], window_secs=arguments[1])
