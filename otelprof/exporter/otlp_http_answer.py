"""What an answer over OTLP/HTTP means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from google.rpc.status_pb2 import Status

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
from otelprof.exporter.http_client import HttpAnswer, retry_after_secs
from otelprof.telemetry.text import printable

if TYPE_CHECKING:
    from otelprof.clock import Clock

# OTLP specification, "OTLP/HTTP Response", "Failures": what is not here is not retried.
ERRORS: Final[dict[int, type[OtelprofError]]] = {
    401: UnauthenticatedError,
    403: UnauthenticatedError,
    413: RequestTooLargeError,
    415: UnsupportedEncodingError,
    429: OverloadedError,
    502: UnavailableError,
    503: UnavailableError,
    504: UnavailableError,
}


def error_of(answer: HttpAnswer, url: str, clock: Clock) -> OtelprofError:
    """What an answer that is no success means: permanent or retryable, and when to try again."""
    status, response = Status(), answer.response
    why = status.message if parse(status, answer) else ""
    why = printable(why) or answer.text or "no details"
    if response.has_redirect_location:
        why = f"redirects are not followed: {printable(response.headers['location'])}"
    message = f"{url} answered {response.status_code}: {why}"
    kind = ERRORS.get(response.status_code, PermanentError)
    if issubclass(kind, RetryableError):
        return kind(message, retry_after_secs=retry_after_secs(response.headers.get("retry-after"), clock))
    return kind(message)


def parse(message: Message, answer: HttpAnswer) -> bool:
    """Read a message of the answer's content type; whether it could be read."""
    content = answer.content
    if content is None:
        return False
    media_type = answer.response.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if media_type == "application/json":
            json_format.Parse(content, message, ignore_unknown_fields=True)
        elif media_type == "application/x-protobuf":
            message.ParseFromString(content)
        else:
            # A success without a body says that all went well.
            return not content
    except (DecodeError, json_format.ParseError, UnicodeDecodeError, RecursionError):
        return False
    return True
