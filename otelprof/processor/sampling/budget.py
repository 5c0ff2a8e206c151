"""A budget of bytes a day: what sampling lets through is counted, and thresholds move so that it suffices.

Nothing here runs by itself. A request that passes is counted, and may be the one that lets the controller
look at the load again, every ten seconds, or has the ledgers written down, every minute.
"""

from __future__ import annotations

from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Final

from otelprof.errors import ConfigError, ConfigProblem
from otelprof.processor.sampling.controller import SECS_PER_DAY, SHARED_KEY, Controller
from otelprof.processor.sampling.state_file import BudgetState, StateFile, StateFileError
from otelprof.processor.sampling.threshold import threshold_of
from otelprof.telemetry.journal import PolicyEvent
from otelprof.telemetry.metrics import OVERFLOW
from otelprof.telemetry.policy_metrics import (
    BUDGET_ALLOWED_BYTES,
    BUDGET_PROBABILITY,
    BUDGET_SPARED_PROBABILITY,
    BUDGET_SPENT_BYTES,
)
from otelprof.telemetry.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from otelprof._core import Selected
    from otelprof.component import ComponentSettings
    from otelprof.processor.sampling.adjustments import CurrentAdjustments
    from otelprof.processor.sampling.config import BudgetConfig
    from otelprof.processor.sampling.controller import Ledger, RuleRole
    from otelprof.telemetry.metric_spec import MetricSpec

STEP_SECS: Final = 10.0
"""How often thresholds move at most."""
SAVE_SECS: Final = 60.0
"""How often the ledgers are written down at most; a crash forgets what came since."""


class Budget:
    """The budget of one `sampling` processor. Safe to use from any thread.

    Args:
        config: how much, and of what.
        roles: of the rules, in their order.
        adjustments: where the thresholds go.
        settings: of the processor.
    """

    def __init__(
        self,
        config: BudgetConfig,
        roles: Sequence[RuleRole | None],
        adjustments: CurrentAdjustments,
        settings: ComponentSettings,
    ) -> None:
        self._config = config
        self._roles = roles
        self._adjustments = adjustments
        self._clock = settings.clock
        self._logger = settings.logger
        self._metrics = settings.metrics
        self._journal = settings.journal
        self._id = str(settings.id)
        self._throttle = Throttle(settings.clock, SAVE_SECS)
        self._lock = Lock()
        self._controller = self._made({})
        self._stepped_at = self._saved_at = self._clock.monotonic()
        # Its own lock: nobody is kept from counting while the disk is slow.
        self._saving = Lock()
        self._file: StateFile | None = None

    def start(self) -> None:
        """Go on with the ledgers that were written down.

        Raises:
            ConfigError: the file is another budget's, or cannot be written.
        """
        path = self._config.state_file
        ledgers: Mapping[str, Ledger] = {}
        if path is not None:
            file = StateFile(path)
            try:
                file.open()
            except StateFileError as error:
                problem = ConfigProblem(f"processors.{self._id}.budget.state_file", str(error))
                raise ConfigError([problem]) from error
            self._file = file
            ledgers = self._written_down(file)
        with self._lock:
            self._controller = self._made(ledgers)
            self._stepped_at = self._saved_at = self._clock.monotonic()
            self._show(list(ledgers))
            self._tell([name for name, ledger in ledgers.items() if ledger.probabilities.sampled < 1])
            self._adjust()

    def count(self, selected: Selected) -> None:
        """Take what sampling lets through of a request into account."""
        profiles = selected.profiles
        # The wire form is kept for whoever sends it.
        size_bytes = profiles.wire_bytes if profiles.profile_count else 0
        with self._lock:
            now, monotonic = self._clock.now(), self._clock.monotonic()
            new = self._controller.count(selected.services, size_bytes, now)
            self._show(new)
            moved = []
            elapsed_secs = monotonic - self._stepped_at
            if elapsed_secs >= STEP_SECS:
                self._stepped_at = monotonic
                moved = self._controller.step(elapsed_secs, now)
                self._tell(moved)
            # What is the others' threshold is not that of a key of its own.
            if new or moved:
                self._adjust()
            is_due = monotonic - self._saved_at >= SAVE_SECS
            if is_due:
                self._saved_at = monotonic
        if is_due:
            self._save()

    def shutdown(self) -> None:
        """Write the ledgers down. Safe before `start`, and more than once."""
        self._save()
        with self._saving:
            file, self._file = self._file, None
            if file is not None:
                file.close()

    def _made(self, ledgers: Mapping[str, Ledger]) -> Controller:
        config = self._config
        return Controller(
            config.bytes_per_day,
            self._roles,
            per_service=config.per == "service",
            now=self._clock.now(),
            ledgers=ledgers,
        )

    def _written_down(self, file: StateFile) -> Mapping[str, Ledger]:
        """The ledgers of the file; none when it says nothing that holds for today."""
        today = int(self._clock.now() // SECS_PER_DAY)
        try:
            state = file.read()
            return state.on(today, self._config.per) if state else {}
        except StateFileError as error:
            self._logger.warning("the budget begins anew", reason=str(error))
            return {}

    def _adjust(self) -> None:
        """Have the thresholds carried out."""
        thresholds, spared = (
            {name: threshold_of(probability) for name, probability in found.items()}
            for found in (
                self._controller.adjusted(lambda found: found.sampled),
                self._controller.adjusted(lambda found: found.spared),
            )
        )
        self._adjustments.set_thresholds(thresholds, spared)

    def _tell(self, names: Sequence[str]) -> None:
        """Say in the journal what keys have moved to."""
        for name in names:
            sampled, spared = self._controller.ledger(name).probabilities
            what = f"budget: {sampled:.4g} at most, of error and slow traces {spared:.4g}"
            self._journal.record(
                PolicyEvent(
                    time_secs=self._clock.now(),
                    component=self._id,
                    kind="probability",
                    service=name,
                    what=what,
                    probability=sampled,
                )
            )

    def _save(self) -> None:
        """Write the ledgers down; what goes wrong is said, and tried again later."""
        with self._saving:
            if self._file is None:
                return
            with self._lock:
                controller = self._controller
                state = BudgetState.of(controller.day, self._config.per, controller.ledgers)
            try:
                self._file.write(state)
            except OSError as error:
                if self._throttle.passed("save") is not None:
                    self._logger.warning(
                        "the budget cannot be written down, and a restart would forget it",
                        path=str(self._config.state_file),
                        error=str(error),
                    )

    def _show(self, names: Sequence[str]) -> None:
        """Show new keys in the metrics."""
        shown: dict[MetricSpec, Callable[[Ledger], float]] = {
            BUDGET_PROBABILITY: lambda ledger: ledger.probabilities.sampled,
            BUDGET_SPARED_PROBABILITY: lambda ledger: ledger.probabilities.spared,
            BUDGET_SPENT_BYTES: lambda ledger: ledger.spent_bytes,
            BUDGET_ALLOWED_BYTES: lambda ledger: ledger.share * self._config.bytes_per_day,
        }
        for name in names:
            service = name
            if name == SHARED_KEY:
                service = OVERFLOW if self._config.per == "service" else ""
            for spec, value in shown.items():
                self._metrics.observe(
                    spec, partial(self._shown, name, value), processor=self._id, service=service
                )

    def _shown(self, name: str, value: Callable[[Ledger], float]) -> float:
        return value(self._controller.ledger(name))
