"""From a client over real sockets into a store, and from there to a flame graph with the command line."""

from __future__ import annotations

import json
import subprocess
import time
from functools import partial
from typing import TYPE_CHECKING, Final

from otelprof._core import Profiles
from otelprof.clock import SystemClock
from otelprof.store.store import Store
from otelprof.store.writer import StoreWriter
from tests.e2e.harness import COMMAND, RECORDING, one_pipeline, running
from tests.e2e.s3_api import s3_api
from tests.reference.compare import on_the_wire
from tests.reference.query import folded, trace_of
from tests.reference.store import stored

if TYPE_CHECKING:
    from pathlib import Path

    from tests.reference.store import StoredRow

FLUSH_SECS: Final = 30.0


def otelprof(*arguments: str) -> str:
    """What a command prints on stdout."""
    done = subprocess.run(  # noqa: S603 - our own program
        [COMMAND, *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    assert (0, "") == (done.returncode, done.stderr if done.returncode else "")
    return done.stdout


def _is_of(trace_id: str, row: StoredRow) -> bool:
    return trace_of(row) == trace_id


def test_a_store_behind_an_s3_api() -> None:
    """The options of the object store reach it."""
    body = RECORDING.read_bytes()
    with s3_api() as options:
        StoreWriter(Store("s3://profiles/store", options), SystemClock()).write(Profiles.decode(body))
        given = [f"--store-option={key}={value}" for key, value in options.items()]
        rows = json.loads(otelprof("services", "--store", "s3://profiles/store", *given, "--format", "json"))
    profiles = Profiles.decode(body)
    assert {(row.service, row.sample_type) for row in profiles.summary} == {
        (row["service"], row["sample_type"]) for row in rows
    }


def test_the_flame_graph_of_every_trace_of_a_recording(tmp_path: Path) -> None:
    """What a profiler sent is in the store after a flush; its traces are drawn as the twin says."""
    store = str(tmp_path / "store")
    body = RECORDING.read_bytes()
    config = one_pipeline(exporters={"object_storage": {"url": store, "flush_interval": "50ms"}})
    with running(config, tmp_path) as service:
        assert "OK" == service.export(body).code.name
        deadline = time.monotonic() + FLUSH_SECS
        while not (tmp_path / "store" / "samples").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
    rows = stored(on_the_wire(Profiles.decode(body)), 0)
    traces = json.loads(otelprof("traces", "--store", store, "--top", "1000", "--format", "json"))
    assert {trace_of(row) for row in rows} - {None} == {trace["trace_id"] for trace in traces}
    for trace in traces[:2]:
        out = otelprof("flamegraph", "--store", store, "--trace-id", trace["trace_id"], "--format", "folded")
        key = (trace["sample_type"], trace["unit"])
        wanted = folded(rows, partial(_is_of, trace["trace_id"]))[key]
        assert wanted == {
            stack: int(value) for stack, _, value in (line.rpartition(" ") for line in out.splitlines())
        }
