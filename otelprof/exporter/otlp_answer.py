"""What the next hop is told of the signal, and what its answer means, over gRPC and over HTTP alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otelprof._core import REVISIONS
from otelprof.errors import PermanentError
from otelprof.otlp_headers import REVISION_HEADER, VERSION, VERSION_HEADER
from otelprof.telemetry.metrics import (
    EXPORTER_REJECTED_PROFILES,
    EXPORTER_SENT_BYTES,
    UNKNOWN_FIELDS_DROPPED,
)
from otelprof.telemetry.text import printable
from otelprof.telemetry.throttle import Throttle

if TYPE_CHECKING:
    from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
        ExportProfilesServiceResponse,
    )

    from otelprof._core import Profiles
    from otelprof.component import ComponentSettings

HEADERS: Final = ((VERSION_HEADER, VERSION), (REVISION_HEADER, REVISIONS[-1]))
"""What is said with each request that `to_otlp` wrote."""


class NextHop:
    """Counts what was sent, and counts and logs what of it was not taken.

    Args:
        endpoint: what it is called in errors.
        settings: of the exporter.
    """

    def __init__(self, endpoint: str, settings: ComponentSettings) -> None:
        self._endpoint = endpoint
        self._id = str(settings.id)
        self._logger = settings.logger
        self._metrics = settings.metrics
        self._throttle = Throttle(settings.clock)

    def took(self, profiles: Profiles, sent_bytes: int, answer: ExportProfilesServiceResponse | None) -> None:
        """Read the answer to a request; None cannot be read. Sending it again would not help.

        Raises:
            PermanentError: nothing of it was taken.
        """
        self._metrics.add(EXPORTER_SENT_BYTES, sent_bytes, exporter=self._id)
        if profiles.unknown_fields_dropped:
            self._metrics.add(UNKNOWN_FIELDS_DROPPED, profiles.unknown_fields_dropped, exporter=self._id)
        if answer is None:
            self._warn("the answer cannot be read, and is taken for a success", "")
            return
        rejected = answer.partial_success.rejected_profiles
        reason = printable(answer.partial_success.error_message)
        if rejected > 0:
            self._metrics.add(EXPORTER_REJECTED_PROFILES, rejected, exporter=self._id)
        if rejected >= max(profiles.profile_count, 1):
            message = f"{self._endpoint} refused all {rejected} profiles: {reason}"
            raise PermanentError(message)
        if rejected > 0 or reason:
            self._warn(f"{rejected} of {profiles.profile_count} profiles were refused", reason)

    def _warn(self, what: str, reason: str) -> None:
        held_back = self._throttle.passed("answer")
        if held_back is not None:
            self._logger.warning(
                "the next hop is not content", what=what, reason=reason, suppressed=held_back
            )
