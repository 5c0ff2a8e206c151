"""A Pyroscope server for tests: it refuses what a real one refuses, and loses what a real one loses."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from tests.e2e.http_sink import HttpAnswer, HttpSink
from tests.reference.pyroscope import Kept, Verdict, judge

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from http.server import BaseHTTPRequestHandler

PATH = "/push.v1.PusherService/Push"
PROTO = {"content-type": "application/proto"}
JUDGED = HttpAnswer()
"""In a script, and by default: what the rules say."""


class PyroscopeServer(HttpSink):
    """The push API on a loopback port. What `answer` was told comes first; only `JUDGED` keeps anything.

    Args:
        context: for TLS.
        authorization: what a proxy before the server asks for.
        now: what the age of profiles is measured by.
        tenants: whether there are several.
        port: 0 takes a free one.
    """

    def __init__(
        self,
        context: ssl.SSLContext | None = None,
        *,
        authorization: str | None = None,
        now: Callable[[], float] = time.time,
        tenants: bool = False,
        port: int = 0,
    ) -> None:
        super().__init__(context, port=port)
        self._authorization = authorization
        self._now = now
        self._tenants = tenants
        self.answer_always(JUDGED)
        self.kept: list[Kept] = []
        self.verdicts: list[Verdict] = []

    def take(self, handler: BaseHTTPRequestHandler) -> HttpAnswer:
        """Record one request, judge it, and say what is answered."""
        answer = super().take(handler)
        if answer is not JUDGED:
            return answer
        with self._changed:
            # Several take at once: the last request of this connection is the one.
            connection = handler.client_address[1]
            at = max(i for i, one in enumerate(self.requests) if one.connection == connection)
            request = self.requests[at]
            answer = self._judged(request.path, request.headers, request.body)
            self.requests[at] = replace(request, answer=answer)
        return answer

    def _judged(self, path: str, headers: dict[str, str], body: bytes) -> HttpAnswer:
        if path != PATH:
            return HttpAnswer(404, b"404 page not found", {"content-type": "text/plain"})
        if headers.get("content-type") != "application/proto":
            return HttpAnswer(415, b"", {"accept-post": "application/proto"})
        tenant = headers.get("x-scope-orgid", "" if self._tenants else "anonymous")
        if not tenant or "|" in tenant:
            return connect_error(401, "unauthenticated", "no org id")
        if self._authorization not in {None, headers.get("authorization")}:
            return HttpAnswer(401, b"authorization required", {"content-type": "text/plain"})
        verdict = judge(body, self._now())
        self.verdicts.append(verdict)
        self.kept += verdict.kept
        if verdict.status == 200:
            return HttpAnswer(200, b"", PROTO)
        return connect_error(verdict.status, verdict.code, verdict.message)


def connect_error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> HttpAnswer:
    """An answer in Connect's words."""
    body = json.dumps({"code": code, "message": message}).encode()
    return HttpAnswer(status, body, {"content-type": "application/json", **(headers or {})})
