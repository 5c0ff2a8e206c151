"""`mode: otlp` of the `pyroscope` exporter: the server's intake gets nothing that it refuses or loses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest

from otelprof._core import Profiles
from otelprof.errors import OverloadedError, PermanentError, UnavailableError
from otelprof.exporter.pyroscope.config import PyroscopeExporterConfig
from otelprof.exporter.pyroscope.otlp import as_otlp
from otelprof.exporter.pyroscope.series import SeriesMaker
from otelprof.telemetry.pyroscope_metrics import PYROSCOPE_LOST_SAMPLES
from otelprof.testing.clock import SimulatedClock
from otelprof.testing.sink import Sink, SinkAnswer
from tests.e2e.test_pyroscope_exporter import exporting, profiles
from tests.e2e.test_pyroscope_recordings import Totals, expected
from tests.recordings import name, recordings
from tests.reference.compare import on_the_wire
from tests.reference.fold import SAFE
from tests.reference.pyroscope_otlp import RefusedError, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def sink() -> Iterator[Sink]:
    """A server that speaks OTLP."""
    with Sink() as sink:
        yield sink


def over_otlp(profile_type: str) -> str:
    """A profile type over OTLP: but for CPU and off-CPU time, the period's name is `__name__`."""
    named, kind, unit, period, period_unit = profile_type.split(":")
    if named in {"process_cpu", "off_cpu"}:
        return profile_type
    del period
    return ":".join((named, kind, unit, named, period_unit or unit))


@pytest.mark.parametrize("path", recordings(), ids=name)
def test_totals(path: Path) -> None:
    """Every value of a recording is there, under its type, stack and span, and no request is refused."""
    profiles = Profiles.decode(path.read_bytes())
    config = PyroscopeExporterConfig.model_validate({"endpoint": "http://far", "mode": "otlp", "max_age": 0})
    maker, found = SeriesMaker(config, SimulatedClock(start_secs=2e9)), Totals()
    for piece in maker.pieces(profiles):
        for _, series in maker.series(piece):
            assert series is not None
            for one in judge(on_the_wire(as_otlp(series))):
                stack = tuple(frame.translate(SAFE) for frame in one.stack)
                found[one.profile_type, stack, one.span_id, one.trace_id] += one.value
    wanted = Totals()
    for (kind, *rest), value in expected(profiles).items():
        wanted[over_otlp(kind), *rest] += value  # type: ignore[index] # a key of four

    assert +wanted == found


def several_profiles(request: Any) -> None:
    """A second Profile."""
    scope = request.resource_profiles[0].scope_profiles[0]
    scope.profiles.append(scope.profiles[0])


def no_mappings(request: Any) -> None:
    """No mapping table."""
    del request.dictionary.mapping_table[:]


def many_attributes(request: Any) -> None:
    """More than fit beside the server's own labels."""
    for number in range(28):
        request.resource_profiles[0].resource.attributes.add(key=f"l{number}").value.string_value = "v"


def a_number(request: Any) -> None:
    """A label that is no text."""
    request.resource_profiles[0].resource.attributes.add(key="l").value.bool_value = True


def no_period(request: Any) -> None:
    """No period."""
    request.resource_profiles[0].scope_profiles[0].profiles[0].period = 0


def two_values(request: Any) -> None:
    """The shape of the specification's own examples."""
    request.resource_profiles[0].scope_profiles[0].profiles[0].samples[0].values.append(1)


def no_function(request: Any) -> None:
    """A frame by its address."""
    for location in request.dictionary.location_table:
        del location.lines[:]


@pytest.mark.parametrize(
    "change", [several_profiles, no_mappings, many_attributes, a_number, no_period, two_values, no_function]
)
def test_what_the_server_refuses(sink: Sink, change: Callable[[Any], None]) -> None:
    """The request that is sent is good, and with one thing wrong it is refused."""
    with exporting(sink, endpoint=f"http://{sink.endpoint}", mode="otlp") as (exporter, _):
        exporter.export(profiles())
    request = sink.taken[0].parsed()
    assert [3, 4] == [kept.value for kept in judge(request)]
    change(request)
    with pytest.raises(RefusedError):
        judge(request)


def test_tenant_and_labels(sink: Sink) -> None:
    """Tenant and credentials go as metadata, labels as attributes with underscores."""
    keys = {"endpoint": f"http://{sink.endpoint}", "mode": "otlp", "tenant_id": "t1", "bearer_token": "s"}
    with exporting(sink, **keys) as (exporter, _):
        exporter.export(profiles("a", "b"))
    metadata = [request.metadata for request in sink.taken]
    assert [("t1", "Bearer s")] * 2 == [(one["x-scope-orgid"], one["authorization"]) for one in metadata]
    kept = [one for request in sink.taken for one in judge(request.parsed())]
    assert {("a", "p"), ("b", "p")} == {
        (labels["service_name"], labels["k8s_pod_name"]) for labels in (dict(one.labels) for one in kept)
    }


@pytest.mark.parametrize(
    ("status", "error", "lost"),
    [
        (grpc.StatusCode.UNAVAILABLE, UnavailableError, ""),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, OverloadedError, ""),
        (grpc.StatusCode.INVALID_ARGUMENT, PermanentError, "refused"),
        (grpc.StatusCode.UNAUTHENTICATED, PermanentError, "refused"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, PermanentError, "unanswered"),
    ],
)
def test_failures(sink: Sink, status: grpc.StatusCode, error: type[Exception], lost: str) -> None:
    """A rate that is too high is tried again; what may be there is not."""
    sink.answer_always(SinkAnswer(status, "no"))
    with exporting(sink, endpoint=f"http://{sink.endpoint}", mode="otlp") as (exporter, counted):
        with pytest.raises(error):
            exporter.export(profiles())
        for reason in ("refused", "unanswered"):
            samples = counted.value(PYROSCOPE_LOST_SAMPLES, exporter="contract", reason=reason)
            assert 2 * (reason == lost) == samples
