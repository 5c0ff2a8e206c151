"""`otelprof run`: the service, until a signal ends it."""

# ruff: noqa: PLC0415 - what is not needed for `--help` is imported where it is used

from __future__ import annotations

import logging
import os
import signal
import threading
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otelprof.config.resolve import Config
    from otelprof.reload import Reloader
    from otelprof.telemetry.logging import Level

# What the metrics' server and the agent that profiles otelprof are given to end in.
_FAREWELL_SECS: Final = 1.0


def run(
    config: Annotated[Path, typer.Option("--config", "-c", help="The configuration file.")],
) -> None:
    """Run the pipelines of a configuration.

    At SIGTERM or Ctrl-C it takes nothing more, and delivers what it has for up to service.drain_timeout.

    A second signal stops it at once: the exit code is then 128 and the signal's number, 0 otherwise.

    At SIGHUP it reads the file again, and runs what it says now; a file that is wrong changes nothing.

    SIGUSR1 has it log at debug level from then on, SIGUSR2 at the configured level again.
    """
    # gRPC would write a line of its own for each bad request; who sent it is told, and it is counted.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")

    import structlog

    from otelprof.cli.allocator import keep_freed_memory
    from otelprof.config.resolve import load_config
    from otelprof.telemetry.logging import configure_logging

    keep_freed_memory()
    resolved = load_config(config, os.environ)
    configure_logging(resolved.telemetry.logs.level, resolved.telemetry.logs.encoding)
    for warning in resolved.warnings:
        structlog.get_logger("otelprof").warning(
            "the configuration is probably mistaken", problem=str(warning)
        )
    _serve(config, resolved)


def _serve(path: Path, resolved: Config) -> None:
    """Run what a file says, and follow it, until a signal stops it."""
    import structlog

    from otelprof.clock import SystemClock
    from otelprof.pipeline import Service
    from otelprof.reload import Reloader
    from otelprof.shutdown import shut_down
    from otelprof.telemetry.metrics import Metrics
    from otelprof.telemetry.process import observe_process
    from otelprof.telemetry.self_profile import SelfProfile
    from otelprof.telemetry.server import MetricsServer

    logger = structlog.get_logger("otelprof")
    clock, metrics = SystemClock(), Metrics()
    observe_process(metrics, clock)
    service = Service(resolved, metrics, clock)
    signals = Signals(_log_levels(lambda: service.config.telemetry.logs.level))
    self_profile = SelfProfile(resolved.telemetry.profiles.pyroscope.agent_options())
    endpoint = resolved.telemetry.metrics.endpoint
    server = None if endpoint is None else MetricsServer(endpoint.host, endpoint.port, metrics)
    try:
        self_profile.start()
        if server is not None:
            server.start()
            logger.info("metrics are served", url=f"http://{endpoint}/metrics")
        service.start()
        reloader = Reloader(path, service, metrics, clock)
        logger.info("otelprof is ready")
        name = _wait_for_stop(signals, reloader)
        logger.info(
            "otelprof is stopping; a second signal stops it at once",
            signal=name,
            undelivered_bytes=service.undelivered_bytes,
            drain_timeout_secs=service.config.service.drain_timeout,
        )
    finally:
        service.stop()
        shut_down([self_profile] if server is None else [server, self_profile], _FAREWELL_SECS)
    logger.info("otelprof has stopped")
    _leave_behind()


def _wait_for_stop(signals: Signals, reloader: Reloader) -> str:
    """Reload as often as it is asked for; the name of the signal that stops."""
    while (name := signals.wait()) == signal.SIGHUP.name:
        reloader.reload()
    return name


def _leave_behind() -> None:
    """End the process now when somebody's thread is still at it, with the exit code of success.

    The interpreter would wait for it, or have it killed inside native code, which is a segmentation fault.
    """
    own = {"MainThread", Signals.THREAD}
    if any(thread.name not in own for thread in threading.enumerate()):
        logging.shutdown()
        os._exit(0)


class Signals:
    """Takes signals from now on: SIGHUP and the first SIGTERM or SIGINT are handed out, a second ends all.

    A thread reads them from a pipe. Python's own handlers run on the main thread only, and it may sleep
    through its signal while it waits on a lock.

    Args:
        actions: what else is done on that thread, by signal, any number of times.
    """

    THREAD: Final = "otelprof-signals"

    def __init__(self, actions: Mapping[signal.Signals, Callable[[], None]]) -> None:
        self._handed: SimpleQueue[int] = SimpleQueue()
        self._actions = actions
        self._numbers, written = os.pipe()
        os.set_blocking(written, False)
        signal.set_wakeup_fd(written)
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, *actions):
            signal.signal(number, lambda _number, _frame: None)
        Thread(target=self._read, name=self.THREAD, daemon=True).start()

    def wait(self) -> str:
        """The name of the next signal that is handed out, when it comes."""
        return signal.Signals(self._handed.get()).name

    def _read(self) -> None:
        is_stopping = False
        while True:
            number = signal.Signals(os.read(self._numbers, 1)[0])
            if number in self._actions:
                self._actions[number]()
                continue
            if is_stopping and number != signal.SIGHUP:
                os.write(2, b"otelprof was stopped by a second signal; what was not delivered is lost\n")
                os._exit(128 + number)
            is_stopping = is_stopping or number != signal.SIGHUP
            self._handed.put(number)


def _log_levels(configured: Callable[[], Level]) -> dict[signal.Signals, Callable[[], None]]:
    """What changes the level of the logs, by signal."""
    import structlog

    from otelprof.telemetry.logging import set_level

    logger = structlog.get_logger("otelprof")

    def more() -> None:
        set_level("debug")
        logger.info("log level is debug; SIGUSR2 goes back", configured=configured())

    def as_configured() -> None:
        logger.info("log level is as configured again", configured=configured())
        set_level(configured())

    return {signal.SIGUSR1: more, signal.SIGUSR2: as_configured}
