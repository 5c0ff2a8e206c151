"""What a hop costs: CPU-seconds per GB of uncompressed payload, OTLP/gRPC in and OTLP/gRPC out.

Method: three processes on one machine. The load sends the requests of one size over four connections, one
call in flight on each, for `--seconds`; the sink answers every call at once and throws the body away; between
them stands what is measured, `otelprof run` with receiver, memory_limiter, queue and otlp exporter. CPU is
the measured process' own user and system time from /proc, from before the first request until the sink has
everything. Load and sink are not counted. `--batch` merges requests on the way: the sink has everything when
it hears nothing more for a second (which is not counted as time), and otelprof says that its queue is empty.
`--transport http` does the same over HTTP on both sides, which knows zstd as well. `--policy` keeps a
tenth of the traces and demotes the rest. `--durable` measures otelprof with its log on disk
(`sending_queue.storage`) in turn with its log in memory.
`--peer` puts another program between the same load and sink, in turn with otelprof in the same run, so that
the two figures can be compared: absolute times wander on shared machines. When a queue is full, clients are
asked to send again, and what that costs is part of the figure.
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
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import grpc
import hop_http
import psutil
from recorded import SIZES, bodies, machine

if TYPE_CHECKING:
    from collections.abc import Iterator

METHOD = "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export"
CONNECTIONS = 4
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]

CONFIG = """
receivers: {{otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{port}"}}}}}}}}
processors: {{{processors}}}
extensions: {{{extensions}}}
exporters:
  otlp:
    endpoint: "127.0.0.1:{sink}"
    compression: "{out}"
    tls: {{insecure: true}}
    sending_queue: {{num_consumers: {consumers}, batch: {batch}, storage: {storage}}}
service:
  extensions: [{storage_list}]
  pipelines: {{profiles: {{receivers: [otlp], processors: [{order}], exporters: [otlp]}}}}
  telemetry: {{metrics: {{endpoint: {metrics}}}, logs: {{level: warn}}}}
"""
LIMITER = {"memory_limiter": "{limit_mib: 2048}"}
POLICY = {"sampling": "{rules: [{sampling_probability: 0.1, otherwise: demote}]}"}
BATCH = "{flush_timeout: 200ms, sizer: bytes, min_size: 4MiB, max_size: 16MiB}"
QUIET_SECS = 1.0


def sink(port: int) -> None:
    """Answer every Export at once; on each line of standard input print how many came, and their bytes."""
    count = size = 0
    lock = threading.Lock()

    def export(body: bytes, _context: grpc.ServicerContext) -> bytes:
        nonlocal count, size
        with lock:
            count += 1
            size += len(body)
        return b""

    handlers = {"Export": grpc.unary_unary_rpc_method_handler(export)}
    service = METHOD.split("/")[1]
    server = grpc.server(ThreadPoolExecutor(8), options=UNLIMITED)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    print("ready", flush=True)
    for _ in sys.stdin:
        print(count, size, flush=True)
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
    if options.transport == "http":
        report(*hop_http.load(port, requests, options.compression, options.seconds, CONNECTIONS))
        return
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
    report(latencies, *sent)


def report(latencies: list[float], requests: int, size: int) -> None:
    """Print what was sent, as JSON."""
    cuts = statistics.quantiles(latencies, n=100)
    print(
        json.dumps({"requests": requests, "bytes": size, "p50_ms": cuts[49] * 1e3, "p99_ms": cuts[98] * 1e3})
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
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)  # noqa: S603 - our own, or the peer
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
    """What one run measured; `bytes_out` as a share of the bytes in."""

    cpu_secs_per_gb: float
    bytes_out: float
    megabytes_per_sec: float
    p50_ms: float
    p99_ms: float
    rss_mib: float


def received(process: subprocess.Popen[str]) -> tuple[int, int]:
    """How many requests the sink has, and how many bytes they are."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    count, size = process.stdout.readline().split()
    return int(count), int(size)


def wait_for_all(far: subprocess.Popen[str], requests: int) -> float:
    """Return when the sink has so many requests, and at what time.

    Raises:
        SystemExit: it has not after half a minute.
    """
    for _ in range(600):
        if received(far)[0] >= requests:
            return time.monotonic()
        time.sleep(0.05)
    message = f"the sink has {received(far)[0]} of {requests} requests"
    raise SystemExit(message)


def wait_for_quiet(far: subprocess.Popen[str]) -> float:
    """Return when the sink hears nothing more, and since when."""
    last, since = received(far), time.monotonic()
    while time.monotonic() - since < QUIET_SECS:
        time.sleep(0.05)
        now = received(far)
        if now != last:
            last, since = now, time.monotonic()
    return since


def assert_delivered(metrics_port: int) -> None:
    """Otelprof's queue is empty, and nothing was dropped."""
    with urllib.request.urlopen(f"http://127.0.0.1:{metrics_port}/metrics") as answer:
        lines = dict(line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if line[0] != "#")
    left = [value for name, value in lines.items() if name.startswith("otelcol_exporter_queue_size")]
    dropped = [name for name in lines if name.startswith("otelprof_exporter_dropped_samples")]
    assert ([float(value) for value in left], dropped) == ([0.0], [])


@dataclass(frozen=True)
class Program:
    """What is measured; `metrics_port` is otelprof's, when it batches."""

    command: list[str]
    port: int
    sink_port: int
    metrics_port: int | None = None


def measure(program: Program, options: argparse.Namespace, size: str) -> Run:
    """Put a program between load and sink, once."""
    script = [sys.executable, __file__]
    data = ["--data", str(options.data)] if options.data else []
    arguments = [
        "--size",
        size,
        "--seconds",
        str(options.seconds),
        "--compression",
        options.compression,
        "--transport",
        options.transport,
        *data,
    ]
    with contextlib.ExitStack() as stack:
        sink_command = ["--role", "sink", "--transport", options.transport, "--port", str(program.sink_port)]
        far = stack.enter_context(running([*script, *sink_command]))
        assert far.stdout is not None
        far.stdout.readline()
        hop = stack.enter_context(running(program.command))
        wait_for_port(program.port, hop)
        watched = psutil.Process(hop.pid)
        start = time.monotonic()
        before = watched.cpu_times()
        done = subprocess.run(  # noqa: S603 - our own
            [*script, "--role", "load", "--port", str(program.port), *arguments],
            capture_output=True,
            text=True,
            check=True,
        )
        sent = json.loads(done.stdout)
        done_at = wait_for_quiet(far) if options.batch else wait_for_all(far, sent["requests"])
        after = watched.cpu_times()
        rss = watched.memory_info().rss
        if program.metrics_port is not None:
            assert_delivered(program.metrics_port)
        bytes_out = received(far)[1]
    cpu = after.user + after.system - before.user - before.system
    return Run(
        cpu_secs_per_gb=cpu / (sent["bytes"] / 1e9),
        bytes_out=bytes_out / sent["bytes"],
        megabytes_per_sec=sent["bytes"] / 1e6 / (done_at - start),
        p50_ms=sent["p50_ms"],
        p99_ms=sent["p99_ms"],
        rss_mib=rss / 2**20,
    )


def otelprof(folder: Path, options: argparse.Namespace, *, is_durable: bool = False) -> Program:
    """What is built here, with its configuration written."""
    config = folder / ("durable.yaml" if is_durable else "hop.yaml")
    on_disk = f"{{directory: {json.dumps(str(folder / 'queue'))}, create_directory: true}}"
    port, sink_port = free_port(), free_port()
    metrics_port = free_port() if options.batch else None
    processors = LIMITER | POLICY if options.policy else LIMITER
    text = CONFIG.format(
        port=port,
        sink=sink_port,
        out=options.compression,
        processors=", ".join(f"{name}: {settings}" for name, settings in processors.items()),
        order=", ".join(processors),
        consumers=options.consumers,
        batch=BATCH if options.batch else "null",
        extensions=f"file_storage: {on_disk}" if is_durable else "",
        storage="file_storage" if is_durable else "null",
        storage_list="file_storage" if is_durable else "",
        metrics=f'"127.0.0.1:{metrics_port}"' if options.batch else "null",
    )
    config.write_text(hop_http.over_http(text) if options.transport == "http" else text)
    program = str(Path(sys.executable).with_name("otelprof"))
    return Program([program, "run", "--config", str(config)], port, sink_port, metrics_port)


def compare(options: argparse.Namespace) -> None:
    """Measure otelprof, and its peer in turn with it, and print the medians."""
    print(f"machine: {machine()}")
    rule = ", one sampling rule" if options.policy else ""
    way = f"{options.transport}, {options.compression} in and out{rule}, {options.consumers} consumers"
    batch = f"; batches: {BATCH}" if options.batch else ""
    print(f"{CONNECTIONS} connections, {options.seconds:g} s a run, {options.runs} runs; {way}{batch}")
    print(
        f"{'':<24}{'CPU-s/GB  min / median / max':>32}{'out/in':>8}{'MB/s':>8}{'p50 ms':>9}{'p99 ms':>9}"
        f"{'RSS MiB':>9}"
    )
    with tempfile.TemporaryDirectory() as folder:
        programs = {"otelprof": otelprof(Path(folder), options)}
        if options.durable:
            programs["on disk"] = otelprof(Path(folder), options, is_durable=True)
        if options.peer:
            programs["peer"] = Program(shlex.split(options.peer), options.peer_port, options.peer_sink_port)
        for size in options.sizes:
            runs: dict[str, list[Run]] = {name: [] for name in programs}
            for _ in range(options.runs):
                for name, program in programs.items():
                    runs[name].append(measure(program, options, size))
            for name, measured in runs.items():
                cpu = sorted(run.cpu_secs_per_gb for run in measured)
                middle = sorted(measured, key=lambda run: run.cpu_secs_per_gb)[len(measured) // 2]
                span = f"{cpu[0]:.1f} / {middle.cpu_secs_per_gb:.1f} / {cpu[-1]:.1f}"
                print(
                    f"{size + ', ' + name:<24}{span:>32}{middle.bytes_out:>8.2f}"
                    f"{middle.megabytes_per_sec:>8.0f}{middle.p50_ms:>9.1f}{middle.p99_ms:>9.1f}{middle.rss_mib:>9.0f}",
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
    parser.add_argument("--compression", choices=("none", "gzip", "zstd"), default="none")
    parser.add_argument("--transport", choices=("grpc", "http"), default="grpc", help="on both sides")
    parser.add_argument("--consumers", type=int, default=10, help="num_consumers of the exporter")
    parser.add_argument("--policy", action="store_true", help="keep a tenth of the traces, demote the rest")
    parser.add_argument("--batch", action="store_true", help="merge requests on the way")
    parser.add_argument("--durable", action="store_true", help="measure the log on disk as well")
    parser.add_argument("--peer", help="command of another hop to measure in the same run")
    parser.add_argument("--peer-port", type=int, default=14317, help="where the peer listens")
    parser.add_argument("--peer-sink-port", type=int, default=14319, help="where the peer sends to")
    parser.add_argument(
        "--role", choices=("compare", "load", "sink"), default="compare", help=argparse.SUPPRESS
    )
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--size", choices=SIZES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.compression == "zstd" and options.transport == "grpc":
        parser.error("gRPC knows no zstd: add --transport http")
    if options.role == "sink":
        (hop_http.sink if options.transport == "http" else sink)(options.port)
    elif options.role == "load":
        load(options.port, options)
    else:
        compare(options)


if __name__ == "__main__":
    main()
