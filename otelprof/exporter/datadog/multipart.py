"""The body of an upload: `multipart/form-data`, byte for byte as Datadog's uploaders frame it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Part:
    """A part of the body.

    Attributes:
        name: of the field.
        filename: of the file.
        content_type: None writes none.
        data: as it is.
    """

    name: str
    filename: str
    content_type: str | None
    data: bytes


def multipart(parts: Sequence[Part], boundary: str) -> bytes:
    """The body. Names hold no quote and no line end; no part holds the boundary."""
    body = bytearray()
    for part in parts:
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="{part.name}"; '.encode()
        body += f'filename="{part.filename}"\r\n'.encode()
        if part.content_type is not None:
            body += f"Content-Type: {part.content_type}\r\n".encode()
        body += b"\r\n" + part.data + b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    return bytes(body)
