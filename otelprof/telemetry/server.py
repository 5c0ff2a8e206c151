"""A few pages over HTTP, as `GET /metrics` for Prometheus."""

from __future__ import annotations

import socket
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from otelprof.errors import ConfigError, ConfigProblem
from otelprof.telemetry.exposition import CONTENT_TYPE, text_exposition

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otelprof.telemetry.metrics import Metrics

_CLIENT_TIMEOUT_SECS: Final = 5.0
_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger(__name__)
_POLL_SECS: Final = 0.1  # how soon `shutdown` is noticed


class Page(NamedTuple):
    """What is answered."""

    status: HTTPStatus
    content_type: str
    body: bytes


class PageServer:
    """Serves pages over HTTP, made for each request.

    Requests are answered one after another: what one costs is small, and no number of clients can ask for
    more threads or memory than one.

    Args:
        host: a name or an address; empty is every interface.
        port: 0 lets the system choose.
        pages: what makes them, by path; everything else is not found.
        config_path: of the section that has the `endpoint`, for errors.
    """

    def __init__(
        self, host: str, port: int, pages: Mapping[str, Callable[[], Page]], *, config_path: str
    ) -> None:
        self._address = (host, port)
        self._pages = pages
        self._config_path = config_path
        self._server: TCPServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """Where it listens, once started."""
        return self._server.server_address[1] if self._server else self._address[1]

    def start(self) -> None:
        """Listen.

        Raises:
            ConfigError: the address cannot be listened on.
        """
        try:
            self._server = _server(self._address, self._pages)
        except OSError as error:
            message = f"cannot listen on {self._address[0]}:{self._address[1]}: {error.strerror}"
            raise ConfigError([ConfigProblem(f"{self._config_path}.endpoint", message)]) from error
        name = f"otelprof{next(iter(self._pages)).replace('/', '-')}".rstrip("-")
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECS,), name=name, daemon=True
        )
        self._thread.start()

    def shutdown(self) -> None:
        """Answer the request that is under way, then stop listening."""
        server, thread = self._server, self._thread
        self._server = self._thread = None
        if server is not None and thread is not None:
            server.shutdown()
            thread.join()
            server.server_close()


class MetricsServer(PageServer):
    """Serves metrics, in the classic text format whatever the scraper asks for.

    Args:
        host: a name or an address; empty is every interface.
        port: 0 lets the system choose.
        metrics: what to serve.
    """

    def __init__(self, host: str, port: int, metrics: Metrics) -> None:
        def page() -> Page:
            return Page(HTTPStatus.OK, CONTENT_TYPE, text_exposition(metrics))

        super().__init__(host, port, {"/metrics": page}, config_path="service.telemetry.metrics")


def _server(address: tuple[str, int], pages: Mapping[str, Callable[[], Page]]) -> TCPServer:
    class Handler(BaseHTTPRequestHandler):
        timeout = _CLIENT_TIMEOUT_SECS
        server_version, sys_version = "otelprof", ""

        def do_GET(self) -> None:
            page = pages.get(self.path.partition("?")[0])
            if page is None:
                explanation = f"There is a page at {' and at '.join(pages)}."
                self.send_error(HTTPStatus.NOT_FOUND, explain=explanation)
                return
            status, content_type, body = page()
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
            """Say nothing: requests are not news."""

    class Server(TCPServer):
        address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        allow_reuse_address = True

        def handle_error(self, _request: object, client_address: object) -> None:
            _log.warning("request for a page failed", pages=list(pages), client=client_address, exc_info=True)

    return Server(address, Handler)
