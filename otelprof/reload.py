"""SIGHUP: the configuration file is read again, and what has changed in it is taken over.

A file that cannot be used changes nothing: its problems are logged, and what runs goes on. Why it is made so
is in `docs/decisions/0006-reload.md`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import structlog

from otelprof.component import Kind
from otelprof.config.resolve import load_config
from otelprof.errors import ConfigError
from otelprof.telemetry.logging import configure_logging
from otelprof.telemetry.service_metrics import CONFIG_CHANGED_AT, CONFIG_PROBLEMS, CONFIG_RELOADS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from otelprof.clock import Clock
    from otelprof.config.resolve import Config
    from otelprof.pipeline import Service
    from otelprof.telemetry.metrics import Metrics

_logger: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("otelprof")


class Reloader:
    """Has a running service follow its configuration file, when it is asked to. For one thread.

    Args:
        path: of the file.
        service: what runs.
        metrics: where reloads are counted.
        clock: when they were.
    """

    def __init__(self, path: Path, service: Service, metrics: Metrics, clock: Clock) -> None:
        self._path = path
        self._service = service
        self._metrics = metrics
        self._clock = clock

    def reload(self) -> None:
        """Read the file again, and run what it says now.

        Raises:
            ConfigError: what ran before cannot be started again, after what is in the file could not be.
        """
        before = self._service.config
        try:
            config = load_config(self._path, os.environ)
        except ConfigError as error:
            self._refuse(error)
            return
        if config == before:
            self._count("unchanged")
            _logger.info("the configuration is unchanged")
            return
        try:
            self._service.change_to(config)
        except Exception as error:  # noqa: BLE001 - a component's bug is no reason to stop, either
            # Nobody is left without the other: what it changed so far is changed back.
            self._service.change_to(before)
            self._refuse(error)
            return
        self._follow(before, config)
        self._count("changed")
        self._metrics.set(CONFIG_CHANGED_AT, self._clock.now())
        _logger.info("the configuration is reloaded", changed=list(changes(before, config)))

    def _refuse(self, error: Exception) -> None:
        """Say everything that is wrong."""
        problems = error.problems if isinstance(error, ConfigError) else ()
        for problem in problems:
            _logger.error("the configuration has a problem", problem=str(problem))
        bug = None if isinstance(error, ConfigError) else error
        _logger.error(
            "the configuration is refused, and the one before runs on", path=str(self._path), exc_info=bug
        )
        self._count("refused", max(len(problems), 1))

    def _follow(self, before: Config, config: Config) -> None:
        """Log as it says now, and say what only a restart changes."""
        old, new = before.telemetry, config.telemetry
        if new.logs != old.logs:
            configure_logging(new.logs.level, new.logs.encoding)
        for section in ("metrics", "profiles"):
            if getattr(new, section) != getattr(old, section):
                _logger.warning("only a restart changes this", section=f"service.telemetry.{section}")
        for warning in config.warnings:
            _logger.warning("the configuration is probably mistaken", problem=str(warning))

    def _count(self, outcome: str, problems: int = 0) -> None:
        self._metrics.add(CONFIG_RELOADS, outcome=outcome)
        self._metrics.set(CONFIG_PROBLEMS, problems)


def changes(before: Config, after: Config) -> Iterator[str]:
    """What differs, by its path in the file: components by kind, then pipelines, then the rest."""
    for kind in Kind:
        old, new = before.components[kind], after.components[kind]
        for id_ in {**old, **new}:
            if old.get(id_) != new.get(id_):
                yield f"{kind.value}.{id_}"
    for id_ in {**before.pipelines, **after.pipelines}:
        if before.pipelines.get(id_) != after.pipelines.get(id_):
            yield f"service.pipelines.{id_}"
    for name in type(after.service).model_fields:
        if name != "pipelines" and getattr(before.service, name) != getattr(after.service, name):
            yield f"service.{name}"
