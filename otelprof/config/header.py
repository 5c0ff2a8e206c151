"""Headers that requests are sent with."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from pydantic import SecretStr

_HEADER_NAME: Final = re.compile(r"[0-9a-z_.-]+")
_HEADER_VALUE: Final = re.compile(r"[\x20-\x7e]*")


def check_header(name: str, value: str) -> str:
    """The name of a header that gRPC and HTTP can send, in lower case.

    Raises:
        ValueError: the name or the value cannot be sent; the value is not in the message.
    """
    lower = name.lower()
    if not _HEADER_NAME.fullmatch(lower) or lower.startswith("grpc-"):
        message = f"{name!r} is not a header's name: letters, digits, - _ and ., not beginning with grpc-"
        raise ValueError(message)
    if not _HEADER_VALUE.fullmatch(value) or lower.endswith("-bin"):
        message = f"the value of {name!r} is not printable ASCII"
        raise ValueError(message)
    return lower


def check_headers(headers: Mapping[str, SecretStr], own: AbstractSet[str]) -> dict[str, SecretStr]:
    """Headers by their names in lower case, none of which an exporter sets itself.

    Raises:
        ValueError: one cannot be sent, or is its own; no value is in the message.
    """
    checked = {check_header(name, value.get_secret_value()): value for name, value in headers.items()}
    for name in checked.keys() & own:
        message = f"{name!r} is set by the exporter: remove it"
        raise ValueError(message)
    return checked
