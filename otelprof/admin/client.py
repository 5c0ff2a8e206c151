"""Calls the admin service of a running otelprof, and says in words why it could not."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final, Self, TypeVar

import grpc

from otelprof.admin.endpoint import target_of
from otelprof.admin.v1 import admin_pb2
from otelprof.errors import PermanentError, UnavailableError
from otelprof.telemetry.text import printable

if TYPE_CHECKING:
    from types import TracebackType

    from google.protobuf.message import Message

    from otelprof.admin.endpoint import UnixSocket
    from otelprof.config.endpoint import Endpoint

_TIMEOUT_SECS: Final = 5.0
_SERVICE: Final = admin_pb2.DESCRIPTOR.services_by_name["Admin"].full_name
_UNANSWERED: Final = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
A = TypeVar("A", bound="Message")


class AdminClient:
    """One connection, from entering the context to leaving it.

    Every call raises UnavailableError when nobody answers, and PermanentError with the service's reason when
    it refuses.

    Args:
        endpoint: of the `admin` extension.
        token: of the extension; None when it has none.
        credentials: where the extension has `tls`; None speaks in the clear.
    """

    def __init__(
        self,
        endpoint: UnixSocket | Endpoint,
        token: str | None = None,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._metadata = () if token is None else (("authorization", f"Bearer {token}"),)
        # A proxy would be asked whether it can see this machine's loopback.
        options = [("grpc.enable_http_proxy", 0)]
        target = target_of(endpoint)
        self._channel = (
            grpc.insecure_channel(target, options)
            if credentials is None
            else grpc.secure_channel(target, credentials, options)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()

    def start_incident(self, service: str, reason: str, duration_secs: float, who: str) -> admin_pb2.Incident:
        """Keep everything of a service for a while."""
        request = admin_pb2.StartIncidentRequest(service=service, reason=reason, who=who)
        request.duration.FromNanoseconds(round(duration_secs * 1e9))
        return self._call("StartIncident", request, admin_pb2.StartIncidentResponse).incident

    def stop_incident(self, service: str, who: str) -> admin_pb2.Incident:
        """End that before its time: the incident as it was."""
        request = admin_pb2.StopIncidentRequest(service=service, who=who)
        return self._call("StopIncident", request, admin_pb2.StopIncidentResponse).incident

    def incidents(self) -> admin_pb2.ListIncidentsResponse:
        """The incidents that last."""
        return self._call("ListIncidents", admin_pb2.ListIncidentsRequest(), admin_pb2.ListIncidentsResponse)

    def thresholds(self) -> admin_pb2.GetThresholdsResponse:
        """What sampling does now."""
        return self._call("GetThresholds", admin_pb2.GetThresholdsRequest(), admin_pb2.GetThresholdsResponse)

    def pipelines(self) -> admin_pb2.GetPipelinesResponse:
        """What runs, and what it has counted."""
        return self._call("GetPipelines", admin_pb2.GetPipelinesRequest(), admin_pb2.GetPipelinesResponse)

    def set_log_level(self, level: admin_pb2.LogLevel, who: str) -> None:
        """Log what is at least so severe."""
        request = admin_pb2.SetLogLevelRequest(level=level, who=who)
        self._call("SetLogLevel", request, admin_pb2.SetLogLevelResponse)

    def _call(self, method: str, request: Message, answer: type[A]) -> A:
        call = self._channel.unary_unary(
            f"/{_SERVICE}/{method}", type(request).SerializeToString, answer.FromString
        )
        try:
            answered: A = call(request, timeout=_TIMEOUT_SECS, metadata=self._metadata)
        except grpc.RpcError as error:
            code, details = error.code(), printable(error.details() or "without a reason")
            if code in _UNANSWERED:
                raise UnavailableError(self._why_nobody(details)) from error
            if code is grpc.StatusCode.UNIMPLEMENTED:
                message = f"what listens at {self._endpoint} is no admin service, or an older one: {details}"
                raise PermanentError(message) from error
            raise PermanentError(details) from error
        return answered

    def _why_nobody(self, details: str) -> str:
        """Why there is no answer, and what to do."""
        # gRPC tells of every address that it tried; the system's reason stands at the end.
        reason = details.rpartition(": ")[2]
        hint = (
            "is otelprof running, with admin in service.extensions, and there (--endpoint, OTELPROF_ADMIN)?"
        )
        if os.strerror(errno.EACCES) in reason:
            hint = "the socket is its owner's alone: run this as otelprof's user"
        return f"no answer from {self._endpoint}: {reason}; {hint}"
