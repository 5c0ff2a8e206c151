"""`POST /v1development/profiles` and `/v1/traces`: reads a body within its bounds, and answers.

Source: OTLP specification, "OTLP/HTTP". What is decided here is HTTP's alone; what a request is, and what is
done with it, is the intake's, as over gRPC.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Final

from google.protobuf.json_format import MessageToJson
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from otelprof._core import Profiles
from otelprof.errors import (
    InvalidRequestError,
    OtelprofError,
    OverloadedError,
    RequestTooLargeError,
    RetryableError,
    UnauthenticatedError,
    UnavailableError,
    UnsupportedEncodingError,
    answer_for,
)
from otelprof.otlp_headers import SenderHeaders
from otelprof.receiver.auth import AUTHORIZATION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import ThreadPoolExecutor

    from google.protobuf.message import Message
    from starlette.requests import Request

    from otelprof.component import Principal
    from otelprof.consumer import Reservation
    from otelprof.receiver.admission import Readers
    from otelprof.receiver.auth import Clients
    from otelprof.receiver.otlp_intake import OtlpIntake
    from otelprof.receiver.traces_intake import TracesIntake

    Take = Callable[[bytes, SenderHeaders, str, Reservation], Message | None]

PATH: Final = "/v1development/profiles"
TRACES_PATH: Final = "/v1/traces"

# The collector's own words (otlpreceiver, v0.165).
_UNSUPPORTED: Final = "415 unsupported media type, supported: [{}]"
_PROTOBUF: Final = "application/x-protobuf"
_JSON: Final = "application/json"
_MAGIC: Final = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd"}
# Who is refused before the body was read is heard out for so long: a connection that is closed while the
# other side sends is reset, and the answer lost.
_LINGER_SECS: Final = 1.0


@dataclass(frozen=True)
class Form:
    """How requests of one content type are taken, and answered in the same."""

    media_type: str
    take: Take
    encode: Callable[[Message], bytes | str]
    all_accepted: bytes


# A response with an empty partial_success, as the collector answers.
def _protobuf(take: Take) -> Form:
    return Form(_PROTOBUF, take, lambda message: message.SerializeToString(), b"\x0a\x00")


def _json(take: Take) -> Form:
    return Form(_JSON, take, lambda message: MessageToJson(message, indent=None), b'{"partialSuccess":{}}')


@dataclass(frozen=True)
class Target:
    """Where the requests of one path go."""

    intake: OtlpIntake | TracesIntake
    forms: Mapping[str, Form]


def profiles_target(intake: OtlpIntake) -> Target:
    """Profiles, in protobuf and in JSON."""
    forms = (
        _json(partial(intake.take, decode=Profiles.from_json)),
        _protobuf(intake.take),
    )
    return Target(intake, {form.media_type: form for form in forms})


def traces_target(intake: TracesIntake) -> Target:
    """Traces, in protobuf."""
    return Target(
        intake, {_PROTOBUF: _protobuf(lambda body, _said, _peer, memory: intake.take(body, memory))}
    )


@dataclass(frozen=True)
class EndpointSettings:
    """What is read, of how many clients at once, and for how long."""

    max_body_bytes: int
    max_header_bytes: int
    max_concurrent_requests: int
    read_timeout_secs: float


@dataclass(frozen=True)
class Entry:
    """What a request passes before it is read.

    Attributes:
        clients: who may send.
        reserve: the memory of a request, by its client.
        readers: the requests that are being read.
    """

    clients: Clients
    reserve: Callable[[str], Reservation]
    readers: Readers


class OtlpEndpoint:
    """The application that the HTTP server runs.

    Args:
        settings: its bounds.
        targets: where bodies go, by path.
        threads: where the intakes work, so that the loop goes on.
        entry: what a request passes before it is read.
    """

    def __init__(
        self,
        settings: EndpointSettings,
        targets: Mapping[str, Target],
        threads: ThreadPoolExecutor,
        entry: Entry,
    ) -> None:
        self._entry = entry
        self._settings = settings
        self._targets = targets
        self._threads = threads
        self._slots = asyncio.Semaphore(settings.max_concurrent_requests)
        self.app = Starlette(routes=[Route(path, self.export, methods=["POST"]) for path in targets])

    async def export(self, request: Request) -> Response:
        """Answer one request."""
        target = self._targets[request.url.path]
        if (
            sum(len(name) + len(value) for name, value in request.headers.raw)
            > self._settings.max_header_bytes
        ):
            target.intake.counts.answered("failed")
            message = f"the headers take more than {self._settings.max_header_bytes} bytes"
            return await _early(request, PlainTextResponse(message, 431))
        form = target.forms.get(request.headers.get("content-type", "").partition(";")[0].strip().lower())
        if form is None:
            target.intake.counts.answered("failed")
            message = _UNSUPPORTED.format(", ".join(target.forms))
            return await _early(request, PlainTextResponse(message, 415))
        try:
            principal = self._principal(request)
            with self._entry.reserve(principal.client) as memory:
                response = await self._taken(request, target, form, (principal, memory))
        except _UnreadError as unread:
            target.intake.counts.unread(unread.error)
            return await _early(request, _explained(request, target, form, unread.error))
        except ClientDisconnect:
            target.intake.counts.answered("failed")
            return Response(status_code=400)
        except Exception as error:  # noqa: BLE001 - explained, and logged
            return _explained(request, target, form, error)
        content = form.all_accepted if response is None else form.encode(response)
        return Response(content, media_type=form.media_type)

    def _principal(self, request: Request) -> Principal:
        """Who sends.

        Raises:
            _UnreadError: they do not say, and have to.
        """
        host = request.client.host if request.client else ""
        try:
            return self._entry.clients.authenticate(request.headers.getlist(AUTHORIZATION), host)
        except OtelprofError as error:
            raise _UnreadError(error) from error

    async def _taken(
        self, request: Request, target: Target, form: Form, admitted: tuple[Principal, Reservation]
    ) -> Message | None:
        """What was refused of a request; None when nothing was.

        Raises:
            _UnreadError: it is refused before its end.
            Exception: it is refused after it, or is a bug.
        """
        is_waiting, is_read = True, False
        try:
            async with asyncio.timeout(self._settings.read_timeout_secs) as timeout, self._slots:
                is_waiting = False
                with self._entry.readers.reading(admitted[0].client):
                    body = await self._body(request, target, *admitted)
                is_read = True
                timeout.reschedule(None)
                loop, said = asyncio.get_running_loop(), SenderHeaders.of(request.headers.items())
                take = partial(form.take, body, said, _peer(request), admitted[1])
                return await loop.run_in_executor(self._threads, take)
        except OverloadedError as error:
            if is_read:
                raise
            raise _UnreadError(error) from error
        except TimeoutError as late:
            raise _UnreadError(self._late(is_waiting=is_waiting)) from late

    async def _body(
        self, request: Request, target: Target, principal: Principal, memory: Reservation
    ) -> bytes:
        """The body as it came.

        Raises:
            _UnreadError: it is refused before its end.
            InvalidRequestError: it is compressed in another way than it says.
        """
        encoding = request.headers.get("content-encoding", "").strip().lower() or "identity"
        if encoding not in {"identity", *_MAGIC}:
            message = (
                f"content-encoding {encoding[:50]!r} is not supported: send gzip, zstd or no compression"
            )
            raise _UnreadError(UnsupportedEncodingError(message))
        limit = self._settings.max_body_bytes
        announced_bytes = int(request.headers.get("content-length", "0"))
        chunks: list[bytes] = []
        came_bytes = 0
        if announced_bytes <= limit:
            _admit(partial(principal.charge, announced_bytes), partial(memory.take, announced_bytes))
            async for chunk in request.stream():
                came_bytes += len(chunk)
                if came_bytes > limit:
                    break
                _admit(partial(memory.take, came_bytes))
                chunks.append(chunk)
        if max(announced_bytes, came_bytes) > limit:
            message = (
                f"the body takes more than {limit} bytes: send smaller requests or raise "
                "protocols.http.max_request_body_size"
            )
            raise _UnreadError(RequestTooLargeError(message))
        if came_bytes > announced_bytes:
            _admit(partial(principal.charge, came_bytes - announced_bytes))
        body = b"".join(chunks)
        found = next((name for name, magic in _MAGIC.items() if body.startswith(magic)), "identity")
        if found != encoding:
            message = f"content-encoding says {encoding}, but the body begins as {found}"
            target.intake.counts.answered("failed")
            raise InvalidRequestError(message)
        return body

    def _late(self, *, is_waiting: bool) -> RetryableError:
        secs = self._settings.read_timeout_secs
        what = "could not be read because others are" if is_waiting else "did not come whole"
        return UnavailableError(f"the request {what} within {secs:g} s (protocols.http.read_timeout)")


class _UnreadError(Exception):
    """A request is refused before its end."""

    def __init__(self, error: OtelprofError) -> None:
        super().__init__(error)
        self.error = error


def _admit(*steps: Callable[[], None]) -> None:
    """Let a body in that is being read.

    Raises:
        _UnreadError: it is not let in.
    """
    try:
        for step in steps:
            step()
    except OtelprofError as error:
        raise _UnreadError(error) from error


def _explained(request: Request, target: Target, form: Form, error: Exception) -> Response:
    status = target.intake.explain(error, _peer(request))
    known = error if isinstance(error, OtelprofError) else OtelprofError()
    headers = {}
    if isinstance(known, RetryableError):
        headers["retry-after"] = str(max(1, ceil(known.retry_after_secs or 0.0)))
    if isinstance(known, UnauthenticatedError):
        headers["www-authenticate"] = "Bearer"
    content = form.encode(status)
    return Response(content, answer_for(known).http_status, headers, form.media_type)


def _peer(request: Request) -> str:
    """Who sends, as the log names them."""
    return f"{request.client.host}:{request.client.port}" if request.client else ""


async def _early(request: Request, response: Response) -> Response:
    """An answer to a request whose body may not have come to its end, which is not waited for for long."""
    try:
        # Who asks before sending a body is not told to send it.
        if "expect" not in request.headers:
            async with asyncio.timeout(_LINGER_SECS):
                while (await request.receive()).get("more_body"):
                    pass
                return response
    except TimeoutError:
        pass
    response.headers["connection"] = "close"
    return response
