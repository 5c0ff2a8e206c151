"""`otelprof run`: the service, until a signal ends it."""

# ruff: noqa: PLC0415 - what is not needed for `--help` is imported where it is used

import os
import signal
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Annotated

import typer


def run(
    config: Annotated[Path, typer.Option("--config", "-c", help="The configuration file.")],
) -> None:
    """Run the pipelines of a configuration.

    At SIGTERM or Ctrl-C it takes nothing more, and delivers what it has for up to service.drain_timeout.

    A second signal stops it at once: the exit code is then 128 and the signal's number, 0 otherwise.
    """
    # gRPC would write a line of its own for each bad request; who sent it is told, and it is counted.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")

    import structlog

    from otelprof.cli.allocator import keep_freed_memory
    from otelprof.clock import SystemClock
    from otelprof.config.resolve import load_config
    from otelprof.pipeline import Service
    from otelprof.telemetry.logging import configure_logging
    from otelprof.telemetry.metrics import Metrics
    from otelprof.telemetry.process import observe_process
    from otelprof.telemetry.server import MetricsServer

    keep_freed_memory()
    resolved = load_config(config, os.environ)
    configure_logging(resolved.telemetry.logs.level, resolved.telemetry.logs.encoding)
    logger = structlog.get_logger("otelprof")
    for warning in resolved.warnings:
        logger.warning("the configuration is probably mistaken", problem=str(warning))
    clock, metrics = SystemClock(), Metrics()
    observe_process(metrics, clock)
    signals = Signals()
    service = Service(resolved, metrics, clock)
    endpoint = resolved.telemetry.metrics.endpoint
    server = None if endpoint is None else MetricsServer(endpoint.host, endpoint.port, metrics)
    try:
        if server is not None:
            server.start()
            logger.info("metrics are served", url=f"http://{endpoint}/metrics")
        service.start()
        logger.info("otelprof is ready")
        name = signals.wait()
        logger.info(
            "otelprof is stopping; a second signal stops it at once",
            signal=name,
            undelivered_bytes=service.undelivered_bytes,
            drain_timeout_secs=resolved.service.drain_timeout,
        )
    finally:
        service.stop()
        if server is not None:
            server.shutdown()
    logger.info("otelprof has stopped")


class Signals:
    """Takes SIGTERM and SIGINT from now on: the first is handed out, the second ends the process.

    A thread reads them from a pipe. Python's own handlers run on the main thread only, and it may sleep
    through its signal while it waits on a lock.
    """

    def __init__(self) -> None:
        self._first: SimpleQueue[int] = SimpleQueue()
        self._numbers, written = os.pipe()
        os.set_blocking(written, False)
        signal.set_wakeup_fd(written)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: None)
        Thread(target=self._read, name="otelprof-signals", daemon=True).start()

    def wait(self) -> str:
        """The name of the first signal, when it comes."""
        return signal.Signals(self._first.get()).name

    def _read(self) -> None:
        self._first.put(os.read(self._numbers, 1)[0])
        (second,) = os.read(self._numbers, 1)
        os.write(2, b"otelprof was stopped by a second signal; what was not delivered is lost\n")
        os._exit(128 + second)
