"""A process that writes and maintains a store until it is killed, and what must be true of the store then.

Flush `n` of a store stands for 2ⁿ, so that the sum of all values says which flushes are there, and that none
is there twice. Run as a program it does one thing after the other, by a seed, and says before and after each
what it does.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from otelprof.store.maintenance import Maintenance
from otelprof.store.retention import RetentionConfig
from otelprof.store.schema import Table
from otelprof.store.store import Store
from otelprof.store.writer import StoreWriter
from otelprof.testing.clock import SimulatedClock
from tests.reference.stored_requests import MIDNIGHT_SECS, Observed, request_of
from tests.reference.tiers import values

if TYPE_CHECKING:
    from otelprof._core import Profiles

ROOT: Final = Path(__file__).parents[2]
DAY: Final = 86_400
MAX_FLUSHES: Final = 60
MAX_DAYS: Final = 80
"""Before the first rows would be removed."""
RETENTION: Final = RetentionConfig(top_stacks=2)
ACTIONS: Final = ("flush", "flush", "flush", "compact", "age", "vacuum")


def flush_of(number: int, day: int) -> Profiles:
    """Two samples that stand for 2ⁿ together, with symbols that no other flush has, and one with a trace."""
    one = Observed(
        f"service {number % 3}",
        ("cpu", "nanoseconds"),
        period=10,
        minute=number,
        duration_secs=10,
        stack=(f"leaf {number}", f"middle {number % 5}", "main"),
        trace=number % 4,
        state="error" if number % 2 else "",
        thread=str(number % 3),
        value=2**number,
    )
    # A pair whose sum is 0 has symbols, too.
    pair = [one._replace(stack=("plus", "main"), value=5), one._replace(stack=("minus", "main"), value=-5)]
    return request_of([one, *pair], midnight_secs=MIDNIGHT_SECS + day * DAY)


class Worker:
    """Writes and maintains a store.

    Args:
        folder: of the store.
        seed: of what it does.
    """

    def __init__(self, folder: str, seed: int) -> None:
        self._chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._store = Store(folder)
        self._clock = SimulatedClock(start_secs=MIDNIGHT_SECS)
        self._writer = StoreWriter(self._store, self._clock)
        self._flushes = 0
        self._days = 0

    def work(self) -> None:
        """Do one thing after the other, until it is killed or there is no more to do."""
        self.flush()
        while self._flushes < MAX_FLUSHES:
            action = self._chance.choice(ACTIONS)
            say(f"{action} begins")
            getattr(self, action)()

    def flush(self) -> None:
        """Write the next request."""
        say(f"begun {self._flushes}")
        late = self._chance.randrange(3)
        self._writer.write(flush_of(self._flushes, max(0, self._days - late)))
        say(f"done {self._flushes}")
        self._flushes += 1

    def age(self) -> None:
        """Let some days pass, and fold what is due then."""
        days = self._chance.choice([1, 8, 23])
        if self._days + days <= MAX_DAYS:
            self._days += days
            self._clock.advance(days * DAY)
        self.compact()

    def compact(self, *, vacuum: bool = False) -> None:
        """Do what is due."""
        delete_after_secs = 0 if vacuum else DAY
        maintenance = Maintenance(
            self._store, RETENTION, self._clock, delete_after_secs=delete_after_secs, eager=True
        )
        for step in maintenance.run(vacuum=vacuum):
            assert step.error is None, step
            say(f"{step.action} of {step.table} done")

    def vacuum(self) -> None:
        """Do what is due, and remove every file that no version needs."""
        self.compact(vacuum=True)


def say(what: str) -> None:
    """Tell whoever watches; it may be the last word."""
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def crash(folder: Path, seed: int) -> str:
    """Start a worker, kill it at a moment by the seed, and check the store; what it was doing.

    Raises:
        AssertionError: a flush is lost or there twice, or a file is left that no version needs.
        KeyError: a sample refers to a symbol that is not there.
    """
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    command = [sys.executable, "-m", "tests.e2e.store_crash", str(folder), str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as worker:  # noqa: S603 - itself
        assert worker.stdout is not None
        said = [worker.stdout.readline().strip() for _ in range(chance.randrange(4, 40))]
        time.sleep(chance.uniform(0, 0.12))
        worker.kill()
        said += [line.strip() for line in worker.stdout]
        assert worker.wait() == -9, said[-1]
    check(folder, said)
    return said[-1]


def check(folder: Path, said: list[str]) -> None:
    """Hold a store to what the worker said; then maintain it to the end, and hold it to it again."""
    begun, done = (
        {int(line.split()[1]) for line in said if line.startswith(word)} for word in ("begun", "done")
    )
    acknowledged = sum(2**number for number in done)
    allowed = {acknowledged, acknowledged + sum(2**number for number in begun - done)}
    store = Store(str(folder))
    if begun == {0} and not (folder / Table.SAMPLES.value).exists():
        return
    found = values(store).total()
    assert found in allowed, (found, allowed)
    # It may have died on any day; on this one everything is a summary.
    clock = SimulatedClock(start_secs=MIDNIGHT_SECS + 89 * DAY)
    after = Maintenance(store, RETENTION, clock, delete_after_secs=0, eager=True)
    assert not [step for step in after.run() if step.error]
    assert found == values(store).total()
    assert not after.plan()
    for table in Table:
        needed = set(store.snapshot(table).file_uris())
        left = {str(path) for path in (folder / table.value).glob("date=*/*.parquet")}
        assert needed == left, sorted(left - needed)


if __name__ == "__main__":
    Worker(sys.argv[1], int(sys.argv[2])).work()
