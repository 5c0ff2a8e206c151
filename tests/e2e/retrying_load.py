"""Clients that send at a rate, keep to RetryInfo, send again, and give up after a while, as a collector does.

Every request has a service of its own, so that whoever receives them can say which have come.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import grpc

from otelprof._core import Profiles
from tests.e2e.harness import EXPORT, STATUS_DETAILS, request, retry_info_secs

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Future

    from otelprof.testing.sink import Sink

    Call = grpc.aio.UnaryUnaryMultiCallable[Any, Any]

CONNECTIONS: Final = 4
CALL_SECS: Final = 10.0
_NUMBER: Final = "00000000"


@dataclass
class Sent:
    """What became of requests.

    Attributes:
        acknowledged: their numbers.
        attempts: calls made.
        refused: of these, those that were told to come back.
        given_up: requests whose client lost its patience.
        failed: calls with another answer, by its name.
        waits_secs: from the first attempt to the success.
    """

    acknowledged: set[int] = field(default_factory=set)
    attempts: int = 0
    refused: int = 0
    given_up: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    waits_secs: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Load:
    """What is sent.

    Attributes:
        secs: how long new requests come.
        rate: requests a second, however many of them wait; 0 keeps `clients` busy instead.
        clients: with a rate of 0, who sends the next request when the last one is acknowledged.
        samples: of each.
        first: the number of the first.
        patience_secs: after which a client gives a request up.
    """

    secs: float
    rate: float = 0.0
    clients: int = 4
    samples: int = 1_000
    first: int = 0
    patience_secs: float = 30.0


class RetryingLoad:
    """Sends in a thread of its own.

    Args:
        endpoint: where to.
        load: what.
    """

    def __init__(self, endpoint: str, load: Load) -> None:
        self.sent = Sent()
        self._endpoint = endpoint
        self._load = load
        self._template = request(samples=load.samples, service=_NUMBER).SerializeToString()
        self._numbers = iter(range(load.first, 1 << 62))
        self._random = random.Random(load.first)  # noqa: S311 - moments, not secrets
        self._thread = ThreadPoolExecutor(1)
        self._done: Future[None] | None = None

    @property
    def body_bytes(self) -> int:
        """Of a request, on the wire."""
        return len(self._template)

    def start(self) -> None:
        """Begin."""
        self._done = self._thread.submit(lambda: asyncio.run(self._run()))

    def join(self) -> Sent:
        """Wait until every request is acknowledged or given up."""
        if self._done is not None:
            self._done.result()
        self._thread.shutdown()
        return self.sent

    async def _run(self) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        channels = [grpc.aio.insecure_channel(self._endpoint, options) for _ in range(CONNECTIONS)]
        calls = [channel.unary_unary(EXPORT, None, None) for channel in channels]
        load, next_at = self._load, time.monotonic()
        end = next_at + load.secs
        async with asyncio.TaskGroup() as tasks:
            while load.rate and next_at < end:
                await asyncio.sleep(next_at - time.monotonic())
                tasks.create_task(self._send(self._random.choice(calls)))
                next_at += self._random.expovariate(load.rate)
            for number in range(0 if load.rate else load.clients):
                tasks.create_task(self._keep_sending(calls[number % CONNECTIONS], end))
        for channel in channels:
            await channel.close(None)

    async def _keep_sending(self, call: Call, end: float) -> None:
        while time.monotonic() < end:
            await self._send(call)

    async def _send(self, call: Call) -> None:
        """Send a request until it is acknowledged, or for as long as its client has patience."""
        number, sent = next(self._numbers), self.sent
        body = self._template.replace(_NUMBER.encode(), f"{number:08}".encode())
        begin, backoff_secs = time.monotonic(), 0.5
        while True:
            sent.attempts += 1
            try:
                await call(body, timeout=CALL_SECS)
            except grpc.aio.AioRpcError as error:
                metadata: Any = error.trailing_metadata()
                details = next((value for key, value in metadata if key == STATUS_DETAILS), None)
                asked_secs = None if details is None else retry_info_secs(details)
                if error.code() is grpc.StatusCode.UNAVAILABLE and asked_secs is not None:
                    sent.refused += 1
                else:
                    sent.failed[error.code().name] += 1
                wait_secs = max(asked_secs or 0.0, backoff_secs) * self._random.uniform(1, 1.5)
                if time.monotonic() + wait_secs - begin > self._load.patience_secs:
                    sent.given_up += 1
                    return
                await asyncio.sleep(wait_secs)
                backoff_secs *= 2
            else:
                sent.acknowledged.add(number)
                sent.waits_secs.append(time.monotonic() - begin)
                return


def arrived(sinks: Iterable[Sink]) -> list[Counter[int]]:
    """How often each number has come to each sink."""
    return [
        Counter(int(row["service.name"]) for one in sink.taken for row in Profiles.decode(one.body).resources)
        for sink in sinks
    ]
