"""Pyroscope's push API: one series and one pprof a request, and what its answers mean.

`POST /push.v1.PusherService/Push`, a Connect call. The wire form is `push.v1.PushRequest`
(`api/push/v1/push.proto` of grafana/pyroscope): three levels of length-delimited fields, without a compiler.

The server does not know a push that it had before: what it is sent twice counts twice. Whether a push may be
sent again depends on whether the server may have it already.
"""

from __future__ import annotations

import base64
import json
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import httpx

from otelprof._core import gzip
from otelprof.errors import (
    OtelprofError,
    OverloadedError,
    PermanentError,
    RequestTooLargeError,
    RetryableError,
    UnauthenticatedError,
    UnavailableError,
    UnsupportedEncodingError,
)
from otelprof.exporter.http_client import HttpClient, HttpSettings, retry_after_secs
from otelprof.telemetry.text import printable

if TYPE_CHECKING:
    from otelprof.clock import Clock
    from otelprof.exporter.http_client import HttpAnswer
    from otelprof.exporter.pyroscope.config import PyroscopeExporterConfig
    from otelprof.exporter.pyroscope.series import Series

PATH: Final = "/push.v1.PusherService/Push"

# What is not here is permanent. 500 is also said to a pprof that cannot be read: there, retries have an end.
ERRORS: Final[dict[int, type[OtelprofError]]] = {
    401: UnauthenticatedError,
    403: UnauthenticatedError,
    413: RequestTooLargeError,
    415: UnsupportedEncodingError,
    429: OverloadedError,
    500: UnavailableError,
    502: UnavailableError,
    503: UnavailableError,
}
# The server, or a proxy before it, gave up waiting for what it may have done all the same.
_UNANSWERED: Final = frozenset((408, 499, 504))
# The request did not get there whole, so that nothing of it was done.
_NOT_SENT: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.WriteError,
    httpx.WriteTimeout,
)
_VARINT: Final = 0x7F
_GZIP_LEVEL: Final = 1  # a third of the time of the default, for a tenth more bytes


class UnansweredError(Exception):
    """The server may have taken a push or not: nobody knows."""


class PushClient:
    """Sends pushes; safe to use from any thread.

    Args:
        config: where to, and as whom.
        clock: what Retry-After is measured with.
        tls_path: where `tls` stands in the configuration.

    Raises:
        ConfigError: a TLS file cannot be used.
    """

    def __init__(self, config: PyroscopeExporterConfig, clock: Clock, tls_path: str) -> None:
        self._url = config.endpoint.rstrip("/") + PATH
        self._clock = clock
        self._compresses = config.compression == "gzip"
        settings = HttpSettings(
            timeout_secs=config.timeout,
            headers={
                **request_headers(config),
                "content-type": "application/proto",
                **({"content-encoding": "gzip"} if self._compresses else {}),
            },
            tls=config.tls if config.endpoint.startswith("https://") else None,
            tls_path=tls_path,
            proxy=config.proxy,
        )
        self._client = HttpClient(settings, clock)

    def push(self, series: Series) -> None:
        """Send one series.

        Raises:
            RetryableError: the server has nothing of it, and it may be sent again.
            PermanentError: the server refuses it, or us.
            UnansweredError: the server may have it.
        """
        body = push_request(series.labels, series.pprof.body)
        if self._compresses:
            body = gzip(body, _GZIP_LEVEL)
        try:
            answer = self._client.post(self._url, body)
        except UnavailableError as error:
            if isinstance(error.__cause__, httpx.HTTPError) and not isinstance(error.__cause__, _NOT_SENT):
                raise UnansweredError(str(error)) from error
            raise
        if not answer.response.is_success:
            raise error_of(answer, self._url, self._clock)

    def close(self) -> None:
        """Close the connections; a push that is under way fails."""
        self._client.close()


def request_headers(config: PyroscopeExporterConfig) -> dict[str, str]:
    """What tells the server who sends; the names are in lower case."""
    headers = {name: value.get_secret_value() for name, value in config.headers.items()}
    if config.tenant_id:
        headers["x-scope-orgid"] = config.tenant_id
    if config.bearer_token is not None:
        headers["authorization"] = f"Bearer {config.bearer_token.get_secret_value()}"
    if config.basic_auth_password is not None:
        user = f"{config.basic_auth_username}:{config.basic_auth_password.get_secret_value()}"
        headers["authorization"] = f"Basic {base64.b64encode(user.encode()).decode()}"
    return headers


def push_request(labels: tuple[tuple[str, str], ...], pprof: bytes) -> bytes:
    """A `push.v1.PushRequest` of one series with one sample."""
    return _field(1, _label_pairs(labels) + _field(2, _field(1, pprof)))


@lru_cache(maxsize=128)  # the labels of a series stay the same from request to request
def _label_pairs(labels: tuple[tuple[str, str], ...]) -> bytes:
    return b"".join(_field(1, _field(1, name.encode()) + _field(2, value.encode())) for name, value in labels)


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field of a number below 16."""
    length, rest = bytearray(), len(content)
    while rest > _VARINT:
        length.append(rest & _VARINT | 0x80)
        rest >>= 7
    return bytes((number << 3 | 2, *length, rest)) + content


def error_of(answer: HttpAnswer, url: str, clock: Clock) -> Exception:
    """What an answer that is no success means."""
    status = answer.response.status_code
    message = f"{url} answered {status}: {_said(answer)}"
    if status in _UNANSWERED:
        return UnansweredError(message)
    kind = ERRORS.get(status, PermanentError)
    if issubclass(kind, RetryableError):
        retry_after = retry_after_secs(answer.response.headers.get("retry-after"), clock)
        return kind(message, retry_after_secs=retry_after)
    return kind(message)


def _said(answer: HttpAnswer) -> str:
    """The message of a Connect error, or whatever a proxy says instead."""
    if answer.response.has_redirect_location:
        return f"redirects are not followed: {printable(answer.response.headers['location'])}"
    try:
        told = json.loads(answer.content or b"")
        return printable(f"{told['code']}: {told['message']}")
    except (ValueError, KeyError, TypeError, RecursionError):
        return answer.text or "no details"
