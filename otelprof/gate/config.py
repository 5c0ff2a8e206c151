"""`gate.yaml`: what is compared, and what counts as a regression."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from otelprof.config.explain import explain
from otelprof.config.load import read_document
from otelprof.config.section import Section
from otelprof.config.units import Duration, parse_duration
from otelprof.errors import ConfigError
from otelprof.gate.names import FOLD, STRIP, NameRules

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_DAY: Final = 86400.0
_NAMED: Final = {"daily": _DAY, "weekly": 7 * _DAY, "monthly": 30 * _DAY}

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Probability = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
Growth = Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]


def _refresh(value: object) -> float:
    return _NAMED[value] if isinstance(value, str) and value in _NAMED else parse_duration(value)


def _day(value: object) -> object:
    return date.fromisoformat(value) if isinstance(value, str) else value


class TightenConfig(Section):
    """A threshold that moves by itself, a little every day.

    Attributes:
        source: `from` in the file: the threshold at first.
        target: `to`: the one in the end.
        over: how long that takes.
        starting: the day it begins, as 2026-11-24; while there is none, the first one holds.
    """

    source: Growth = Field(alias="from")
    target: Growth = Field(alias="to")
    over: Duration
    starting: Annotated[date | None, BeforeValidator(_day)] = None

    def at(self, now: datetime) -> float:
        """The threshold of a day."""
        if self.starting is None:
            return self.source
        passed = now - datetime.combine(self.starting, datetime.min.time(), UTC)
        part = 1.0 if self.over <= 0 else min(max(passed / timedelta(seconds=self.over), 0.0), 1.0)
        return self.source + (self.target - self.source) * part


class ThresholdsConfig(Section):
    """How large a growth is too large: (`growth` and `min_points`), or `points`.

    Attributes:
        growth: relative to what the function cost before.
        min_points: of what the baseline costs in all: a growth of less is none, whatever it is relatively.
        points: of what the baseline costs in all: a growth of more is one, whatever it is relatively.
        tighten: moves `growth`.
    """

    growth: Growth = 0.30
    min_points: Share = 0.01
    points: Share = 0.10
    tighten: TightenConfig | None = None


class NamesConfig(Section):
    """What is done to names on top of what is always done.

    Attributes:
        strip: regular expressions of what is taken out of a name.
        fold: patterns, as for file names, of frames that are folded into their caller with all below them.
    """

    strip: tuple[str, ...] = ()
    fold: tuple[str, ...] = ()

    def rules(self) -> NameRules:
        """The names of the profiles that are compared."""
        return NameRules((*STRIP, *self.strip), (*FOLD, *self.fold))


class GateConfig(Section):
    """The whole of `gate.yaml`.

    Attributes:
        types: of profiles that are compared, where both sides have them; never wall by default, which waits.
        required_types: of these, those without which there is no verdict.
        service: only what is of this `service.name`; all when None.
        work: the key of `run.json` by which cost is divided; `share` compares shares, as a last resort.
        alpha: how often a gate run may fail by chance, over all functions together.
        power: how often a regression has to be found for a function to count as covered.
        min_share: a function below is not compared.
        max_covered_share: when only larger functions are covered, the verdict is INCONCLUSIVE.
        thresholds: what is too large.
        fail_on_masked: let a function that became dearer fail although the whole became cheaper.
        refresh: a baseline that is older is stale, which is a warning: a duration, or daily, weekly, monthly.
        variants: what each must have runs of on both sides, by name: values of keys of `run.json`.
        names: how names are read.
    """

    types: tuple[str, ...] = Field(default=("cpu", "alloc"), min_length=1)
    required_types: tuple[str, ...] = ("cpu",)
    service: str | None = None
    work: str = "requests"
    alpha: Probability = 0.01
    power: Probability = 0.8
    min_share: Share = 0.01
    max_covered_share: Share = 0.15
    thresholds: ThresholdsConfig = ThresholdsConfig()
    fail_on_masked: bool = False
    refresh: Annotated[Duration, BeforeValidator(_refresh)] = 7 * _DAY
    variants: dict[str, dict[str, bool | int | float | str]] = Field(default_factory=dict)
    names: NamesConfig = NamesConfig()

    @model_validator(mode="after")
    def _check(self) -> Self:
        unknown = sorted(set(self.required_types) - set(self.types))
        if unknown:
            message = f"required_types names {', '.join(unknown)}, which types does not"
            raise ValueError(message)
        try:
            self.names.rules()
        except Exception as error:
            message = f"names.strip: not a regular expression: {error}"
            raise ValueError(message) from error
        return self


@dataclass(frozen=True)
class Limits:
    """What is too large now.

    Attributes:
        growth: relative.
        min_points: of the baseline's cost, that come with it.
        points: of the baseline's cost, alone.
    """

    growth: float
    min_points: float
    points: float

    @classmethod
    def of(cls, config: ThresholdsConfig, now: datetime) -> Limits:
        """Those of a day."""
        growth = config.growth if config.tighten is None else config.tighten.at(now)
        return cls(growth, config.min_points, config.points)

    def exceeded(self, before: float, after: float, total: float) -> bool:
        """Whether a function's cost grew by too much.

        Args:
            before: its cost.
            after: its cost on the other side, in the same unit.
            total: the baseline's cost in all.
        """
        points = (after - before) / total if total > 0 else 0.0
        relative = after / before - 1 if before > 0 else math.inf
        return (relative >= self.growth and points >= self.min_points) or points >= self.points > 0


def load_gate_config(path: Path, environ: Mapping[str, str]) -> GateConfig:
    """Read `gate.yaml`.

    Raises:
        ConfigError: with everything that is wrong.
    """
    document = read_document(path, environ)
    if document.problems:
        raise ConfigError(document.problems)
    data: dict[str, Any] = document.data
    try:
        return GateConfig.model_validate(data)
    except ValidationError as error:
        raise ConfigError(explain(error, GateConfig, data, "")) from error
