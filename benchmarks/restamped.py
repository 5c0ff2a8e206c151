"""An hour of real recordings: what a few hosts sent, in its order, again and again, each time anew.

Each folder of recordings stands for a host that exports every ten seconds. Times move to the window; ids of
traces and spans, which no other minute has in life, are other ones each time. Links are those that the
`linkage` processor makes by default.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest,
)

from otelprof._core import Profiles
from otelprof.processor.linkage import DEFAULT_RECOVER
from tests.recordings import recordings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WINDOW_NANOS: Final = 10_000_000_000
_LEFT_OUT: Final = frozenset({"derived", "collector-http-proto"})
"""Made from another one, and the same profiles as `collector-grpc`."""


@dataclass(frozen=True)
class Host:
    """What one host sent.

    Attributes:
        name: of the folder.
        sent: its requests, in their order.
        start: unix nanoseconds of the first window of each.
    """

    name: str
    sent: Sequence[ExportProfilesServiceRequest]
    start: Sequence[int]

    def request(self, number: int, start: int) -> Profiles:
        """A request of so many, from then on."""
        which = number % len(self.sent)
        request = ExportProfilesServiceRequest()
        request.CopyFrom(self.sent[which])
        for link in request.dictionary.link_table:
            link.trace_id = _another(link.trace_id, number)
            link.span_id = _another(link.span_id, number)
        return Profiles.decode(request.SerializeToString()).shifted(start - self.start[which])


def _another(some_id: bytes, number: int) -> bytes:
    """An id that is random in the same way; none stays none."""
    if not some_id.strip(b"\0"):
        return some_id
    return blake2b(some_id, digest_size=len(some_id), salt=number.to_bytes(16, "big")).digest()


def hosts() -> list[Host]:
    """Of the recordings that are here."""
    folders: dict[str, list[Profiles]] = {}
    for path in sorted(recordings(), key=lambda path: path.name):
        if path.parent.name not in _LEFT_OUT:
            linked = Profiles.decode(path.read_bytes()).link(DEFAULT_RECOVER).profiles
            if linked.window is not None:
                folders.setdefault(path.parent.name, []).append(linked)
    return [
        Host(
            name,
            [ExportProfilesServiceRequest.FromString(one.to_otlp()) for one in sent],
            [one.window[0] for one in sent if one.window is not None],
        )
        for name, sent in sorted(folders.items())
    ]


def requests(windows: int, start: int) -> Iterator[list[Profiles]]:
    """For each window, the requests of all hosts.

    Args:
        windows: how many.
        start: unix nanoseconds of the first.
    """
    known = hosts()
    for window in range(windows):
        yield [host.request(window, start + window * WINDOW_NANOS) for host in known]
