"""Recorded pprofs and requests, there and back, and what Go's own tool reads in what is written."""

from __future__ import annotations

import gzip
import subprocess
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from otelprof._core import Limits, Merger, Profiles
from otelprof.errors import InvalidRequestError, RequestTooLargeError, UnsupportedEncodingError
from tests.core.test_inflate import zstd
from tests.counterparts import GO
from tests.recordings import OWN, name, pprofs, recordings
from tests.reference.compare import on_the_wire
from tests.reference.conformance import violations
from tests.reference.graft import example
from tests.reference.pprof import Profile, Reader, read
from tests.reference.pprof_otlp import pprof_totals, totals

if TYPE_CHECKING:
    from pathlib import Path

    from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
        ExportProfilesServiceRequest,
    )

    from otelprof._core import Pprof

RESOURCE = (("service.name", "shop"), ("host.name", "é;"))


def recorded(path: Path) -> Reader:
    """A recorded pprof as the reference reads it."""
    body = path.read_bytes()
    return read(gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body)


@pytest.mark.parametrize("path", pprofs(), ids=name)
def test_pprof_there_and_back(path: Path) -> None:
    """A recorded pprof keeps types, stacks, labels and every value: as a request, and as a pprof again."""
    reader = recorded(path)
    profiles = Profiles.from_pprof(path.read_bytes(), resource=RESOURCE)
    (made,) = profiles.to_pprof()
    again = read(made.body)

    assert [] == violations(on_the_wire(profiles), orphans=True)
    assert pprof_totals([reader]) == totals(on_the_wire(profiles))
    assert reader.header() == again.header()
    assert pprof_totals([reader]) == pprof_totals([again])
    assert made.body == Profiles.from_pprof(made.body).to_pprof()[0].body
    assert {} == profiles.repairs


@pytest.mark.parametrize("path", recordings(), ids=name)
def test_request_there_and_back(path: Path) -> None:
    """A recorded request keeps every value, by type, stack and labels: as pprofs, and as a request again."""
    profiles = Profiles.decode(path.read_bytes())
    wanted = totals(on_the_wire(profiles))
    made = profiles.to_pprof()
    back = [Profiles.from_pprof(pprof.body, resource=list(pprof.resource.items())) for pprof in made]

    assert wanted == pprof_totals(read(pprof.body) for pprof in made)
    assert functions([profiles]) == functions(back)
    assert wanted == totals(on_the_wire(Merger().merge(back)))


def functions(requests: list[Profiles]) -> Counter[tuple[str, str, str, int]]:
    """Self and total values of every function, by service and sample type."""
    found: Counter[tuple[str, str, str, int]] = Counter()
    for request in requests:
        for service, sample_type in {(row.service, row.sample_type) for row in request.summary}:
            rows = request.top_functions(10**6, service=service, sample_type=sample_type)
            for function, *values in rows:
                for kind, value in enumerate(values):
                    found[service, sample_type, function, kind] += value
    return found


def test_what_the_sender_is_told() -> None:
    """A pprof comes with its Resource as text, its types, its window, and the number of its samples."""
    path = next(path for path in pprofs() if name(path) == "pprof/heap")
    reader = recorded(path)
    (made,) = Profiles.from_pprof(path.read_bytes(), resource=RESOURCE).to_pprof()

    assert dict(RESOURCE) == made.resource
    assert "" == made.scope
    assert tuple(reader.types) == made.sample_types
    assert (("space", "bytes"), 65536) == (made.period_type, made.period)
    assert (reader.pprof.time_nanos, 0) == (made.time_unix_nano, made.duration_nano)
    assert 414 == made.sample_count == len(read(made.body).pprof.sample)


def test_compression() -> None:
    """The same pprof is read plain, as gzip and as zstd, and nothing else is."""
    plain = Profile(string_table=[b"", b"cpu"])
    plain.sample_type.add(type=1)
    body = plain.SerializeToString()
    wanted = Profiles.from_pprof(body).to_otlp()

    assert wanted == Profiles.from_pprof(gzip.compress(body)).to_otlp()
    assert wanted == Profiles.from_pprof(zstd(body)).to_otlp()
    with pytest.raises(UnsupportedEncodingError):
        Profiles.from_pprof(b"\x04\x22\x4d\x18" + body)
    with pytest.raises(InvalidRequestError, match="inflated"):
        Profiles.from_pprof(gzip.compress(body)[:-9])


@pytest.mark.parametrize(
    "limits",
    [
        Limits(max_body_bytes=1000),
        Limits(max_table_entries=100),
        Limits(max_table_entries=1600),  # four times the samples
        Limits(max_stack_depth=4),
        Limits(max_profiles=3),
    ],
)
def test_limits(limits: Limits) -> None:
    """A pprof over a limit is refused."""
    path = next(path for path in pprofs() if name(path) == "pprof/heap")
    with pytest.raises(RequestTooLargeError):
        Profiles.from_pprof(path.read_bytes(), limits)


def test_too_many_labels() -> None:
    """Labels are limited as attributes are."""
    path = next(path for path in pprofs() if name(path) == "pprof/goroutine")
    with pytest.raises(RequestTooLargeError, match="3 labels on one sample"):
        Profiles.from_pprof(path.read_bytes(), Limits(max_attributes=3))


def test_too_many_comments() -> None:
    """Comments are limited as the entries of a table are."""
    pprof = Profile(comment=[0, 0, 0])
    pprof.sample_type.add()
    with pytest.raises(RequestTooLargeError, match="2 comments"):
        Profiles.from_pprof(pprof.SerializeToString(), Limits(max_table_entries=2))


def test_a_request_is_no_pprof() -> None:
    """What is sent as OTLP is not taken for a pprof."""
    for path in recordings():
        with pytest.raises(InvalidRequestError):
            Profiles.from_pprof(path.read_bytes())


def test_ids_in_labels_become_links() -> None:
    """Trace and span ids of a pprof's labels are attributes that `link` makes Links of."""
    path = next(path for path in pprofs() if name(path) == "pprof/goroutine")
    profiles = Profiles.from_pprof(path.read_bytes())
    linked = profiles.link(["trace_id", "span_id"]).profiles

    assert [0, 1] == [request.summary[0].linked_sample_count for request in (profiles, linked)]
    assert totals(on_the_wire(profiles)) == pprof_totals(read(pprof.body) for pprof in linked.to_pprof())


def native() -> list[Pprof]:
    """The pprofs of a recording many of whose frames have no symbol."""
    path = next(path for path in recordings() if name(path).startswith("ebpf-cpu/"))
    return Profiles.decode(path.read_bytes()).to_pprof(native_names=True)


def test_native_names() -> None:
    """A frame without a symbol is called by file and address when asked for, as it is in folded stacks."""
    path = next(path for path in recordings() if name(path).startswith("ebpf-cpu/"))
    profiles = Profiles.decode(path.read_bytes())
    named = [Profiles.from_pprof(pprof.body) for pprof in profiles.to_pprof(native_names=True)]
    plain = read(profiles.to_pprof()[0].body)

    assert profiles.fold() == Merger().merge(named).fold()
    assert not all(location.line for location in plain.pprof.location)


@pytest.mark.timeout(300)  # Go builds the tool when it is first asked for
@pytest.mark.skipif(GO is None, reason="no Go here")
@pytest.mark.parametrize("path", sorted((OWN / "pprof").iterdir()), ids=name)
def test_go_reads_pprofs(path: Path, tmp_path: Path) -> None:
    """Go's own tool reads what became of a recorded pprof, with the same totals."""
    (made,) = Profiles.from_pprof(path.read_bytes()).to_pprof()

    assert sums(recorded(path)) == go_sums(made.body, tmp_path / "made.pb")


@pytest.mark.timeout(300)  # Go builds the tool when it is first asked for
@pytest.mark.skipif(GO is None, reason="no Go here")
def test_go_reads_native_names(tmp_path: Path) -> None:
    """Go's own tool reads the pprof of a request with frames by address."""
    made = max(native(), key=lambda pprof: len(pprof.body))

    assert sums(read(made.body)) == go_sums(made.body, tmp_path / "made.pb")


def sums(reader: Reader) -> list[int]:
    """The sum of the values of each sample type."""
    values = [sample.value for sample in reader.pprof.sample]
    return [sum(column) for column in zip(*values, strict=True)]


def go_sums(body: bytes, path: Path) -> list[int]:
    """The same, of the lines in which `go tool pprof -raw` shows samples: values, a colon, locations."""
    path.write_bytes(body)
    command = [str(GO), "tool", "pprof", "-raw", "-symbolize=none", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - ours
    lines = done.stdout.partition("Samples:\n")[2].partition("Locations\n")[0].splitlines()[1:]
    rows = [line.partition(":")[0].split() for line in lines]
    values = [[int(value) for value in row] for row in rows if row and row[0].lstrip("-").isdigit()]
    return [sum(column) for column in zip(*values, strict=True)]


def test_every_default() -> None:
    """A request with a little of everything becomes pprofs that the reference reads."""
    profiles = Profiles.decode(example().SerializeToString())

    assert totals(on_the_wire(profiles)) == pprof_totals(read(pprof.body) for pprof in profiles.to_pprof())


def test_deep_stacks() -> None:
    """Of a stack that is too deep the middle goes: its leaf stays the leaf, and its root the root."""
    folded = b"a;b;c;d;e;f;g 3\na;b;c;d;e 2\na;x 1"
    (piece,) = Profiles.from_folded(folded).split_for_pprof(100, 100)
    made = piece.to_pprof(
        labels=[],
        max_depth=5,
        sample_types=[("samples", "count", 1)],
        period_type=("", ""),
        period=0,
        time_unix_nano=0,
    )

    assert [("a;b;e;f;g", 3), ("a;b;c;d;e", 2), ("a;x", 1)] == Profiles.from_pprof(made.body).fold()
    assert (3, 1) == (made.sample_count, made.cut_sample_count)


def test_shapes_are_one_piece() -> None:
    """Samples with timestamps and without are two Profiles of OTLP, and one pprof if it is not too large."""
    profiles = Profiles.decode(two_shapes().SerializeToString())
    assert 2 == profiles.profile_count
    (piece,) = profiles.split_for_pprof(100, 100)
    made = piece.to_pprof(
        labels=[],
        max_depth=9,
        sample_types=[("samples", "count", 1)],
        period_type=("", ""),
        period=0,
        time_unix_nano=0,
    )

    assert ((("samples", "count"),), 2) == (piece.sample_types, piece.sample_count)
    assert [2] == [len(one.profiles.fold()) for one in piece.apart()]
    assert sorted(profiles.fold()) == sorted(Profiles.from_pprof(made.body).fold())
    assert [1, 1] == [one.sample_count for one in profiles.split_for_pprof(1, 100)]
    assert [1, 1] == [one.sample_count for one in profiles.split_for_pprof(100, 1)]


def two_shapes() -> ExportProfilesServiceRequest:
    """A Profile of two Samples: one with values, and one with timestamps only."""
    request = on_the_wire(Profiles.from_folded(b"main;work 3\nmain;rest 1\n"))
    sample = request.resource_profiles[0].scope_profiles[0].profiles[0].samples[1]
    del sample.values[:]
    sample.timestamps_unix_nano.append(10**18)
    return request


@pytest.mark.parametrize(("types", "depth"), [([], 5), ([("a", "b", 1)] * 2, 5), ([("a", "b", 1)], 1)])
def test_names_that_do_not_fit(types: list[tuple[str, str, int]], depth: int) -> None:
    """A piece is given a name for each of its sample types, and stacks that keep leaf and root."""
    (piece,) = Profiles.from_folded(b"a;b 3").split_for_pprof(1, 0)
    with pytest.raises(ValueError, match="sample_types for the 1 of the piece, or max_depth"):
        piece.to_pprof(
            labels=[],
            max_depth=depth,
            sample_types=types,
            period_type=("", ""),
            period=0,
            time_unix_nano=0,
        )
    with pytest.raises(ValueError, match="max_samples is 0"):
        piece.profiles.split_for_pprof(0, 1)
