"""What a full policy costs: CPU per GB of decode + encode, and of link, select and redact on top.

Method: one thread takes one request after the other through the whole way; CPU time of the process (user and
system), seconds per GB of uncompressed payload; the best of `--rounds`, since other programs can only make it
slower. The ways are taken in turn within a round, so that a slow moment meets all of them. Two bases, as in
`core.py`: requests as sent, and rewritten.

The policy: recover links from attributes of the default names; keep one service whole, of all other traces
keep a tenth and demote the rest; hash command lines, and mask user names in paths. The target: at most 40 %
on top of decode + encode.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from recorded import bases, options

from otelprof._core import Policy, Profiles, Redaction, RedactionRule, Rule
from otelprof.processor.linkage import DEFAULT_RECOVER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SIZES: Final = ("small", "medium")
TARGET_PERCENT: Final = 40
POLICY: Final = Policy(
    [
        Rule("keep", resource=[("service.name", ["checkout"])]),
        Rule("sample", threshold=2**56 // 10 * 9, otherwise="demote"),
    ]
)
REDACTION: Final = Redaction(
    [
        RedactionRule("command_line", "hash"),
        RedactionRule("file_path", "mask", pattern="^/home/[^/]+", mask="~"),
    ],
    key=b"a key of 16 byte",
)


def plain(body: bytes) -> None:
    """Decode and encode."""
    Profiles.decode(body).to_otlp()


def linked(body: bytes) -> None:
    """With links recovered."""
    Profiles.decode(body).link(DEFAULT_RECOVER).profiles.to_otlp()


def selected(body: bytes) -> None:
    """With two rules, the second of which demotes."""
    Profiles.decode(body).select(POLICY).profiles.to_otlp()


def redacted(body: bytes) -> None:
    """With redaction."""
    Profiles.decode(body).redact(REDACTION).profiles.to_otlp()


def full(body: bytes) -> None:
    """With all of it."""
    linked_profiles = Profiles.decode(body).link(DEFAULT_RECOVER).profiles
    linked_profiles.select(POLICY).profiles.redact(REDACTION).profiles.to_otlp()


WAYS: Final = {
    "decode + encode": plain,
    "+ link": linked,
    "+ select": selected,
    "+ redact": redacted,
    "full policy": full,
}


def seconds(way: Callable[[bytes], None], requests: Sequence[bytes]) -> float:
    """CPU time that a way takes for all requests."""
    start = time.process_time()
    for body in requests:
        way(body)
    return time.process_time() - start


def measure(requests: Sequence[bytes], rounds: int) -> dict[str, float]:
    """CPU-seconds per GB of each way."""
    gigabytes = sum(map(len, requests)) / 1e9
    best = dict.fromkeys(WAYS, float("inf"))
    for _ in range(rounds):
        for name, way in WAYS.items():
            best[name] = min(best[name], seconds(way, requests))
    return {name: taken / gigabytes for name, taken in best.items()}


def report(title: str, requests: Sequence[bytes], rounds: int) -> None:
    """Measure one base and print a line for each way."""
    figures = measure(requests, rounds)
    base = figures["decode + encode"]
    print(f"\n{title}: {len(requests)} requests, {sum(map(len, requests)) / 1e6:.1f} MB")
    print(f"{'':<20}{'CPU-s per GB':>14}{'on top':>10}")
    for name, figure in figures.items():
        on_top = "" if name == "decode + encode" else f"{100 * (figure / base - 1):+.0f} %"
        print(f"{name:<20}{figure:>14.2f}{on_top:>10}")
    met = "met" if figures["full policy"] <= base * (1 + TARGET_PERCENT / 100) else "missed"
    print(f"target of {TARGET_PERCENT} % for the full policy: {met}")


def main() -> None:
    """Measure and print."""
    told = options(__doc__)
    for size in SIZES:
        for name, requests in bases(size, told.data).items():
            report(f"{size}, {name}", requests, told.rounds)


if __name__ == "__main__":
    main()
