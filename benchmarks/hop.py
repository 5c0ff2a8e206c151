"""What a hop costs: CPU-seconds per GB of uncompressed payload, OTLP/gRPC in and OTLP/gRPC out.

Method: three processes on one machine. The load sends the requests of one size over four connections, one
call in flight on each, for `--seconds`; the sink answers every call at once and throws the body away; between
them stands what is measured, `otelprof run` with receiver, memory_limiter, queue and otlp exporter. CPU is
the measured process' own user and system time from /proc, from before the first request until the sink has
everything. Load and sink are not counted. `--peer` puts another program between the same load and sink, in
turn with otelprof in the same run, so that the two figures can be compared: absolute times wander on shared
machines.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import grpc
import psutil
from recorded import SIZES, bodies, machine

if TYPE_CHECKING:
    from collections.abc import Iterator

METHOD = "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export"
CONNECTIONS = 4
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]

CONFIG = """
receivers: {{otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{port}"}}}}}}}}
processors: {{memory_limiter: {{limit_mib: 2048}}}}
exporters:
  otlp: {{endpoint: "127.0.0.1:{sink}", compression: "{out}", tls: {{insecure: true}}}}
service:
  pipelines: {{profiles: {{receivers: [otlp], processors: [memory_limiter], exporters: [otlp]}}}}
  telemetry: {{metrics: {{endpoint: null}}, logs: {{level: warn}}}}
"""


def sink(port: int) -> None:
    """Answer every Export at once; on each line of standard input print how many came."""
    count = 0
    lock = threading.Lock()

    def export(_body: bytes, _context: grpc.ServicerContext) -> bytes:
        nonlocal count
        with lock:
            count += 1
        return b""

    handlers = {"Export": grpc.unary_unary_rpc_method_handler(export)}
    service = METHOD.split("/")[1]
    server = grpc.server(ThreadPoolExecutor(8), options=UNLIMITED)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    print("ready", flush=True)
    for _ in sys.stdin:
        print(count, flush=True)
    server.stop(None)


def accepted(export: grpc.UnaryUnaryMultiCallable[bytes, bytes], body: bytes) -> bool:
    """Send a request; whether it was taken, or is to be sent again."""
    try:
        export(body, timeout=60)
    except grpc.RpcError as error:
        if cast("grpc.Call", error).code() is grpc.StatusCode.UNAVAILABLE:
            return False
        raise
    return True


def load(port: int, options: argparse.Namespace) -> None:
    """Send for a while and print what was sent, as JSON."""
    requests = bodies(options.size, options.data)
    compression = grpc.Compression.Gzip if options.compression == "gzip" else grpc.Compression.NoCompression
    deadline = time.monotonic() + options.seconds
    latencies: list[float] = []
    sent = [0, 0]
    lock = threading.Lock()

    def connection(number: int) -> None:
        # Channels with different options do not share a connection.
        channel_options = [*UNLIMITED, ("otelprof.connection", number), ("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(f"127.0.0.1:{port}", channel_options, compression=compression) as channel:
            export = channel.unary_unary(METHOD, None, None)
            turn = number
            while time.monotonic() < deadline:
                body = requests[turn % len(requests)]
                turn += 1
                start = time.monotonic()
                while not accepted(export, body):
                    time.sleep(0.05)
                with lock:
                    latencies.append(time.monotonic() - start)
                    sent[0] += 1
                    sent[1] += len(body)

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(connection, range(CONNECTIONS)))
    cuts = statistics.quantiles(latencies, n=100)
    print(
        json.dumps(
            {"requests": sent[0], "bytes": sent[1], "p50_ms": cuts[49] * 1e3, "p99_ms": cuts[98] * 1e3}
        )
    )


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[str]) -> None:
    """Return when somebody listens.

    Raises:
        SystemExit: the process ended, or nobody listens after 30 seconds.
    """
    for _ in range(300):
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    message = f"nobody listens on {port}"
    raise SystemExit(message)


@contextlib.contextmanager
def running(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that is stopped in the end."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass(frozen=True)
class Run:
    """What one run measured."""

    cpu_secs_per_gb: float
    megabytes_per_sec: float
    p50_ms: float
    p99_ms: float
    rss_mib: float


def received(process: subprocess.Popen[str]) -> int:
    """How many requests the sink has."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return int(process.stdout.readline())


def measure(command: list[str], ports: tuple[int, int], options: argparse.Namespace, size: str) -> Run:
    """Put a program between load and sink, once."""
    port, sink_port = ports
    script = [sys.executable, __file__]
    data = ["--data", str(options.data)] if options.data else []
    arguments = [
        "--size",
        size,
        "--seconds",
        str(options.seconds),
        "--compression",
        options.compression,
        *data,
    ]
    with contextlib.ExitStack() as stack:
        far = stack.enter_context(running([*script, "--role", "sink", "--port", str(sink_port)]))
        assert far.stdout is not None
        far.stdout.readline()
        hop = stack.enter_context(running(command))
        wait_for_port(port, hop)
        watched = psutil.Process(hop.pid)
        start = time.monotonic()
        before = watched.cpu_times()
        done = subprocess.run(  # noqa: S603 - our own
            [*script, "--role", "load", "--port", str(port), *arguments],
            capture_output=True,
            text=True,
            check=True,
        )
        sent = json.loads(done.stdout)
        for _ in range(600):
            if received(far) >= sent["requests"]:
                break
            time.sleep(0.05)
        else:
            message = f"the sink has {received(far)} of {sent['requests']} requests"
            raise SystemExit(message)
        after = watched.cpu_times()
        taken = time.monotonic() - start
        rss = watched.memory_info().rss
    cpu = after.user + after.system - before.user - before.system
    return Run(
        cpu_secs_per_gb=cpu / (sent["bytes"] / 1e9),
        megabytes_per_sec=sent["bytes"] / 1e6 / taken,
        p50_ms=sent["p50_ms"],
        p99_ms=sent["p99_ms"],
        rss_mib=rss / 2**20,
    )


def compare(options: argparse.Namespace) -> None:
    """Measure otelprof, and its peer in turn with it, and print the medians."""
    print(f"machine: {machine()}")
    way = f"{options.compression} in and out"
    print(f"{CONNECTIONS} connections, {options.seconds:g} s a run, {options.runs} runs; {way}")
    print(f"{'':<24}{'CPU-s/GB  min / median / max':>32}{'MB/s':>8}{'p50 ms':>9}{'p99 ms':>9}{'RSS MiB':>9}")
    with tempfile.TemporaryDirectory() as folder:
        ports = (free_port(), free_port())
        config = Path(folder) / "hop.yaml"
        config.write_text(CONFIG.format(port=ports[0], sink=ports[1], out=options.compression))
        otelprof = str(Path(sys.executable).with_name("otelprof"))
        programs = {"otelprof": ([otelprof, "run", "--config", str(config)], ports)}
        if options.peer:
            programs["peer"] = (shlex.split(options.peer), (options.peer_port, options.peer_sink_port))
        for size in options.sizes:
            runs: dict[str, list[Run]] = {name: [] for name in programs}
            for _ in range(options.runs):
                for name, (command, at) in programs.items():
                    runs[name].append(measure(command, at, options, size))
            for name, measured in runs.items():
                cpu = sorted(run.cpu_secs_per_gb for run in measured)
                middle = sorted(measured, key=lambda run: run.cpu_secs_per_gb)[len(measured) // 2]
                span = f"{cpu[0]:.1f} / {middle.cpu_secs_per_gb:.1f} / {cpu[-1]:.1f}"
                print(
                    f"{size + ', ' + name:<24}{span:>32}{middle.megabytes_per_sec:>8.0f}{middle.p50_ms:>9.1f}"
                    f"{middle.p99_ms:>9.1f}{middle.rss_mib:>9.0f}",
                    flush=True,
                )


def main() -> None:
    """Read the command line and do one of the three roles."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of <size>_*.pb request bodies")
    parser.add_argument("--sizes", nargs="+", default=SIZES, choices=SIZES)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--compression", choices=("none", "gzip"), default="none", help="on both sides")
    parser.add_argument("--peer", help="command of another hop to measure in the same run")
    parser.add_argument("--peer-port", type=int, default=14317, help="where the peer listens")
    parser.add_argument("--peer-sink-port", type=int, default=14319, help="where the peer sends to")
    parser.add_argument(
        "--role", choices=("compare", "load", "sink"), default="compare", help=argparse.SUPPRESS
    )
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--size", choices=SIZES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role == "sink":
        sink(options.port)
    elif options.role == "load":
        load(options.port, options)
    else:
        compare(options)


if __name__ == "__main__":
    main()
