"""A stranger's exporter: built and installed as a package of its own, run and tested as its author would."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Final

import pytest

from otelprof._core import Profiles
from tests.e2e.harness import COMMAND, RECORDING, Client, Process, one_pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLE: Final = Path(__file__).resolve().parents[2] / "examples" / "webhook_exporter"
ARRIVAL_SECS: Final = 10.0


def run(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder, with what it says."""
    return subprocess.run(  # noqa: S603 - our own programs
        command, cwd=folder, capture_output=True, text=True, timeout=50, check=False
    )


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder outside of this repository with the package's sources, installed for every program started."""
    folder = tmp_path_factory.mktemp("stranger")
    shutil.copytree(EXAMPLE, folder / "source")
    quiet = ("--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-build-isolation")
    done = run(sys.executable, "-m", "pip", "install", *quiet, "--target", "site", "./source", folder=folder)
    assert (0, "") == (done.returncode, done.stderr)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder / "site"))
        yield folder


@pytest.fixture
def hook() -> Iterator[tuple[str, SimpleQueue[tuple[str, bytes]]]]:
    """A web hook: its URL, and what comes with which authorization."""
    taken = SimpleQueue[tuple[str, bytes]]()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            taken.put((self.headers["Authorization"], body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", taken
        server.shutdown()
        thread.join()


def test_it_is_listed(workshop: Path) -> None:
    """`otelprof components` shows the type, and whose it is."""
    done = run(COMMAND, "components", folder=workshop)
    assert f"exporter   {'webhook':<20} otelprof-webhook 0.1.0" in done.stdout.splitlines()


def test_it_runs(workshop: Path, tmp_path: Path, hook: tuple[str, SimpleQueue[tuple[str, bytes]]]) -> None:
    """A real otelprof delivers a recorded request through it, and never shows its secret."""
    assert os.environ["PYTHONPATH"] == str(workshop / "site")
    url, taken = hook
    body = RECORDING.read_bytes()
    config = one_pipeline(exporters={"webhook": {"url": url, "token": "s3cret"}})
    with Process(config, tmp_path) as process:
        with Client(process.endpoint) as client:
            answer = client.export(body)
        authorization, delivered = taken.get(timeout=ARRIVAL_SECS)
    assert ("OK", "Bearer s3cret") == (answer.code.name, authorization)
    assert Profiles.decode(body).to_otlp() == delivered
    assert "s3cret" not in str(process.lines)


def test_its_author_can_test_it(workshop: Path) -> None:
    """The contract suite passes in a folder that knows nothing of this repository's configuration."""
    command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error")
    done = run(*command, folder=workshop / "source")
    assert 0 == done.returncode, done.stdout
    assert "11 passed" in done.stdout.splitlines()[-1]


def test_the_contract_finds_what_is_wrong(workshop: Path) -> None:
    """An exporter that loses a request silently fails by name, in the same folder."""
    source = workshop / "source" / "test_otelprof_webhook.py"
    broken = source.read_text(encoding="utf-8").replace("    factory,\n", "    Broken,\n")
    broken += (
        "\n\nfrom otelprof.component import ExporterFactory\n"
        "from otelprof_webhook import WebhookExporter\n\n\n"
        "class Silent(WebhookExporter):\n"
        "    def export(self, profiles):\n        return None\n\n\n"
        "Broken = ExporterFactory(WebhookConfig, Silent)\n"
    )
    (workshop / "source" / "test_broken.py").write_text(broken, encoding="utf-8")
    command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_broken.py")
    done = run(*command, folder=workshop / "source")
    failed = {line.rpartition("::")[2].split(" ")[0] for line in done.stdout.splitlines() if "FAILED" in line}
    (workshop / "source" / "test_broken.py").unlink()
    assert {
        "test_export_delivers",
        "test_export_from_threads",
        "test_retryable_error",
        "test_permanent_error",
        "test_export_after_shutdown",
        "test_token",
    } == failed
