"""The rules of a Pyroscope server: a good push, and what becomes of it with one thing wrong."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import pytest

from otelprof.exporter.pyroscope.push import push_request
from tests.reference.pprof import Profile
from tests.reference.pyroscope import PushRequest, judge

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = 1_790_000_000.0
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "00f067aa0ba902b7"


def good_pprof() -> Any:
    """A pprof of two samples, one of a span."""
    strings = ["", "cpu", "nanoseconds", "main", "work", "span_id", SPAN, "trace_id", TRACE, "thread", "n"]
    pprof = Profile(string_table=[text.encode() for text in strings], time_nanos=int(NOW * 1e9), period=1)
    pprof.sample_type.add(type=1, unit=2)
    pprof.period_type.type, pprof.period_type.unit = 1, 2
    for number in (1, 2):
        pprof.function.add(id=number, name=2 + number)
        pprof.location.add(id=number).line.add(function_id=number)
    pprof.sample.add(location_id=[2, 1], value=[30])
    linked = pprof.sample.add(location_id=[1], value=[12])
    linked.label.add(key=5, str=6)
    linked.label.add(key=7, str=8)
    return pprof


def good_request(pprof: Any | None = None) -> Any:
    """A push of it."""
    request = PushRequest()
    series = request.series.add()
    for name, value in (("__name__", "process_cpu"), ("service_name", "cart")):
        series.labels.add(name=name, value=value)
    series.samples.add(raw_profile=(pprof or good_pprof()).SerializeToString())
    return request


def test_a_good_push() -> None:
    """A good push is kept whole: each sample under its type, series and span."""
    verdict = judge(good_request().SerializeToString(), NOW)
    plain, linked = verdict.kept

    assert (200, "process_cpu:cpu:nanoseconds:cpu:nanoseconds") == (verdict.status, plain.profile_type)
    assert (("work", "main"), 30, "", "") == (plain.stack, plain.value, plain.span_id, plain.trace_id)
    assert (12, SPAN, TRACE) == (linked.value, linked.span_id, linked.trace_id)
    assert {("__name__", "process_cpu"), ("service_name", "cart")} == plain.labels == linked.labels


def test_our_bytes_are_the_same() -> None:
    """What the exporter writes by hand is what protobuf writes, whatever the lengths."""
    for size in (0, 1, 127, 128, 16_384, 300_000):
        request = PushRequest()
        series = request.series.add()
        series.labels.add(name="__name__", value="é" * (size % 2000))
        series.samples.add(raw_profile=b"x" * size)
        labels = [("__name__", "é" * (size % 2000))]
        assert request == PushRequest.FromString(push_request(tuple(labels), b"x" * size))


def labels_with(name: str, value: str) -> Callable[[Any], None]:
    """Add a label."""
    return lambda request: request.series[0].labels.add(name=name, value=value)


def many_labels(request: Any) -> None:
    """One more than a series may have."""
    for number in range(29):
        request.series[0].labels.add(name=f"l{number}", value="v")


def no_series(request: Any) -> None:
    """An empty request."""
    del request.series[:]


def no_name(request: Any) -> None:
    """A series without `__name__`."""
    del request.series[0].labels[0]


def garbage(request: Any) -> None:
    """What is no pprof."""
    request.series[0].samples[0].raw_profile = b"\x0a\xff"


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        (no_series, 400, "no profiles received"),
        (no_name, 400, "invalid metric name"),
        (labels_with("service_name", "again"), 400, "duplicate label name"),
        (labels_with("", "v"), 400, "label name"),
        (labels_with("k8s.pod.name", "v"), 400, "label name"),
        (labels_with("n" * 1025, "v"), 400, "label name"),
        (labels_with("l", "é" * 1025), 400, "label value"),
        (many_labels, 400, "31 labels"),
        (garbage, 500, "wireType"),
    ],
)
def test_requests(change: Callable[[Any], None], status: int, message: str) -> None:
    """A request with one thing wrong is refused, and nothing of it kept."""
    request = good_request()
    change(request)
    verdict = judge(request.SerializeToString(), NOW)

    assert (status, []) == (verdict.status, verdict.kept)
    assert message in verdict.message


def test_no_request() -> None:
    """What is no request is refused."""
    assert 400 == judge(b"\xff", NOW).status


def at(secs: float) -> Callable[[Any], None]:
    """Another time."""
    return lambda pprof: setattr(pprof, "time_nanos", int((NOW + secs) * 1e9))


def many_samples(count: int) -> Callable[[Any], None]:
    """So many samples."""

    def change(pprof: Any) -> None:
        del pprof.sample[:]
        for _ in range(count):
            pprof.sample.add(location_id=[1], value=[1])

    return change


def renamed(index: int, text: bytes) -> Callable[[Any], None]:
    """Another string."""

    def change(pprof: Any) -> None:
        pprof.string_table[index] = text

    return change


def large(size: int) -> Callable[[Any], None]:
    """A pprof of about this size."""
    return lambda pprof: pprof.string_table.append(b"x" * size)


def many_sample_labels(pprof: Any) -> None:
    """One more label than a sample may have."""
    for _ in range(101):
        pprof.sample[0].label.add(key=9, str=10)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (at(-59 * 60), 200),
        (at(-61 * 60), 400),
        (at(9 * 60), 200),
        (at(11 * 60), 400),
        (many_samples(16_000), 200),
        (many_samples(16_001), 400),
        (renamed(1, b"cpu-time"), 400),
        (renamed(3, b"\xff"), 400),
        (large(2_000_000), 200),
        (large(2_200_000), 429),
        (large(4_300_000), 400),
        (many_sample_labels, 400),
        (lambda pprof: setattr(pprof, "time_nanos", 0), 200),
        (many_samples(0), 200),
    ],
)
def test_profiles(change: Callable[[Any], None], status: int) -> None:
    """A pprof is refused for its time, size, samples, names and text, just beyond each limit."""
    pprof = good_pprof()
    change(pprof)
    request = good_request(pprof)
    assert status == judge(request.SerializeToString(), NOW).status


def test_what_is_lost_in_silence() -> None:
    """A negative value takes its sample along, a deep stack loses its leaf, numeric labels go."""
    pprof = good_pprof()
    pprof.sample_type.add(type=9, unit=10)
    pprof.sample[0].value.append(-1)
    pprof.sample[1].value.append(5)
    pprof.sample[1].location_id[:] = [2] + [1] * 1000
    pprof.sample[1].label.add(key=9, num=7)
    verdict = judge(good_request(pprof).SerializeToString(), NOW)

    assert (200, {"negative": 1, "deep": 1}) == (verdict.status, verdict.lost)
    assert [(12, ("main",) * 1000), (5, ("main",) * 1000)] == [(one.value, one.stack) for one in verdict.kept]


def test_labels_of_samples_become_labels_of_series() -> None:
    """Any other label of a sample than ids is one of its series; ids of a wrong length are none."""
    pprof = good_pprof()
    pprof.string_table[8] = b"00"
    pprof.sample[0].label.add(key=9, str=10)
    plain, linked = judge(good_request(pprof).SerializeToString(), NOW).kept

    assert ("thread", "n") in plain.labels
    assert (SPAN, "") == (linked.span_id, linked.trace_id)


def test_half_of_a_request() -> None:
    """Of several series the good ones are kept, and the answer is that of a bad one."""
    request = good_request()
    request.series.append(good_request().series[0])
    request.series[1].samples[0].raw_profile = gzip.compress(b"\x0a\xff")
    verdict = judge(request.SerializeToString(), NOW)

    assert (500, 2) == (verdict.status, len(verdict.kept))
