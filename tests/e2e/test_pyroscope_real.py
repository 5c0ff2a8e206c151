"""A real Pyroscope server, where there is one: what is pushed is found again, by service, span and trace.

`OTELPROF_PYROSCOPE_URL` names it, as http://127.0.0.1:4040; `OTELPROF_PYROSCOPE_TENANT` the tenant, where
there are several. What the test writes stands under labels of its own.
"""

from __future__ import annotations

import os
import time
import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest

from otelprof._core import Profiles
from otelprof.exporter.pyroscope.config import PyroscopeExporterConfig
from otelprof.exporter.pyroscope.exporter import PyroscopeExporter
from otelprof.telemetry.pyroscope_metrics import PYROSCOPE_PUSHES
from otelprof.testing.contract import component_settings
from tests.counterparts import PYROSCOPE_URL
from tests.e2e.test_pyroscope_otlp import over_otlp
from tests.e2e.test_pyroscope_recordings import Totals, expected
from tests.recordings import name, recordings
from tests.reference.fold import SAFE

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.skipif(not PYROSCOPE_URL, reason="OTELPROF_PYROSCOPE_URL names no server"),
    pytest.mark.timeout(300),
]
TENANT: Final = os.environ.get("OTELPROF_PYROSCOPE_TENANT", "")
# One of each profiler and shape.
CHOSEN: Final = ("ebpf-linked/00001", "ebpf-uprobe/00001", "async-profiler/ap46-burn-wall")
MINUTE_MS: Final = 60_000


def query(method: str, run: str, **keys: Any) -> dict[str, Any]:
    """Ask the server about the last ten minutes."""
    now = int(time.time() * 1000)
    window = {"start": now - 10 * MINUTE_MS, "end": now + MINUTE_MS}
    body = {**window, "label_selector": f'{{run="{run}"}}', "max_nodes": 1 << 20, **keys}
    url = f"{PYROSCOPE_URL}/querier.v1.QuerierService/{method}"
    headers = {"X-Scope-OrgID": TENANT} if TENANT else {}
    answer = httpx.post(url, json=body, headers=headers, timeout=30)
    assert 200 == answer.status_code, answer.text
    found: dict[str, Any] = answer.json()
    return found


def own_values(flame_graph: dict[str, Any]) -> Counter[str]:
    """Self values by function: the names, and bars of four numbers a level."""
    found: Counter[str] = Counter()
    for level in flame_graph["levels"]:
        numbers = [int(number) for number in level["values"]]
        for at in range(0, len(numbers), 4):
            found[flame_graph["names"][numbers[at + 3]].translate(SAFE)] += numbers[at + 2]
    return +found


def by_leaf(totals: Totals, profile_type: str, *, span: str = "", trace: str = "") -> Counter[str]:
    """What the server should say: self values of one type, of one span or trace."""
    found: Counter[str] = Counter()
    for (kind, stack, span_id, trace_id), value in totals.items():
        if kind == profile_type and span in {"", span_id} and trace in {"", trace_id}:
            found[stack[0]] += value
    return +found


def push(path: Path, run: str, **keys: Any) -> Totals:
    """Push a recording as if it were of now; what it holds."""
    profiles = Profiles.decode(path.read_bytes()).link(["process.context.label.trace_id"]).profiles
    end = profiles.window[1] if profiles.window else 0
    moved = profiles.shifted(int(time.time() * 1e9) - end)
    settings = component_settings()
    told = {"endpoint": PYROSCOPE_URL, "external_labels": {"run": run}, "tenant_id": TENANT, **keys}
    exporter = PyroscopeExporter(PyroscopeExporterConfig.model_validate(told), settings)
    exporter.start()
    try:
        exporter.export(moved)
    finally:
        exporter.shutdown()
    assert 0 == settings.metrics.value(PYROSCOPE_PUSHES, exporter="contract", outcome="refused")
    return expected(moved)


@pytest.mark.parametrize("recording", CHOSEN)
@pytest.mark.parametrize(
    "keys", [{}, {"max_profile_samples": 20}, {"mode": "otlp"}], ids=["whole", "in pieces", "otlp"]
)
def test_totals(recording: str, keys: dict[str, Any]) -> None:
    """By type, the server's self values of every function are those of the recording."""
    run = uuid.uuid4().hex
    path = next(path for path in recordings() if name(path) == recording)
    totals = push(path, run, **keys)
    for profile_type in {kind for kind, *_ in totals}:
        told = over_otlp(profile_type) if "mode" in keys else profile_type
        answer = query("SelectMergeStacktraces", run, profile_typeID=told)
        assert by_leaf(totals, profile_type) == own_values(answer["flamegraph"])


@pytest.mark.parametrize("mode", ["push", "otlp"])
def test_spans_and_traces(mode: str) -> None:
    """A span's samples are found by its id, as Grafana asks for them, and a trace's by its own."""
    run = uuid.uuid4().hex
    totals = push(next(path for path in recordings() if name(path) == CHOSEN[0]), run, mode=mode)
    spans = sorted({key[2:] for key in totals if key[2]})[:5]
    assert spans
    kind = "process_cpu:cpu:nanoseconds:cpu:nanoseconds"
    for span, trace in spans:
        answer = query("SelectMergeSpanProfile", run, profile_typeID=kind, span_selector=[span])
        assert by_leaf(totals, kind, span=span) == own_values(answer["flamegraph"])
        answer = query("SelectMergeStacktraces", run, profile_typeID=kind, trace_id_selector=[trace])
        assert by_leaf(totals, kind, trace=trace) == own_values(answer["flamegraph"])


def test_names_and_labels() -> None:
    """The types and labels are those that a data source lists without asking for more."""
    run = uuid.uuid4().hex
    push(next(path for path in recordings() if name(path) == CHOSEN[0]), run)
    matchers = [f'{{run="{run}"}}']
    answer = query("Series", run, matchers=matchers, labelNames=["service_name", "__profile_type__"])
    found = [{label["name"]: label["value"] for label in one["labels"]} for one in answer["labelsSet"]]

    assert {"process_cpu:cpu:nanoseconds:cpu:nanoseconds"} == {one["__profile_type__"] for one in found}
    assert "unknown_service:httpsvc.bin" in {one["service_name"] for one in found}
    names = query("LabelNames", run, matchers=matchers)["names"]
    assert {"service_name", "run"} <= set(names)
    assert not {"span_id", "trace_id"} & set(names)
