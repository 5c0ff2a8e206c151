"""`otelprof diagnose`: what is in the file, and above all what is not."""

from __future__ import annotations

import socket
import stat
from importlib.metadata import version
from typing import TYPE_CHECKING
from zipfile import ZipFile

import pytest
import yaml

from otelprof.clock import SystemClock
from otelprof.telemetry.metrics import Metrics
from otelprof.telemetry.process import observe_process
from otelprof.telemetry.server import MetricsServer
from tests.unit.command import otelprof

if TYPE_CHECKING:
    from pathlib import Path

SECRETS = {
    "TOKEN": "environment-token",
    "HASH_KEY": "environment-hash-key",
    "PATTERN": "environment-pattern",
    "SHARE": "0.4711",
    "TREATMENT": "mask",
    "PASSWORD": "environment-password",
    "TENANT": "environment-tenant",
    "HOST": "environment-host",
}
CONFIG = """
receivers:
  otlp: {protocols: {grpc: {endpoint: "127.0.0.1:GRPC"}}}
processors:
  linkage:
    min_linked_share: ${env:SHARE}
  redact:
    hash_key: literal-hash-key-of-24-chars
    symbols: [{pattern: "${env:PATTERN}", treatment: hash}]
    command_lines: "${env:TREATMENT}"
exporters:
  otlp/keys:
    endpoint: ${env:HOST}:4317
    headers: {Authorization: "Bearer ${env:TOKEN}", x-plain: literal-header, x-tenant: "${env:TENANT}"}
service:
  pipelines: {profiles: {receivers: [otlp], processors: [linkage, redact], exporters: [otlp/keys]}}
  telemetry:
    metrics: {endpoint: "127.0.0.1:METRICS"}
    profiles: {pyroscope: {basic_auth_password: "${env:PASSWORD}", tags: {team: literal-team}}}
"""
LITERAL_SECRETS = ("literal-hash-key", "literal-header")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def diagnosed(
    folder: Path, capsys: pytest.CaptureFixture[str], config: str = CONFIG, metrics_port: int | None = None
) -> dict[str, str]:
    """The files that the command collects, by name."""
    path, output = folder / "otelprof.yaml", folder / "diagnosis.zip"
    text = config.replace("GRPC", str(free_port())).replace("METRICS", str(metrics_port or free_port()))
    path.write_text(text, encoding="utf-8")
    code, _, err = otelprof(capsys, "diagnose", "--config", str(path), "-o", str(output))
    assert (0, "") == (code, err)
    assert 0o600 == stat.S_IMODE(output.stat().st_mode)
    with ZipFile(output) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_no_secret_is_in_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither a literal secret nor the value of any variable is in any file, whatever became of it."""
    files = diagnosed(tmp_path, capsys)
    whole = "\n".join(files.values())
    # The treatment's value is a word of this program.
    values = [value for name, value in SECRETS.items() if name != "TREATMENT"]
    assert [] == [one for one in (*values, *LITERAL_SECRETS) if one in whole]


def test_the_configuration_is_resolved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The configuration has its defaults, and the names of variables where their values were."""
    config = yaml.safe_load(diagnosed(tmp_path, capsys)["configuration.yaml"])
    exporter = config["exporters"]["otlp/keys"]
    pyroscope = config["service"]["telemetry"]["profiles"]["pyroscope"]
    redact = config["processors"]["redact"]
    assert ("${env:HOST}:4317", "gzip", 10) == (
        exporter["endpoint"],
        exporter["compression"],
        exporter["sending_queue"]["num_consumers"],
    )
    assert ("${env:PASSWORD}", {"team": "literal-team"}) == (
        pyroscope["basic_auth_password"],
        pyroscope["tags"],
    )
    assert ("(cut)", "${env:TREATMENT}", [{"pattern": "${env:PATTERN}", "treatment": "hash"}]) == (
        redact["hash_key"],
        redact["command_lines"],
        redact["symbols"],
    )
    assert "${env:SHARE}" == config["processors"]["linkage"]["min_linked_share"]
    assert {"receivers": ["otlp"], "processors": ["linkage", "redact"], "exporters": ["otlp/keys"]} == (
        config["service"]["pipelines"]["profiles"]
    )


def test_a_configuration_that_cannot_be_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is wrong is told as `validate` does, but not what may repeat a variable or a secret."""
    config = CONFIG.replace("${env:SHARE}", "${env:TOKEN}").replace("hash_key", "hash_kay")
    config = config.replace("exporters: [otlp/keys]", "exporters: [otlp/kays]")
    files = diagnosed(tmp_path, capsys, config)
    assert [
        "error: processors.linkage.min_linked_share: (cut: the value comes from the environment)",
        (
            "error: processors.redact.hash_kay: is not a known key; known are attributes, command_lines, "
            "file_paths, symbols, hash_key (did you mean 'hash_key'?)"
        ),
        (
            "error: service.pipelines.profiles.exporters[0]: 'otlp/kays' is not defined under exporters "
            "(did you mean 'otlp/keys'?)"
        ),
    ] == files["problems.txt"].splitlines()
    whole = "\n".join(files.values())
    assert [] == [one for one in (*SECRETS.values(), *LITERAL_SECRETS) if one in whole and one != "mask"]


@pytest.mark.parametrize("content", ["a: [", "exporters: 1", "- a", ""])
def test_a_file_that_is_no_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    """Whatever the file holds, the rest is collected."""
    files = diagnosed(tmp_path, capsys, content)
    assert files["problems.txt"].startswith("error: ")
    assert f"otelprof {version('otelprof')}" == files["versions.txt"].splitlines()[0]


def test_versions_are_those_of_otelprof(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Dependencies and their dependencies are listed, the environment's other packages are not."""
    packages = {line.split(" ")[0] for line in diagnosed(tmp_path, capsys)["versions.txt"].splitlines()}
    assert {"core", "grpcio", "pydantic", "pydantic_core", "CPython"} <= packages


def test_a_running_instance_is_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Metrics are those of the instance that answers; that one does not is said, without its address."""
    metrics = Metrics()
    observe_process(metrics, SystemClock())
    server = MetricsServer("127.0.0.1", 0, metrics)
    server.start()
    try:
        running = diagnosed(tmp_path, capsys, metrics_port=server.port)
    finally:
        server.shutdown()
    (tmp_path / "diagnosis.zip").unlink()
    stopped = diagnosed(tmp_path, capsys)
    assert "# TYPE otelcol_process_uptime " in running["metrics.txt"]
    assert "no answer: Connection refused\n" == stopped["metrics.txt"]
    assert "receivers.otlp: UNAVAILABLE\n" == stopped["health.txt"]


def test_the_readme_names_every_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A user who opens the file can see what each part is."""
    files = diagnosed(tmp_path, capsys)
    readme = files.pop("README.txt")
    assert list(files) == [line.partition(":")[0] for line in readme.splitlines()[2:]]


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is there stays as it is."""
    output = tmp_path / "mine.zip"
    output.write_text("mine", encoding="utf-8")
    code, _, err = otelprof(capsys, "diagnose", "--config", "nowhere.yaml", "--output", str(output))
    assert (2, "mine") == (code, output.read_text(encoding="utf-8"))
    assert "File exists" in " ".join(err.replace("│", "").split())
