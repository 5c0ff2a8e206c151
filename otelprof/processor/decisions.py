"""A policy carried out by the core, and what each of its rules did, counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otelprof.config.rules import NO_RULE
from otelprof.telemetry.metrics import PAYLOADS_DROPPED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otelprof._core import Adjustments, Policy, Profiles, Selected, TraceDecisions
    from otelprof.component import ComponentSettings
    from otelprof.telemetry.metric_spec import MetricSpec

_OUTCOMES = ("kept", "dropped", "demoted", "rejected")


class Decisions:
    """Carries a policy out.

    Args:
        policy: what is done.
        labels: what its rules are called in metrics, in their order.
        spec: where decisions are counted, by `processor`, `rule` and `outcome`.
        settings: of the processor that the policy is of.
    """

    def __init__(
        self, policy: Policy, labels: Sequence[str], spec: MetricSpec, settings: ComponentSettings
    ) -> None:
        self._policy = policy
        self._labels = (*labels, NO_RULE)
        self._spec = spec
        self._metrics = settings.metrics
        self._id = str(settings.id)

    def carry_out(
        self,
        profiles: Profiles,
        traces: TraceDecisions | None = None,
        *,
        adjustments: Adjustments | None = None,
        annotates: bool = True,
    ) -> Selected:
        """What is left of a request; Profiles that the policy refused are in the handle's `rejections`.

        Args:
            profiles: the request.
            traces: what the tracing side decided; None when nothing asks for it.
            adjustments: what changes the policy for now.
            annotates: say on the samples that stay what is known of their traces.
        """
        selected = profiles.select(self._policy, traces, adjustments=adjustments, annotates=annotates)
        for label, decided in zip(self._labels, selected.decided, strict=True):
            for outcome in _OUTCOMES:
                count = getattr(decided, outcome)
                if count:
                    self._metrics.add(self._spec, count, processor=self._id, rule=label, outcome=outcome)
        if selected.payloads_dropped:
            self._metrics.add(PAYLOADS_DROPPED, selected.payloads_dropped, processor=self._id)
        return selected
