"""Hostile input for all that the core reads; and what it reads, put through everything that it does.

Inputs come in blocks. A block is drawn from a seed and its number, so that each can be had again by itself.
"""

from __future__ import annotations

import random
import time
import traceback
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from otelprof._core import (
    Deltas,
    Limits,
    Merger,
    Policy,
    Profiles,
    Redaction,
    RedactionRule,
    Rule,
    TraceDecisions,
    WrittenSymbols,
)
from otelprof.errors import OtelprofError
from tests.recordings import OWN
from tests.reference.mutate import JSON_TOKENS, Mutator, changed, changed_text
from tests.reference.revisions import OLD, as_old, sayable
from tests.reference.senders import Sender

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MAX_SECS: Final = 1.0
"""No input may take so much of a processor."""

_SMALL_BYTES: Final = 4_000
_FOLDED_TOKENS: Final = (
    b";",
    b" ",
    b"\n",
    b" -1\n",
    b" 18446744073709551616\n",
    b"\xff",
    b";;",
    b" 1",
    b"\r\n",
)
_POLICY: Final = Policy(
    [
        Rule("drop", resource=[("service.name", ["service-1"])]),
        Rule("demote", linked=True),
        Rule("keep", sample_types=["samples"]),
        Rule("reject", linked=False),
    ]
)
_REDACTION: Final = Redaction(
    [
        RedactionRule("symbol", "mask", pattern="a+", mask="$0$0"),
        RedactionRule("attribute", "hash", key="key.0"),
        RedactionRule("command_line", "drop"),
        RedactionRule("file_path", "mask", pattern=".*"),
    ],
    key=b"secret",
)
_LIMITS: Final = Limits(max_body_bytes=1 << 20)


@dataclass
class Block:
    """What became of a block.

    Attributes:
        inputs: how many there were, by format.
        read: how many of them could be read, by format.
        slowest_secs: of a processor, the most that one took.
        found: what must not be: the input, and what came of it.
    """

    inputs: Counter[str] = field(default_factory=Counter)
    read: Counter[str] = field(default_factory=Counter)
    slowest_secs: float = 0.0
    found: list[tuple[bytes, str]] = field(default_factory=list)


@cache
def corpus() -> dict[str, tuple[bytes, ...]]:
    """What is right, by format."""
    chance = random.Random("corpus")  # noqa: S311 - repeatable, not secret
    requests = [Sender(chance).request() for _ in range(60)]
    current = [one.SerializeToString() for one in requests]
    older = [as_old(sayable(one, revision), revision) for one in requests[:20] for revision in OLD]
    recorded = [
        path.read_bytes() for path in sorted(OWN.rglob("*.otlp")) if path.stat().st_size < _SMALL_BYTES
    ]
    profiles = [Profiles.decode(body) for body in (*current, *recorded)]
    folded = [b"".join(f"{name} {value}\n".encode() for name, value in one.fold()) for one in profiles]
    return {
        "otlp": (*current, *recorded),
        "older otlp": tuple(older),
        "json": tuple(one.to_json() for one in profiles),
        "pprof": tuple(pprof.body for one in profiles for pprof in one.to_pprof()),
        "folded": tuple(text for text in folded if text),
        "traces": tuple(_traces(chance) for _ in range(20)),
        "compressed": tuple(
            path.read_bytes() for path in sorted(OWN.rglob("*.pb.gz")) if path.stat().st_size < _SMALL_BYTES
        ),
    }


def _traces(chance: random.Random) -> bytes:
    message = ExportTraceServiceRequest()
    group = message.resource_spans.add()
    group.resource.attributes.add(key="service.name").value.string_value = "checkout"
    for _ in range(chance.randint(1, 4)):
        span = group.scope_spans.add().spans.add(trace_id=chance.randbytes(16), span_id=chance.randbytes(8))
        span.name, span.start_time_unix_nano, span.end_time_unix_nano = "GET /", 1, 2_000_000_000
        span.status.code = chance.choice(list(Status.StatusCode.values()))
    return message.SerializeToString()


class Onslaught:
    """Draws blocks of inputs, and puts them through the core.

    Args:
        seed: of all blocks.
        watch: told of each input before it is read.
        only: the one format of all inputs.
    """

    def __init__(
        self, seed: int, watch: Callable[[str, bytes], None] | None = None, only: str | None = None
    ) -> None:
        self._seed = seed
        self._watch = watch
        self._random = random.Random()  # noqa: S311 - seeded for each block
        found = corpus()
        self._mutators = {
            name: Mutator(found[name], self._random) for name in ("otlp", "older otlp", "pprof", "traces")
        }
        # Half of all are requests of today's revision.
        self._formats = [only] if only else [*found, "otlp", "otlp", "otlp", "otlp", "otlp"]
        self._merger, self._deltas, self._written = Merger(), Deltas(1000), WrittenSymbols(max_symbols=1000)
        self._decisions = TraceDecisions(max_bytes=1 << 20, window_secs=60)
        self._last: Profiles = Profiles.decode(found["otlp"][0])
        self._verbs: Sequence[Callable[[Profiles], object]] = (
            self._again,
            lambda profiles: (profiles.summary, profiles.fold(), profiles.top_functions(5)),
            lambda profiles: profiles.link(["trace_id", "span_id", "key.0"]).profiles.to_otlp(),
            lambda profiles: profiles.select(_POLICY).profiles.to_otlp(),
            lambda profiles: profiles.redact(_REDACTION).profiles.to_otlp(),
            lambda profiles: self._merger.merge([profiles, self._last]).to_otlp(),
            lambda profiles: [piece.to_otlp() for piece in profiles.split(200)],
            lambda profiles: profiles.to_pprof(combine=True, timestamp_label="at"),
            lambda profiles: [piece.profiles.to_pprof() for piece in profiles.split_for_pprof(2, 3)],
            lambda profiles: Profiles.from_json(profiles.to_json()),
            lambda profiles: self._written.remember(profiles.to_tables(self._written, now_unix_nano=1)),
            self._picture,
            lambda profiles: self._deltas.differences(profiles, ["samples"]),
            lambda profiles: profiles.pending_traces(_POLICY).are_decided(self._decisions),
            lambda profiles: (profiles.to_proto(), profiles.outlines, profiles.service_versions()),
        )

    def block(self, number: int, size: int) -> Block:
        """Draw a block of inputs and read them."""
        chance, result = self._random, Block()
        chance.seed(f"{self._seed}/{number}")
        for _ in range(size):
            kind = chance.choice(self._formats)
            body = self._draw(kind)
            verb = chance.choice(self._verbs)
            if self._watch is not None:
                self._watch(kind, body)
            result.inputs[kind] += 1
            begin = time.thread_time()
            try:
                profiles = self._read(kind, body)
                result.read[kind] += 1
                # Traces are no profiles: what is done with them is that they are read.
                if profiles is not None:
                    verb(profiles)
                    self._last = profiles
            except OtelprofError:
                pass
            except Exception:  # noqa: BLE001 - whatever it is, it must not be
                result.found.append((body, traceback.format_exc()))
            secs = time.thread_time() - begin
            result.slowest_secs = max(result.slowest_secs, secs)
            if secs > MAX_SECS:
                result.found.append((body, f"{secs:.1f} s"))
        return result

    def _draw(self, kind: str) -> bytes:
        chance = self._random
        if kind in self._mutators:
            return self._mutators[kind].mutated()
        body = chance.choice(corpus()[kind])
        if kind == "compressed":
            return changed(body, chance)
        return changed_text(body, JSON_TOKENS if kind == "json" else _FOLDED_TOKENS, chance)

    def _read(self, kind: str, body: bytes) -> Profiles | None:
        match kind:
            case "json":
                return Profiles.from_json(body, _LIMITS)
            case "folded":
                return Profiles.from_folded(body, _LIMITS)
            case "pprof" | "compressed":
                return Profiles.from_pprof(body, _LIMITS)
            case "traces":
                self._decisions.observe(body, 1.0, _LIMITS)
                return None
            case _:
                return Profiles.decode(body, _LIMITS)

    @staticmethod
    def _picture(profiles: Profiles) -> None:
        """Flame graphs; none where no value is above zero."""
        profiles.to_speedscope()
        with suppress(ValueError):
            profiles.to_svg()

    @staticmethod
    def _again(profiles: Profiles) -> None:
        """What is written is read again, and nothing of it refused."""
        again = Profiles.decode(profiles.to_otlp(), _LIMITS)
        if (again.profile_count, again.sample_count) != (profiles.profile_count, profiles.sample_count):
            message = f"{profiles.profile_count} Profiles were written, {again.profile_count} read"
            raise AssertionError(message)
