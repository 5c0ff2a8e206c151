"""The `otlp_http` exporter: what may be configured, and what the far side's answers mean."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from email.utils import format_datetime
from http import HTTPStatus

import httpx
import pytest
from google.rpc.status_pb2 import Status
from pydantic import ValidationError

from otelprof.errors import (
    OverloadedError,
    PermanentError,
    RequestTooLargeError,
    RetryableError,
    UnauthenticatedError,
    UnavailableError,
    UnsupportedEncodingError,
    answer_for,
)
from otelprof.exporter.http_client import HttpAnswer, retry_after_secs
from otelprof.exporter.otlp_http import OtlpHttpExporterConfig
from otelprof.exporter.otlp_http_answer import ERRORS, error_of
from otelprof.testing.clock import SimulatedClock

URL = "http://far:4318/v1development/profiles"
PROTO = {"content-type": "application/x-protobuf"}
JSON = {"content-type": "application/json; charset=utf-8"}


@pytest.mark.parametrize(
    ("keys", "url"),
    [
        ({"endpoint": "http://far:4318"}, URL),
        ({"endpoint": "http://far:4318/"}, URL),
        ({"endpoint": "https://far/otlp/"}, "https://far/otlp/v1development/profiles"),
        ({"endpoint": "http://[::1]:4318"}, "http://[::1]:4318/v1development/profiles"),
        ({"profiles_endpoint": "https://far/profiles"}, "https://far/profiles"),
        ({"endpoint": "http://far:4318", "profiles_endpoint": "http://near/p"}, "http://near/p"),
        ({"endpoint": "http://far:4318", "tls": {"insecure": True}}, URL),
    ],
)
def test_endpoints(keys: dict[str, object], url: str) -> None:
    """The path is appended to `endpoint`; `profiles_endpoint` is taken as it is, and wins."""
    assert url == OtlpHttpExporterConfig.model_validate(keys).url


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "endpoint or profiles_endpoint is required"),
        ({"endpoint": "far:4318"}, "write http://host:port or https://host:port"),
        ({"endpoint": "ftp://far"}, "write http://host:port or https://host:port"),
        ({"endpoint": "http://"}, "write http://host:port or https://host:port"),
        ({"endpoint": "http://far?x=1"}, "write http://host:port or https://host:port"),
        ({"endpoint": "http://far:99999999"}, "write http://host:port or https://host:port"),
        ({"endpoint": "http://far:x"}, "is not a URL"),
        ({"endpoint": "https://me:s3cret@far"}, "a URL holds no credentials"),
        ({"profiles_endpoint": "https://s3cret@far"}, "a URL holds no credentials"),
        ({"endpoint": "https://far", "tls": {"insecure": True}}, "contradict each other"),
        ({"endpoint": "http://far", "compression": "snappy"}, "'zstd', 'gzip' or 'none'"),
        ({"endpoint": "http://far", "encoding": "xml"}, "'proto' or 'json'"),
        ({"endpoint": "http://far", "headers": {"Content-Type": "x"}}, "is set by the exporter"),
        ({"endpoint": "http://far", "headers": {"x": "a\r\nb: c"}}, "is not printable ASCII"),
    ],
)
def test_wrong_configurations_are_explained(keys: dict[str, object], message: str) -> None:
    """What cannot work is refused when the file is read; a password is not shown."""
    with pytest.raises(ValidationError, match=message) as caught:
        OtlpHttpExporterConfig.model_validate(keys)
    assert "s3cret" not in caught.value.errors()[0]["msg"]


def test_secrets_are_not_shown() -> None:
    """A header's value is in no text of the configuration."""
    keys = {"endpoint": "http://far", "headers": {"Authorization": "Bearer hunter2"}}
    config = OtlpHttpExporterConfig.model_validate(keys)
    assert "hunter2" not in f"{config!r} {config} {config.model_dump()} {config.model_dump_json()}"


@pytest.mark.parametrize("code", [*range(300, 600)])
def test_every_status_is_permanent_or_retryable(code: int) -> None:
    """429, 502, 503 and 504 are retried, everything else is not (OTLP specification)."""
    error = error_of(HttpAnswer(httpx.Response(code), b""), URL, SimulatedClock())
    assert isinstance(error, RetryableError if code in {429, 502, 503, 504} else PermanentError)
    assert f"{URL} answered {code}: no details" == str(error)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (HTTPStatus.UNAUTHORIZED, UnauthenticatedError),
        (HTTPStatus.FORBIDDEN, UnauthenticatedError),
        (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, RequestTooLargeError),
        (HTTPStatus.UNSUPPORTED_MEDIA_TYPE, UnsupportedEncodingError),
        (HTTPStatus.TOO_MANY_REQUESTS, OverloadedError),
        (HTTPStatus.SERVICE_UNAVAILABLE, UnavailableError),
    ],
)
def test_statuses_that_say_why(code: HTTPStatus, kind: type[Exception]) -> None:
    """Some have a class of their own."""
    assert kind is type(error_of(HttpAnswer(httpx.Response(code), b""), URL, SimulatedClock()))


@pytest.mark.parametrize(
    ("headers", "content", "why"),
    [
        (PROTO, Status(code=3, message="proto says").SerializeToString(), "proto says"),
        (JSON, json.dumps({"code": 3, "message": "json says", "later": 1}).encode(), "json says"),
        (JSON, json.dumps({"message": "x", "details": [{"@type": "nowhere/Unknown"}]}).encode(), '{"message'),
        (JSON, b"[" * 50_000, "[[["),
        (JSON, b"\xff", "\N{REPLACEMENT CHARACTER}"),
        (PROTO, b"\xff", "\N{REPLACEMENT CHARACTER}"),
        ({"content-type": "text/html"}, b"<h1>\x1b[2Jno</h1>\n", r"<h1>\x1b[2Jno</h1>"),
        ({"location": "http://other"}, b"", "redirects are not followed: http://other"),
        ({}, None, "no details"),
    ],
)
def test_reasons(headers: dict[str, str], content: bytes | None, why: str) -> None:
    """The message is the far side's, from a status in either encoding or a text, made safe and short."""
    response = httpx.Response(301 if "location" in headers else 400, headers=headers)
    error = error_of(HttpAnswer(response, content), URL, SimulatedClock())
    assert why in str(error)
    assert (True, False) == (len(str(error)) < 700, "\x1b" in str(error))


def test_retry_after() -> None:
    """Seconds, or a date, which may be over; what cannot be read says nothing."""
    clock = SimulatedClock()
    now = datetime.fromtimestamp(int(clock.now()) + 90, UTC)
    date = format_datetime(now, usegmt=True)
    assert now.timestamp() - clock.now() == retry_after_secs(date, clock)
    past = "Fri, 31 Dec 1999 23:59:59 GMT"
    found = [
        retry_after_secs(one, clock) for one in (None, "0", "17", past, "", "-1", "1.5", "soon", "9" * 99)
    ]
    assert [None, 0.0, 17.0, 0.0, None, None, None, None, None] == found


def test_retry_after_reaches_the_error() -> None:
    """What the far side asks for is in the error that the sender sees."""
    error = error_of(
        HttpAnswer(httpx.Response(503, headers={"retry-after": "7"}), b""), URL, SimulatedClock()
    )
    assert isinstance(error, UnavailableError)
    assert 7.0 == error.retry_after_secs


def test_the_table_has_an_answer_for_each_error() -> None:
    """Each class that the far side's status becomes can be answered to our own client."""
    assert all(500 != answer_for(kind("x")).http_status for kind in ERRORS.values())
