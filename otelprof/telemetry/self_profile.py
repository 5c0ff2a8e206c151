"""Profiles of otelprof itself, pushed to a Pyroscope server.

Pyroscope's agent samples the stacks of all threads from a thread of its own, and pushes pprof. It comes with
the extra `self-profile`, and is imported only where it is switched on: a sidecar that is not profiled does
not carry it.
"""

# ruff: noqa: PLC0415 - an optional package is imported where it is used

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import structlog

from otelprof.errors import ConfigError, ConfigProblem

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEY: Final = "service.telemetry.profiles.pyroscope"
_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger(__name__)


def missing_agent() -> str | None:
    """What to install, when the agent is not; it is looked for, not imported."""
    if find_spec("pyroscope") is not None:
        return None
    return "needs the package pyroscope-io: pip install 'otelprof[self-profile]'"


class SelfProfile:
    """Profiles this process between `start` and `shutdown`.

    Args:
        options: of `pyroscope.configure`; with an empty `server_address` nothing is done.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options
        self._running = False

    def start(self) -> None:
        """Start the agent.

        Raises:
            ConfigError: it is not installed, cannot be loaded, or does not take its options.
        """
        if not self._options["server_address"]:
            return
        try:
            import pyroscope
        except ImportError as error:
            message = missing_agent() or f"the package pyroscope-io cannot be loaded: {error}"
            raise ConfigError([ConfigProblem(_KEY, message)]) from error
        try:
            started = pyroscope.configure(**self._options)
        except Exception as error:
            message = f"the agent cannot be started: {error}"
            raise ConfigError([ConfigProblem(_KEY, message)]) from error
        if not started:
            raise ConfigError([ConfigProblem(_KEY, "the agent cannot be started with these options")])
        self._running = True
        _log.info("otelprof profiles itself", server_address=self._options["server_address"])

    def shutdown(self) -> None:
        """Stop the agent, which pushes what it has. Safe before `start`, and more than once."""
        if self._running:
            import pyroscope

            self._running = False
            pyroscope.shutdown()
