"""Headers that requests are sent with."""

import re
from typing import Final

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
