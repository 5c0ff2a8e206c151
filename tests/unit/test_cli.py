"""The command line: what it prints, where, and how it exits."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

from tests.unit.command import otelprof

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """
receivers:
  otlp: {protocols: {grpc: {endpoint: "127.0.0.1:4317"}}}
processors:
  memory_limiter: {limit_mib: 512}
exporters:
  debug:
  otlp: {endpoint: far:4317}
  otlp/unused: {endpoint: far:4317}
service:
  pipelines:
    profiles: {receivers: [otlp], processors: [memory_limiter], exporters: [debug, otlp]}
    profiles/raw: {receivers: [otlp], exporters: [debug]}
"""


def test_validate_good(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A good configuration prints its pipelines, warnings go to stderr, and the exit code is 0."""
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG, encoding="utf-8")

    assert otelprof(capsys, "validate", "--config", str(path)) == (
        0,
        "profiles: otlp → memory_limiter → debug, otlp\nprofiles/raw: otlp → debug\n",
        "warning: exporters.otlp/unused: is defined, but no pipeline uses it\n",
    )


def test_validate_explains_policies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What linkage and sampling will do is told in words, a line a rule, once a processor."""
    linkage = "linkage: {recover: [], unlinked: demote}"
    sampling = "sampling: {rules: [{match: {linked: true}, sampling_probability: 0.1, otherwise: demote}]}"
    config = CONFIG.replace("processors:\n", f"processors:\n  {linkage}\n  {sampling}\n", 1)
    config = config.replace("[memory_limiter]", "[memory_limiter, linkage]")
    config = config.replace("profiles/raw: {receivers: [otlp],", "profiles/raw: {receivers: [otlp], PLACE")
    config = config.replace("PLACE", "processors: [linkage, sampling],")
    path = tmp_path / "config.yaml"
    path.write_text(config, encoding="utf-8")
    code, out, _ = otelprof(capsys, "validate", "--config", str(path))

    assert (code, out.splitlines()) == (
        0,
        [
            "profiles: otlp → memory_limiter, linkage → debug, otlp",
            "profiles/raw: otlp → linkage, sampling → debug",
            "linkage: links are not recovered",
            "linkage: unlinked samples are demoted",
            "sampling: linked: 10 % of traces stay, the rest is demoted",
            "sampling: everything else stays",
        ],
    )


def test_validate_bad(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every problem is a line on stderr with its path and hint, without a traceback; the exit code is 1."""
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG.replace("limit_mib", "limit_mb").replace("[otlp]", "[otpl]"), encoding="utf-8")
    code, out, err = otelprof(capsys, "validate", "-c", str(path))

    assert (code, out) == (1, "")
    assert [line.split(": ")[:2] for line in err.splitlines()] == [
        ["error", "processors.memory_limiter.limit_mb"],
        ["error", "service.pipelines.profiles.receivers[0]"],
        ["error", "service.pipelines.profiles/raw.receivers[0]"],
    ]
    assert "(did you mean 'limit_mib'?)\n" in err
    assert err.endswith("'otpl' is not defined under receivers (did you mean 'otlp'?)\n")


def test_validate_expands_the_environment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Variables are those of the process."""
    monkeypatch.setenv("OTELPROF_TEST_ENDPOINT", "nowhere")
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG.replace("far:4317", '"${env:OTELPROF_TEST_ENDPOINT}"', 1), encoding="utf-8")
    code, _, err = otelprof(capsys, "validate", "--config", str(path))

    assert code == 1
    assert err.startswith("error: exporters.otlp.endpoint: 'nowhere' is not an endpoint")


def test_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is not there is an error of one line."""
    path = tmp_path / "nowhere.yaml"

    assert otelprof(capsys, "validate", "--config", str(path)) == (
        1,
        "",
        f"error: {path} cannot be read: No such file or directory\n",
    )


def test_components(capsys: pytest.CaptureFixture[str]) -> None:
    """What is installed is listed by kind and type, with package and version."""
    code, out, err = otelprof(capsys, "components")
    package = f"otelprof {version('otelprof')}"

    assert (code, err) == (0, "")
    assert f"receiver   otlp                 {package}" in out.splitlines()
    assert f"processor  memory_limiter       {package}" in out.splitlines()
    assert f"exporter   debug                {package}" in out.splitlines()


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` prints the installed version."""
    assert otelprof(capsys, "--version") == (0, f"otelprof {version('otelprof')}\n", "")


def test_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """A command that is used wrongly exits with 2."""
    code, out, err = otelprof(capsys, "validate")

    assert (code, out) == (2, "")
    assert "--config" in err


@pytest.mark.parametrize(
    ("argument", "unwanted"),
    [
        ("--help", {"grpc", "pydantic", "yaml"}),
        ("components", {"otelprof.receiver.otlp", "otelprof._core", "grpc"}),
    ],
)
def test_imports(argument: str, unwanted: set[str]) -> None:
    """Help imports neither gRPC nor pydantic, and is quick; a list of components imports none of them."""
    code = (
        "import sys; from otelprof.cli.app import main\n"
        "try: main()\n"
        "except SystemExit: print(*sys.modules, file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", code, argument]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - ours
    imported = set(done.stderr.split())

    assert imported & unwanted == set()
    assert "otelprof.cli.app" in imported


def test_http_is_imported_where_it_is_used(tmp_path: Path) -> None:
    """A configuration that speaks gRPC alone carries no HTTP server and no HTTP client."""
    config = tmp_path / "otelprof.yaml"
    config.write_text(
        "receivers: {otlp: {protocols: {grpc: {endpoint: 127.0.0.1:0}}}}\n"
        "exporters: {otlp: {endpoint: far:4317}}\n"
        "service: {pipelines: {profiles: {receivers: [otlp], exporters: [otlp]}}}\n",
        encoding="utf-8",
    )
    code = (
        "import sys; from pathlib import Path\n"
        "from otelprof.clock import SystemClock; from otelprof.telemetry.metrics import Metrics\n"
        "from otelprof.config.resolve import load_config; from otelprof.pipeline import Service\n"
        "service = Service(load_config(Path(sys.argv[1]), {}), Metrics(), SystemClock())\n"
        "service.start(); service.stop(); print(*sys.modules)\n"
    )
    command = [sys.executable, "-c", code, str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - ours
    imported = set(done.stdout.split())

    assert imported & {"uvicorn", "starlette", "h11", "httpx", "zstandard"} == set()
    assert "otelprof.receiver.otlp_grpc" in imported
