"""The `datadog` exporter, for an Agent or the profile intake: several uploads of each request."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from otelprof.errors import (
    PermanentError,
    RequestTooLargeError,
    RetryableError,
    UnauthenticatedError,
    UnavailableError,
)
from otelprof.exporter.datadog.delivered import Delivered
from otelprof.exporter.datadog.intake import Intake
from otelprof.exporter.datadog.planning import Lost, Planner
from otelprof.exporter.datadog.uploads import Converter
from otelprof.telemetry.datadog_metrics import (
    DATADOG_CLIPPED_VALUES,
    DATADOG_CUT_STACKS,
    DATADOG_LOST_SAMPLES,
    DATADOG_SPLIT_UPLOADS,
    DATADOG_UNREADABLE_LABELS,
    DATADOG_UPLOADS,
)
from otelprof.telemetry.metrics import EXPORTER_SENT_BYTES
from otelprof.telemetry.throttle import Throttle

if TYPE_CHECKING:
    from otelprof._core import Profiles
    from otelprof.component import ComponentSettings
    from otelprof.exporter.datadog.config import DatadogExporterConfig
    from otelprof.exporter.datadog.planning import Plan
    from otelprof.exporter.datadog.uploads import Upload


@dataclass
class _Outcome:
    """What became of the uploads of a request so far.

    Attributes:
        settled: digests of those that are not to be sent again.
        taken_count: how many the far side has.
        lost: samples of those that it refused.
        refusal: why it refused the first of them.
    """

    settled: list[bytes] = field(default_factory=list)
    taken_count: int = 0
    lost: Counter[Lost] = field(default_factory=Counter)
    refusal: PermanentError | None = None

    def took(self, upload: Upload) -> None:
        """The far side has it."""
        self.settled.append(upload.digest)
        self.taken_count += 1

    def refused(self, upload: Upload, reason: str, error: PermanentError) -> None:
        """The far side will never take it."""
        self.settled.append(upload.digest)
        self.refusal = self.refusal or error
        for file in upload.files:
            self.lost[Lost(reason, file.sample_type)] += file.pprof.sample_count


class DatadogExporter:
    """Makes uploads of a request, and sends one after the other.

    A request that fails half way comes again; what was delivered of it is not sent twice.
    """

    def __init__(self, config: DatadogExporterConfig, settings: ComponentSettings) -> None:
        self._config = config
        self._id = str(settings.id)
        self._clock = settings.clock
        self._metrics = settings.metrics
        self._logger = settings.logger
        self._throttle = Throttle(settings.clock)
        self._planner = Planner(config)
        self._converter = Converter(config, settings.clock)
        self._delivered = Delivered()
        self._intake: Intake | None = None

    def start(self) -> None:
        """Make the pool; it connects with the first upload.

        Raises:
            ConfigError: a TLS file cannot be used.
        """
        self._intake = Intake(self._config, self._id, self._clock)

    def export(self, profiles: Profiles) -> None:
        """Send a request. What cannot be sent of it, and what the far side refuses, is counted.

        Raises:
            RetryableError: the far side is away, or asks to wait.
            PermanentError: it refuses all of the request, or us.
        """
        intake = self._intake
        if intake is None:
            message = f"the exporter of {self._config.place} does not run"
            raise UnavailableError(message)
        plan, outcome = self._planner.plan(profiles), _Outcome()
        try:
            self._send(intake, profiles, plan, outcome)
        except RetryableError:
            self._delivered.remember(outcome.settled)
            self._count_lost(outcome.lost)
            raise
        except PermanentError:
            self._delivered.forget(outcome.settled)
            raise
        self._delivered.forget(outcome.settled)
        self._count_lost(outcome.lost + plan.lost)

    def shutdown(self) -> None:
        """Close the connections; an upload that is under way fails."""
        intake, self._intake = self._intake, None
        if intake is not None:
            intake.close()

    def _send(self, intake: Intake, profiles: Profiles, plan: Plan, outcome: _Outcome) -> None:
        for planned in plan.uploads:
            for upload in self._converter.uploads(profiles, planned):
                self._deliver(intake, profiles, upload, outcome)
        if outcome.refusal is not None and not outcome.taken_count:
            raise outcome.refusal

    def _deliver(self, intake: Intake, profiles: Profiles, upload: Upload, outcome: _Outcome) -> None:
        """Send an upload, in pieces if need be."""
        if upload.digest in self._delivered:
            outcome.took(upload)
            return
        try:
            body, headers = self._converter.body(upload)
            intake.post(body, headers)
        except RequestTooLargeError as error:
            for half in self._halves(profiles, upload, outcome, error):
                self._deliver(intake, profiles, half, outcome)
        except UnauthenticatedError as error:
            if not outcome.taken_count:
                # It would say the same of all the others.
                raise
            self._refused(upload, outcome, error)
        except PermanentError as error:
            self._refused(upload, outcome, error)
        else:
            outcome.took(upload)
            self._count_sent(upload)

    def _halves(
        self, profiles: Profiles, upload: Upload, outcome: _Outcome, error: RequestTooLargeError
    ) -> list[Upload]:
        """What to send in the place of an upload that is too large; nothing when it is a single sample."""
        halves = self._converter.halves(profiles, upload)
        if halves:
            self._metrics.add(DATADOG_SPLIT_UPLOADS, exporter=self._id)
        else:
            outcome.refused(upload, "too_large", error)
            self._warn(error)
        return halves

    def _refused(self, upload: Upload, outcome: _Outcome, error: PermanentError) -> None:
        outcome.refused(upload, "refused", error)
        self._warn(error)

    def _warn(self, error: PermanentError) -> None:
        held_back = self._throttle.passed(type(error).__name__)
        if held_back is not None:
            self._logger.warning("an upload was refused", error=str(error), suppressed=held_back)

    def _count_sent(self, upload: Upload) -> None:
        pprofs = [file.pprof for file in upload.files]
        for spec, amount in (
            (DATADOG_UPLOADS, 1),
            (EXPORTER_SENT_BYTES, sum(len(pprof.body) for pprof in pprofs)),
            (DATADOG_CUT_STACKS, sum(pprof.cut_stacks for pprof in pprofs)),
            (DATADOG_UNREADABLE_LABELS, sum(pprof.unreadable_labels for pprof in pprofs)),
            (DATADOG_CLIPPED_VALUES, sum(pprof.clipped_values for pprof in pprofs)),
        ):
            if amount:
                self._metrics.add(spec, amount, exporter=self._id)

    def _count_lost(self, lost: Counter[Lost]) -> None:
        for (reason, sample_type), amount in lost.items():
            self._metrics.add(
                DATADOG_LOST_SAMPLES, amount, exporter=self._id, reason=reason, sample_type=sample_type
            )
