"""The `sampling` processor: its rules are the core's policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otelprof._core import TraceDecisions
from otelprof.component import ProcessorFactory, TraceWait
from otelprof.config.rules import labels
from otelprof.processor.decisions import Decisions
from otelprof.processor.sampling.config import SamplingConfig
from otelprof.processor.sampling.policy import core_policy
from otelprof.telemetry.policy_metrics import SAMPLING_SAMPLES

if TYPE_CHECKING:
    from otelprof._core import Profiles
    from otelprof.component import ComponentSettings


class Sampling:
    """Lets a part of the samples through, by rules. Stateless: every instance decides the same."""

    def __init__(self, config: SamplingConfig, settings: ComponentSettings) -> None:
        self._policy = core_policy(config.rules)
        self._decisions = Decisions(self._policy, labels(config.rules), SAMPLING_SAMPLES, settings)

    def start(self) -> None:
        """Nothing to acquire."""

    def shutdown(self) -> None:
        """Nothing to release."""

    def process(self, profiles: Profiles) -> Profiles:
        """What stays of a request; never an error."""
        return self._decisions.carry_out(profiles)


class TraceSampling(Sampling):
    """Lets samples through by what the tracing side decided; a `TraceProcessor`."""

    def __init__(self, config: SamplingConfig, settings: ComponentSettings) -> None:
        super().__init__(config, settings)
        self._annotates = config.trace_attributes
        decisions = TraceDecisions(max_bytes=int(config.trace_max_bytes), window_secs=config.trace_window)
        self.wait = TraceWait(decisions, self._policy, config.decision_wait, int(config.decision_max_bytes))

    def process(self, profiles: Profiles) -> Profiles:
        """What stays of a request, by what is known of its traces now; never an error."""
        return self._decisions.carry_out(profiles, self.wait.decisions, annotates=self._annotates)


def _create(config: SamplingConfig, settings: ComponentSettings) -> Sampling:
    return (TraceSampling if config.waits_for_traces else Sampling)(config, settings)


factory: Final = ProcessorFactory(SamplingConfig, _create)
