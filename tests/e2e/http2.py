"""One gRPC call spoken by hand, for what no gRPC client would send."""

from __future__ import annotations

import socket
import struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS = 0, 1, 4
_END_STREAM, _END_HEADERS = 1, 4
_MAX_FRAME_BYTES: Final = 16_384


def call(endpoint: str, path: str, body: bytes, encoding: str) -> bytes:
    """Send one compressed message, and return all header bytes of the answer, as they are on the wire."""
    host, _, port = endpoint.rpartition(":")
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": endpoint,
        "te": "trailers",
        "content-type": "application/grpc",
        "grpc-encoding": encoding,
    }
    message = b"\x01" + struct.pack(">I", len(body)) + body
    with socket.create_connection((host, int(port)), timeout=5.0) as connection:
        connection.sendall(PREFACE + _frame(_SETTINGS, 0, 0, b""))
        connection.sendall(_frame(_HEADERS, _END_HEADERS, 1, b"".join(map(_literal, headers.items()))))
        connection.sendall(_frame(_DATA, _END_STREAM, 1, message))
        return _answer_headers(connection)


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
