"""The network of a simulation: exporters whose far sides answer as the scenario says, and in their time."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from otelprof._core import Merger
from otelprof.errors import PermanentError, UnavailableError
from tests.simulation.requests import names_in
from tests.simulation.scenario import Behaviour

if TYPE_CHECKING:
    from collections.abc import Callable

    from otelprof._core import Profiles
    from otelprof.config.exporter import ExporterConfig
    from tests.simulation.ledger import Ledger
    from tests.simulation.loop import Loop
    from tests.simulation.scenario import ExporterPlan, Phase


class FarSide:
    """What one exporter of all lives sends to.

    Args:
        plan: how it behaves.
        loop: whose time passes.
        ledger: what it takes is written there.
    """

    def __init__(self, plan: ExporterPlan, loop: Loop, ledger: Ledger) -> None:
        self.name = plan.name
        self.loop = loop
        self._plan = plan
        self._account = ledger.account(plan.name)
        self._events = ledger.events
        queue = plan.config["sending_queue"]
        self.has_queue = bool(queue.get("enabled", True))
        self.has_batches = "batch" in queue
        self.answered: Counter[str] = Counter()
        """The samples that this life's exporter said it delivered."""

    def phase(self) -> Phase | None:
        """How it is now; None is healthy."""
        now = self.loop.clock.monotonic()
        return next((phase for phase in self._plan.phases if now < phase.until_secs), None)

    def take(self, profiles: Profiles) -> None:
        """Take a request."""
        self._account.delivered.update(names_in(profiles))
        if not self.has_queue:
            # It is delivered before it is acknowledged: whether it will be is open.
            self._account.maybe.update(names_in(profiles))

    def doubt(self, profiles: Profiles) -> None:
        """It has taken a request, and the exporter cannot know."""
        self._account.doubtful.update(names_in(profiles))

    def note(self, behaviour: Behaviour) -> None:
        """Something happened."""
        self._events[behaviour.value] += 1


class SimulatedExporter:
    """Sends to a far side. What an attempt takes passes for everything else, too.

    Args:
        far_side: where to.
        config: its timeout.
        ends: called when it is shut down.
    """

    def __init__(self, far_side: FarSide, config: ExporterConfig, ends: Callable[[], None]) -> None:
        self._far_side = far_side
        self._ends = ends
        self._timeout_secs = config.timeout
        self._is_shut_down = False

    def start(self) -> None:
        """Nothing to acquire."""

    def shutdown(self) -> None:
        """Attempts that are under way end with an error."""
        self._is_shut_down = True
        self._ends()

    def export(self, profiles: Profiles) -> None:
        """Deliver a request as the far side lets it.

        Raises:
            OtelprofError: as an exporter does.
            ValueError: as one that has a bug.
        """
        far_side, chance = self._far_side, self._far_side.loop.chance
        phase = far_side.phase()
        behaviour = Behaviour.TAKES if phase is None else chance.choice(phase.behaviours)
        latency_secs = chance.uniform(0, phase.latency_secs) if phase else 0.0
        far_side.note(behaviour)
        if behaviour is Behaviour.HANGS:
            self._wait(self._timeout_secs)
            message = f"no answer in {self._timeout_secs} s"
            raise UnavailableError(message)
        takes_first = chance.random() < 0.5
        is_taken = behaviour in {Behaviour.TAKES, Behaviour.LOSES_ITS_ANSWER}
        if is_taken and takes_first:
            far_side.take(profiles)
        try:
            self._wait(latency_secs)
        except UnavailableError:
            if is_taken and takes_first:
                far_side.doubt(profiles)
            raise
        if is_taken and not takes_first:
            far_side.take(profiles)
        self._answer(behaviour, profiles)

    def _wait(self, secs: float) -> None:
        """Let time pass, and everything else happen."""
        loop = self._far_side.loop
        if secs:
            loop.run(loop.clock.monotonic() + secs)
        if self._is_shut_down:
            message = "the exporter was shut down"
            raise UnavailableError(message)

    def _answer(self, behaviour: Behaviour, profiles: Profiles) -> None:
        far_side = self._far_side
        match behaviour:
            case Behaviour.TAKES:
                far_side.answered.update(names_in(profiles))
            case Behaviour.LOSES_ITS_ANSWER:
                far_side.doubt(profiles)
                message = "the connection was closed"
                raise UnavailableError(message)
            case Behaviour.TAKES_SOME:
                self._take_some(profiles)
            case Behaviour.AWAY:
                message = "connection refused"
                raise UnavailableError(message)
            case Behaviour.OVERLOADED:
                message = "too many requests"
                raise UnavailableError(message, retry_after_secs=far_side.loop.chance.uniform(0, 20))
            case Behaviour.REFUSES:
                message = "no such tenant"
                raise PermanentError(message)
            case _:
                message = "a bug of an exporter"
                raise ValueError(message)

    def _take_some(self, profiles: Profiles) -> None:
        """Take the first half, where there are two."""
        first, *rest = profiles.split(max(profiles.wire_bytes * 2 // 3, 1))
        self._far_side.take(first)
        if not rest or self._far_side.has_queue:
            # What a client is not told is not counted, either: it sends all of it again.
            self._far_side.answered.update(names_in(first))
        if rest:
            message = "a part was not taken"
            raise UnavailableError(message, undelivered=Merger().merge(rest))
