"""The `otlp` exporter: what may be configured, and what the far side's answers mean."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import DebugInfo, RetryInfo
from google.rpc.status_pb2 import Status
from pydantic import ValidationError

from otelprof.errors import (
    OverloadedError,
    PermanentError,
    RequestTooLargeError,
    RetryableError,
    UnauthenticatedError,
    UnavailableError,
    answer_for,
)
from otelprof.exporter.grpc_client import ERRORS, error_of, retry_delay_secs
from otelprof.exporter.otlp import OtlpExporterConfig

CODES = grpc.StatusCode


class Failed(grpc.RpcError):
    """A failed call."""

    def __init__(self, code: CODES, details: bytes | None = None, message: str = "why") -> None:
        super().__init__()
        self._code, self._details, self._message = code, details, message

    def code(self) -> CODES:
        """The status."""
        return self._code

    def details(self) -> str:
        """The message."""
        return self._message

    def trailing_metadata(self) -> Any:
        """The status details, if there are any."""
        if self._details is None:
            return None
        datum = type("Datum", (), {"key": "grpc-status-details-bin", "value": self._details})
        return (datum,)


def status_details(*messages: Any) -> bytes:
    """A google.rpc.Status with these details."""
    status = Status()
    for message in messages:
        detail = AnyMessage()
        detail.Pack(message)
        status.details.append(detail)
    return bytes(status.SerializeToString())


def retry_info(secs: float) -> RetryInfo:
    """A RetryInfo that asks for so much."""
    info = RetryInfo()
    info.retry_delay.FromMilliseconds(round(secs * 1000))
    return info


@pytest.mark.parametrize(
    ("endpoint", "insecure", "target"),
    [
        ("collector:4317", False, "collector:4317"),
        ("collector:4317", True, "collector:4317"),
        ("https://collector:4317", False, "collector:4317"),
        ("https://collector:4317/", False, "collector:4317"),
        ("http://127.0.0.1:4317", True, "127.0.0.1:4317"),
        ("dns:///collector:4317", False, "dns:///collector:4317"),
        ("[::1]:4317", True, "[::1]:4317"),
    ],
)
def test_endpoints(endpoint: str, insecure: bool, target: str) -> None:  # noqa: FBT001 - a parameter of the test
    """Every form that a collector's user writes is understood."""
    config = OtlpExporterConfig.model_validate({"endpoint": endpoint, "tls": {"insecure": insecure}})
    assert target == config.target


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "endpoint"),
        ({"endpoint": "collector"}, "write host:port"),
        ({"endpoint": ":4317"}, "write host:port"),
        ({"endpoint": "ftp://collector:4317"}, "IPv6 address in brackets"),
        ({"endpoint": "https://collector:4317/v1"}, "with a port"),
        ({"endpoint": "https://me:s3cret@collector:4317"}, "an endpoint holds no credentials"),
        ({"endpoint": "http://collector:4317"}, "is in the clear: write tls.insecure: true"),
        ({"endpoint": "https://collector:4317", "tls": {"insecure": True}}, "contradict each other"),
        ({"endpoint": "collector:4317", "compression": "zstd"}, "'gzip' or 'none'"),
        ({"endpoint": "collector:4317", "headers": {"grpc-timeout": "1"}}, "not beginning with grpc-"),
        ({"endpoint": "collector:4317", "headers": {"x y": "1"}}, "is not a header's name"),
        ({"endpoint": "collector:4317", "headers": {"x": "a\nb"}}, "is not printable ASCII"),
        ({"endpoint": "collector:4317", "headers": {"x-bin": "a"}}, "is not printable ASCII"),
    ],
)
def test_wrong_configurations_are_explained(keys: dict[str, object], message: str) -> None:
    """What cannot work is refused when the file is read, with what to write instead."""
    with pytest.raises(ValidationError, match=message):
        OtlpExporterConfig.model_validate(keys)


def test_secrets_are_not_shown() -> None:
    """A header's value is in no text of the configuration, nor in the error about it."""
    keys = {"endpoint": "collector:4317", "headers": {"Authorization": "Bearer hunter2"}}
    config = OtlpExporterConfig.model_validate(keys)
    assert "hunter2" not in f"{config!r} {config} {config.model_dump()} {config.model_dump_json()}"
    with pytest.raises(ValidationError) as caught:
        OtlpExporterConfig.model_validate({**keys, "headers": {"Authorization": "hunter2\n"}})
    assert ["value_error"] == [problem["type"] for problem in caught.value.errors()]
    assert "hunter2" not in caught.value.errors()[0]["msg"]


@pytest.mark.parametrize("code", list(CODES))
def test_every_status_is_permanent_or_retryable(code: CODES) -> None:
    """The OTLP specification's list is retried, everything else is not."""
    retryable = {
        CODES.CANCELLED,
        CODES.DEADLINE_EXCEEDED,
        CODES.ABORTED,
        CODES.OUT_OF_RANGE,
        CODES.UNAVAILABLE,
        CODES.DATA_LOSS,
    }
    error = error_of(Failed(code), "collector:4317")
    kind = RetryableError if code in retryable else PermanentError
    assert isinstance(error, kind)
    assert f"collector:4317 answered {code.name}: why" == str(error)


def test_resource_exhausted_is_retried_only_with_retry_info() -> None:
    """Without RetryInfo the far side means: never send this again."""
    without = error_of(Failed(CODES.RESOURCE_EXHAUSTED), "next")
    given = error_of(Failed(CODES.RESOURCE_EXHAUSTED, status_details(retry_info(2.5))), "next")
    assert RequestTooLargeError is type(without)
    assert isinstance(given, OverloadedError)
    assert 2.5 == given.retry_after_secs


@pytest.mark.parametrize("code", [CODES.UNAUTHENTICATED, CODES.PERMISSION_DENIED])
def test_refused_credentials(code: CODES) -> None:
    """Wrong credentials are permanent, and have a class of their own."""
    assert UnauthenticatedError is type(error_of(Failed(code), "next"))


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        (None, None),
        (b"\xff\xff", None),
        (status_details(), None),
        (status_details(DebugInfo(detail="x")), None),
        (status_details(DebugInfo(detail="x"), retry_info(1.25)), 1.25),
        (status_details(retry_info(0)), 0.0),
        (status_details(retry_info(-3)), 0.0),
    ],
)
def test_retry_info_is_read_from_hostile_details(details: bytes | None, expected: float | None) -> None:
    """RetryInfo is found among other details; what cannot be read says nothing."""
    assert expected == retry_delay_secs(Failed(CODES.UNAVAILABLE, details))


def test_retry_info_reaches_the_error() -> None:
    """What the far side asks for is in the error that the sender sees."""
    error = error_of(Failed(CODES.UNAVAILABLE, status_details(retry_info(7))), "next")
    assert isinstance(error, UnavailableError)
    assert 7.0 == error.retry_after_secs


def test_messages_of_the_far_side_are_made_safe() -> None:
    """An escape sequence in a status message does not reach a terminal."""
    error = error_of(Failed(CODES.INTERNAL, message="\x1b[2Jgone" + "x" * 10_000), "next")
    assert r"next answered INTERNAL: \x1b[2Jgonexxx" == str(error)[:38]
    assert len(str(error)) < 600


def test_the_table_has_an_answer_for_each_error() -> None:
    """Each class that the far side's status becomes can be answered to our own client."""
    assert all(answer_for(kind("x")).grpc_status is not CODES.INTERNAL for kind in ERRORS.values())
