"""The calls of the admin service: who may make them, what each does, and what the caller is told."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import grpc
from google.protobuf.message import DecodeError, Message

from otelprof.admin.statistics import statistics
from otelprof.admin.v1 import admin_pb2
from otelprof.errors import OtelprofError, PermanentError, UnauthenticatedError, answer_for
from otelprof.telemetry.admin_metrics import ADMIN_REQUESTS
from otelprof.telemetry.logging import set_level
from otelprof.telemetry.service_metrics import CONFIG_CHANGED_AT, CONFIG_PROBLEMS
from otelprof.telemetry.text import printable
from otelprof.telemetry.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otelprof.component import ComponentSettings
    from otelprof.control import Incident, ServiceControl
    from otelprof.model import ComponentId
    from otelprof.telemetry.logging import Level

SERVICE: Final = admin_pb2.DESCRIPTOR.services_by_name["Admin"].full_name
MAX_SERVICE_CHARS: Final = 200
MAX_REASON_CHARS: Final = 500
MAX_WHO_CHARS: Final = 100

_LEVELS: Final[dict[int, Level]] = {
    admin_pb2.LOG_LEVEL_DEBUG: "debug",
    admin_pb2.LOG_LEVEL_INFO: "info",
    admin_pb2.LOG_LEVEL_WARN: "warn",
    admin_pb2.LOG_LEVEL_ERROR: "error",
}
_BEARER: Final = "Bearer "

# A request, and how it came in.
_Call = Callable[[Any, str], Message]


class AdminService(grpc.GenericRpcHandler):  # type: ignore[type-arg] # generic in its stubs only
    """Answers the calls of `otelprof.v1.Admin`.

    Args:
        token: what a caller must send as `authorization: Bearer TOKEN`; None lets everybody in who could
            connect.
        component: of the extension.
        control: the service that runs.
    """

    def __init__(self, token: str | None, component: ComponentSettings, control: ServiceControl) -> None:
        self._token = None if token is None else token.encode()
        self._id = str(component.id)
        self._logger = component.logger
        self._metrics = component.metrics
        self._control = control
        self._refusals = Throttle(component.clock)
        calls: dict[str, tuple[type[Message], _Call]] = {
            "StartIncident": (admin_pb2.StartIncidentRequest, self._start_incident),
            "StopIncident": (admin_pb2.StopIncidentRequest, self._stop_incident),
            "ListIncidents": (admin_pb2.ListIncidentsRequest, self._list_incidents),
            "GetThresholds": (admin_pb2.GetThresholdsRequest, self._get_thresholds),
            "GetPipelines": (admin_pb2.GetPipelinesRequest, self._get_pipelines),
            "SetLogLevel": (admin_pb2.SetLogLevelRequest, self._set_log_level),
        }
        # Raw bytes: a message is not looked at before its sender is.
        self._methods = {
            f"/{SERVICE}/{name}": grpc.unary_unary_rpc_method_handler(partial(self._answer, name, *call))
            for name, call in calls.items()
        }

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        """The handler of a method; None for one that there is not."""
        return self._methods.get(handler_call_details.method)

    def _answer(
        self, name: str, kind: type[Message], call: _Call, body: bytes, context: grpc.ServicerContext
    ) -> bytes:
        code = grpc.StatusCode.OK
        try:
            self._authenticate(context)
            return call(
                _parsed(kind, body), _way_in(context, has_token=self._token is not None)
            ).SerializeToString()
        except OtelprofError as error:
            code = answer_for(error).grpc_status
            return context.abort(code, str(error))
        except Exception:
            code = grpc.StatusCode.INTERNAL
            self._logger.exception("admin call failed, which is a bug", method=name)
            return context.abort(code, "a bug, which is in otelprof's log")
        finally:
            self._metrics.add(ADMIN_REQUESTS, extension=self._id, method=name, code=code.name)

    def _authenticate(self, context: grpc.ServicerContext) -> None:
        """Let the holder of the token in, and nobody else.

        Raises:
            UnauthenticatedError: the token is missing or another one.
        """
        if self._token is None:
            return
        said = [str(value) for key, value in context.invocation_metadata() if key == "authorization"]
        given = (
            said[0].removeprefix(_BEARER).encode() if len(said) == 1 and said[0].startswith(_BEARER) else b""
        )
        if hmac.compare_digest(given, self._token):
            return
        held_back = self._refusals.passed("token")
        if held_back is not None:
            self._logger.warning("admin call without the token", peer=context.peer(), suppressed=held_back)
        message = "send the token of the admin extension as `authorization: Bearer TOKEN`"
        raise UnauthenticatedError(message)

    def _start_incident(
        self, request: admin_pb2.StartIncidentRequest, way: str
    ) -> admin_pb2.StartIncidentResponse:
        service = _text("service", request.service, MAX_SERVICE_CHARS)
        reason = printable(_text("reason", request.reason, MAX_REASON_CHARS))
        duration = request.duration
        duration_secs = duration.seconds + duration.nanos / 1e9
        if not duration_secs > 0:
            message = f"duration is {duration_secs:g} s: say how long the incident lasts"
            raise PermanentError(message)
        incident = self._control.start_incident(service, reason, duration_secs, _who(request.who, way))
        return admin_pb2.StartIncidentResponse(
            incident=_incident(incident, self._control.incidents().get(incident, ()))
        )

    def _stop_incident(
        self, request: admin_pb2.StopIncidentRequest, way: str
    ) -> admin_pb2.StopIncidentResponse:
        service = _text("service", request.service, MAX_SERVICE_CHARS)
        before = self._control.incidents()
        incident = self._control.stop_incident(service, _who(request.who, way))
        return admin_pb2.StopIncidentResponse(incident=_incident(incident, before.get(incident, ())))

    def _list_incidents(
        self, _request: admin_pb2.ListIncidentsRequest, _way: str
    ) -> admin_pb2.ListIncidentsResponse:
        found = self._control.incidents().items()
        return admin_pb2.ListIncidentsResponse(incidents=[_incident(*one) for one in found])

    def _get_thresholds(
        self, _request: admin_pb2.GetThresholdsRequest, _way: str
    ) -> admin_pb2.GetThresholdsResponse:
        answer = admin_pb2.GetThresholdsResponse()
        for pipeline, processor, control in self._control.sampling:
            told = answer.processors.add(
                pipeline=str(pipeline), processor=str(processor), rules=control.rules
            )
            for service, probability in sorted(control.sampling_probabilities().items()):
                told.services.add(service=service, sampling_probability=probability)
        return answer

    def _get_pipelines(
        self, _request: admin_pb2.GetPipelinesRequest, _way: str
    ) -> admin_pb2.GetPipelinesResponse:
        counted = statistics(self._metrics)
        answer = admin_pb2.GetPipelinesResponse()
        components: dict[tuple[str, str], None] = {}
        for id_, parts in self._control.pipelines.items():
            told = answer.pipelines.add(id=str(id_), statistics=counted.get(("pipeline", str(id_)), ()))
            for kind, ids, names in (
                ("receiver", parts.receivers, told.receivers),
                ("processor", parts.processors, told.processors),
                ("exporter", parts.exporters, told.exporters),
            ):
                names.extend(map(str, ids))
                components |= {(kind, str(one)): None for one in ids}
        for kind, name in components:
            answer.components.add(kind=kind, id=name, statistics=counted.get((kind, name), ()))
        changed_at = self._metrics.value(CONFIG_CHANGED_AT)
        if changed_at:
            answer.configuration.changed_time.FromNanoseconds(int(changed_at * 1e9))
            answer.configuration.problems = int(self._metrics.value(CONFIG_PROBLEMS))
        return answer

    def _set_log_level(
        self, request: admin_pb2.SetLogLevelRequest, way: str
    ) -> admin_pb2.SetLogLevelResponse:
        level = _LEVELS.get(request.level)
        if level is None:
            message = f"level is {request.level}, and must be one of {', '.join(_LEVELS.values())}"
            raise PermanentError(message)
        who = _who(request.who, way)
        # Whatever the level was and will be, the change is written.
        set_level("info")
        self._logger.info("log level is changed", new_level=level, who=who)
        set_level(level)
        return admin_pb2.SetLogLevelResponse()


def _parsed(kind: type[Message], body: bytes) -> Message:
    """The request.

    Raises:
        PermanentError: it is none.
    """
    try:
        return kind.FromString(body)
    except DecodeError as error:
        message = f"the body is no {kind.DESCRIPTOR.full_name}: {error}"
        raise PermanentError(message) from error


def _text(field: str, text: str, max_chars: int) -> str:
    """A text that must be there.

    Raises:
        PermanentError: it is empty or too long.
    """
    if not text.strip() or len(text) > max_chars:
        message = f"{field} has {len(text)} characters, and must have 1 to {max_chars}"
        raise PermanentError(message)
    return text


def _who(said: str, way: str) -> str:
    """Who makes a change: what the caller says, and how the call came in, which is what is known.

    Raises:
        PermanentError: the caller says too much.
    """
    if len(said) > MAX_WHO_CHARS:
        message = f"who has {len(said)} characters, and may have up to {MAX_WHO_CHARS}"
        raise PermanentError(message)
    return f"{printable(said.strip()) or 'somebody'}, {way}"


def _way_in(context: grpc.ServicerContext, *, has_token: bool) -> str:
    """How a call came in, in words. Which process is behind a unix socket, grpcio does not say."""
    peer = context.peer()
    if peer.startswith("unix:"):
        return "over the unix socket"
    address = unquote(peer.partition(":")[2])
    # Its stubs have one value for each property, and it is a list of them.
    names: Sequence[Any] = context.auth_context().get("x509_common_name", ())
    if names:
        owner = printable(", ".join(one.decode(errors="replace") for one in names))
        return f"from {address} with the certificate of {owner}"
    return f"from {address} with the token" if has_token else f"from {address}"


def _incident(incident: Incident, pipelines: Sequence[ComponentId]) -> admin_pb2.Incident:
    told = admin_pb2.Incident(
        service=incident.service,
        reason=incident.reason,
        who=incident.who,
        pipelines=map(str, pipelines),
    )
    told.start_time.FromNanoseconds(int(incident.start_secs * 1e9))
    told.end_time.FromNanoseconds(int(incident.end_secs * 1e9))
    return told
