"""The exporter keeps otelprof's contract: run `pytest` where otelprof[testing] and this are installed."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING

import pytest
from otelprof_webhook import WebhookConfig, factory

from otelprof.testing.contract import ExporterContract, Subject, small_profiles

if TYPE_CHECKING:
    from collections.abc import Iterator


class Backend(ThreadingHTTPServer):
    """Takes what is POSTed, and answers with the status that the test wants."""

    daemon_threads = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 200
        self.taken: list[tuple[str | None, bytes]] = []


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Backend

    def do_POST(self) -> None:
        """Take it, or not."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.status == 200:
            self.server.taken.append((self.headers["Authorization"], body))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def backend() -> Iterator[Backend]:
    """A web hook on loopback."""
    with Backend() as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class TestWebhookExporter(ExporterContract):
    """All that otelprof asks of an exporter."""

    @pytest.fixture
    def subject(self, backend: Backend) -> Subject:
        """With a web hook that the tests can make fail."""
        config = {"url": f"http://127.0.0.1:{backend.server_port}/profiles", "token": "s3cret"}
        return Subject(
            factory,
            WebhookConfig.model_validate(config),
            delivered=lambda: len(backend.taken),
            fail_retryably=lambda: setattr(backend, "status", 503),
            fail_permanently=lambda: setattr(backend, "status", 400),
        )

    def test_token(self, subject: Subject, backend: Backend) -> None:
        """The token goes to the web hook and nowhere else; the body is the request."""
        exporter, profiles = subject.create(), small_profiles()
        exporter.start()
        exporter.export(profiles)
        exporter.shutdown()
        assert [("Bearer s3cret", profiles.to_otlp())] == backend.taken
        assert "s3cret" not in repr(subject.config)
