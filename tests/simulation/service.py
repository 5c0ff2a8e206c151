"""The whole service on simulated time, network and disk: what it acknowledges is delivered, or counted.

Everything between a receiver's call and an exporter's is the product's own, wired by `Service` itself:
intake, processors, gate, log in memory and on disk, batches, retries, drain, restart. Simulated are time,
threads, clients, far sides, and how processes and disks end. `benchmarks/faults.py` runs many seeds.
"""

from __future__ import annotations

import math
import random
import tempfile
import traceback
from collections import Counter
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

from structlog.testing import capture_logs

from otelprof import shutdown
from otelprof.component import ExporterFactory, Kind, ReceiverFactory
from otelprof.config.exporter import ExporterConfig
from otelprof.config.models import ServiceConfig
from otelprof.config.resolve import Config, ConfiguredComponent
from otelprof.delivery import decisions, sender
from otelprof.extension.file_storage import factory as file_storage
from otelprof.log import segments, upkeep
from otelprof.log.cursor import DropReason
from otelprof.model import ComponentId
from otelprof.pipeline import Service
from otelprof.processor.sampling.sampling import factory as sampling
from otelprof.telemetry.decision_metrics import DECISION_FAILED_REQUESTS
from otelprof.telemetry.log_metrics import LOG_CORRUPT_REQUESTS, LOG_FILES_MOVED_ASIDE
from otelprof.telemetry.metrics import BATCH_MERGE_FAILED, EXPORTER_DROPPED, EXPORTER_SENT, Metrics
from tests.simulation.clients import Clients
from tests.simulation.disk import Disk
from tests.simulation.far_side import FarSide, SimulatedExporter
from tests.simulation.ledger import Ledger
from tests.simulation.loop import CrashError, Loop, SimulatedThread
from tests.simulation.requests import NOISE, names_in
from tests.simulation.scenario import End, draw

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otelprof.component import ComponentConfig, Factory
    from otelprof.consumer import Consumer
    from tests.simulation.disk import Pending
    from tests.simulation.scenario import DiskFault, ExporterPlan, Life

COMMAND: Final = ".venv/bin/python benchmarks/faults.py --seed {seed}"
RAM_DISK: Final = Path("/dev/shm")  # noqa: S108 - of temporary folders; an fsync costs nothing there
PATIENCE_SECS: Final = 50_000.0
"""How long the last life has until nothing is left to do."""

_NOISE_RULES: Final[list[dict[str, Any]]] = [{"match": {"service.name": NOISE}, "action": "drop"}]
_TRACE_RULES: Final[list[dict[str, Any]]] = [
    {"match": {"trace": "kept"}, "action": "keep"},
    {"match": {"linked": True}, "action": "demote"},
]

_NotPassed = list[tuple["Pending", Counter[str]]]
"""Items of a cursor, each with the rows that it stands for, and its samples."""


class Receiver:
    """Stands where a receiver does: what it is given is the intake."""

    def __init__(self, clients: Clients, consumer: Consumer) -> None:
        self._clients = clients
        self._consumer = consumer

    def start(self) -> None:
        """Take requests."""
        self._clients.intake = self._consumer

    def shutdown(self) -> None:
        """Take none."""
        self._clients.intake = None


class Simulation:
    """One seed.

    Args:
        seed: of all chance.
        folder: empty, for the disk.
    """

    def __init__(self, seed: int, folder: Path) -> None:
        self.scenario = scenario = draw(random.Random(seed))  # noqa: S311 - repeatable, not secret
        self.loop = Loop(seed)
        self.ledger = Ledger()
        self._far_sides = {plan.name: FarSide(plan, self.loop, self.ledger) for plan in scenario.exporters}
        self._clients = Clients(scenario, self.loop, self.ledger)
        directory = folder / "queue"
        directory.mkdir()
        self._disk = Disk(
            directory,
            crashes=scenario.crashes_on_disk,
            loop=self.loop,
            ledger=self.ledger,
        )
        self._is_durable = any(plan.is_durable for plan in scenario.exporters)
        self._held: dict[str, _NotPassed] = {}
        """What was not passed by an exporter when it ended: rows, and samples."""
        self._draining: dict[str, _NotPassed] = {}
        """The same, when it was told to come to its end."""
        self.violations: list[str] = []
        """What was not as it is promised."""

    def run(self) -> None:
        """All lives, one after the other."""
        with ExitStack() as stack:
            for module in (sender, decisions, upkeep, shutdown):
                stack.enter_context(patch.object(module, "Thread", self._thread))
            for name, size_bytes in (("SEGMENT_BYTES", 1 << 10), ("_MAX_WASTE_BYTES", 2 << 10)):
                stack.enter_context(patch.object(segments, name, size_bytes))
            logs = stack.enter_context(capture_logs())
            *lives, last = self.scenario.lives
            for life in lives:
                self._live(life, is_last=False)
                self.loop.run(self.loop.clock.monotonic() + life.pause_secs)
            self._live(last, is_last=True)
        failed = {line["event"] for line in logs if "shutdown failed" in line["event"]}
        self.violations = [*self.ledger.violations(), *failed]

    def _thread(
        self, target: Callable[..., None], name: str, *, daemon: bool, args: Sequence[object] = ()
    ) -> SimulatedThread:
        assert daemon, name
        return SimulatedThread(self.loop, target, args)

    def _live(self, life: Life, *, is_last: bool) -> None:
        """One process, from its start to its end."""
        loop, metrics = self.loop, Metrics()
        plans = [plan for plan in self.scenario.exporters if plan.name != life.without]
        self._clients.exporters = [plan.name for plan in plans]
        self._held.clear()
        self._draining.clear()
        for far_side in self._far_sides.values():
            far_side.answered.clear()
        self._service = service = Service(self._config(life, plans), metrics, loop.clock)
        service.start()
        self._torn = self._disk.torn if self._is_durable else set()
        self._disk.attach(service._log, may_crash=not is_last)  # noqa: SLF001 - for its file
        # What is still to happen in this life is called off with its end.
        lives = [True]
        self._break_disk(life, lives)
        if not is_last:
            loop.after(life.secs, lambda: self._end(service, life) if lives else None)
        try:
            if is_last:
                self._finish(service)
            else:
                loop.run(math.inf)
        except CrashError:
            self._bury(plans, End.KILL if life.end is End.STOP else life.end)
        else:
            self.ledger.events[End.STOP.value] += 1
            self._compare(self._disk.closed(), is_cut=False)
        lives.clear()
        self._clients.intake = None
        loop.is_over = False
        loop.actors.clear()
        loop.gates.clear()
        self._count(metrics)

    def _break_disk(self, life: Life, lives: list[bool]) -> None:
        """Have the disk take nothing for a while."""

        def change(fault: DiskFault, *, begins: bool) -> None:
            if lives:
                self._disk.fault(fault, begins=begins)

        for begin, length, fault in life.disk_faults:
            self.loop.after(begin, partial(change, fault, begins=True))
            self.loop.after(begin + length, partial(change, fault, begins=False))

    def _bury(self, plans: Sequence[ExporterPlan], end: End) -> None:
        """The process has ended without a word."""
        self.ledger.events[end.value] += 1
        for plan in plans:
            self._hold(plan.name)
            if not plan.is_durable:
                for _, samples in self._held[plan.name]:
                    self.ledger.account(plan.name).died.update(samples)
        is_cut = end is End.POWER_CUT
        self._compare(self._disk.end(power_cut=is_cut), is_cut=is_cut)

    def _end(self, service: Service, life: Life) -> None:
        if life.end is not End.STOP:
            raise CrashError
        self._draining |= {name: self._not_passed(name) for name in self._clients.exporters}
        service.stop()
        self.loop.is_over = True

    def _finish(self, service: Service) -> None:
        """Let everything come to its end, and stop."""
        loop = self.loop
        deadline = loop.clock.monotonic() + PATIENCE_SECS
        while (self._clients.waiting or service.undelivered_bytes) and loop.clock.monotonic() < deadline:
            loop.once(deadline)
        if self._clients.waiting or service.undelivered_bytes:
            self.ledger.found.append(
                f"not delivered after {PATIENCE_SECS} s: {service.undelivered_bytes} bytes"
            )
        service.stop()

    def _hold(self, name: str) -> None:
        """Note what an exporter has not passed at its end."""
        if name not in self._held:
            self._held[name] = self._not_passed(name)

    def _not_passed(self, name: str) -> _NotPassed:
        """What an exporter has not passed."""
        log: Any = self._service._log  # noqa: SLF001 - what only the log knows
        items = log.cursor(ComponentId(name))._items.values() if self._far_sides[name].has_queue else ()  # noqa: SLF001 - as above
        return [
            (
                {(name, row) for row in (item.claim.rows if item.claim is not None else ())},
                Counter(names_in(item.profiles)),
            )
            for item in items
        ]

    def _compare(self, left: Pending, *, is_cut: bool) -> None:
        """Hold what is on disk after an end against what was not passed, and could not be written."""
        found, ledger = self.ledger.found, self.ledger
        if self._disk.torn:
            ledger.events["torn by a power cut"] += len(self._disk.torn)
            if self.scenario.fsync:
                found.append(f"the disk had confirmed them, and they are torn: {self._disk.torn}")
        held: Pending = set().union(*(rows for one in self._held.values() for rows, _ in one))
        # What a drain gave up stays, with all that was merged with it, even where a part of it was delivered.
        kept: Pending = set()
        for name, items in self._draining.items():
            account = ledger.account(name)
            left_over = account.owed - account.known
            if any(samples & left_over for _, samples in items):
                kept.update(*(rows for rows, _ in items))
        stray = left - held - kept - self._disk.unwritten
        if stray and not is_cut:
            found.append(f"on disk, and passed before: {stray}")
        if held - left and (not is_cut or self.scenario.fsync):
            found.append(f"not on disk, and not passed: {held - left}")
        for name, row in held - left:
            # Of what it held, some may have been delivered or given up before.
            waiting = {one for rows, samples in self._held[name] if (name, row) in rows for one in samples}
            ledger.account(name).died.update(waiting & self._disk.names(row).keys())
        for name, row in left:
            if name in self._held:
                self._doubt(name, row, is_passed=(name, row) not in (held | kept) - self._disk.unwritten)

    def _doubt(self, name: str, row: int, *, is_passed: bool) -> None:
        """What comes again, and has come to the far side or was given up, all or in part."""
        account = self.ledger.account(name)
        items = [] if is_passed else list(self._held[name])
        if not is_passed and not self._far_sides[name].has_batches:
            # Of what was merged, some may have been given up for good, and comes again with the rest.
            items += self._draining.get(name, [])
        waiting = {one for _, samples in items for one in samples}
        again = [one for one in self._disk.names(row) if one not in waiting or one in account.delivered]
        account.doubtful.update(again)

    def _count(self, metrics: Metrics) -> None:
        """What the process says of itself."""
        found = self.ledger.found
        for name, far_side in self._far_sides.items():
            account = self.ledger.account(name)
            for reason in DropReason:
                count = metrics.value(EXPORTER_DROPPED, exporter=name, reason=reason.value)
                if count:
                    account.counted[reason.value] += int(count)
                    self.ledger.events[f"dropped: {reason.value}"] += int(count)
            sent = metrics.value(EXPORTER_SENT, exporter=name)
            if sent != far_side.answered.total():
                found.append(f"{name}: {sent} samples are counted as sent, {far_side.answered.total()} were")
            if metrics.value(BATCH_MERGE_FAILED, exporter=name):
                found.append(f"{name}: requests cannot be merged")
        for spec, expected in (
            (LOG_CORRUPT_REQUESTS, len(self._torn)),
            (LOG_FILES_MOVED_ASIDE, min(len(self._torn), 1)),
        ):
            if metrics.value(spec) != expected:
                found.append(f"{spec.name}: {metrics.value(spec)}, not {expected}")
        for pipeline in ("profiles", "profiles/two"):
            if metrics.value(DECISION_FAILED_REQUESTS, pipeline=pipeline):
                found.append(f"{pipeline}: rules cannot be carried out")

    def _config(self, life: Life, plans: Sequence[ExporterPlan]) -> Config:
        """The configuration of a process."""
        scenario = self.scenario
        components: dict[Kind, dict[ComponentId, ConfiguredComponent]] = {kind: {} for kind in Kind}

        def add(kind: Kind, name: str, factory: Factory, data: dict[str, Any]) -> None:
            id_ = ComponentId.parse(name)
            config: ComponentConfig = factory.config.model_validate(data)
            components[kind][id_] = ConfiguredComponent(id_, kind, factory, config)

        add(Kind.RECEIVER, "simulated", ReceiverFactory(ExporterConfig, self._receiver), {})
        add(Kind.PROCESSOR, "sampling/noise", sampling, {"rules": _NOISE_RULES})
        add(Kind.PROCESSOR, "sampling/traces", sampling, {"rules": _TRACE_RULES, "decision_wait": "5s"})
        for plan in plans:
            add(Kind.EXPORTER, plan.name, ExporterFactory(ExporterConfig, self._exporter), plan.config)
        if self._is_durable:
            storage = {
                "directory": self._disk.folder,
                "fsync": scenario.fsync,
                "max_age": scenario.max_age_secs,
            }
            add(Kind.EXTENSION, "file_storage", file_storage, storage)
        pipelines: dict[str, Any] = {}
        for plan in plans:
            processors = ["sampling/noise", "sampling/traces"] if scenario.is_gated else ["sampling/noise"]
            empty = {"receivers": ["simulated"], "processors": processors, "exporters": []}
            pipelines.setdefault(plan.pipeline, empty)["exporters"].append(plan.name)
        service = {
            "extensions": list(map(str, components[Kind.EXTENSION])),
            "pipelines": pipelines,
            "drain_timeout": life.drain_secs,
        }
        return Config(components, ServiceConfig.model_validate(service), ())

    def _receiver(self, _config: Any, _settings: Any, consumer: Consumer) -> Receiver:
        return Receiver(self._clients, consumer)

    def _exporter(self, config: Any, settings: Any) -> SimulatedExporter:
        name = str(settings.id)
        return SimulatedExporter(self._far_sides[name], config, partial(self._hold, name))


def simulate(seed: int, parent: Path | None = None) -> Simulation:
    """Run a seed, in a folder of its own."""
    if parent is None and RAM_DISK.is_dir():
        parent = RAM_DISK
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        simulation = Simulation(seed, Path(folder))
        try:
            simulation.run()
        except Exception:  # noqa: BLE001 - one more thing that a seed can find
            simulation.violations.append(traceback.format_exc())
    return simulation
