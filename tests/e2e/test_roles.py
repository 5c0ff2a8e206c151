"""The three roles of config/, each started as it is, with real requests from one end to the other."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest
import yaml

from otelprof._core import Profiles
from otelprof.testing.sink import Sink
from tests.e2e.harness import DATA, Client, Process

if TYPE_CHECKING:
    from collections.abc import Iterable

CONFIG: Final = Path(__file__).resolve().parents[2] / "config"
BODIES: Final = [path.read_bytes() for path in sorted((DATA / "ebpf-linked").glob("*.otlp"))]


def role(name: str) -> dict[str, Any]:
    """A role's configuration, with its references to the environment."""
    config: dict[str, Any] = yaml.safe_load((CONFIG / f"{name}.yaml").read_text(encoding="utf-8"))
    return config


def totals(bodies: Iterable[bytes]) -> Counter[tuple[str, str, str]]:
    """The sum of all values, by service, sample type and unit."""
    found: Counter[tuple[str, str, str]] = Counter()
    for body in bodies:
        for row in Profiles.decode(body).summary:
            found[row.service, row.sample_type, row.unit] += row.value
    return found


def send(process: Process) -> list[str]:
    """Send the recordings, by gRPC and HTTP in turn: the answers."""
    by_protocol = {line["protocol"]: line["endpoint"] for line in process.lines if "protocol" in line}
    url = f"http://{by_protocol['http']}/v1development/profiles"
    headers = {"content-type": "application/x-protobuf"}
    answers = []
    with Client(by_protocol["grpc"]) as client, httpx.Client(headers=headers) as http:
        for number, body in enumerate(BODIES):
            if number % 2:
                answers.append(http.post(url, content=body).reason_phrase)
            else:
                answers.append(client.export(body).code.name)
    return answers


def stop(process: Process) -> int:
    """Stop it, which delivers what it has: its exit code."""
    process.signal(signal.SIGTERM)
    return process.exit_code()


@pytest.fixture(autouse=True)
def _ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every role listens where nobody else does."""
    monkeypatch.setenv("OTELPROF_PORT", "0")
    monkeypatch.setenv("OTELPROF_HTTP_PORT", "0")
    monkeypatch.setenv("OTELPROF_METRICS_PORT", "0")


@pytest.mark.parametrize("name", ["sdk_target", "gateway"])
def test_in_front_of_a_back_end(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What profilers send comes to the back end with its totals, in fewer and smaller requests."""
    with Sink() as backend:
        monkeypatch.setenv("OTELPROF_BACKEND", backend.endpoint)
        with Process(role(name), tmp_path) as process:
            answers = send(process)
            code = stop(process)
        delivered = [request.body for request in backend.taken]
    assert (["OK"] * len(BODIES), 0) == (answers, code)
    assert totals(BODIES) == totals(delivered)
    assert len(delivered) < len(BODIES)
    assert sum(map(len, delivered)) < sum(map(len, BODIES))


def test_a_sidecar_before_a_gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the program through its sidecar and the gateway to the back end, totals stay."""
    folders = [tmp_path / name for name in ("gateway", "sidecar")]
    for folder in folders:
        folder.mkdir()
    with Sink() as backend:
        monkeypatch.setenv("OTELPROF_BACKEND", backend.endpoint)
        with Process(role("gateway"), folders[0]) as gateway:
            monkeypatch.setenv("OTELPROF_GATEWAY", gateway.endpoint)
            with Process(role("sidecar"), folders[1]) as sidecar:
                answers = send(sidecar)
                codes = [stop(sidecar), stop(gateway)]
        delivered = [request.body for request in backend.taken]
    assert (["OK"] * len(BODIES), [0, 0]) == (answers, codes)
    assert totals(BODIES) == totals(delivered)


def test_a_sidecar_never_holds_up_its_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a gateway that is away every request is taken; what does not fit is dropped, and counted."""
    config = role("sidecar")
    queue = config["exporters"]["otlp"]["sending_queue"]
    assert "drop_oldest" == queue["on_overflow"]
    queue["queue_size"], queue["batch"]["min_size"] = "1MiB", "1KiB"
    config["service"]["drain_timeout"] = "100ms"
    monkeypatch.setenv("OTELPROF_GATEWAY", "127.0.0.1:1")
    with Process(config, tmp_path) as process:
        answers = [answer for _ in range(4) for answer in send(process)]
        stop(process)
    assert ["OK"] * 4 * len(BODIES) == answers
    assert [event for event in process.events if event.startswith("samples were not delivered")]
