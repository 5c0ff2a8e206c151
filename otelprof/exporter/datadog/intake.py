"""One POST to an Agent or to the profile intake, and what the answer means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otelprof.errors import (
    OtelprofError,
    OverloadedError,
    PermanentError,
    RequestTooLargeError,
    RetryableError,
    UnauthenticatedError,
    UnavailableError,
)
from otelprof.exporter.datadog.origin import VERSION
from otelprof.exporter.http_client import HttpClient, HttpSettings, retry_after_secs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otelprof.clock import Clock
    from otelprof.exporter.datadog.config import DatadogExporterConfig
    from otelprof.exporter.http_client import HttpAnswer

# A Datadog library's name would be believed.
ORIGIN_HEADERS: Final = {"dd-evp-origin": "otelprof", "dd-evp-origin-version": VERSION}

ERRORS: Final[dict[int, type[OtelprofError]]] = {
    401: UnauthenticatedError,
    403: UnauthenticatedError,
    # What the Agent says when it has waited for the body for longer than it likes.
    408: UnavailableError,
    413: RequestTooLargeError,
    429: OverloadedError,
}
"""What an answer means; 500 and above is `UnavailableError`, all else that is no success `PermanentError`."""

_FIRST_SERVER_ERROR: Final = 500
_HINTS: Final = {
    403: "; is api_key right, and of this site?",
    404: "; an Agent takes profiles from 7.20 on, where apm_config is enabled",
}


def http_settings(config: DatadogExporterConfig, exporter_id: str) -> HttpSettings:
    """How to reach the far side.

    Args:
        config: of the exporter.
        exporter_id: its id.
    """
    key = {} if config.api_key is None else {"dd-api-key": config.api_key.get_secret_value()}
    return HttpSettings(
        timeout_secs=config.timeout,
        headers={**ORIGIN_HEADERS, **({} if config.mode == "agent" else key)},
        tls=config.tls if config.url.startswith("https://") else None,
        tls_path=f"exporters.{exporter_id}.tls",
        socket=config.socket,
    )


class Intake:
    """Where uploads go; safe to use from any thread.

    Args:
        config: of the exporter.
        exporter_id: its id.
        clock: what Retry-After's dates are measured with.

    Raises:
        ConfigError: a TLS file cannot be used.
    """

    def __init__(self, config: DatadogExporterConfig, exporter_id: str, clock: Clock) -> None:
        self._url = config.url
        self._place = config.place
        self._clock = clock
        self._client = HttpClient(http_settings(config, exporter_id), clock)

    def post(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Send an upload; returning means that it was taken.

        Raises:
            RequestTooLargeError: less may be taken.
            RetryableError: the same may be taken later.
            PermanentError: it will not be.
        """
        answer = self._client.post(self._url, body, headers)
        if not answer.response.is_success:
            raise error_of(answer, self._place, self._clock)

    def close(self) -> None:
        """Close the connections; an upload that is under way fails."""
        self._client.close()


def error_of(answer: HttpAnswer, place: str, clock: Clock) -> OtelprofError:
    """What an answer that is no success means."""
    status = answer.response.status_code
    default = UnavailableError if status >= _FIRST_SERVER_ERROR else PermanentError
    kind = ERRORS.get(status, default)
    message = f"{place} answered {status}: {answer.text or 'no details'}{_HINTS.get(status, '')}"
    if issubclass(kind, RetryableError):
        wait_secs = retry_after_secs(answer.response.headers.get("retry-after"), clock)
        return kind(message, retry_after_secs=wait_secs)
    return kind(message)
