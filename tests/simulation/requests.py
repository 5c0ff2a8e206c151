"""Requests of which every sample can be told from every other, wherever it arrives."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.reference.build import Build

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otelprof._core import Profiles

_NUMBER: Final = "00000000"
"""Stands in a template for the number of the request."""

NOISE: Final = "noise"
"""The service whose samples policy drops."""

_SPAN: Final = b"spanspan"
_BAD_STACK: Final = 1_000


@cache
def template(samples: int, *, is_noisy: bool, has_bad_profile: bool) -> bytes:
    """A request with two Profiles of so many samples in all; beside them one of noise, and one to refuse."""
    build = Build()
    scope = build.scope({"service.name": "checkout"})
    link = (f"traceid-{_NUMBER}".encode(), _SPAN)
    profiles = [build.profile(scope, f"profil-{part}{_NUMBER}".encode()) for part in "ab"]
    for number in range(samples):
        build.sample(profiles[number % 2], 1, link=link if number % 3 else None, stack=f"r{_NUMBER}.{number}")
    if not profiles[1].samples:
        del scope.profiles[1]
    if has_bad_profile:
        bad = build.profile(scope, f"profil-c{_NUMBER}".encode())
        build.sample(bad, 1, stack=f"bad{_NUMBER}").stack_index = _BAD_STACK
    if is_noisy:
        noise = build.profile(build.scope({"service.name": NOISE}), f"profil-d{_NUMBER}".encode())
        build.sample(noise, 1, stack=f"noise{_NUMBER}")
    return build.body


def request(number: int, samples: int, *, is_noisy: bool = False, has_bad_profile: bool = False) -> bytes:
    """The request of a number, on the wire."""
    body = template(samples, is_noisy=is_noisy, has_bad_profile=has_bad_profile)
    return body.replace(_NUMBER.encode(), f"{number:08}".encode())


def names_of(number: int, samples: int) -> list[str]:
    """The stacks of a request that are to arrive."""
    return [f"r{number:08}.{sample}" for sample in range(samples)]


def names_in(profiles: Profiles) -> Iterator[str]:
    """The stacks of a request, each as often as its value says."""
    for name, value in profiles.fold():
        yield from [name] * value


def trace(number: int) -> bytes:
    """What the tracing side says when it keeps the trace of a request."""
    message = ExportTraceServiceRequest()
    spans = message.resource_spans.add().scope_spans.add().spans
    trace_id = f"traceid-{number:08}".encode()
    spans.add(trace_id=trace_id, span_id=_SPAN, name="GET /", start_time_unix_nano=1, end_time_unix_nano=2)
    return message.SerializeToString()
