"""The `sampling` processor: its rules are the core's policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otelprof.component import ProcessorFactory
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
        self._decisions = Decisions(
            core_policy(config.rules), labels(config.rules), SAMPLING_SAMPLES, settings
        )

    def start(self) -> None:
        """Nothing to acquire."""

    def shutdown(self) -> None:
        """Nothing to release."""

    def process(self, profiles: Profiles) -> Profiles:
        """What stays of a request; never an error."""
        return self._decisions.carry_out(profiles)


factory: Final = ProcessorFactory(SamplingConfig, Sampling)
