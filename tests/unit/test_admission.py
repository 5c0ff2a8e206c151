"""One budget of memory for all requests, and whom it refuses when it is short."""

from __future__ import annotations

import gzip
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import pytest
import yaml
import zstandard

from otelprof._core import Limits, Profiles
from otelprof.config.resolve import load_config
from otelprof.errors import OverloadedError, RequestTooLargeError
from otelprof.receiver.admission import Admission, client_at, decoded, inflated_bytes
from otelprof.receiver.otlp_grpc import host_of
from otelprof.telemetry.admission_metrics import ADMISSION_BYTES, ADMISSION_LIMIT_BYTES, ADMISSION_REFUSED
from otelprof.telemetry.metrics import Metrics
from tests.e2e.harness import request

if TYPE_CHECKING:
    from pathlib import Path

    from otelprof.receiver.admission import RequestMemory

KIB, MIB = 1 << 10, 1 << 20
BODY = request(samples=200).SerializeToString()


class Bench:
    """A budget of 100 bytes, what it counted, and the requests that hold some of it until the end."""

    def __init__(self, limit_bytes: int = 100) -> None:
        self.metrics = Metrics()
        self.admission = Admission(limit_bytes, self.metrics)
        self.stack = ExitStack()

    def take(self, client: str, size_bytes: int) -> RequestMemory:
        """A further request of a client."""
        memory = self.stack.enter_context(self.admission.reserve(client))
        memory.take(size_bytes)
        return memory

    def refused(self, client: str, size_bytes: int) -> OverloadedError:
        """What a further request of a client is told."""
        with pytest.raises(OverloadedError) as caught:
            self.take(client, size_bytes)
        return caught.value

    def counts(self) -> tuple[float, float, float]:
        """What is held, and the refusals for want of memory and of a share."""
        reasons = [self.metrics.value(ADMISSION_REFUSED, reason=reason) for reason in ("memory", "share")]
        return (self.metrics.value(ADMISSION_BYTES), reasons[0], reasons[1])


def test_what_is_taken_is_given_back() -> None:
    """A request holds what it took until its context is left, however it is left."""
    bench = Bench()
    with suppress(RuntimeError), bench.admission.reserve("a") as memory:
        memory.take(10)
        memory.take(30)
        memory.take(20)
        assert (30, 0, 0) == bench.counts()
        raise RuntimeError
    assert (0, 0, 0) == bench.counts()
    assert 100 == bench.metrics.value(ADMISSION_LIMIT_BYTES)


def test_one_client_has_half() -> None:
    """A client's further requests are refused, retryably, when they would have more than is left."""
    bench = Bench()
    bench.take("a", 30)
    bench.take("a", 20)
    error = bench.refused("a", 1)
    assert 1.0 == error.retry_after_secs
    assert "no memory for 1 bytes now: this client's requests" in str(error)
    assert "of 100 bytes (service.admission.request_limit_mib)" in str(error)
    assert (50, 0, 1) == bench.counts()


def test_a_quiet_client_is_not_starved() -> None:
    """While others hold all that they may, one that holds nothing is let in."""
    bench = Bench()
    for noisy in ("a", "b"):
        for _ in range(100):
            try:
                bench.take(noisy, 1)
            except OverloadedError:
                break
    held, *_ = bench.counts()
    assert 75 == held
    bench.take("quiet", 25)
    assert "requests in flight have" in str(bench.refused("quiet", 1))
    assert (100, 1, 2) == bench.counts()


def test_a_client_alone_with_one_request_may_have_all() -> None:
    """A request is not held against itself: alone, it may grow to the whole budget, and over it takes all."""
    bench = Bench()
    memory = bench.take("a", 60)
    memory.take(90)
    memory.take(10_000)
    assert (100, 0, 0) == bench.counts()
    bench.refused("b", 1)
    assert (100, 1, 0) == bench.counts()


def test_what_it_turned_out_to_be() -> None:
    """What a request needs in the end is counted, more than the budget has, too."""
    bench = Bench()
    memory = bench.take("a", 50)
    memory.settle(10)
    assert (10, 0, 0) == bench.counts()
    memory.settle(130)
    bench.refused("b", 1)
    assert (130, 1, 0) == bench.counts()
    bench.stack.close()
    assert (0, 1, 0) == bench.counts()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", 0),
        (b"plain", 0),
        (gzip.compress(bytes(5000)), 5000),
        (gzip.compress(b""), 1),
        (gzip.compress(bytes(70 * KIB)), 64 * KIB),
        (b"\x1f\x8b", min(64 * KIB, 2 * 1032)),
        (b"\x1f\x8b\x08\x00\xff\xff\xff\xff", 8 * 1032),
        (zstandard.compress(bytes(5000)), 5000),
        (zstandard.ZstdCompressor(write_content_size=False).compress(bytes(5000)), 64 * KIB),
        (zstandard.compress(bytes(70 * KIB)), 64 * KIB),
        (b"\x28\xb5\x2f\xfd", 1),
    ],
)
def test_what_a_body_says_that_it_becomes(body: bytes, expected: int) -> None:
    """Compressed bodies say how large they become; what does not say may become as much as is allowed."""
    assert expected == inflated_bytes(body, 64 * KIB)


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        ("ipv4:10.0.0.1:4711", "10.0.0.1"),
        ("ipv6:%5B2001:db8:1:2:3::4%5D:4711", "2001:db8:1:2::/64"),
        ("ipv6:%5B::ffff:10.0.0.1%5D:4711", "10.0.0.1"),
        ("ipv6:%5Bfe80::1%25eth0%5D:4711", "fe80::/64"),
        ("unix:", "unix:"),
    ],
)
def test_whom_a_peer_is(peer: str, expected: str) -> None:
    """A client is its IPv4 address, or its IPv6 network, whatever port it sends from."""
    assert expected == client_at(host_of(peer))


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress, bytes])
def test_memory_is_taken_before_it_is_inflated(compress: type[bytes]) -> None:
    """A body whose inflated form has no room is refused without being looked at."""
    body, taken = compress(BODY), []
    bench = Bench(len(body) + len(BODY) - 1)
    with bench.admission.reserve("a") as memory, bench.admission.reserve("b") as other:
        other.take(1)
        memory.take(len(body))
        if compress is bytes:
            decoded(body, Limits(), memory, lambda body, _: taken.append(body))
        else:
            with pytest.raises(OverloadedError):
                decoded(body, Limits(), memory, lambda body, _: taken.append(body))
    assert ([body] if compress is bytes else []) == taken


def test_who_lies_about_the_size_gains_nothing() -> None:
    """A body that becomes more than it says is inflated again, within all that a body may become."""
    body = gzip.compress(BODY)
    lie = body[:-4] + (10).to_bytes(4, "little")
    two = gzip.compress(BODY[:100]) + gzip.compress(BODY[100:])
    bench, limits = Bench(MIB), Limits(max_body_bytes=64 * KIB)
    with bench.admission.reserve("a") as memory:
        assert (
            BODY == Profiles.decode(body).to_otlp() == decoded(two, limits, memory, Profiles.decode).to_otlp()
        )
    assert len(two) + 64 * KIB == _peak(two, limits)
    with bench.admission.reserve("a") as memory, pytest.raises(Exception, match="gzip"):
        decoded(lie, limits, memory, Profiles.decode)
    with bench.admission.reserve("a") as memory, pytest.raises(RequestTooLargeError):
        decoded(gzip.compress(bytes(65 * KIB)), limits, memory, Profiles.decode)


def _peak(body: bytes, limits: Limits) -> float:
    """What is held when a body was decoded."""
    bench = Bench(MIB)
    with bench.admission.reserve("a") as memory:
        decoded(body, limits, memory, Profiles.decode)
        return bench.counts()[0]


@pytest.mark.parametrize(
    ("admission", "processors", "expected_mib"),
    [
        ({}, {}, 256),
        ({}, {"memory_limiter": {"limit_mib": 500, "spike_limit_mib": 100}}, 200),
        ({"request_limit_mib": 7}, {"memory_limiter": {"limit_mib": 500}}, 7),
    ],
)
def test_the_default(
    tmp_path: Path, admission: dict[str, int], processors: dict[str, dict[str, int]], expected_mib: int
) -> None:
    """The budget is half of what the process may have, where something says how much that is."""
    path = tmp_path / "otelprof.yaml"
    pipeline = {"receivers": ["otlp"], "processors": list(processors), "exporters": ["debug"]}
    config = {
        "receivers": {"otlp": {"protocols": {"grpc": {}}}},
        "processors": processors,
        "exporters": {"debug": {}},
        "service": {"pipelines": {"profiles": pipeline}, "admission": admission},
    }
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    assert expected_mib * MIB == load_config(path, {}).request_limit_bytes
