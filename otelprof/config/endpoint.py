"""Where to listen or connect: `host:port`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Final

from pydantic_core import core_schema

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler

_HOST: Final = re.compile(r"[0-9A-Za-z_]([0-9A-Za-z_.-]{0,252})")
_PORT: Final = re.compile(r"[0-9]{1,5}")
_MAX_PORT: Final = 65535


@dataclass(frozen=True)
class Endpoint:
    """A host and a port; a field of this type reads `host:port`.

    Attributes:
        host: a name, an IPv4 or an IPv6 address without brackets; empty is every interface.
        port: 0 to 65535; 0 lets the system choose when listening.
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: object) -> Endpoint:
        """Read `localhost:4317`, `10.0.0.1:4317`, `[::1]:4317` or `:4317`.

        Raises:
            ValueError: the text has another form.
        """
        if isinstance(text, cls):
            return text
        if not isinstance(text, str):
            message = f"{text!r} is not an endpoint: write host:port"
            raise ValueError(message)  # noqa: TRY004 - pydantic collects ValueErrors only
        host, _, port = text.rpartition(":")
        if not _PORT.fullmatch(port) or int(port) > _MAX_PORT:
            message = f"{text!r} is not an endpoint: write host:port, with a port from 0 to {_MAX_PORT}"
            raise ValueError(message)
        if host.startswith("[") and host.endswith("]"):
            host = str(_ipv6(text, host[1:-1]))
        elif ":" in host:
            message = f"{text!r} is not an endpoint: write an IPv6 address in brackets, as [::1]:{port}"
            raise ValueError(message)
        elif host and not _HOST.fullmatch(host):
            message = f"{text!r} is not an endpoint: {host!r} is not a host name or an address"
            raise ValueError(message)
        return cls(host, int(port))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host.lower() == "localhost"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def __get_pydantic_core_schema__(
        cls, _source: object, _handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(cls.parse)


def _ipv6(text: str, host: str) -> IPv6Address:
    try:
        return IPv6Address(host)
    except ValueError:
        message = f"{text!r} is not an endpoint: {host!r} is not an IPv6 address"
        raise ValueError(message) from None
