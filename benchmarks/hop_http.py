"""The ends of a hop over HTTP: the load that `hop.py` sends, and the sink that it is sent to."""

from __future__ import annotations

import gzip
import http.client
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import yaml
import zstandard

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PATH = "/v1development/profiles"
TOO_MUCH = 503
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.compress,
}


def over_http(config: str) -> str:
    """A configuration of `hop.py` with HTTP in the place of gRPC."""
    document = yaml.safe_load(config)
    protocols = document["receivers"]["otlp"]["protocols"]
    protocols["http"] = protocols.pop("grpc")
    exporter = document["exporters"].pop("otlp")
    document["exporters"]["otlp_http"] = {**exporter, "endpoint": f"http://{exporter['endpoint']}"}
    document["service"]["pipelines"]["profiles"]["exporters"] = ["otlp_http"]
    return str(yaml.safe_dump(document))


def inflated_bytes(encoding: str | None, body: bytes) -> int:
    """The size of a body before it was compressed, as its frame says."""
    if encoding == "zstd":
        return zstandard.frame_content_size(body)
    return int.from_bytes(body[-4:], "little") if encoding == "gzip" else len(body)


def sink(port: int) -> None:
    """Answer every POST at once; on each line of standard input print how many came, and their bytes."""
    lock = threading.Lock()
    came = [0, 0]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            """Count one request."""
            body = self.rfile.read(int(self.headers["content-length"]))
            with lock:
                came[0] += 1
                came[1] += inflated_bytes(self.headers.get("content-encoding"), body)
            head = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n"
            self.wfile.write(head)

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("ready", flush=True)
    for _ in sys.stdin:
        print(*came, flush=True)
    server.shutdown()


def load(
    port: int, requests: Sequence[bytes], compression: str, seconds: float, connections: int
) -> tuple[list[float], int, int]:
    """Send for a while over several connections.

    Returns:
        How long each request took, how many were taken, and their bytes before they were compressed.
    """
    packed = [COMPRESS[compression](body) for body in requests]
    headers = {"content-type": "application/x-protobuf"}
    if compression != "none":
        headers["content-encoding"] = compression
    deadline = time.monotonic() + seconds
    latencies: list[float] = []
    sent = [0, 0]
    lock = threading.Lock()

    def connection(number: int) -> None:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        turn = number
        while time.monotonic() < deadline:
            start = time.monotonic()
            at = turn % len(requests)
            while post(client, packed[at], headers) == TOO_MUCH:
                time.sleep(0.05)
            turn += 1
            with lock:
                latencies.append(time.monotonic() - start)
                sent[0] += 1
                sent[1] += len(requests[at])
        client.close()

    with ThreadPoolExecutor(connections) as pool:
        list(pool.map(connection, range(connections)))
    return latencies, sent[0], sent[1]


def post(client: http.client.HTTPConnection, body: bytes, headers: dict[str, str]) -> int:
    """Send one request.

    Raises:
        SystemExit: it was neither taken nor is to be sent again.
    """
    client.request("POST", PATH, body, headers)
    response = client.getresponse()
    text = response.read()
    if response.status not in {200, TOO_MUCH}:
        message = f"{response.status}: {text!r}"
        raise SystemExit(message)
    return response.status
