"""What a seed makes happen: who exports where with which settings, and what goes wrong when."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random


class Behaviour(StrEnum):
    """What a far side does with a request."""

    TAKES = "takes"
    AWAY = "away"
    OVERLOADED = "overloaded"
    HANGS = "hangs"
    REFUSES = "refuses"
    TAKES_SOME = "takes some"
    LOSES_ITS_ANSWER = "loses its answer"
    BREAKS = "breaks"


class End(StrEnum):
    """How a process ends."""

    STOP = "stop"
    KILL = "kill -9"
    POWER_CUT = "power cut"


class DiskFault(StrEnum):
    """What a disk does for a while."""

    FULL = "full"
    READ_ONLY = "read-only"


@dataclass(frozen=True)
class Phase:
    """How a far side is for a while.

    Attributes:
        until_secs: the end of it.
        behaviours: one of these at a time, by chance.
        latency_secs: how long an answer takes at most.
    """

    until_secs: float
    behaviours: Sequence[Behaviour]
    latency_secs: float


@dataclass(frozen=True)
class ExporterPlan:
    """An exporter and its far side.

    Attributes:
        name: of the component.
        config: of an `ExporterConfig`.
        phases: of its far side, which is healthy after the last.
        pipeline: the name of the pipeline that it is in.
    """

    name: str
    config: dict[str, Any]
    phases: Sequence[Phase]
    pipeline: str

    @property
    def is_durable(self) -> bool:
        """Its queue is on disk."""
        return "storage" in self.config["sending_queue"]


@dataclass(frozen=True)
class Life:
    """A process.

    Attributes:
        secs: how long it runs.
        end: how it ends.
        drain_secs: what a stop gives its queues.
        pause_secs: until the next one starts.
        disk_faults: when they begin, how long they are, and what.
        without: an exporter that is no longer in the configuration.
    """

    secs: float
    end: End
    drain_secs: float
    pause_secs: float = 0.0
    disk_faults: Sequence[tuple[float, float, DiskFault]] = ()
    without: str | None = None


@dataclass(frozen=True)
class Scenario:
    """All of it.

    Attributes:
        exporters: at least one.
        lives: the last one sees all far sides healthy, and ends when there is nothing left to do.
        is_gated: pipelines wait for the decisions of a tail sampler.
        fsync: of the storage.
        max_age_secs: of the storage.
        clients: how many send at once.
        requests: how many each sends.
        pause_secs: between two requests of one client, at most.
        crashes_on_disk: how likely a process ends in the middle of a write.
    """

    exporters: Sequence[ExporterPlan]
    lives: Sequence[Life]
    is_gated: bool
    fsync: bool
    max_age_secs: float
    clients: int
    requests: int
    pause_secs: float
    crashes_on_disk: float


_KIB: Final = 1 << 10
_PATTERNS: Final[Sequence[Sequence[Behaviour]]] = (
    [Behaviour.TAKES],
    [Behaviour.TAKES, Behaviour.TAKES, Behaviour.AWAY],
    [Behaviour.AWAY],
    [Behaviour.HANGS],
    [Behaviour.OVERLOADED],
    [Behaviour.TAKES, Behaviour.REFUSES],
    [Behaviour.TAKES, Behaviour.TAKES_SOME],
    [Behaviour.TAKES, Behaviour.LOSES_ITS_ANSWER],
    [Behaviour.TAKES, Behaviour.BREAKS],
    list(Behaviour),
)


def draw(chance: Random) -> Scenario:
    """Make one up."""
    secs = chance.choice([5.0, 30.0, 120.0])
    has_storage = chance.random() < 0.6
    is_gated = chance.random() < 0.4
    may_be_direct = not is_gated  # a gate is for exporters with a queue
    exporters = [
        _exporter(chance, name, secs, has_storage=has_storage, may_be_direct=may_be_direct)
        for name in "abc"[: chance.randint(1, 3)]
    ]
    life_count = chance.choice([1, 1, 2, 3]) if has_storage else chance.choice([1, 2])
    lives = [_life(chance, secs / life_count, has_storage=has_storage) for _ in range(life_count)]
    last = Life(0.0, End.STOP, 3600.0)
    durable = [one.name for one in exporters if one.is_durable]
    # While nobody is left who has a storage, the file is not opened.
    if len(durable) > 1 and chance.random() < 0.1:
        last = Life(0.0, End.STOP, 3600.0, without=chance.choice(durable))
    return Scenario(
        exporters=exporters,
        lives=[*lives, last],
        is_gated=is_gated,
        fsync=chance.random() < 0.5,
        max_age_secs=chance.choice([0.0, 0.0, 0.0, secs / 2]),
        clients=chance.randint(1, 3),
        requests=chance.randint(1, 12),
        pause_secs=chance.choice([0.0, secs / 30, secs / 6]),
        crashes_on_disk=chance.choice([0.0, 0.0, 0.02]),
    )


def _exporter(
    chance: Random, name: str, secs: float, *, has_storage: bool, may_be_direct: bool
) -> ExporterPlan:
    queue: dict[str, Any] = {
        "num_consumers": chance.randint(1, 3),
        "queue_size": chance.choice([16 * _KIB, 64 * _KIB, 256 * _KIB, 256 << 20]),
        "on_overflow": chance.choice(["refuse", "drop_oldest"]),
    }
    if chance.random() < 0.5:
        queue["batch"] = chance.choice(
            [
                {"flush_timeout": "200ms", "min_size": 20, "max_size": chance.choice([0, 40])},
                {"flush_timeout": "2s", "sizer": "bytes", "min_size": 300, "max_size": 400},
                {"flush_timeout": "1s", "min_size": 0},
            ]
        )
    if has_storage and chance.random() < 0.7:
        queue["storage"] = "file_storage"
    elif may_be_direct and chance.random() < 0.1:
        queue = {"enabled": False}
    give_up = chance.choice([0.0, 30.0, secs])
    retry = {
        "initial_interval": chance.choice([0.1, 1.0, 5.0]),
        "max_interval": chance.choice([5.0, 30.0]),
        "max_elapsed_time": 0.0 if give_up == 0 else max(give_up, 30.0),
        "enabled": chance.random() < 0.95,
    }
    phases = []
    until_secs = 0.0
    while until_secs < secs:
        until_secs += chance.uniform(0.05, 0.6) * secs
        latency_secs = chance.choice([0.0, 0.01, 0.2, 1.0])
        phases.append(Phase(until_secs, chance.choice(_PATTERNS), latency_secs))
    config = {"sending_queue": queue, "retry_on_failure": retry, "timeout": chance.choice([1.0, 5.0])}
    return ExporterPlan(name, config, phases, chance.choice(["profiles", "profiles", "profiles/two"]))


def _life(chance: Random, secs: float, *, has_storage: bool) -> Life:
    ends = [End.STOP, End.KILL, End.POWER_CUT] if has_storage else [End.STOP, End.KILL]
    faults = []
    if has_storage and chance.random() < 0.4:
        begin, length = chance.uniform(0, secs), chance.uniform(0, secs)
        faults.append((begin, length, chance.choice(list(DiskFault))))
    return Life(
        secs * chance.uniform(0.3, 1),
        chance.choice(ends),
        drain_secs=chance.choice([0.0, 0.5, 5.0]),
        pause_secs=chance.choice([0.0, 1.0, 60.0]),
        disk_faults=faults,
    )
