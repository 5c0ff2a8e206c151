"""A load as a fleet of Go services makes it, the same for every run: 20 services, a CPU profile every 10 s.

A profile has two sample types (samples and nanoseconds), and 600 stack samples drawn by Zipf's law from
the 400 stacks of its service (depth up to 45, prefixes shared). Functions have the names and files of Go
packages; a share of them is common to all services. With `linked`, half of the stacks carry random trace and
span ids, up to three spans of a stack in each profile.

This is the load that a Pyroscope server was measured with: 20 services x 360 profiles, some 200 distinct
stacks and 56 kB of gzip pprof each.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import accumulate
from random import Random
from typing import TYPE_CHECKING, Final

from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest,
)
from opentelemetry.proto.profiles.v1development.profiles_pb2 import ProfilesDictionary

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVICES: Final = 20
STACKS: Final = 400
DRAWN: Final = 600
MAX_DEPTH: Final = 45
PERIOD_NANOS: Final = 10_000_000
WINDOW_NANOS: Final = 10_000_000_000
START: Final = (int(time.time()) // 86_400 - 1) * 86_400 * 10**9
"""Yesterday: a store neither forgets it nor folds it, and a writer remembers its symbols."""
_COMMON_FUNCTIONS: Final = 1_500
_OWN_FUNCTIONS: Final = 2_500
_WORDS: Final = (
    "store",
    "query",
    "merge",
    "index",
    "block",
    "cache",
    "ring",
    "write",
    "read",
    "client",
    "server",
    "proto",
    "label",
    "tenant",
    "series",
    "chunk",
    "head",
    "flush",
    "compact",
    "limit",
    "route",
    "parse",
    "encode",
    "stream",
    "batch",
    "queue",
    "worker",
    "shard",
    "token",
    "lease",
    "watch",
    "sync",
    "heap",
    "table",
)


@dataclass
class Service:
    """One service: what its stacks are, and the dictionary that all its requests share."""

    name: str
    dictionary: bytes
    linked_stacks: frozenset[int]
    cumulated_weights: list[float] = field(
        default_factory=lambda: list(accumulate(1 / rank for rank in range(1, STACKS + 1)))
    )


def _function_names(chance: Random, package: str, count: int) -> list[tuple[str, str]]:
    """Names and files of so many functions."""
    found = []
    for _ in range(count):
        words = chance.choices(_WORDS, k=4)
        folder = f"{package}/{words[0]}{words[1]}"
        method = f"{chance.choice(_WORDS).title()}{chance.randrange(99)}"
        name = f"{folder}.(*{words[2].title()}{words[3].title()}).{method}"
        found.append((name, f"/go/pkg/mod/{folder}/{words[2]}_{words[3]}.go"))
    return found


def service(number: int) -> Service:
    """A service of the fleet."""
    common = _function_names(Random(-1), "google.golang.org/grpc/internal", _COMMON_FUNCTIONS)
    chance = Random(number)
    name = f"service-{number:02d}"
    functions = common + _function_names(chance, f"github.com/example/{name}/pkg", _OWN_FUNCTIONS)
    d = ProfilesDictionary()
    strings: dict[str, int] = {}

    def string(text: str) -> int:
        if text not in strings:
            strings[text] = len(d.string_table)
            d.string_table.append(text)
        return strings[text]

    string("")
    d.mapping_table.add()
    d.mapping_table.add(
        memory_start=0x400000, memory_limit=0x4000000, filename_strindex=string(f"/usr/bin/{name}")
    )
    d.link_table.add()
    d.attribute_table.add()
    d.function_table.add()
    d.location_table.add()
    for index, (function, file) in enumerate(functions, start=1):
        d.function_table.add(name_strindex=string(function), filename_strindex=string(file), start_line=10)
        location = d.location_table.add(mapping_index=1, address=0x400000 + 64 * index)
        location.lines.add(function_index=index, line=10 + index % 200)
    d.stack_table.add()
    paths: list[list[int]] = [[1 + chance.randrange(_COMMON_FUNCTIONS)]]
    for _ in range(STACKS):
        # A branch of one that is there, so that stacks share their callers.
        path = list(chance.choice(paths))
        path = path[: chance.randint(max(1, len(path) // 2), len(path))]
        depth = chance.randint(12, MAX_DEPTH)
        while len(path) < depth:
            path.append(1 + chance.randrange(len(functions)))
        paths.append(path)
        d.stack_table.add(location_indices=reversed(path))
    for text in ("samples", "count", "cpu", "nanoseconds"):
        string(text)
    linked = frozenset(chance.sample(range(STACKS), STACKS // 2))
    return Service(name, d.SerializeToString(), linked)


def _resource(request: ExportProfilesServiceRequest, name: str) -> None:
    pairs = {
        "service.name": name,
        "service.version": "1.4.2",
        "deployment.environment.name": "production",
        "k8s.namespace.name": "shop",
        "k8s.pod.name": f"{name}-6d5f9c7b8d-x2x4z",
        "host.name": f"node-{int(name[-2:]) % 5}",
    }
    resource = request.resource_profiles.add().resource
    for key, value in pairs.items():
        resource.attributes.add(key=key).value.string_value = value


def request(of: Service, window: int, *, linked: bool = False) -> bytes:
    """The request of a service for one ten-second window: two Profiles of the same Samples."""
    chance = Random(f"{of.name} {window} {linked}")
    message = ExportProfilesServiceRequest()
    message.dictionary.ParseFromString(of.dictionary)
    d = message.dictionary
    strings = {text: index for index, text in enumerate(d.string_table)}
    _resource(message, of.name)
    scope = message.resource_profiles[0].scope_profiles.add()
    start = START + window * WINDOW_NANOS + chance.randrange(5_000_000)
    counts: dict[tuple[int, int], int] = {}
    for stack in chance.choices(range(STACKS), cum_weights=of.cumulated_weights, k=DRAWN):
        span = chance.randrange(3) if linked and stack in of.linked_stacks else -1
        counts[stack, span] = counts.get((stack, span), 0) + 1
    links = {}
    for stack, span in counts:
        if span >= 0:
            links[stack, span] = len(d.link_table)
            d.link_table.add(trace_id=chance.randbytes(16), span_id=chance.randbytes(8))
    for name, unit, factor in (("samples", "count", 1), ("cpu", "nanoseconds", PERIOD_NANOS)):
        profile = scope.profiles.add(
            time_unix_nano=start,
            duration_nano=WINDOW_NANOS,
            period=PERIOD_NANOS,
            profile_id=chance.randbytes(16),
        )
        profile.sample_type.type_strindex, profile.sample_type.unit_strindex = strings[name], strings[unit]
        profile.period_type.type_strindex = strings["cpu"]
        profile.period_type.unit_strindex = strings["nanoseconds"]
        for (stack, span), count in counts.items():
            profile.samples.add(
                stack_index=stack + 1, link_index=links.get((stack, span), 0), values=[count * factor]
            )
    return message.SerializeToString()


def requests(windows: int, *, linked: bool = False, services: int = SERVICES) -> Iterator[list[bytes]]:
    """For each window, the requests of all services."""
    fleet = [service(number) for number in range(services)]
    for window in range(windows):
        yield [request(of, window, linked=linked) for of in fleet]
