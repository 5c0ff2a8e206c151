"""HTTP/2 and gRPC spoken by hand, for what no gRPC client would send."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, PING, GO_AWAY = 4, 6, 7
_DATA, _HEADERS = 0, 1
_END_STREAM, _END_HEADERS = 1, 4
_MAX_FRAME_BYTES: Final = 16_384


def call(endpoint: str, path: str, body: bytes, encoding: str) -> bytes:
    """Send one compressed message, and return all header bytes of the answer, as they are on the wire."""
    message = b"\x01" + struct.pack(">I", len(body)) + body
    with connect(endpoint) as connection:
        send_headers(connection, endpoint, path, encoding)
        connection.sendall(_frame(_DATA, _END_STREAM, 1, message))
        return _answer_headers(connection)


def connect(endpoint: str, source: str = "") -> socket.socket:
    """A connection, from an address, whose client has said that it speaks HTTP/2."""
    host, _, port = endpoint.rpartition(":")
    connection = socket.create_connection((host, int(port)), timeout=5.0, source_address=(source, 0))
    connection.sendall(PREFACE + _frame(SETTINGS, 0, 0, b""))
    return connection


def send_headers(connection: socket.socket, endpoint: str, path: str, encoding: str = "identity") -> None:
    """Begin a call, on the first stream."""
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": endpoint,
        "te": "trailers",
        "content-type": "application/grpc",
        "grpc-encoding": encoding,
    }
    connection.sendall(_frame(_HEADERS, _END_HEADERS, 1, b"".join(map(_literal, headers.items()))))


def send_part(connection: socket.socket, sent: bytes, announced_bytes: int) -> None:
    """Send the beginning of a message of the call."""
    connection.sendall(_frame(_DATA, 0, 1, b"\x00" + struct.pack(">I", announced_bytes) + sent))


def send_ping(connection: socket.socket) -> None:
    """Ask whether the server is there."""
    connection.sendall(_frame(PING, 0, 0, bytes(8)))


def frames(connection: socket.socket) -> Iterator[tuple[int, bytes]]:
    """What the server sends, kind and payload, to the end of the connection."""
    with connection.makefile("rb") as stream:
        while len(head := stream.read(9)) == 9:
            yield head[3], stream.read(int.from_bytes(head[:3], "big"))


def _literal(header: tuple[str, str]) -> bytes:
    """A header field without indexing and without Huffman code (RFC 7541, 6.2.2)."""
    name, value = (text.encode() for text in header)
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    assert len(payload) <= _MAX_FRAME_BYTES
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def _answer_headers(connection: socket.socket) -> bytes:
    headers = b""
    with connection.makefile("rb") as stream:
        while head := stream.read(9):
            length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
            payload = stream.read(length)
            if kind == _HEADERS:
                headers += payload
            if int.from_bytes(head[5:], "big") == 1 and flags & _END_STREAM:
                break
    return headers
