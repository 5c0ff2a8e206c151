"""Recording to a file, and replaying it: what came out of one otelprof goes into another."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections import Counter
from typing import TYPE_CHECKING

import grpc
import pytest

from otelprof._core import Profiles
from otelprof.testing.sink import Sink
from tests.e2e.harness import COMMAND, DATA, Client, exporter, one_pipeline, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RECORDINGS = sorted((DATA / "ebpf-linked").glob("*.otlp"))
NANOS = 10**9


@pytest.fixture
def sink() -> Iterator[Sink]:
    """Where replayed requests end."""
    with Sink() as sink:
        yield sink


def replay(*arguments: str, code: int = 0, **environment: str) -> str:
    """Run `otelprof replay`: what it said."""
    done = subprocess.run(  # noqa: S603 - our own program
        [COMMAND, "replay", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=environment or None,
    )
    assert code == done.returncode, done.stderr
    return done.stdout + done.stderr


def totals(bodies: list[bytes]) -> Counter[tuple[str, str, str]]:
    """What requests stand for, by service and sample type."""
    totals: Counter[tuple[str, str, str]] = Counter()
    for body in bodies:
        for row in Profiles.decode(body).summary:
            totals[row.service, row.sample_type, row.unit] += row.value
    return totals


@pytest.mark.parametrize("keys", [{}, {"compression": "zstd"}, {"sending_queue": {"batch": {}}}], ids=str)
def test_record_and_replay(sink: Sink, tmp_path: Path, keys: dict[str, object]) -> None:
    """What one otelprof records, another one receives from `replay`: totals are equal."""
    path = tmp_path / "recorded.otlp"
    bodies = [recording.read_bytes() for recording in RECORDINGS]
    config = one_pipeline(exporters={"file": {"path": str(path), **keys}})
    with running(config, tmp_path) as recorder, Client(recorder.endpoint) as client:
        for body in bodies:
            client.export(body)
    with running(one_pipeline(exporters={"otlp": exporter(sink.endpoint)}), tmp_path) as second:
        said = replay(str(path), "--endpoint", second.endpoint)
    assert "0 failed" in said
    assert totals(bodies) == totals([one.body for one in sink.taken])


def test_replay_of_other_formats(sink: Sink, tmp_path: Path) -> None:
    """Folded stacks and pprof become requests; what cannot be read is told, and the rest is sent."""
    folded = tmp_path / "a.folded"
    folded.write_text("main;leaf 3\nmain 1\n", encoding="utf-8")
    (tmp_path / "b.pprof").write_bytes(b"\x7fELF")
    pprof = min((DATA / "pprof").glob("*.pb.gz"))
    shutil.copy(pprof, tmp_path / "c.pb.gz")
    said = replay(str(tmp_path), "--endpoint", sink.endpoint, code=1)
    assert "2 accepted, 1 failed" in said
    assert "b.pprof: it is in no format that is known" in said
    assert [
        Profiles.from_folded(folded.read_bytes()).to_otlp(),
        Profiles.from_pprof(pprof.read_bytes()).to_otlp(),
    ] == [one.body for one in sink.taken]


def test_restamp(sink: Sink) -> None:
    """Restamped, every request ends when it was sent, and lasts as long as before."""
    before = time.time_ns()
    replay(*map(str, RECORDINGS), "--restamp", "--endpoint", sink.endpoint)
    after = time.time_ns()
    for path, taken in zip(RECORDINGS, sink.taken, strict=True):
        recorded, sent = Profiles.decode(path.read_bytes()), Profiles.decode(taken.body)
        assert recorded.window is not None
        assert sent.window is not None
        assert before <= sent.window[1] <= after
        assert recorded.window[1] - recorded.window[0] == sent.window[1] - sent.window[0]
        assert recorded.fold() == sent.fold()


def test_rate(sink: Sink) -> None:
    """Requests are begun by a schedule: twenty-one of them at forty a second take half a second."""
    path = str(RECORDINGS[0])
    started = time.monotonic()
    replay(path, "--repeat", "21", "--rate", "40", "--concurrency", "4", "--endpoint", sink.endpoint)
    assert 0.5 <= time.monotonic() - started
    assert 21 == len(sink.taken)


def test_torn_recording(sink: Sink, tmp_path: Path) -> None:
    """A torn recording is replayed up to its last whole record, and what is left of the next is told."""
    path = tmp_path / "recorded.otlp"
    config = one_pipeline(exporters={"file": {"path": str(path)}})
    with running(config, tmp_path) as recorder, Client(recorder.endpoint) as client:
        for recording in RECORDINGS[:3]:
            client.export(recording.read_bytes())
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    said = replay(str(path), "--endpoint", sink.endpoint)
    assert "2 accepted, 0 failed" in said
    assert "recorded.otlp is torn: its last" in said.replace("\n", " ")


@pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl, which makes the certificates, is not here"
)
def test_replay_over_tls(tmp_path: Path) -> None:
    """`--tls` trusts the system's certificates, and nobody else."""
    key, chain = tmp_path / "key.pem", tmp_path / "chain.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-days", "2"]
    subprocess.run(  # noqa: S603 - a test's own
        [*command, *names, "-keyout", str(key), "-out", str(chain)],
        check=True,
        capture_output=True,
        timeout=20,
    )
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), chain.read_bytes())])
    with Sink(credentials=credentials) as sink:
        arguments = (str(RECORDINGS[0]), "--tls", "--endpoint", f"localhost:{sink.port}")
        trusted = replay(*arguments, GRPC_DEFAULT_SSL_ROOTS_FILE_PATH=str(chain))
        assert "1 accepted, 0 failed" in trusted
        assert [RECORDINGS[0].read_bytes()] == [one.body for one in sink.taken]
        assert "1 UNAVAILABLE" in replay(*arguments, code=1)
        assert "1 UNAVAILABLE" in replay(*(one for one in arguments if one != "--tls"), code=1)
        assert 1 == len(sink.requests)
