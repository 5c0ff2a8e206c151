"""The `sampling` processor: its rules are the core's policy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from otelprof._core import TraceDecisions
from otelprof.component import ProcessorFactory, TraceWait
from otelprof.config.rules import labels
from otelprof.processor.decisions import Decisions
from otelprof.processor.sampling.adjustments import CurrentAdjustments
from otelprof.processor.sampling.budget import Budget
from otelprof.processor.sampling.config import SamplingConfig
from otelprof.processor.sampling.incidents import Incidents
from otelprof.processor.sampling.policy import core_policy, roles, told
from otelprof.processor.sampling.versions import KnownVersions
from otelprof.telemetry.admin_metrics import INCIDENT_SAMPLES
from otelprof.telemetry.policy_metrics import SAMPLING_SAMPLES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otelprof._core import Profiles
    from otelprof.component import ComponentSettings


@dataclass(frozen=True)
class _Control:
    """What the processor can be asked, and told; a `SamplingControl`."""

    incidents: Incidents
    rules: tuple[str, ...]
    adjustments: CurrentAdjustments

    def sampling_probabilities(self) -> Mapping[str, float]:
        """What the rules are adjusted to now, by service."""
        self.incidents.end_due()
        return self.adjustments.thresholds()


class Sampling:
    """Lets a part of the samples through, by rules: but for adjustments every instance decides the same."""

    def __init__(self, config: SamplingConfig, settings: ComponentSettings) -> None:
        budget = config.budget
        self._adjustments = CurrentAdjustments(counts_services=budget is not None)
        self._budget = budget and Budget(budget, roles(config.rules), self._adjustments, settings)
        self._incidents = Incidents(config.incidents, self._adjustments, settings)
        self._boost_secs = config.boost_on_new_version
        self._versions = None if self._boost_secs is None else KnownVersions(settings)
        self.control = _Control(self._incidents, config.in_words(), self._adjustments)
        self._metrics, self._id = settings.metrics, str(settings.id)
        self._told = partial(told, config.rules, settings, is_adjustable=budget is not None)
        self._journal = settings.journal
        self._policy = core_policy(config.rules, is_adjustable=budget is not None)
        self._decisions = Decisions(self._policy, labels(config.rules), SAMPLING_SAMPLES, settings)

    def start(self) -> None:
        """Say in the journal what the rules are, and go on with what the budget wrote down.

        Raises:
            ConfigError: the budget's file cannot be used.
        """
        for event in self._told():
            self._journal.record(event)
        if self._budget:
            self._budget.start()

    def shutdown(self) -> None:
        """Write down what the budget must not forget."""
        if self._budget:
            self._budget.shutdown()

    def process(self, profiles: Profiles) -> Profiles:
        """What stays of a request; never an error."""
        return self._carry_out(profiles)

    def _carry_out(
        self, profiles: Profiles, traces: TraceDecisions | None = None, *, annotates: bool = True
    ) -> Profiles:
        self._look_at_incidents(profiles)
        adjustments = self._adjustments.current()
        selected = self._decisions.carry_out(profiles, traces, adjustments=adjustments, annotates=annotates)
        if selected.lifted:
            self._metrics.add(INCIDENT_SAMPLES, selected.lifted, processor=self._id)
        if self._budget:
            self._budget.count(selected)
        return selected.profiles

    def _look_at_incidents(self, profiles: Profiles) -> None:
        """End those that are over; a new version in the request starts one."""
        self._incidents.end_due()
        if self._versions is not None and self._boost_secs is not None:
            for service, version in self._versions.new(profiles.service_versions()):
                self._incidents.boost(service, version, self._boost_secs)


class TraceSampling(Sampling):
    """Lets samples through by what the tracing side decided; a `TraceProcessor`."""

    def __init__(self, config: SamplingConfig, settings: ComponentSettings) -> None:
        super().__init__(config, settings)
        self._annotates = config.trace_attributes
        decisions = TraceDecisions(max_bytes=int(config.trace_max_bytes), window_secs=config.trace_window)
        self.wait = TraceWait(decisions, self._policy, config.decision_wait, int(config.decision_max_bytes))

    def process(self, profiles: Profiles) -> Profiles:
        """What stays of a request, by what is known of its traces now; never an error."""
        return self._carry_out(profiles, self.wait.decisions, annotates=self._annotates)


def _create(config: SamplingConfig, settings: ComponentSettings) -> Sampling:
    return (TraceSampling if config.waits_for_traces else Sampling)(config, settings)


factory: Final = ProcessorFactory(SamplingConfig, _create)
