"""How many requests it takes to look up a trace in a store behind an S3 API."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final

from otelprof.query.flamegraph import flame_graph
from otelprof.store.reader import StoreReader
from otelprof.store.selection import Selection
from otelprof.store.store import Store
from otelprof.store.writer import StoreWriter
from otelprof.testing.clock import SimulatedClock
from tests.e2e.s3_api import s3_api
from tests.reference.stored_requests import MIDNIGHT_SECS, Observed, request_of

if TYPE_CHECKING:
    from pathlib import Path

FLUSHES: Final = 6
PER_FILE: Final = 8
"""At most: footer, page index, filter and columns of a file that the engine opens."""
OF_SAMPLES: Final = re.compile(rb"GET /profiles/samples/date=\S+/(\S+)\.parquet")


def trace_of(number: int) -> str:
    """The id of a trace as `request_of` makes it."""
    return bytes([number] * 16).hex()


def test_requests_of_a_lookup(tmp_path: Path) -> None:
    """One request a file, and those for the file with the trace; the next time only the latter."""
    log = tmp_path / "requests.log"
    with s3_api(log) as options:
        writer = StoreWriter(Store("s3://profiles", options), SimulatedClock(start_secs=MIDNIGHT_SECS))
        one = Observed("cart", ("cpu", "nanoseconds"), 10, 0, 10, ("main",), 1, "", "1", 1)
        for number in range(FLUSHES):
            traces = (1, 10 + number, 255)
            writer.write(request_of([one._replace(trace=trace, minute=number) for trace in traces]))
        reader = StoreReader(Store("s3://profiles", options))

        def requests(trace: int) -> Counter[bytes]:
            """By file of `samples`, of looking it up."""
            answered = log.stat().st_size
            found = flame_graph(reader, Selection(trace_id=trace_of(trace)))
            assert (found is None) is (trace >= 10 + FLUSHES)
            return Counter(OF_SAMPLES.findall(log.read_bytes()[answered:]))

        cold = requests(10)
        assert len(cold) == FLUSHES
        assert cold.total() <= FLUSHES + PER_FILE
        warm = requests(11)
        assert 0 < warm.total() <= PER_FILE
        assert len(warm) == 1
        assert requests(200) == Counter()
