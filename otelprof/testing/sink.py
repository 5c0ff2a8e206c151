"""An OTLP/gRPC server for tests: it records what comes, and answers as it is told.

    with Sink() as sink:
        sink.answer(SinkAnswer(grpc.StatusCode.UNAVAILABLE, retry_after_secs=0.1))
        ...  # let something export to sink.endpoint
        assert [body, body] == [request.body for request in sink.wait_for(2)]

Requests are answered as the script of `answer` says, then with OK.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Condition, Event
from typing import TYPE_CHECKING, Final, Self

import grpc
from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status
from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest,
    ExportProfilesServiceResponse,
)

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ("Sink", "SinkAnswer", "SinkRequest")

_EXPORT: Final = "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export"
_WAIT_SECS: Final = 5.0


@dataclass(frozen=True)
class SinkAnswer:
    """What a sink says to a request.

    Attributes:
        status: OK takes the request.
        message: of the status, or of the partial success.
        retry_after_secs: sent as google.rpc.RetryInfo; None sends none.
        delay_secs: the answer comes so much later.
        rejected_profiles: of the partial success.
    """

    status: grpc.StatusCode = grpc.StatusCode.OK
    message: str = ""
    retry_after_secs: float | None = None
    delay_secs: float = 0.0
    rejected_profiles: int = 0


@dataclass(frozen=True)
class SinkRequest:
    """What a sink was sent.

    Attributes:
        body: the request, inflated.
        metadata: the headers; names in lower case.
        answer: what the sink said.
    """

    body: bytes
    metadata: dict[str, str | bytes]
    answer: SinkAnswer

    def parsed(self) -> ExportProfilesServiceRequest:
        """The request as the official classes read it."""
        return ExportProfilesServiceRequest.FromString(self.body)


class Sink:
    """A server on a free loopback port, from entering the context to leaving it.

    Args:
        port: 0 takes a free one.
        credentials: for TLS; None listens in the clear.
    """

    def __init__(self, port: int = 0, credentials: grpc.ServerCredentials | None = None) -> None:
        self._port = port
        self._credentials = credentials
        self._changed = Condition()
        self._requests: list[SinkRequest] = []
        self._script: deque[SinkAnswer] = deque()
        self._default = SinkAnswer()
        self._closing = Event()
        self._threads: ThreadPoolExecutor | None = None
        self._server: grpc.Server | None = None

    def __enter__(self) -> Self:
        self._closing.clear()
        self._threads = ThreadPoolExecutor(16, "otelprof-sink")
        options = [("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)]
        self._server = grpc.server(self._threads, handlers=[_Handler(self)], options=options)
        address = f"127.0.0.1:{self._port}"
        if self._credentials is None:
            self._port = self._server.add_insecure_port(address)
        else:
            self._port = self._server.add_secure_port(address, self._credentials)
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Answers that are delayed are given now.
        self._closing.set()
        if self._server is not None:
            self._server.stop(None).wait()
        if self._threads is not None:
            self._threads.shutdown()

    @property
    def endpoint(self) -> str:
        """Where it listens, `127.0.0.1:port`."""
        return f"127.0.0.1:{self._port}"

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._port

    @property
    def requests(self) -> list[SinkRequest]:
        """All requests so far, in the order of their answers."""
        with self._changed:
            return list(self._requests)

    @property
    def taken(self) -> list[SinkRequest]:
        """The requests that were answered with OK."""
        return [request for request in self.requests if request.answer.status is grpc.StatusCode.OK]

    def answer(self, *answers: SinkAnswer) -> None:
        """Say these to the next requests, in order; what comes after is answered as before."""
        with self._changed:
            self._script.extend(answers)

    def answer_always(self, answer: SinkAnswer) -> None:
        """Say this to every request that `answer` has nothing for."""
        with self._changed:
            self._default = answer

    def wait_for(self, count: int, timeout_secs: float = _WAIT_SECS) -> list[SinkRequest]:
        """Return all requests, when there are so many.

        Raises:
            TimeoutError: there are fewer after the time.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._requests) >= count, timeout_secs):
                message = f"{len(self._requests)} requests came, not {count}, in {timeout_secs} s"
                raise TimeoutError(message)
            return list(self._requests)

    def take(self, body: bytes, context: grpc.ServicerContext) -> bytes:
        """Record and answer one request; called by gRPC."""
        with self._changed:
            answer = self._script.popleft() if self._script else self._default
        if answer.delay_secs:
            self._closing.wait(answer.delay_secs)
        metadata = dict(context.invocation_metadata())
        with self._changed:
            self._requests.append(SinkRequest(body, metadata, answer))
            self._changed.notify_all()
        if answer.status is not grpc.StatusCode.OK:
            return context.abort_with_status(rpc_status.to_status(_status(answer)))
        response = ExportProfilesServiceResponse()
        response.partial_success.rejected_profiles = answer.rejected_profiles
        response.partial_success.error_message = answer.message
        return response.SerializeToString()


class _Handler(grpc.GenericRpcHandler):  # type: ignore[type-arg] # generic in its stubs only
    def __init__(self, sink: Sink) -> None:
        self._method = grpc.unary_unary_rpc_method_handler(sink.take)

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        return self._method if handler_call_details.method == _EXPORT else None


def _status(answer: SinkAnswer) -> Status:
    status = Status(code=answer.status.value[0], message=answer.message)
    if answer.retry_after_secs is not None:
        info = RetryInfo()
        info.retry_delay.FromMilliseconds(round(answer.retry_after_secs * 1000))
        detail = Any()
        detail.Pack(info)
        status.details.append(detail)
    return status
