"""What OTLP/gRPC and OTLP/HTTP do alike: version, admission, decode, counts, the answer."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Final

from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceResponse,
)

from otelprof._core import REVISIONS, Profiles
from otelprof.errors import (
    AmbiguousRevisionError,
    InvalidRequestError,
    OtelprofError,
    RetryableError,
    answer_for,
)
from otelprof.otlp_headers import VERSION, VERSION_HEADER
from otelprof.receiver.admission import decoded
from otelprof.telemetry import metrics
from otelprof.telemetry.text import counted, printable
from otelprof.telemetry.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otelprof._core import Limits, Rejection
    from otelprof.component import ComponentSettings
    from otelprof.consumer import Consumer, Reservation
    from otelprof.otlp_headers import SenderHeaders
    from otelprof.telemetry.metric_spec import MetricSpec

    Decode = Callable[[bytes, Limits | None], Profiles]

# The collector's own words (otlpreceiver, v0.165).
WRONG_VERSION: Final = f"invalid or unsupported {VERSION_HEADER}: supported version is {VERSION}"

# At shutdown: how long requests that are being worked on are given.
GRACE_SECS: Final = 5.0
# A status travels in HTTP/2 headers, which clients take up to 8 KiB of.
_MAX_STATUS_CHARS: Final = 1000


class OtlpIntake:
    """Takes requests of one protocol, whose bytes have come.

    Args:
        limits: what a request may hold.
        component: of the receiver.
        consumer: what is behind it.
        transport: the label of its metrics, `grpc` or `http`.
    """

    def __init__(
        self, limits: Limits, component: ComponentSettings, consumer: Consumer, transport: str
    ) -> None:
        self._limits = limits
        self._consumer = consumer
        self._memory_per_wire_byte = 1.0
        self._logger = component.logger
        self._throttle = Throttle(component.clock)
        self.counts = RequestCounts(component, transport)
        self._explanations = Explanations(component, self.counts.answered)

    def take(
        self,
        body: bytes,
        said: SenderHeaders,
        peer: str,
        memory: Reservation,
        decode: Decode | None = None,
    ) -> ExportProfilesServiceResponse | None:
        """Acknowledge one request.

        Args:
            body: as it came, compressed or not.
            said: by the client; a version that it does not say is the one spoken here, and a revision is told
                by the bytes.
            peer: who sent it, for the log.
            memory: of this request.
            decode: how its bytes are read; None as protobuf.

        Returns:
            What was refused of it; None when nothing was.

        Raises:
            OtelprofError: nothing of it was taken.
        """
        self.counts.came(len(body))
        try:
            if said.version not in {None, VERSION}:
                raise InvalidRequestError(WRONG_VERSION)
            memory.take(len(body))
            # As the last request was; what cannot be taken is not worth reading.
            self._consumer.admit(int(len(body) * self._memory_per_wire_byte))
            profiles = decoded(body, self._limits, memory, decode or _decode(said))
        except OtelprofError as error:
            self.counts.unread(error)
            raise
        memory.settle(len(body) + profiles.memory_bytes)
        self._memory_per_wire_byte = profiles.memory_bytes / max(1, len(body))
        self.counts.decoded(profiles)
        if profiles.revision != REVISIONS[-1]:
            self._advise(profiles.revision, peer)
        try:
            policy = self._consumer.consume(profiles)
        except OtelprofError:
            self.counts.refused(profiles)
            raise
        rejections = [*profiles.rejections, *policy]
        self.counts.accepted(profiles, rejections)
        return _response(rejections) if rejections else None

    def _advise(self, revision: str, peer: str) -> None:
        """Say who still sends an older revision, not too often."""
        held_back = self._throttle.passed(("revision", revision))
        if held_back is not None:
            message = "request of an older OTLP revision was translated: upgrade the sender"
            self._logger.warning(
                message, revision=revision, current=REVISIONS[-1], peer=peer, suppressed=held_back
            )

    def explain(self, error: Exception, peer: str) -> Status:
        """What a client is told of an error, which is logged: a bug always, others not too often."""
        return self._explanations.of(error, peer)


def _decode(said: SenderHeaders) -> Decode:
    """How protobuf is read."""
    if said.revision == REVISIONS[-1]:
        return partial(Profiles.decode, detect_revision=False)
    return Profiles.decode


class Explanations:
    """Says what became of a request that failed, to its client and in the log.

    Args:
        component: of the receiver.
        answered: counts the outcome of a request; here, a bug's.
    """

    def __init__(self, component: ComponentSettings, answered: Callable[[str], None]) -> None:
        self._answered = answered
        self._logger = component.logger
        self._throttle = Throttle(component.clock)

    def of(self, error: Exception, peer: str) -> Status:
        """What a client is told of an error, which is logged: a bug always, others not too often."""
        if isinstance(error, OtelprofError):
            held_back = self._throttle.passed(type(error).__name__)
            if held_back is not None:
                self._logger.warning("request refused", error=str(error), peer=peer, suppressed=held_back)
            return status_of(error)
        self._answered("bug")
        self._logger.error("request failed because of a bug in otelprof", peer=peer, exc_info=error)
        return Status(code=answer_for(OtelprofError()).grpc_status.value[0], message="internal error")


def unread_outcome(error: OtelprofError) -> str:
    """What a request counts as that was not read: `refused` when it may come again, `failed` otherwise."""
    return "refused" if isinstance(error, RetryableError) else "failed"


class RequestCounts:
    """What a receiver counts."""

    def __init__(self, component: ComponentSettings, transport: str) -> None:
        self._metrics = component.metrics
        self._receiver = {"receiver": str(component.id)}
        self._transport = {"receiver": str(component.id), "transport": transport}

    def came(self, wire_bytes: int) -> None:
        """A message came."""
        self._metrics.add(metrics.RECEIVER_WIRE_BYTES, wire_bytes, **self._receiver)

    def answered(self, outcome: str) -> None:
        """A request was answered: `accepted`, `partial`, `refused`, `failed` or `bug`."""
        self._metrics.add(metrics.RECEIVER_REQUESTS, 1, **self._receiver, outcome=outcome)

    def unread(self, error: OtelprofError) -> None:
        """A request was not read."""
        if isinstance(error, AmbiguousRevisionError):
            self._metrics.add(metrics.REQUESTS_BY_REVISION, 1, **self._receiver, revision="ambiguous")
        self.answered(unread_outcome(error))

    def decoded(self, profiles: Profiles) -> None:
        """A request could be read."""
        self._metrics.add(metrics.RECEIVER_BODY_BYTES, profiles.body_bytes, **self._receiver)
        for repair, count in profiles.repairs.items():
            self._metrics.add(metrics.REPAIRS, count, **self._receiver, repair=repair)
        self._metrics.add(metrics.REQUESTS_BY_REVISION, 1, **self._receiver, revision=profiles.revision)
        for field, count in profiles.revision_fields_dropped.items():
            self._metrics.add(metrics.REVISION_FIELDS_DROPPED, count, **self._receiver, field=field)

    def refused(self, profiles: Profiles) -> None:
        """The pipeline did not take it."""
        self.answered("refused")
        self._by_sample_type(metrics.RECEIVER_REFUSED, profiles)

    def accepted(self, profiles: Profiles, rejections: Sequence[Rejection]) -> None:
        """The pipeline took it, without the Profiles that were refused one by one."""
        self.answered("partial" if rejections else "accepted")
        self._by_sample_type(metrics.RECEIVER_ACCEPTED, profiles)
        self._metrics.add(metrics.ACCEPTED_PROFILES, profiles.profile_count, **self._receiver)
        for rejection in profiles.rejections:
            self._metrics.add(metrics.RECEIVER_FAILED, rejection.sample_count, **self._transport)
        for rejection in rejections:
            labels = {**self._receiver, "reason": rejection.reason}
            self._metrics.add(metrics.REJECTED_PROFILES, rejection.profile_count, **labels)
            self._metrics.add(metrics.REJECTED_SAMPLES, rejection.sample_count, **labels)
        linked: dict[str, int] = {}
        unlinked: dict[str, int] = {}
        for row in profiles.summary:
            service, linked_count = row.service, row.linked_sample_count
            linked[service] = linked.get(service, 0) + linked_count
            unlinked[service] = unlinked.get(service, 0) + row.sample_count - linked_count
        for service, count in linked.items():
            self._metrics.add(metrics.LINKED_SAMPLES, count, service=service)
            self._metrics.add(metrics.UNLINKED_SAMPLES, unlinked[service], service=service)

    def _by_sample_type(self, spec: MetricSpec, profiles: Profiles) -> None:
        samples: dict[str, int] = {}
        for row in profiles.summary:
            sample_type = f"{row.sample_type}:{row.unit}"
            samples[sample_type] = samples.get(sample_type, 0) + row.sample_count
        for sample_type, count in samples.items():
            self._metrics.add(spec, count, **self._transport, sample_type=sample_type)


def _response(rejections: Sequence[Rejection]) -> ExportProfilesServiceResponse:
    """Say how many Profiles were refused, and for each reason how many and the first."""
    profiles: Counter[str] = Counter()
    first: dict[str, str] = {}
    for rejection in rejections:
        profiles[rejection.reason] += rejection.profile_count
        # A name in it, and so the message, may be as long as the request.
        first.setdefault(rejection.reason, printable(rejection.message))
    reasons = "; ".join(f"{reason} ({count}): {first[reason]}" for reason, count in profiles.items())
    rejected = profiles.total()
    response = ExportProfilesServiceResponse()
    response.partial_success.rejected_profiles = rejected
    response.partial_success.error_message = f"{counted(rejected, 'profile')} refused: {reasons}"
    return response


def status_of(error: OtelprofError) -> Status:
    """The status of an error. RetryInfo is what makes a client try again (OTLP specification, "Failures")."""
    code, _ = answer_for(error).grpc_status.value
    status = Status(code=code, message=str(error)[:_MAX_STATUS_CHARS])
    if isinstance(error, RetryableError):
        info = RetryInfo()
        info.retry_delay.FromMilliseconds(round((error.retry_after_secs or 0.0) * 1000))
        detail = Any()
        detail.Pack(info)
        status.details.append(detail)
    return status
