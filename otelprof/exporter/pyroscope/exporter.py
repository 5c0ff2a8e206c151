"""The `pyroscope` exporter: a request becomes one push for each of its series, several at once.

The server is not idempotent, and tells of several series by one answer. So each series goes alone, and when
some of a request was not taken, that is tried again and nothing else.
"""

from __future__ import annotations

from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING, Final

from otelprof._core import Deltas, Merger
from otelprof.component import ExporterFactory
from otelprof.errors import (
    OverloadedError,
    PermanentError,
    RetryableError,
    UnavailableError,
)
from otelprof.exporter.pyroscope.config import PyroscopeExporterConfig
from otelprof.exporter.pyroscope.otlp import OtlpClient
from otelprof.exporter.pyroscope.push import PushClient, UnansweredError
from otelprof.exporter.pyroscope.series import Loss, SeriesMaker
from otelprof.telemetry.metrics import EXPORTER_SENT_BYTES
from otelprof.telemetry.pyroscope_metrics import PYROSCOPE_CHANGES, PYROSCOPE_LOST_SAMPLES, PYROSCOPE_PUSHES
from otelprof.telemetry.throttle import Throttle

if TYPE_CHECKING:
    from otelprof._core import PprofPiece, Profiles
    from otelprof.component import ComponentSettings
    from otelprof.exporter.pyroscope.series import Series

# Of all series together, one for each stack of each sample type: some 20 MB.
MAX_CUMULATIVE_VALUES: Final = 200_000


@dataclass
class _Outcome:
    """What became of a request, or of a piece of it.

    Attributes:
        delivered: series that the server took.
        left: pieces that are to be sent again.
        retry: why; None when nothing is left.
        lost: why something will never be there; None when all is well.
    """

    delivered: int = 0
    left: list[PprofPiece] = field(default_factory=list)
    retry: RetryableError | None = None
    lost: Exception | None = None

    def add(self, other: _Outcome) -> None:
        """Take over what became of another piece."""
        self.delivered += other.delivered
        self.left += other.left
        self.retry = self.retry or other.retry
        self.lost = self.lost or other.lost


class PyroscopeExporter:
    """Sends each series of a request as one push."""

    def __init__(self, config: PyroscopeExporterConfig, settings: ComponentSettings) -> None:
        self._config = config
        self._settings = settings
        self._id = str(settings.id)
        self._metrics = settings.metrics
        self._throttle = Throttle(settings.clock)
        self._maker = SeriesMaker(config, settings.clock)
        self._deltas = Deltas(MAX_CUMULATIVE_VALUES)
        self._client: PushClient | OtlpClient | None = None
        self._pushers: ThreadPoolExecutor | None = None

    def start(self) -> None:
        """Make the client; it connects with the first request.

        Raises:
            ConfigError: a TLS file cannot be used.
        """
        tls_path = f"exporters.{self._id}.tls"
        if self._config.mode == "otlp":
            self._client = OtlpClient(self._config, tls_path)
        else:
            self._client = PushClient(self._config, self._settings.clock, tls_path)
        self._pushers = ThreadPoolExecutor(self._config.max_concurrent_pushes, f"otelprof-{self._id}-push")

    def export(self, profiles: Profiles) -> None:
        """Send a request.

        Raises:
            RetryableError: the server is away, or asks to wait; what it has is not in `undelivered`.
            PermanentError: it takes nothing of the request, or refuses us.
        """
        client, pushers = self._client, self._pushers
        if client is None or pushers is None:
            message = f"the exporter of {self._config.endpoint} does not run"
            raise UnavailableError(message)
        made = self._differences(profiles)
        pieces, stop, outcome = self._maker.pieces(made), Event(), _Outcome()
        try:
            jobs = [(piece, pushers.submit(self._deliver, client, piece, stop)) for piece in pieces]
        except RuntimeError as error:
            # How an executor says that it was shut down in the meantime.
            raise UnavailableError(str(error)) from error
        for piece, job in jobs:
            outcome.add(_result(piece, job))
        if outcome.retry is not None:
            # Differences are made once: another time there would be none.
            raise _retryable(outcome, outcome.retry, is_changed=made is not profiles)
        if outcome.lost is not None and not outcome.delivered:
            raise outcome.lost

    def shutdown(self) -> None:
        """Close the connections; a push that is under way fails."""
        client, self._client = self._client, None
        pushers, self._pushers = self._pushers, None
        if client is not None:
            client.close()
        if pushers is not None:
            # A push that waits for its answer is not waited for: it ends with its timeout.
            pushers.shutdown(wait=False, cancel_futures=True)

    def _differences(self, profiles: Profiles) -> Profiles:
        """The request with what is cumulative as differences; the same handle when nothing is."""
        if not self._config.cumulative:
            return profiles
        made = self._deltas.differences(profiles, self._config.cumulative)
        for reason, count in (
            (Loss.BASELINE, made.baseline_sample_count),
            (Loss.LATE, made.late_sample_count),
        ):
            if count:
                self._count_lost(reason, count)
        return made.profiles

    def _deliver(self, client: PushClient | OtlpClient, piece: PprofPiece, stop: Event) -> _Outcome:
        """Send what a piece becomes.

        Args:
            client: what sends.
            piece: of the request.
            stop: set when the rest of the request need not be tried now.
        """
        outcome = _Outcome()
        if not piece.sample_count:
            return outcome
        if self._maker.is_too_old(piece):
            message = f"profiles older than {self._config.max_age:g} s are refused"
            outcome.lost = self._lose(piece, Loss.TOO_OLD, PermanentError(message))
            return outcome
        parts = iter([(piece, None)]) if stop.is_set() else self._maker.series(piece)
        for part, series in parts:
            if stop.is_set():
                outcome.left.append(part)
            elif series is None:
                message = f"a single sample makes a pprof over {self._config.max_profile_size} bytes"
                outcome.lost = self._lose(part, Loss.TOO_LARGE, PermanentError(message))
            else:
                outcome.add(self._push(client, part, series, stop))
        return outcome

    def _push(
        self, client: PushClient | OtlpClient, piece: PprofPiece, series: Series, stop: Event
    ) -> _Outcome:
        try:
            client.push(series)
        except RetryableError as error:
            stop.set()
            return self._again(piece, error)
        except UnansweredError as error:
            if self._config.resend_unanswered:
                stop.set()
                return self._again(piece, UnavailableError(str(error)))
            self._count_request("unanswered")
            return _Outcome(lost=self._lose(piece, Loss.UNANSWERED, PermanentError(str(error))))
        except PermanentError as error:
            self._count_request("refused")
            return _Outcome(lost=self._lose(piece, Loss.REFUSED, error))
        self._count_request("delivered")
        self._metrics.add(EXPORTER_SENT_BYTES, len(series.pprof.body), exporter=self._id)
        for change, count in series.changes.items():
            if count:
                self._metrics.add(PYROSCOPE_CHANGES, count, exporter=self._id, change=change.value)
        if series.pprof.negative_sample_count:
            self._count_lost(Loss.NEGATIVE, series.pprof.negative_sample_count)
        return _Outcome(delivered=1)

    def _again(self, piece: PprofPiece, error: RetryableError) -> _Outcome:
        self._count_request("retryable")
        return _Outcome(left=[piece], retry=error)

    def _lose(self, piece: PprofPiece, reason: Loss, error: Exception) -> Exception:
        """Count what will not be there, and say it."""
        self._count_lost(reason, piece.sample_count)
        held_back = self._throttle.passed(reason)
        if held_back is not None:
            self._settings.logger.warning(
                "samples are lost",
                reason=reason.value,
                error=str(error),
                samples=piece.sample_count,
                suppressed=held_back,
            )
        return error

    def _count_lost(self, reason: Loss, samples: int) -> None:
        self._metrics.add(PYROSCOPE_LOST_SAMPLES, samples, exporter=self._id, reason=reason.value)

    def _count_request(self, outcome: str) -> None:
        self._metrics.add(PYROSCOPE_PUSHES, exporter=self._id, outcome=outcome)


def _retryable(outcome: _Outcome, first: RetryableError, *, is_changed: bool) -> RetryableError:
    """The error for a request of which something is left."""
    kind = OverloadedError if isinstance(first, OverloadedError) else UnavailableError
    undelivered = None
    if is_changed or outcome.delivered or outcome.lost is not None:
        undelivered = Merger().merge([piece.profiles for piece in outcome.left])
    return kind(str(first), retry_after_secs=first.retry_after_secs, undelivered=undelivered)


def _result(piece: PprofPiece, job: Future[_Outcome]) -> _Outcome:
    try:
        return job.result()
    except CancelledError:
        return _Outcome(left=[piece], retry=UnavailableError("the exporter was shut down"))


factory: Final = ExporterFactory(PyroscopeExporterConfig, PyroscopeExporter)
