"""An HTTP server for tests: it records what comes, and answers as it is told."""

from __future__ import annotations

import gzip
import socket
import socketserver
import struct
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Event, Thread
from typing import TYPE_CHECKING, Self

import zstandard

if TYPE_CHECKING:
    import ssl
    from pathlib import Path
    from types import TracebackType

WAIT_SECS = 5.0
OK_PROTO = b"\x0a\x00"


@dataclass(frozen=True)
class HttpAnswer:
    """What a sink says to a request.

    Attributes:
        status: 0 says nothing, and closes the connection.
        delay_secs: between every two bytes of the body.
        wait_secs: before the answer.
        resets: the connection, in the middle of the request, instead of an answer.
    """

    status: int = 200
    body: bytes = OK_PROTO
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "application/x-protobuf"})
    delay_secs: float = 0.0
    resets: bool = False
    wait_secs: float = 0.0


@dataclass(frozen=True)
class HttpRequest:
    """What a sink was sent."""

    path: str
    headers: dict[str, str]
    sent: bytes
    answer: HttpAnswer
    connection: int

    @property
    def body(self) -> bytes:
        """The body, inflated as its headers say."""
        encoding = self.headers.get("content-encoding")
        if encoding == "zstd":
            return zstandard.ZstdDecompressor().decompress(self.sent)
        return gzip.decompress(self.sent) if encoding == "gzip" else self.sent


class HttpSink:
    """A server on a loopback port, from entering the context to leaving it.

    Args:
        context: for TLS; None listens in the clear.
        path: of a unix socket to listen on instead.
        port: 0 takes a free one.
    """

    def __init__(
        self, context: ssl.SSLContext | None = None, path: Path | None = None, *, port: int = 0
    ) -> None:
        self._changed = Condition()
        self._script: deque[HttpAnswer] = deque()
        self._default = HttpAnswer()
        self._closing = Event()
        self.requests: list[HttpRequest] = []
        handler = type("Handler", (_Handler,), {"sink": self, "closing": self._closing})
        if path is None:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        else:
            self._server = _UnixServer(str(path), handler)  # type: ignore[arg-type] # an address of its family
        self._server.daemon_threads = False
        self._scheme = "http" if context is None else "https"
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """The base of its URL."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    @property
    def taken(self) -> list[HttpRequest]:
        """The requests that were answered with 200."""
        with self._changed:
            return [one for one in self.requests if one.answer.status == 200]

    def answer(self, *answers: HttpAnswer) -> None:
        """Say these to the next requests, in order."""
        self._script.extend(answers)

    def answer_always(self, answer: HttpAnswer) -> None:
        """Say this to every request that `answer` has nothing for."""
        self._default = answer

    def wait_for(self, count: int) -> list[HttpRequest]:
        """Return all requests, when there are so many."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.requests) >= count, WAIT_SECS)
            return list(self.requests)

    def judge(self, path: str, headers: dict[str, str], sent: bytes) -> HttpAnswer:  # noqa: ARG002 - for others
        """What to say to a request that `answer` has nothing for."""
        return self._default

    def take(self, handler: BaseHTTPRequestHandler) -> HttpAnswer:
        """Record one request, and say what is answered."""
        with self._changed:
            scripted = self._script.popleft() if self._script else None
        length = int(handler.headers.get("content-length", "0"))
        sent = handler.rfile.read(length // 2 if scripted is not None and scripted.resets else length)
        headers = {name.lower(): value for name, value in handler.headers.items()}
        answer = scripted or self.judge(handler.path, headers, sent)
        with self._changed:
            connection = handler.client_address[1]
            self.requests.append(HttpRequest(handler.path, headers, sent, answer, connection))
            self._changed.notify_all()
        return answer


class _UnixServer(ThreadingHTTPServer):
    address_family = socket.AF_UNIX

    def server_bind(self) -> None:
        """Bind; such an address has no name and no port."""
        socketserver.TCPServer.server_bind(self)

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """Accept; such a client has no address."""
        connection, _ = super().get_request()
        return connection, ("unix", connection.fileno())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 5.0  # a connection that is kept must not outlast the test
    sink: HttpSink
    closing: Event

    def do_POST(self) -> None:
        """Answer as the sink says."""
        answer = self.sink.take(self)
        if answer.resets:
            # With unread bytes, and no time to linger, closing is a reset.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
            return
        if answer.wait_secs:
            self.closing.wait(answer.wait_secs)
        if not answer.status:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(answer.body)))
        self.end_headers()
        if not answer.delay_secs:
            self.wfile.write(answer.body)
            return
        for byte in answer.body:
            if self.closing.wait(answer.delay_secs):
                return
            self.wfile.write(bytes([byte]))

    def log_message(self, *_: object) -> None:
        """Say nothing."""
