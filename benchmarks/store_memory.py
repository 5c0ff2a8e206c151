"""The most memory that a writer of a store takes, and what bounds it.

    python benchmarks/store_memory.py                    # --seconds 60

Load: the fleet (`fleet.py`), half of whose stacks are linked, from clients that send as fast as they are
answered and wait when they are refused; windows go on, so traces and spans are new ones each time. Method:
`otelprof run` in a process of its own, one receiver, the `object_storage` exporter and a folder, with what a
setting says and nothing else. Peak is the kernel's high-water mark of resident memory (`VmHWM`). Also printed
is what went in, and the flushes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import fleet
import grpc
from recorded import machine

from otelprof.store.schema import Table
from otelprof.store.store import Store
from tests.e2e.harness import EXPORT, Process, one_pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CLIENTS: Final = 4
REFUSED_SECS: Final = 0.5
SETTINGS: Final[Mapping[str, Mapping[str, Any]]] = {
    "as it is by default": {},
    "small": {
        "max_symbols": 200_000,
        "sending_queue": {
            "queue_size": "64MiB",
            "batch": {"flush_timeout": "60s", "sizer": "bytes", "min_size": "8MiB", "max_size": "8MiB"},
        },
    },
}


@dataclass
class Taken:
    """What was acknowledged, and how often a client was told to come back."""

    bodies: int = 0
    size_bytes: int = 0
    refused: int = 0


def bodies(client: int) -> Iterator[bytes]:
    """The requests of one client, without end; no window is another client's."""
    services = [fleet.service(number) for number in range(fleet.SERVICES)]
    for window in count(client, CLIENTS):
        for service in services:
            yield fleet.request(service, window, linked=True)


def send(endpoint: str, client: int, until: float) -> Taken:
    """Be one client."""
    taken, made = Taken(), bodies(client)
    with grpc.insecure_channel(endpoint) as channel:
        call = channel.unary_unary(EXPORT, None, None)
        while time.monotonic() < until:
            body = next(made)
            try:
                call(body, timeout=30)
            except grpc.RpcError:
                taken.refused += 1
                time.sleep(REFUSED_SECS)
                continue
            taken.bodies += 1
            taken.size_bytes += len(body)
    return taken


def peak_mib(pid: int) -> float:
    """Of resident memory, since the process began."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    message = "the kernel does not say VmHWM: this needs Linux"
    raise SystemExit(message)


def measure(name: str, keys: Mapping[str, Any], secs: float) -> None:
    """Run it with one setting, and print what it took."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder, "store")
        exporters = {"object_storage": {"url": str(store), **keys}}
        with Process(one_pipeline(exporters=exporters), Path(folder)) as running:
            idle = peak_mib(running.popen.pid)
            until = time.monotonic() + secs
            with ThreadPoolExecutor(CLIENTS) as pool:
                client = partial(send, running.endpoint, until=until)
                clients = list(pool.map(client, range(CLIENTS)))
            peak = peak_mib(running.popen.pid)
        flushes = Store(str(store)).table(Table.SAMPLES).version()
    size = sum(client.size_bytes for client in clients) / 1e6
    refused = sum(client.refused for client in clients)
    print(f"{name}: {peak:.0f} MiB at most, {idle:.0f} MiB before the first request")
    print(f"  {size:.0f} MB in {secs:g} s, {flushes} flushes, {refused} times told to come back")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60, help="of load, for each setting (default 60)")
    options = parser.parse_args()
    print(machine())
    for name, keys in SETTINGS.items():
        measure(name, keys, options.seconds)


if __name__ == "__main__":
    main()
