"""Names and labels in Pyroscope: what Grafana looks for, and nothing that the server refuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelprof.exporter.pyroscope.labels import LabelRules, labels
from otelprof.exporter.pyroscope.names import Kind, naming
from tests.reference.pyroscope import MAX_LABELS, judge
from tests.unit.test_pyroscope_rules import NOW, good_pprof, good_request

NANOS = ("cpu", "nanoseconds")
HEAP = (
    ("alloc_objects", "count"),
    ("alloc_space", "bytes"),
    ("inuse_objects", "count"),
    ("inuse_space", "bytes"),
)


def ids(
    sample_types: tuple[Kind, ...], period_type: Kind, period: int, **names: str
) -> list[tuple[str, int]]:
    """The profile types that a pprof becomes, with their factors."""
    found = naming(sample_types, period_type, period, names)
    return [
        (":".join((found.name, name, unit, *found.period_type)), factor)
        for name, unit, factor in found.sample_types
    ]


@pytest.mark.parametrize(
    ("sample_types", "period_type", "period", "expected"),
    [
        # eBPF: counts of samples
        (
            [("samples", "count")],
            NANOS,
            50_000_000,
            [("process_cpu:cpu:nanoseconds:cpu:nanoseconds", 50_000_000)],
        ),
        (
            [("samples", "count")],
            ("cpu", "ms"),
            50,
            [("process_cpu:cpu:nanoseconds:cpu:nanoseconds", 50_000_000)],
        ),
        # Go: counts beside time
        (
            [("samples", "count"), NANOS],
            NANOS,
            10_000_000,
            [
                ("process_cpu:samples:count:cpu:nanoseconds", 1),
                ("process_cpu:cpu:nanoseconds:cpu:nanoseconds", 1),
            ],
        ),
        ([NANOS], ("", ""), 0, [("process_cpu:cpu:nanoseconds:cpu:nanoseconds", 1)]),
        # async-profiler, and its converter
        (
            [("perf_events", "count")],
            ("perf_events", "ns"),
            7,
            [("process_cpu:cpu:nanoseconds:cpu:nanoseconds", 7)],
        ),
        ([("ctimer", "ns")], ("ctimer", "ns"), 7, [("process_cpu:cpu:nanoseconds:cpu:nanoseconds", 1)]),
        ([("cpu", "count")], NANOS, 7, [("process_cpu:cpu:nanoseconds:cpu:nanoseconds", 7)]),
        ([("cpu", "count")], ("", ""), 0, [("process_cpu:cpu:count::", 1)]),
        ([("wall", "count")], ("wall", "ns"), 7, [("wall:wall:nanoseconds:wall:nanoseconds", 7)]),
        (
            [("object_sampler", "count")],
            ("object_sampler", "bytes"),
            7,
            [("memory:alloc_in_new_tlab_objects:count:space:bytes", 1)],
        ),
        (
            [("allocations", "bytes")],
            ("allocations", "bytes"),
            7,
            [("memory:alloc_in_new_tlab_bytes:bytes:space:bytes", 1)],
        ),
        ([("lock_tracer", "ns")], ("lock_tracer", "ns"), 7, [("mutex:delay:nanoseconds:mutex:count", 1)]),
        (HEAP, ("space", "bytes"), 512, [(f"memory:{name}:{unit}:space:bytes", 1) for name, unit in HEAP]),
        (HEAP[2:], ("inuse_space", "bytes"), 512, [(f"memory:{n}:{u}:space:bytes", 1) for n, u in HEAP[2:]]),
        (
            [("contentions", "count"), ("delay", "nanoseconds")],
            ("contentions", "count"),
            1,
            [
                ("block:contentions:count:contentions:count", 1),
                ("block:delay:nanoseconds:contentions:count", 1),
            ],
        ),
        ([("goroutines", "count")], ("", ""), 0, [("goroutine:goroutine:count:goroutine:count", 1)]),
        # fgprof, Node
        (
            [("samples", "count"), ("time", "nanoseconds")],
            ("wallclock", "nanoseconds"),
            7,
            [("wall:samples:count:wall:nanoseconds", 1), ("wall:wall:nanoseconds:wall:nanoseconds", 1)],
        ),
        (
            [("samples", "count"), ("wall", "nanoseconds"), NANOS],
            ("wall", "nanoseconds"),
            7,
            [
                (f"wall:{one}:wall:nanoseconds", 1)
                for one in ("samples:count", "wall:nanoseconds", "cpu:nanoseconds")
            ],
        ),
        ([("off_cpu", "nanoseconds")], ("", ""), 0, [("off_cpu:off_cpu:nanoseconds::", 1)]),
        ([("events", "count")], ("", ""), 0, [("events:events:count::", 1)]),
        ([("a-b c", "")], ("d-e", "x"), 3, [("d_e:a_b_c:count:d_e:x", 1)]),
        # a period that is none
        ([("samples", "count")], NANOS, 0, [("process_cpu:samples:count:cpu:nanoseconds", 1)]),
        ([("samples", "count")], NANOS, -5, [("process_cpu:samples:count:cpu:nanoseconds", 1)]),
        ([("samples", "count")], ("cpu", "s"), 2**40, [("process_cpu:samples:count:cpu:s", 1)]),
    ],
)
def test_names(
    sample_types: list[Kind], period_type: Kind, period: int, expected: list[tuple[str, int]]
) -> None:
    """Each profiler's types become those that Pyroscope's own clients send."""
    assert expected == ids(tuple(sample_types), period_type, period)


def test_a_name_that_was_chosen() -> None:
    """What the configuration says goes before what is known of a type."""
    assert (
        "mutex:delay:nanoseconds:contentions:count"
        == ids(
            (("contentions", "count"), ("delay", "nanoseconds")), ("contentions", "count"), 1, delay="mutex"
        )[1][0]
    )


WORDS = st.text(max_size=6) | st.sampled_from(("cpu", "samples", "count", "ns", "wall", "a-b", "alloc_space"))
KINDS = st.tuples(WORDS, WORDS)


@given(st.lists(KINDS, min_size=1, max_size=3), KINDS, st.sampled_from((0, 1, -1, 2**63 - 1, -(2**63))))
def test_every_name_is_taken(sample_types: list[Kind], period_type: Kind, period: int) -> None:
    """Whatever a profile's types are called, the server takes the name, and it has five parts."""
    for found, factor in ids(tuple(sample_types), period_type, period):
        name, kind, unit, *_ = found.split(":")
        assert 5 == len(found.split(":"))
        assert name
        assert kind
        assert unit
        assert "-" not in found
        assert 0 < factor < 2**63


RULES = LabelRules(("k8s.pod.name", "k8s.pod-name", "a.b"), {"cluster": "eu"})


def test_labels() -> None:
    """Attributes of the list become labels, dots become underscores, and nothing else gets through."""
    resource = {
        "service.name": "cart",
        "k8s.pod.name": "p",
        "process.command_line": "--password x",
        "a.b": "",
    }
    found = labels("process_cpu", resource, RULES)

    expected = {"__name__": "process_cpu", "service_name": "cart", "cluster": "eu", "k8s_pod_name": "p"}
    assert expected == dict(found.pairs)
    assert (0, 0) == (found.cut, found.left_out)


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        ({"service.name": "cart", "process.executable.name": "java"}, "cart"),
        ({"service.name": "", "process.executable.name": "java"}, "unknown_service:java"),
        ({}, "unknown_service"),
    ],
)
def test_service_name(resource: dict[str, str], expected: str) -> None:
    """A service without a name is called by its program."""
    assert expected == dict(labels("x", resource, RULES).pairs)["service_name"]


def test_labels_that_do_not_fit() -> None:
    """A second label of a name, a long value and a thirty-first label are counted; the rest is there."""
    rules = LabelRules([f"a{n}" for n in range(40)] + ["b.c", "b-c"], {}, MAX_LABELS)
    many = labels("x", {f"a{n}": "v" for n in range(40)}, rules)
    doubled = labels("x", {"b.c": "1", "b-c": "2", "a1": "é" * 2000}, rules)

    assert (30, 12) == (len(many.pairs), many.left_out)
    assert (1, 1) == (doubled.cut, doubled.left_out)
    assert ("1", "é" * 1024) == (dict(doubled.pairs)["b_c"], dict(doubled.pairs)["a1"])


@given(
    st.dictionaries(
        st.sampled_from([*"abc", "a.b", "é", "1", "a-b"]), st.text(max_size=5) | st.just("é" * 2000)
    )
)
def test_every_label_is_taken(resource: dict[str, str]) -> None:
    """Whatever a resource holds, the server takes its labels."""
    rules = LabelRules([*"abc", "a.b", "é", "1", "a-b"], {}, 4)
    request = good_request(good_pprof())
    del request.series[0].labels[:]
    for name, value in labels("process_cpu", resource, rules).pairs:
        request.series[0].labels.add(name=name, value=value)

    assert 200 == judge(request.SerializeToString(), NOW).status
