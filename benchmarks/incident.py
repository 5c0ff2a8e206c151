"""How soon an incident from the command line is in force, and how soon after its end it is no longer.

Method: `otelprof run` as a user starts it, with a rule of which nothing stays, between a client that sends a
recorded request without a pause and a next hop in this process. `otelprof incident start` is run beside it,
for `--secs`, and the client looks at what arrives of each of its requests: all of the service, or nothing.
The exporter has no queue, so that a request has arrived when it is answered. `--runs` times, one after the
other; minimum, median and maximum.

What is held to the target of one second: from the command's return to the answer of the first request that is
kept whole, and from the incident's end, as the admin service tells it, to that of the first that is sampled.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import TYPE_CHECKING, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from recorded import machine

from otelprof._core import Profiles
from otelprof.admin.client import AdminClient
from otelprof.admin.endpoint import parse_endpoint
from otelprof.testing.sink import Sink
from tests.e2e.harness import COMMAND, RECORDING, Client, Process, exporter, one_pipeline

if TYPE_CHECKING:
    from collections.abc import Sequence

SERVICE: Final = "linked-java"
TARGET_SECS: Final = 1.0
SECS_IN_MINUTE: Final = 60
COMMAND_SECS: Final = 30


@dataclass(frozen=True)
class Sent:
    """One request of the client.

    Attributes:
        begin: when it was sent, in seconds since the UNIX epoch.
        end: when it was answered.
        is_whole: whether all samples of the service arrived.
    """

    begin: float
    end: float
    is_whole: bool


@dataclass(frozen=True)
class Run:
    """One incident: seconds.

    Attributes:
        command: what `otelprof incident start` took.
        to_whole: from its return to the answer of the first request kept whole.
        to_sampled: from the incident's end to the answer of the first that was sampled.
        wrong: requests sent after the return, and not kept, or after the end, and kept.
        requests: how many were sent meanwhile.
    """

    command: float
    to_whole: float
    to_sampled: float
    wrong: int
    requests: int


class Sender(Thread):
    """Sends one request after the other until it is told to stop."""

    def __init__(self, client: Client, sink: Sink) -> None:
        super().__init__(name="sender", daemon=True)
        self.sent: list[Sent] = []
        self.stops = Event()
        self._client = client
        self._sink = sink
        self._body = RECORDING.read_bytes()
        self._whole = samples_of(self._body)

    def run(self) -> None:
        """Send, and look at what arrived."""
        while not self.stops.is_set():
            before, begin = len(self._sink.requests), time.time()
            answer = self._client.export(self._body)
            end = time.time()
            assert answer.code.name == "OK", answer
            arrived = sum(samples_of(one.body) for one in self._sink.requests[before:])
            assert arrived in (0, self._whole), arrived
            self.sent.append(Sent(begin, end, arrived == self._whole))


def samples_of(body: bytes) -> int:
    """Samples of the service in a request."""
    return sum(row.sample_count for row in Profiles.decode(body).summary if row.service == SERVICE)


def measure(endpoint: str, admin: AdminClient, sink: Sink, options: argparse.Namespace) -> Run:
    """One incident, from before its start until after its end."""
    with Client(endpoint) as client:
        sender = Sender(client, sink)
        sender.start()
        began = time.time()
        minutes = str(options.secs / SECS_IN_MINUTE)
        words = ("--service", SERVICE, "--minutes", minutes, "--reason", "a measurement")
        subprocess.run(  # noqa: S603 - our own program
            [COMMAND, "incident", "start", *words, "--endpoint", options.admin],
            check=True,
            capture_output=True,
            timeout=COMMAND_SECS,
        )
        returned = time.time()
        (incident,) = admin.incidents().incidents
        over = incident.end_time.ToNanoseconds() / 1e9
        time.sleep(max(over - time.time(), 0) + TARGET_SECS)
        sender.stops.set()
        sender.join()
    during = [one for one in sender.sent if returned <= one.begin and one.end <= over]
    after = [one for one in sender.sent if over <= one.begin]
    return Run(
        returned - began,
        next(one.end for one in during if one.is_whole) - returned,
        next(one.end for one in after if not one.is_whole) - over,
        sum(not one.is_whole for one in during) + sum(one.is_whole for one in after),
        len(sender.sent),
    )


def line(name: str, values: Sequence[float]) -> str:
    """One figure: minimum, median and maximum."""
    return f"{name:<58} " + " / ".join(
        f"{one:.3f}" for one in (min(values), statistics.median(values), max(values))
    )


def main() -> None:
    """Measure, and print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--secs", type=float, default=3.0, help="how long each incident lasts")
    options = parser.parse_args()
    with TemporaryDirectory() as folder, Sink() as sink:
        options.admin = f"unix://{folder}/admin.sock"
        config = one_pipeline(
            exporters={"otlp": exporter(sink.endpoint, sending_queue={"enabled": False})},
            processors={"sampling": {"rules": [{"by": "profile", "sampling_probability": 2**-56}]}},
        )
        config["extensions"] = {"admin": {"endpoint": options.admin}}
        config["service"]["extensions"] = ["admin"]
        with (
            Process(config, Path(folder)) as process,
            AdminClient(parse_endpoint(options.admin)) as admin,
        ):
            runs = [measure(process.endpoint, admin, sink, options) for _ in range(options.runs)]
    requests = sum(one.requests for one in runs)
    print(f"{machine()}; {options.runs} incidents of {options.secs:g} s, {requests} requests")
    print(f"{'':<58} min / median / max")
    print(line("the command `otelprof incident start`, s", [one.command for one in runs]))
    print(line("its return to the first request kept whole, s", [one.to_whole for one in runs]))
    print(line("the incident's end to the first request sampled, s", [one.to_sampled for one in runs]))
    print(f"{'requests decided otherwise than they should have been':<58} {sum(one.wrong for one in runs)}")
    assert max(max(one.to_whole, one.to_sampled) for one in runs) <= TARGET_SECS


if __name__ == "__main__":
    main()
