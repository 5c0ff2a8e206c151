"""Durations, sizes and endpoints as a configuration writes them."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from otelprof.config.endpoint import Endpoint
from otelprof.config.units import Duration, Size

DURATION: TypeAdapter[float] = TypeAdapter(Duration)
SIZE: TypeAdapter[int] = TypeAdapter(Size)
ENDPOINT: TypeAdapter[Endpoint] = TypeAdapter(Endpoint)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("300ms", 0.3),
        ("1m30s", 90),
        ("1h", 3600),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("1.s", 1),
        ("10us", 1e-5),
        ("10µs", 1e-5),
        ("100ns", 1e-7),
        ("7d", 604_800),
        ("0s", 0),
        (0, 0),
        (5, 5),
        (2.5, 2.5),
    ],
)
def test_durations(written: Any, seconds: float) -> None:
    """Go's durations, days, and plain numbers of seconds are read."""
    assert math.isclose(seconds, DURATION.validate_python(written))


@pytest.mark.parametrize(
    "written",
    [
        "",
        "5",
        "5 s",
        "s",
        "-1s",
        "1s-",
        "1_0s",
        "٣s",
        "1e3s",
        "5sec",
        "1h 30m",
        True,
        None,
        [],
        -1,
        math.inf,
        math.nan,
        "200000d",
        1e300,
    ],
)
def test_not_durations(written: Any) -> None:
    """Anything else is refused: no unit, signs, spaces, other digits, and what is not a time at all."""
    with pytest.raises(ValidationError):
        DURATION.validate_python(written)


@pytest.mark.parametrize(
    ("written", "size_bytes"),
    [
        ("4MiB", 4_194_304),
        ("256MiB", 268_435_456),
        ("10GiB", 10_737_418_240),
        ("4 MiB", 4_194_304),
        ("4MB", 4_000_000),
        ("1.5KiB", 1536),
        ("0", 0),
        ("1024", 1024),
        (1024, 1024),
        (0, 0),
    ],
)
def test_sizes(written: Any, size_bytes: int) -> None:
    """Binary and decimal units, and plain numbers of bytes are read."""
    assert size_bytes == SIZE.validate_python(written)


@pytest.mark.parametrize(
    "written", ["", "MiB", "4MiB or so", "4XB", "-1", -1, 1.5, True, None, "4\nMiB", "٣MiB"]
)
def test_not_sizes(written: Any) -> None:
    """Anything else is refused, what `ByteSize` alone would misread included."""
    with pytest.raises(ValidationError):
        SIZE.validate_python(written)


@pytest.mark.parametrize(
    ("written", "host", "port", "is_loopback"),
    [
        ("localhost:4317", "localhost", 4317, True),
        ("LOCALHOST:1", "LOCALHOST", 1, True),
        ("127.0.0.1:0", "127.0.0.1", 0, True),
        ("127.8.9.1:65535", "127.8.9.1", 65535, True),
        ("[::1]:4317", "::1", 4317, True),
        ("[::]:4317", "::", 4317, False),
        ("[2001:db8::1]:4317", "2001:db8::1", 4317, False),
        ("10.0.0.1:4317", "10.0.0.1", 4317, False),
        (":4317", "", 4317, False),
        ("otel-collector.ns_1.svc:4317", "otel-collector.ns_1.svc", 4317, False),
        ("localhost.example.com:1", "localhost.example.com", 1, False),
    ],
)
def test_endpoints(written: str, host: str, port: int, is_loopback: bool) -> None:  # noqa: FBT001 - a column
    """A host and a port are read, written back the same, and known to be reachable from elsewhere or not."""
    endpoint = ENDPOINT.validate_python(written)

    assert endpoint == Endpoint(host, port)
    assert str(endpoint) == written
    assert endpoint.is_loopback is is_loopback
    assert ENDPOINT.validate_python(endpoint) is endpoint


@pytest.mark.parametrize(
    "written",
    [
        "",
        "localhost",
        "localhost:",
        "localhost:http",
        "localhost:65536",
        "localhost:-1",
        "localhost:٣",
        "a:+1",
        "::1:4317",
        "[::1]",
        "[::1:4317",
        "[localhost]:1",
        "http://localhost:4317",
        "a b:1",
        "-a:1",
        "a/b:1",
        "u@h:1",
        "${env:HOST}:4317",
        4317,
        None,
        ["localhost", 4317],
    ],
)
def test_not_endpoints(written: Any) -> None:
    """Anything else is refused, with the text and the form that is wanted."""
    with pytest.raises(ValidationError, match="is not an endpoint"):
        ENDPOINT.validate_python(written)
