"""What exporters over HTTP have in common: connections, TLS, a bounded answer, what Retry-After asks for."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import lru_cache
from importlib.metadata import version
from threading import Lock
from typing import TYPE_CHECKING, Annotated, Final

import httpx
from pydantic import AfterValidator

from otelprof.config.pem import read_pem
from otelprof.errors import ConfigError, ConfigProblem, UnavailableError
from otelprof.telemetry.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from otelprof.clock import Clock
    from otelprof.config.tls import ClientTLS

# An answer may be so long; the rest is not read. The collector's exporter does the same.
MAX_ANSWER_BYTES: Final = 64 << 10

# Go's servers close a connection after 60 seconds or more.
_KEEP_ALIVE_SECS: Final = 30.0
_MAX_PORT: Final = 65535
_SECONDS: Final = re.compile(r"[0-9]{1,9}")


def _check_url(text: str) -> str:
    """Accept an http or https URL without credentials, query or fragment.

    Raises:
        ValueError: it is another one.
    """
    if "@" in text:
        # Not shown: what stands before it is probably a password.
        message = "a URL holds no credentials: write https://host:port, and put them into headers"
        raise ValueError(message)
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        message = f"{text!r} is not a URL: {error}"
        raise ValueError(message) from None
    is_port = (url.port or 0) <= _MAX_PORT
    if url.scheme not in {"http", "https"} or not (url.host and is_port) or url.query or url.fragment:
        message = f"{text!r} is not an endpoint: write http://host:port or https://host:port"
        raise ValueError(message)
    return text


HttpUrl = Annotated[str, AfterValidator(_check_url)]
"""An http or https URL without credentials, query or fragment."""


@dataclass(frozen=True)
class HttpAnswer:
    """An answer.

    Attributes:
        response: its status and headers.
        content: None when it is longer than `MAX_ANSWER_BYTES`.
    """

    response: httpx.Response
    content: bytes | None

    @property
    def text(self) -> str:
        """The content for a log: safe and short; empty when there is none."""
        return printable((self.content or b"").decode(errors="replace").strip())


@dataclass(frozen=True)
class HttpSettings:
    """How a client is made.

    Attributes:
        timeout_secs: what one request may take.
        headers: sent with each request.
        tls: how a server of an https URL is proved; None where there is none.
        tls_path: where that stands in the configuration.
        socket: a unix socket that is connected to, whatever host the URL names.
        proxy: the URL of a proxy.
    """

    timeout_secs: float
    headers: Mapping[str, str]
    tls: ClientTLS | None = None
    tls_path: str = ""
    socket: Path | None = None
    proxy: str | None = None


class HttpClient:
    """Sends POSTs; safe to use from any thread. Requests that are under way at once have a connection each.

    Args:
        settings: how.
        clock: what the time of an answer is measured with.

    Raises:
        ConfigError: a TLS file cannot be used.
    """

    def __init__(self, settings: HttpSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        tls = settings.tls
        self._verify = tls_context(tls, settings.tls_path) if tls is not None else False
        self._lock = Lock()
        self._transports: list[httpx.HTTPTransport] = []
        self._idle: list[httpx.HTTPTransport] = []
        self._is_closed = False
        self._headers = httpx.Headers({"user-agent": f"otelprof/{version('otelprof')}", "accept": "*/*"})
        # What is not compressed cannot be a bomb.
        self._headers["accept-encoding"] = "identity"
        self._headers.update(settings.headers)
        self._extensions: dict[str, object] = {"timeout": httpx.Timeout(settings.timeout_secs).as_dict()}
        if tls is not None and tls.server_name_override:
            self._extensions["sni_hostname"] = tls.server_name_override

    def post(self, url: str, body: bytes, headers: Mapping[str, str] | None = None) -> HttpAnswer:
        """Send a body, and read the answer.

        Raises:
            UnavailableError: there is none, or not in time.
        """
        try:
            return self._post(url, body, headers)
        except httpx.HTTPError as error:
            socket = self._settings.socket
            place = url if socket is None else f"unix://{socket}"
            message = f"{place}: {printable(str(error)) or type(error).__name__}"
            raise UnavailableError(message) from error

    def close(self) -> None:
        """Close the connections; a request that is under way fails."""
        with self._lock:
            self._is_closed = True
        for transport in self._transports:
            transport.close()

    def _post(self, url: str, body: bytes, headers: Mapping[str, str] | None) -> HttpAnswer:
        told = self._headers
        if headers:
            told = told.copy()
            told.update(headers)
        request = httpx.Request("POST", _parsed(url), headers=told, content=body, extensions=self._extensions)
        transport = self._taken(url)
        try:
            return self._answer(transport, request)
        finally:
            self._idle.append(transport)
            if self._is_closed:
                transport.close()

    def _answer(self, transport: httpx.HTTPTransport, request: httpx.Request) -> HttpAnswer:
        deadline = self._clock.monotonic() + self._settings.timeout_secs
        response = transport.handle_request(request)
        content = bytearray()
        try:
            for chunk in response.iter_raw():
                content += chunk
                if len(content) > MAX_ANSWER_BYTES:
                    return HttpAnswer(response, None)
                if self._clock.monotonic() > deadline:
                    message = "the answer did not come in time"
                    raise httpx.ReadTimeout(message)
        finally:
            response.close()
        return HttpAnswer(response, bytes(content))

    def _taken(self, url: str) -> httpx.HTTPTransport:
        """A connection that is not in use.

        One pool for all looks at each of its connections for each request, an eighth of the time of a small
        one. Of httpx the transport alone: redirects, cookies, proxies and passwords of the environment are
        not wanted, and a client that has them takes twice the time.
        """
        with self._lock:
            if self._is_closed:
                message = f"{url}: the exporter was shut down"
                raise UnavailableError(message)
            if self._idle:
                return self._idle.pop()
            socket = self._settings.socket
            made = httpx.HTTPTransport(
                verify=self._verify,
                limits=httpx.Limits(max_connections=1, keepalive_expiry=_KEEP_ALIVE_SECS),
                proxy=self._settings.proxy,
                uds=None if socket is None else str(socket),
                trust_env=False,
            )
            self._transports.append(made)
            return made


@lru_cache(maxsize=64)
def _parsed(url: str) -> httpx.URL:
    return httpx.URL(url)


def tls_context(tls: ClientTLS, path: str) -> ssl.SSLContext:
    """What a client proves a server with, and itself.

    Args:
        tls: the files.
        path: where they stand in the configuration.

    Raises:
        ConfigError: a file cannot be used.
    """
    for key, file in (("ca_file", tls.ca_file), ("cert_file", tls.cert_file), ("key_file", tls.key_file)):
        if file is not None:
            read_pem(file, f"{path}.{key}")
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
        if tls.cert_file is not None:
            context.load_cert_chain(tls.cert_file, tls.key_file)
    except ssl.SSLError as error:
        raise ConfigError([ConfigProblem(path, f"the files cannot be used: {error}")]) from error
    return context


def retry_after_secs(header: str | None, clock: Clock) -> float | None:
    """What Retry-After asks for: seconds, or a date; None when it is absent or cannot be read."""
    if header is None:
        return None
    if _SECONDS.fullmatch(header):
        return float(header)
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - clock.now())
    except (ValueError, OverflowError):
        return None
