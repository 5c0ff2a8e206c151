"""Where the admin service is: a unix socket, or `host:port`."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from otelprof.config.endpoint import Endpoint

DEFAULT_ENDPOINT: Final = "unix:///run/otelprof/admin.sock"

_SCHEME: Final = "unix://"
# sockaddr_un has 108 bytes on Linux and 104 on macOS, the zero at the end included.
_MAX_PATH_BYTES: Final = 103
# gRPC takes a target for a URI, and a comma for the end of an address.
_OTHERWISE: Final = re.compile(r"[%?#,\x00-\x1f]")


@dataclass(frozen=True)
class UnixSocket:
    """A socket in the file system; written as `unix:///run/otelprof/admin.sock`."""

    path: Path

    def __str__(self) -> str:
        return f"{_SCHEME}{self.path}"


def parse_endpoint(value: object) -> UnixSocket | Endpoint:
    """Read `unix:///absolute/path` or `host:port`.

    Raises:
        ValueError: the value has another form, or the path is too long for a socket.
    """
    from otelprof.config.endpoint import Endpoint  # noqa: PLC0415 - `otelprof --help` does without pydantic

    if isinstance(value, UnixSocket):
        return value
    if not isinstance(value, str) or not value.startswith("unix:"):
        return Endpoint.parse(value)
    path = value.removeprefix(_SCHEME)
    if not path.startswith("/") or path.endswith("/"):
        message = f"{value!r} is not a unix socket: write unix:// and an absolute path, as {DEFAULT_ENDPOINT}"
        raise ValueError(message)
    if _OTHERWISE.search(path):
        message = f"{value!r} has one of % ? # , or a control character, which gRPC reads otherwise"
        raise ValueError(message)
    length = len(os.fsencode(path))
    if length > _MAX_PATH_BYTES:
        message = f"{path} has {length} bytes, and the path of a socket has {_MAX_PATH_BYTES} at most"
        raise ValueError(message)
    return UnixSocket(Path(path))


def target_of(endpoint: UnixSocket | Endpoint) -> str:
    """The endpoint as gRPC writes it."""
    if isinstance(endpoint, UnixSocket):
        return f"unix:{endpoint.path}"
    return str(endpoint) if endpoint.host else f"127.0.0.1{endpoint}"
