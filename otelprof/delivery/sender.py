"""Takes requests from the log and gives them to one exporter: retry, give up, count.

The same few lines for every exporter, so that an exporter itself is only `export(profiles)`. A request that
waits for its retry waits in the log, and blocks no thread.
"""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING, Final

from otelprof.delivery.batch import Batcher
from otelprof.delivery.retry import Failure, next_attempt_at
from otelprof.errors import PermanentError, RetryableError
from otelprof.log.batching import BatchingCursor
from otelprof.log.cursor import DropReason
from otelprof.telemetry.metrics import (
    EXPORTER_DROPPED,
    EXPORTER_IN_FLIGHT,
    EXPORTER_QUEUE_CAPACITY,
    EXPORTER_QUEUE_SIZE,
    EXPORTER_RETRIES,
    EXPORTER_SEND_FAILED,
    EXPORTER_SENT,
    EXPORTER_SENT_REQUESTS,
)
from otelprof.telemetry.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otelprof._core import Profiles
    from otelprof.component import ComponentSettings, Exporter
    from otelprof.config.exporter import ExporterConfig
    from otelprof.log.cursor import Cursor, Item

# What an exporter's threads are given to come back in, after it was shut down under them.
JOIN_SECS: Final = 1.5


class Outcomes:
    """Counts and logs what became of requests."""

    def __init__(self, settings: ComponentSettings) -> None:
        self._id = str(settings.id)
        self._metrics = settings.metrics
        self._logger = settings.logger
        self._throttle = Throttle(settings.clock)

    def sent(self, profiles: Profiles) -> None:
        """A request was delivered."""
        self._metrics.add(EXPORTER_SENT, profiles.sample_count, exporter=self._id)
        self._metrics.add(EXPORTER_SENT_REQUESTS, exporter=self._id)

    def sent_part(self, samples: int) -> None:
        """A part of a request was delivered; the rest is still to be."""
        self._metrics.add(EXPORTER_SENT, samples, exporter=self._id)

    def retrying(self, error: RetryableError, wait_secs: float) -> None:
        """A request failed, and will be tried again."""
        kind = type(error).__name__
        self._metrics.add(EXPORTER_RETRIES, exporter=self._id, error_type=kind)
        held_back = self._throttle.passed(("retry", kind))
        if held_back is not None:
            self._logger.info(
                "export failed, will be tried again",
                error=str(error),
                retry_in_secs=round(wait_secs, 3),
                suppressed=held_back,
            )

    def given_up(self, profiles: Profiles, error: Exception, consequence: str) -> None:
        """A request failed for good."""
        kind = type(error).__name__
        self._metrics.add(
            EXPORTER_SEND_FAILED,
            profiles.sample_count,
            exporter=self._id,
            error_type=kind,
            error_permanent="false" if isinstance(error, RetryableError) else "true",
        )
        held_back = self._throttle.passed((consequence, kind))
        if held_back is None:
            return
        # An exception that is not in our tree is a bug: only its traceback helps.
        bug = not isinstance(error, RetryableError | PermanentError)
        self._logger.error(
            "export failed",
            consequence=consequence,
            error=str(error),
            error_type=kind,
            samples=profiles.sample_count,
            suppressed=held_back,
            exc_info=error if bug else None,
        )


class Sender:
    """Feeds one exporter from its cursor, and owns its lifecycle.

    Args:
        exporter: what delivers.
        cursor: the exporter's place in the log.
        config: how it is fed, and when it is tried again.
        component: the exporter's id, logger, metrics and clock.
    """

    def __init__(
        self, exporter: Exporter, cursor: Cursor, config: ExporterConfig, component: ComponentSettings
    ) -> None:
        self._exporter = exporter
        self._cursor = cursor
        self._take = Batcher(cursor, component).take if isinstance(cursor, BatchingCursor) else cursor.take
        self._config = config
        self._id = component.id
        self._clock = component.clock
        self._metrics = component.metrics
        self._logger = component.logger
        self._outcomes = Outcomes(component)
        self._threads: list[Thread] = []
        self._drain_deadline: float | None = None
        self._is_halted = False
        self._left_reason = DropReason.SHUTDOWN
        self._retirement: Thread | None = None

    @property
    def is_done(self) -> bool:
        """It was retired, and has ended."""
        return self._retirement is not None and not self._retirement.is_alive()

    def start(self) -> None:
        """Start the exporter, then the threads that feed it."""
        self._exporter.start()
        labels = {"exporter": str(self._id), "data_type": "profiles"}
        self._metrics.observe(EXPORTER_QUEUE_SIZE, lambda: self._cursor.size_bytes, **labels)
        self._metrics.observe(EXPORTER_IN_FLIGHT, lambda: self._cursor.in_flight_count, **labels)
        self._metrics.set(EXPORTER_QUEUE_CAPACITY, self._cursor.capacity_bytes, **labels)
        for number in range(self._config.sending_queue.num_consumers):
            thread = Thread(target=self._work, name=f"otelprof-{self._id}-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def step(self) -> float | None:
        """Try at most one delivery.

        Returns:
            How long until the next may be tried: 0 when one was tried now, None when nothing waits.
        """
        item = self._take()
        if item is None:
            return self._cursor.secs_until_due()
        self._attempt(item)
        return 0.0

    def begin_drain(self, deadline: float) -> None:
        """From now on, deliver what is there; nothing more is appended.

        What waits for a retry is tried at once, then at the usual intervals; what would be due after the
        deadline is given up.

        Args:
            deadline: on the monotonic clock.
        """
        self._drain_deadline = deadline
        self._cursor.expedite()

    def wait_drained(self, deadline: float) -> None:
        """Return when nothing is left to deliver, or at the deadline, on the monotonic clock."""
        self._cursor.wait_until_empty(deadline)

    def halt(self, deadline: float) -> None:
        """Let attempts that are under way end until the deadline, and stop; what waits stays in the cursor.

        For another sender, whose cursor takes it over.

        Args:
            deadline: on the monotonic clock; afterwards the exporter is stopped under its attempts.
        """
        self._is_halted = True
        self._cursor.close()
        self._join(self._threads, deadline)
        self._stop_exporter()

    def retire(self, deadline: float) -> None:
        """Deliver what is there until the deadline, then end, on a thread of its own.

        What is left then is dropped, counted, and no longer kept on disk.

        Args:
            deadline: on the monotonic clock.
        """
        self._left_reason = DropReason.EXPORTER_REMOVED
        self.begin_drain(deadline)

        def end() -> None:
            self.wait_drained(deadline)
            self._release()

        self._retirement = Thread(target=end, name=f"otelprof-{self._id}-retirement", daemon=True)
        self._retirement.start()

    def shutdown(self) -> None:
        """Stop the threads and the exporter; what was not delivered is counted and logged."""
        if self._retirement is None:
            self._release()
            return
        self._cursor.close()
        self._retirement.join()

    def _release(self) -> None:
        # An attempt that the shutdown interrupts has no further one.
        self._drain_deadline = self._clock.monotonic()
        self._cursor.close()
        self._stop_exporter()
        labels = {"exporter": str(self._id), "reason": self._left_reason.value}
        self._cursor.drop_all(self._left_reason)
        lost = self._metrics.value(EXPORTER_DROPPED, **labels)
        if lost:
            self._logger.warning("samples were not delivered before the shutdown", samples=int(lost))

    def _stop_exporter(self) -> None:
        """Shut the exporter down, and wait for its threads, but not for long: its code may be stuck."""
        stopping = Thread(target=self._shut_exporter_down, name=f"otelprof-{self._id}-shutdown", daemon=True)
        stopping.start()
        deadline = self._clock.monotonic() + JOIN_SECS
        self._join([stopping, *self._threads], deadline)
        if stopping.is_alive():
            self._logger.warning("exporter does not return from its shutdown")
        if any(thread.is_alive() for thread in self._threads):
            self._logger.warning("exporter does not return from export after its shutdown")
        self._threads.clear()

    def _shut_exporter_down(self) -> None:
        try:
            self._exporter.shutdown()
        except Exception:
            self._logger.exception("shutdown failed")

    def _join(self, threads: Sequence[Thread], deadline: float) -> None:
        for thread in threads:
            thread.join(max(0.0, deadline - self._clock.monotonic()))

    def _work(self) -> None:
        while not (self._is_halted or self._cursor.closed):
            if self.step() != 0:
                self._cursor.wait()

    def _attempt(self, item: Item) -> None:
        with self._cursor.attempt(item):
            self._try(item)

    def _try(self, item: Item) -> None:
        if item.first_attempt_at is None:
            item.first_attempt_at = self._clock.monotonic()
        try:
            self._exporter.export(item.profiles)
        except RetryableError as error:
            self._failed(item, error, item.first_attempt_at)
        except Exception as error:  # noqa: BLE001 - a PermanentError, or a bug, which is as permanent
            self._outcomes.given_up(item.profiles, error, "dropped" if item.claim is None else "put aside")
            self._cursor.refuse(item, error)
        else:
            self._outcomes.sent(item.profiles)
            self._cursor.ack(item)

    def _failed(self, item: Item, error: RetryableError, first_attempt_at: float) -> None:
        now = self._clock.monotonic()
        if error.undelivered is not None:
            left = error.undelivered
            # A merge may have made one of several samples: what was delivered is not less than nothing.
            self._outcomes.sent_part(max(item.profiles.sample_count - left.sample_count, 0))
            item.profiles = left
        reason = DropReason.RETRIES_EXHAUSTED
        failure = Failure(item.attempts + 1, first_attempt_at, now, error.retry_after_secs)
        attempt_at = next_attempt_at(self._config.retry_on_failure, failure, self._clock.random())
        deadline = self._drain_deadline
        if deadline is not None and attempt_at is not None and attempt_at >= deadline:
            reason, attempt_at = self._left_reason, None
        if attempt_at is None:
            stays = reason is DropReason.SHUTDOWN and item.claim is not None
            self._outcomes.given_up(item.profiles, error, "kept on disk" if stays else "dropped")
            self._cursor.drop(item, reason)
        else:
            self._outcomes.retrying(error, attempt_at - now)
            self._cursor.retry_at(item, attempt_at)


class DirectSender:
    """An exporter without a queue (`sending_queue.enabled: false`): its answer is the client's.

    One attempt: the client holds the request, so it is the client who tries again.
    """

    def __init__(self, exporter: Exporter, component: ComponentSettings) -> None:
        self._exporter = exporter
        self._outcomes = Outcomes(component)

    def start(self) -> None:
        """Start the exporter."""
        self._exporter.start()

    def deliver(self, profiles: Profiles) -> None:
        """Export inside the client's call.

        Raises:
            OtelprofError: what the exporter raised.
        """
        try:
            self._exporter.export(profiles)
        except Exception as error:
            self._outcomes.given_up(profiles, error, "the client was told")
            raise
        self._outcomes.sent(profiles)

    def shutdown(self) -> None:
        """Stop the exporter."""
        self._exporter.shutdown()
