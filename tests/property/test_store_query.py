"""What is read from a store is what the slow twin says of what was stored."""

from __future__ import annotations

from collections import Counter
from functools import partial
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, TypeVar

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from otelprof._core import Profiles
from otelprof.errors import AmbiguousRevisionError, EmptyStoreError
from otelprof.query.services import services
from otelprof.store.reader import StoreReader
from otelprof.store.selection import Selection
from otelprof.store.store import Store
from otelprof.store.writer import StoreWriter
from otelprof.testing.clock import SimulatedClock
from tests.recordings import OWN, recordings
from tests.reference.compare import on_the_wire
from tests.reference.generate import requests
from tests.reference.query import folded, service_of, trace_of, without_zeros
from tests.reference.store import StoredRow, stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
        ExportProfilesServiceRequest,
    )

FILTERS: Final = "otelprof.store.trace_files._FEW_FILES"
NOW: Final = 1_700_000_000
MAX_ASKED: Final = 4

T = TypeVar("T")
Folded = dict[tuple[str, str], dict[str, int]]


class Pair:
    """A store that requests were written to, and the slow twin of it."""

    def __init__(self, folder: str, bodies: Iterable[Profiles]) -> None:
        store = Store(folder)
        writer = StoreWriter(store, SimulatedClock(start_secs=NOW))
        self.rows: Counter[StoredRow] = Counter()
        for profiles in bodies:
            writer.write(profiles)
            self.rows.update(stored(on_the_wire(profiles), NOW * 10**9))
        self.reader = StoreReader(Store(folder))

    def read(self, selection: Selection) -> Folded:
        """Stacks by sample type, as the store has them."""
        found = self.reader.stacks(selection)
        return without_zeros({of_type.key: dict(self.reader.profiles(of_type).fold()) for of_type in found})

    def check(self, selection: Selection, wanted: Callable[[StoredRow], bool]) -> None:
        """Both say the same."""
        assert (selection, folded(self.rows, wanted)) == (selection, self.read(selection))

    def check_all(self) -> None:
        """So they do of everything, and of some services, types, traces, spans and labels."""
        rows = sorted(self.rows, key=repr)
        self.check(Selection(), lambda _: True)
        of_row: list[tuple[str, Callable[[StoredRow], str | None]]] = [
            ("service", service_of),
            ("sample_type", lambda row: row.sample_type[0]),
            ("trace_id", trace_of),
            ("span_id", lambda row: row.link[1].hex()),
            ("span_name", lambda row: row.span_name),
        ]
        for name, get in of_row:
            for value in _some(map(get, rows)):
                self.check(Selection(**{name: value}), partial(_has, get, value))  # type: ignore[arg-type] # a field's own
        pairs = _some(pair for row in rows for pair in sorted((*row.resource, *row.attributes)))
        for key, text in pairs:
            # Of lists and maps, the twin has the value, and the store JSON.
            if text[:1] not in {"{", "["}:
                self.check(Selection(labels={key: text}), partial(_has_pair, (key, text)))

    def check_services(self) -> None:
        """The list of services has their totals."""
        totals: Counter[tuple[str, str, str]] = Counter()
        for row, value in self.rows.items():
            totals[service_of(row), *row.sample_type] += value
        found = {
            (row.service, row.sample_type, row.unit): row.weight.value
            for row in services(self.reader, Selection())
        }
        assert {key: value for key, value in totals.items() if value} == {
            key: value for key, value in found.items() if value
        }


def _has(get: Callable[[StoredRow], str | None], value: str, row: StoredRow) -> bool:
    return get(row) == value


def _has_pair(pair: tuple[str, str], row: StoredRow) -> bool:
    return pair in row.resource or pair in row.attributes


def _some(values: Iterable[T | None]) -> list[T]:
    return list(dict.fromkeys(value for value in values if value))[:MAX_ASKED]


@pytest.fixture(scope="module", autouse=True)
def _filters() -> Iterator[None]:
    """The filters of files are asked in a store of few files, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FILTERS, 0)
        yield


@settings(max_examples=10)
@given(st.lists(requests(), min_size=1, max_size=3))
def test_generated_requests(messages: list[ExportProfilesServiceRequest]) -> None:
    """Whatever was stored is read as the slow twin says, whatever names and numbers it is made of."""
    with TemporaryDirectory() as folder:
        try:
            decoded = [Profiles.decode(message.SerializeToString()) for message in messages]
        except AmbiguousRevisionError:
            reject()
        pair = Pair(folder, decoded)
        if not pair.rows:
            return
        pair.check_all()
        pair.check_services()


def test_recordings() -> None:
    """So is what profilers really sent, all in one store."""
    paths = [path for path in recordings() if OWN in path.parents][::8]
    assert paths
    with TemporaryDirectory() as folder:
        pair = Pair(folder, [Profiles.decode(path.read_bytes()) for path in paths])
        pair.check_all()
        pair.check_services()


def test_nothing_was_stored() -> None:
    """A store without tables says so."""
    with TemporaryDirectory() as folder, pytest.raises(EmptyStoreError, match="nothing is stored"):
        StoreReader(Store(folder)).stacks(Selection())
