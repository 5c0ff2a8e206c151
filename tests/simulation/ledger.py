"""What became of every sample, as the world outside of otelprof knows it, and what otelprof says of it.

The promise (docs/reliability.md): what was acknowledged is delivered to every exporter, or counted with the
reason; once, unless something happened that is in the table of what can be doubled.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SHOWN = 5
"""How many samples a violation names."""


@dataclass
class Account:
    """The samples of one exporter, by their stacks.

    Attributes:
        owed: how often each was acknowledged for it.
        maybe: how often a crash left open whether it was.
        delivered: how often its far side has taken each.
        doubtful: how often it may have more than it is owed, since otelprof could not know that it had it.
        died: what ended with a process, or a power cut, where the configuration does not protect it.
        counted: samples that otelprof says it gave up, by reason.
    """

    owed: Counter[str] = field(default_factory=Counter)
    maybe: Counter[str] = field(default_factory=Counter)
    delivered: Counter[str] = field(default_factory=Counter)
    doubtful: Counter[str] = field(default_factory=Counter)
    died: Counter[str] = field(default_factory=Counter)
    counted: Counter[str] = field(default_factory=Counter)

    @property
    def known(self) -> Counter[str]:
        """How often otelprof knows that the far side has each, at least."""
        return self.delivered - self.doubtful

    def violations(self) -> Iterator[str]:
        """What is not as it was promised, when all is over."""
        stray = self.delivered.keys() - self.owed.keys() - self.maybe.keys()
        if stray:
            yield f"delivered, and never acknowledged: {_some(stray)}"
        doubled = self.delivered - self.owed - self.maybe - self.doubtful
        if doubled.keys() - stray:
            yield f"delivered more often than acknowledged: {_some(doubled.keys() - stray)}"
        missing = self.owed - self.delivered - self.died
        counted = self.counted.total()
        if missing.total() > counted:
            yield f"lost: {missing.total()}, counted: {counted}; among {_some(missing)}"
        # What was given up may have arrived all the same, where its answer was lost, and what ended with a
        # process may have been given up just before.
        doubt = self.doubtful.total() + self.maybe.total() + self.died.total()
        if counted > missing.total() + doubt:
            yield f"counted as lost: {counted} ({dict(self.counted)}), lost: {missing.total()}"


@dataclass
class Ledger:
    """All accounts, and what was found on the way.

    Attributes:
        accounts: by exporter.
        found: what is not as promised, so far.
        requests: how many were acknowledged.
        events: what happened, how often.
    """

    accounts: dict[str, Account] = field(default_factory=dict)
    found: list[str] = field(default_factory=list)
    requests: int = 0
    events: Counter[str] = field(default_factory=Counter)

    def account(self, exporter: str) -> Account:
        """An exporter's."""
        return self.accounts.setdefault(exporter, Account())

    def violations(self) -> list[str]:
        """Everything that is not as it was promised."""
        accounts = self.accounts.items()
        return self.found + [
            f"{exporter}: {one}" for exporter, account in accounts for one in account.violations()
        ]


def _some(names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - SHOWN} more" if len(ordered) > SHOWN else ""
    return ", ".join(ordered[:SHOWN]) + more
