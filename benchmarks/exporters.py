"""What an exporter costs: CPU-seconds per GB of requests, from the handle to the far side's answer.

Method: one process exports the requests of a size, over and over for `--seconds`, from `--consumers` threads
as a sender does, straight into the exporter: no receiver, no queue. A sink in a process of its own answers
every request at once and throws it away. CPU is this process' own, user and system, of all threads, without
what decoding took, which is done before. GB are of OTLP as it came, 10^9 bytes, whatever an exporter makes of
it. The exporters take turns, run by run, so that their figures can be compared: absolute times wander on
shared machines. `otlp` and `otlp_http` are the anchors: they send a request as it came (`as sent`), or
written anew where something changed (`rewritten`). `--compression default` leaves it to each exporter: gzip
for all but `otlp_http`.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from hop import free_port, running, sink, wait_for_port
from hop_http import sink as http_sink
from recorded import SIZES, bases, machine

from otelprof._core import Profiles
from otelprof.clock import SystemClock
from otelprof.component import ComponentSettings, Kind, available, load_factory
from otelprof.model import ComponentId
from otelprof.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otelprof.component import Exporter

# By exporter: what it is told of a sink at a port, and how the sink speaks.
EXPORTERS: dict[str, tuple[str, dict[str, Any]]] = {
    "otlp": ("grpc", {"endpoint": "127.0.0.1:{port}", "tls": {"insecure": True}}),
    "otlp_http": ("http", {"endpoint": "http://127.0.0.1:{port}"}),
    "datadog": ("http", {"endpoint": "http://127.0.0.1:{port}"}),
    "pyroscope": ("http", {"endpoint": "http://127.0.0.1:{port}", "max_age": 0}),
}


@dataclass(frozen=True)
class Subject:
    """A started exporter, and what it is called in the table."""

    name: str
    exporter: Exporter


@contextlib.contextmanager
def started(name: str, compression: str) -> Iterator[Subject]:
    """An exporter with a sink of its own, in another process."""
    transport, keys = EXPORTERS[name]
    port = free_port()
    command = [sys.executable, __file__, "--role", transport, "--port", str(port)]
    told = {key: value.format(port=port) if isinstance(value, str) else value for key, value in keys.items()}
    factory = load_factory(Kind.EXPORTER, name, available(Kind.EXPORTER)[name])
    if compression != "default" and "compression" in factory.config.model_fields:
        told["compression"] = compression
    settings = ComponentSettings(
        ComponentId(name), Kind.EXPORTER, structlog.get_logger("benchmark"), Metrics(), SystemClock()
    )
    with running(command) as process:
        wait_for_port(port, process)
        create: Any = factory.create
        exporter = create(factory.config.model_validate(told), settings)
        exporter.start()
        try:
            yield Subject(name, exporter)
        finally:
            exporter.shutdown()


def measured(exporter: Exporter, requests: list[bytes], options: argparse.Namespace) -> float:
    """CPU-seconds per GB of one run."""
    cpu, size = 0.0, 0
    deadline = time.monotonic() + options.seconds
    with ThreadPoolExecutor(options.consumers) as consumers:
        while time.monotonic() < deadline:
            # Handles that nobody has asked anything of: what they keep is not counted as work saved.
            handles = [Profiles.decode(body) for body in requests]
            before = time.process_time()
            list(consumers.map(exporter.export, handles))
            cpu += time.process_time() - before
            size += sum(map(len, requests))
    return cpu / (size / 1e9)


def compare(options: argparse.Namespace) -> None:
    """Measure the exporters in turn, and print the medians."""
    print(f"machine: {machine()}")
    print(
        f"{options.consumers} consumers, {options.seconds:g} s a run, {options.runs} runs; "
        f"compression: {options.compression}"
    )
    print(f"{'':<30}{'CPU-s/GB  min / median / max':>32}{'against ' + options.exporters[0]:>24}")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    with contextlib.ExitStack() as stack:
        subjects = [stack.enter_context(started(name, options.compression)) for name in options.exporters]
        for size in options.sizes:
            for base, requests in bases(size, options.data).items():
                found: dict[str, list[float]] = {subject.name: [] for subject in subjects}
                for _ in range(options.runs):
                    for subject in subjects:
                        found[subject.name].append(measured(subject.exporter, requests, options))
                medians = {name: sorted(runs)[len(runs) // 2] for name, runs in found.items()}
                for name, runs in found.items():
                    span = f"{min(runs):.1f} / {medians[name]:.1f} / {max(runs):.1f}"
                    ratio = medians[name] / medians[options.exporters[0]]
                    print(f"{size + ', ' + base + ', ' + name:<30}{span:>32}{ratio:>24.2f}", flush=True)


def main() -> None:
    """Read the command line and do one of the roles."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of <size>_*.pb request bodies")
    parser.add_argument("--sizes", nargs="+", default=SIZES, choices=SIZES)
    parser.add_argument("--exporters", nargs="+", default=list(EXPORTERS), choices=list(EXPORTERS))
    parser.add_argument("--compression", choices=("default", "none", "gzip"), default="none")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--consumers", type=int, default=2, help="how many exports are under way at once")
    parser.add_argument(
        "--role", choices=("compare", "grpc", "http"), default="compare", help=argparse.SUPPRESS
    )
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role == "compare":
        compare(options)
    else:
        {"grpc": sink, "http": http_sink}[options.role](options.port)


if __name__ == "__main__":
    main()
