"""`make demo`: start otelprof as a user would, send it real captured profiles, and show what it did.

    recordings ─► otelprof replay ─► otelprof run --config config/quickstart.yaml ─► debug
                                                     ├─► otlp ─► a next hop (here: a sink)
                                                     └─► object_storage ─► a folder ─► flamegraph

What is shown comes from the outside: otelprof's own metrics, what the next hop received, and the commands
that read the store.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from otelprof._core import Profiles
from otelprof.exporter.stack_tree import stack_tree, tree_lines
from otelprof.testing.sink import Sink

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT: Final = Path(__file__).resolve().parent.parent
CONFIG: Final = "config/quickstart.yaml"
RECORDINGS: Final = ("tests/data/ebpf-cpu", "tests/data/ebpf-linked", "tests/data/async-profiler")
FOLDER: Final = "build/demo"
LOG: Final = ROOT / FOLDER / "otelprof.log"
STORE: Final = f"{FOLDER}/store"
PICTURE: Final = f"{FOLDER}/trace.svg"
READY_SECS: Final = 20.0
DELIVERED_SECS: Final = 20.0
TREE_STACKS: Final = 6
TREE_LINES: Final = 14

# What is piped has no width: wide enough for every table.
console: Final = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 120)


def main() -> None:
    """Run the demo; exits with 1 and the log when something does not work."""
    started = time.monotonic()
    LOG.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(ROOT / STORE, ignore_errors=True)
    with Sink() as next_hop:
        port, metrics_port = free_port(4317), free_port(8888)
        environ = {
            "OTELPROF_PORT": str(port),
            "OTELPROF_METRICS_PORT": str(metrics_port),
            "OTELPROF_NEXT_HOP": next_hop.endpoint,
            "OTELPROF_STORE": STORE,
        }
        with otelprof(environ) as process:
            wait_until_ready(process, metrics_port)
            ready_secs = time.monotonic() - started
            replayed = replay(port)
            scraped = wait_until_delivered(metrics_port)
            process.send_signal(signal.SIGTERM)
            exit_code = process.wait(30)
        received = [Profiles.decode(request.body) for request in next_hop.taken]
    report(scraped, received, replayed)
    stored()
    console.print(
        f"\notelprof was ready after {ready_secs:.1f} s, drained on SIGTERM and exited with {exit_code}; "
        f"the demo took {time.monotonic() - started:.1f} s."
    )
    where_to_look(environ)


@contextlib.contextmanager
def otelprof(environ: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """`otelprof run` with the quickstart configuration, its output in the log file."""
    command = [program(), "run", "--config", CONFIG]
    settings = " ".join(f"{name}={value}" for name, value in environ.items())
    console.print(f"[dim]$ {settings} otelprof run --config {CONFIG}[/]")
    with LOG.open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own program
            command, cwd=ROOT, env={**os.environ, **environ}, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def program() -> str:
    """The `otelprof` command beside this interpreter."""
    return str(Path(sys.executable).with_name("otelprof"))


def free_port(preferred: int) -> int:
    """The usual port, or any other when somebody has it."""
    for port in (preferred, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    message = "no loopback port is free"
    raise SystemExit(message)


def fail(what: str) -> SystemExit:
    """The end of a demo that does not work."""
    return SystemExit(f"{what}; its output was:\n{LOG.read_text(errors='replace')}")


def wait_until_ready(process: subprocess.Popen[bytes], metrics_port: int) -> None:
    """Return when otelprof says that it is ready.

    Raises:
        SystemExit: it ended, or is not ready in time.
    """
    deadline = time.monotonic() + READY_SECS
    while b"otelprof is ready" not in LOG.read_bytes():
        if process.poll() is not None or time.monotonic() > deadline:
            what = f"otelprof did not become ready (metrics on {metrics_port})"
            raise fail(what)
        time.sleep(0.02)


def replay(port: int) -> str:
    """Send the recordings as a user would, and hand out what the command printed."""
    return command("replay", *RECORDINGS, "--endpoint", f"127.0.0.1:{port}", "--concurrency", "4")


def command(*arguments: str, shown: bool = True) -> str:
    """What a command of otelprof prints; the command itself is shown.

    Raises:
        SystemExit: it failed.
    """
    if shown:
        console.print(f"[dim]$ otelprof {escape(shlex.join(arguments))}[/]")
    done = subprocess.run(  # noqa: S603 - our own program
        [program(), *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        what = f"{arguments[0]} exited with {done.returncode}: {done.stdout}{done.stderr}"
        raise fail(what)
    return done.stdout.strip()


@dataclass
class Scrape:
    """Otelprof's metrics at one moment: by name, each series' labels and value."""

    series: dict[str, list[tuple[dict[str, str], float]]] = field(default_factory=lambda: defaultdict(list))

    def total(self, name: str, **labels: str) -> int:
        """The sum over all series that have these labels."""
        wanted = labels.items()
        return int(sum(value for own, value in self.series.get(name, []) if wanted <= own.items()))

    def by(self, name: str, label: str) -> Counter[str]:
        """The sums by one label."""
        sums: Counter[str] = Counter()
        for own, value in self.series.get(name, []):
            sums[own.get(label, "")] += int(value)
        return sums


def scrape(metrics_port: int) -> Scrape:
    """Read `/metrics`."""
    with urllib.request.urlopen(f"http://127.0.0.1:{metrics_port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    scraped = Scrape()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            # The parser gives counters a suffix that they do not have here.
            scraped.series[family.name].append((sample.labels, sample.value))
    return scraped


def wait_until_delivered(metrics_port: int) -> Scrape:
    """The metrics when every exporter has sent what was accepted.

    Raises:
        SystemExit: it does not come to that in time.
    """
    deadline = time.monotonic() + DELIVERED_SECS
    while time.monotonic() < deadline:
        scraped = scrape(metrics_port)
        accepted = scraped.total("otelcol_receiver_accepted_profile_samples")
        sent = scraped.by("otelcol_exporter_sent_profile_samples", "exporter")
        if accepted and all(sent[name] == accepted for name in ("debug", "otlp")):
            return scraped
        time.sleep(0.05)
    what = "not everything was delivered"
    raise fail(what)


def report(scraped: Scrape, received: list[Profiles], replayed: str) -> None:
    """Print what came in, what went out, and what was in it."""
    requests = scraped.total("otelprof_receiver_requests")
    profiles = scraped.total("otelprof_accepted_profiles")
    samples = scraped.total("otelcol_receiver_accepted_profile_samples")
    wire, body = scraped.total("otelprof_receiver_wire_bytes"), scraped.total("otelprof_receiver_body_bytes")
    out = scraped.by("otelprof_exporter_sent_bytes", "exporter")
    console.rule("what came in")
    console.print(f"{requests} requests with {profiles} profiles, {samples:,} samples")
    console.print(f"{wire / 1e6:.2f} MB on the wire, {body / 1e6:.2f} MB of payload")
    console.print(f"[dim]{escape(replayed)}[/]")
    refused = scraped.by("otelprof_rejected_profiles", "reason")
    console.print("refused: " + (", ".join(f"{n} {why}" for why, n in refused.items()) or "nothing"))
    repairs = scraped.by("otelprof_repairs", "repair")
    console.print("repaired: " + (", ".join(f"{n} {what}" for what, n in repairs.items() if n) or "nothing"))
    coverage(scraped)
    services(received)
    hottest(received)
    console.rule("what went out")
    sent = scraped.by("otelcol_exporter_sent_profile_samples", "exporter")
    calls = scraped.by("otelprof_exporter_sent_requests", "exporter")
    for name in sorted(sent):
        size = f", {out[name] / 1e6:.2f} MB before compression" if out[name] else ""
        console.print(f"{name}: {calls[name]} requests, {sent[name]:,} samples{size}")
    mine = sum(handle.sample_count for handle in received)
    console.print(f"the next hop received {len(received)} requests with {mine:,} samples")


def coverage(scraped: Scrape) -> None:
    """Print how many samples know their span, as they came and after recovery."""
    states = scraped.by("otelprof_link_samples", "state")
    total, linked, recovered = states.total(), states.pop("linked", 0), states.pop("recovered", 0)
    others = ", ".join(f"{count:,} {state}" for state, count in states.most_common() if count)
    after = linked + recovered
    console.print(
        f"linked to a span: {linked:,} of {total:,} samples as they came ({linked / total:.1%}), "
        f"{after:,} after links were recovered from attributes ({after / total:.1%})"
    )
    console.print(f"not linked, and why: {others or 'none'}")


def services(received: list[Profiles]) -> None:
    """Print a table of what came by service and sample type."""
    rows: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for handle in received:
        for row in handle.summary:
            counts = rows[row.service, f"{row.sample_type}:{row.unit}"]
            counts.update(
                profiles=row.profile_count,
                samples=row.sample_count,
                linked=row.linked_sample_count,
                value=row.value,
            )
    table = Table(box=None, pad_edge=False)
    for heading in ("service", "sample type", "profiles", "samples", "linked", "value"):
        table.add_column(heading, justify="left" if heading in {"service", "sample type"} else "right")
    for (service, kind), counts in sorted(rows.items(), key=lambda item: -item[1]["samples"]):
        share = counts["linked"] / counts["samples"] if counts["samples"] else 0
        numbers = (
            f"{counts['profiles']:,}",
            f"{counts['samples']:,}",
            f"{share:.0%}",
            f"{counts['value']:,}",
        )
        table.add_row(escape(service), escape(kind), *numbers)
    console.rule("services")
    console.print(table)


def hottest(received: list[Profiles]) -> None:
    """Print the hottest stacks of the busiest named service as a tree."""
    weight: Counter[tuple[str, str]] = Counter()
    for handle in received:
        for row in handle.summary:
            if row.service != "unknown_service":
                weight[row.service, row.sample_type] += row.sample_count
    (service, sample_type), samples = weight.most_common(1)[0]
    stacks: Counter[str] = Counter()
    for handle in received:
        stacks.update(dict(handle.fold(service=service, sample_type=sample_type)))
    root = stack_tree(stacks.most_common(TREE_STACKS))
    total = stacks.total()
    console.rule(f"hottest {TREE_STACKS} stacks of {escape(service)}, the busiest named service")
    console.print(f"{samples:,} samples that stand for {total:,} (type {escape(sample_type)}); callers first")
    lines = list(tree_lines(root))
    print_tree("\n".join(f"{value / total:>6.1%} {branch}{frames}" for value, branch, frames in lines))


def stored() -> None:
    """Print what the store answers: the hottest group of linked traces, and one of them."""
    console.rule("what is kept, and read back")
    where = ("--store", STORE)
    traces = json.loads(command("traces", *where, "--top", "1000", "--format", "json", shown=False))
    groups: Counter[tuple[str, str | None, str]] = Counter()
    for trace in traces:
        groups[trace["services"][0], trace["span_name"], trace["sample_type"]] += trace["seconds"] or 0
    (service, span_name, sample_type), _ = groups.most_common(1)[0]
    span = ("--span-name", span_name) if span_name else ()
    group = ("--service", service, *span, "--linked", "--type", sample_type)
    print_tree(command("flamegraph", *where, *group, "--format", "tree"))
    one = next(trace["trace_id"] for trace in traces if trace["services"][0] == service)
    print_tree(command("flamegraph", *where, "--trace-id", one, "--format", "tree"))
    command("flamegraph", *where, "--trace-id", one, "-o", PICTURE)
    console.print(f"the flame graph of this trace: [bold]{PICTURE}[/]")


def print_tree(text: str) -> None:
    """Print the first lines of a tree, each as wide as the terminal."""
    lines = text.splitlines()
    for line in lines[:TREE_LINES]:
        console.print(escape(line), soft_wrap=False, overflow="ellipsis", no_wrap=True)
    if len(lines) > TREE_LINES:
        console.print(f"       … {len(lines) - TREE_LINES} more lines")


def where_to_look(environ: Mapping[str, str]) -> None:
    """Print where to go on."""
    console.rule("where to look")
    console.print(f"what the debug exporter wrote, and the log:  {LOG.relative_to(ROOT)}")
    console.print(f"the configuration:                           {CONFIG}")
    console.print("to keep it running:                          .venv/bin/otelprof run --config " + CONFIG)
    console.print(f"what was kept:                               .venv/bin/otelprof services --store {STORE}")
    console.print(
        "what was sent, as a flame graph:             "
        f".venv/bin/otelprof inspect {RECORDINGS[1]} --format svg -o flame.svg"
    )
    console.print(
        f"metrics while it runs:                       http://127.0.0.1:{environ['OTELPROF_METRICS_PORT']}/metrics"
    )


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        # 128 and the number of SIGINT, as a shell has it.
        sys.exit(130)
