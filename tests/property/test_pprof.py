"""The laws of pprof: what is read is what the slow twin reads, and both ways keep every value."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelprof._core import Merger, Pprof, Profiles
from otelprof.errors import InvalidRequestError, RequestTooLargeError, UnsupportedEncodingError
from tests.reference.compare import on_the_wire
from tests.reference.conformance import violations
from tests.reference.generate import requests
from tests.reference.meaning import difference, meaning
from tests.reference.normal_form import expected
from tests.reference.pprof import FLAGS, Profile, Reader, read
from tests.reference.pprof_generate import FAULTS, pprofs
from tests.reference.pprof_otlp import Totals, pprof_totals, to_otlp, totals
from tests.reference.tables import profiles_of
from tests.reference.validate import PlainBounds

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

    from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
        ExportProfilesServiceRequest,
    )

LARGEST = 2**63 - 1
REFUSALS = (InvalidRequestError, RequestTooLargeError, UnsupportedEncodingError)


def readers(pprofs: Iterable[Pprof]) -> list[Reader]:
    """Pprofs as the reference reads them."""
    return [read(pprof.body) for pprof in pprofs]


def said(reader: Reader, *, flags: bool = False) -> tuple[Any, ...]:
    """All that a pprof says; flags are made up where a mapping has none."""
    rows = []
    for (stack, labels), values in reader.rows():
        told = tuple(
            ((*mapping[:-2], _kept(mapping[-2]), mapping[-1] if flags else ()) if mapping else None, *rest)
            for mapping, *rest in stack
        )
        rows.append(repr((told, sorted(labels, key=repr), values)))
    return reader.header(), sorted(rows)


def _kept(build_id: str) -> str:
    return "" if build_id == "redacted" else build_id


@given(pprofs())
def test_reading(pprof: Any) -> None:
    """A pprof is the request that the slow twin makes of it, by the rules of requests."""
    profiles = Profiles.from_pprof(pprof.SerializeToString())
    request = on_the_wire(profiles)
    twin = expected(to_otlp(Reader(pprof)), PlainBounds())

    assert [] == violations(request, orphans=True)
    assert ([], []) == difference(meaning(twin, with_ids=False), meaning(request, with_ids=False))


@given(pprofs())
def test_there_and_back(pprof: Any) -> None:
    """A pprof that became a request becomes one pprof again, which says the same; and so does that one."""
    profiles = Profiles.from_pprof(pprof.SerializeToString())
    (once,) = profiles.to_pprof()
    (twice,) = Profiles.from_pprof(once.body).to_pprof()

    assert said(Reader(pprof)) == said(read(once.body))
    assert said(read(once.body), flags=True) == said(read(twice.body), flags=True)
    assert once.body == profiles.to_pprof()[0].body
    assert len(pprof.sample) == once.sample_count


@given(pprofs())
def test_on_the_way(pprof: Any) -> None:
    """What becomes of the request on its way does not part what was one pprof."""
    profiles = Profiles.from_pprof(pprof.SerializeToString())
    (direct,) = profiles.to_pprof()
    (passed_on,) = Profiles.decode(profiles.to_otlp()).to_pprof()
    merged = Merger().merge([profiles]).to_pprof()
    is_small = all(abs(value) <= LARGEST // 8 for sample in pprof.sample for value in sample.value)

    assert said(read(direct.body), flags=True) == said(read(passed_on.body), flags=True)
    assert pprof_totals(readers([direct])) == pprof_totals(readers(merged))
    assert len(merged) == 1 or not is_small  # a sum past 64 bits is several Samples, for that type alone


@given(requests(), st.sampled_from(("", "end_timestamp_ns")))
def test_writing(request: ExportProfilesServiceRequest, label: str) -> None:
    """The pprofs of a request hold every value of it, by sample type, stack and labels."""
    profiles = Profiles.decode(request.SerializeToString())
    made = profiles.to_pprof(timestamp_label=label)
    found = readers(made)

    assert totals(on_the_wire(profiles), timestamps=label) == pprof_totals(found)
    assert profiles.profile_count == sum(len(pprof.sample_types) for pprof in made)
    assert [pprof.sample_count for pprof in made] == [len(reader.pprof.sample) for reader in found]
    assert [pprof.sample_types for pprof in made] == [tuple(reader.types) for reader in found]
    for reader in found:
        assert [b""] == [text for text in reader.pprof.string_table if not text]
        assert len(reader.pprof.string_table) == len(set(reader.pprof.string_table))
        for table in (reader.pprof.mapping, reader.pprof.location, reader.pprof.function):
            assert list(range(1, len(table) + 1)) == [entry.id for entry in table]


@given(requests())
def test_options(request: ExportProfilesServiceRequest) -> None:
    """Combining adds up, an empty list of labels leaves none, and with native names every frame has one."""
    profiles = Profiles.decode(request.SerializeToString())
    plain = readers(profiles.to_pprof(labels=[], trace_id_label=None, span_id_label=None))
    options = profiles.to_pprof(
        labels=[], trace_id_label=None, span_id_label=None, combine=True, native_names=True
    )
    for before, after in zip(plain, readers(options), strict=True):
        assert not any(sample.label for sample in (*before.pprof.sample, *after.pprof.sample))
        rows = [tuple(sample.location_id) for sample in after.pprof.sample]
        is_spread = any(abs(value) >= LARGEST for sample in after.pprof.sample for value in sample.value)
        assert len(rows) == len(set(rows)) or is_spread  # a sum past 64 bits is several samples
        for index in range(len(before.types)):
            sums = [sum(sample.value[index] for sample in reader.pprof.sample) for reader in (before, after)]
            assert sums[0] == sums[1]
        for location in after.pprof.location:
            assert location.line
            assert all(after.function(line.function_id)[0] for line in location.line)


@given(requests() | pprofs(), st.integers(1, 4), st.integers(0, 12))
def test_pieces(drawn: Any, max_samples: int, max_locations: int) -> None:
    """Pieces hold every value once, each is one pprof, and none holds more than it may."""
    body = drawn.SerializeToString()
    profiles = Profiles.from_pprof(body) if isinstance(drawn, Profile) else Profiles.decode(body)
    pieces = profiles.split_for_pprof(max_samples, max_locations)
    found = Totals()
    for piece in pieces:
        request = on_the_wire(piece.profiles)
        found.update(totals(request))
        for pprof in piece.profiles.to_pprof():
            assert (piece.sample_types, piece.period_type) == (pprof.sample_types, pprof.period_type)
            assert (piece.resource, piece.time_unix_nano) == (pprof.resource, pprof.time_unix_nano)
        alone = piece.apart()
        assert [(kind,) for kind in piece.sample_types] == [one.sample_types for one in alone]
        assert piece.sample_count == sum(one.sample_count for one in alone)
        assert piece.sample_count == piece.profiles.sample_count
        stacks = request.dictionary.stack_table
        columns = Counter[tuple[int, int]]()
        for _, _, profile in profiles_of(request):
            kind = profile.sample_type.type_strindex, profile.sample_type.unit_strindex
            columns[kind] += sum(
                len(stacks[sample.stack_index].location_indices) for sample in profile.samples
            )
        assert piece.sample_count // len(columns) <= max_samples
        assert max(columns.values()) <= max_locations or piece.sample_count == len(columns)

    ids = [one.profile_id for piece in pieces for _, _, one in profiles_of(on_the_wire(piece.profiles))]
    assert len(ids) == len(set(ids))
    assert totals(on_the_wire(profiles)) == found


@given(requests(), st.sampled_from((1, 3, 10**9)))
def test_other_names(request: ExportProfilesServiceRequest, factor: int) -> None:
    """A piece's pprof has the names that it is given, and values multiplied as told."""
    for piece in Profiles.decode(request.SerializeToString()).split_for_pprof(10**6, 10**6):
        types = [(f"type{index}", "bytes", factor) for index in range(len(piece.sample_types))]
        made = piece.to_pprof(
            labels=[],
            max_depth=4096,
            sample_types=types,
            period_type=("space", "bytes"),
            period=7,
            time_unix_nano=8,
        )
        plain = readers(piece.profiles.to_pprof(native_names=True, labels=[]))
        reader = read(made.body)
        negative = [sample for sample in reader.pprof.sample if min(sample.value) < 0]

        assert (tuple((name, unit) for name, unit, _ in types), ("space", "bytes"), 7, 8) == reader.header()[
            :4
        ]
        assert reader.header()[:4] == (
            made.sample_types,
            made.period_type,
            made.period,
            made.time_unix_nano,
        )
        sent = [value for one in plain for sample in one.pprof.sample for value in sample.value]
        if any(abs(value) * factor > LARGEST // 8 for value in sent):
            continue  # some product may be the nearest number that 64 bits hold
        for index, kind in enumerate(plain[0].types):
            before = pprof_totals(plain).items()
            after = pprof_totals([reader]).items()
            wanted = {row: value * factor for (one, row), value in before if one == kind}
            assert wanted == {row: value for (one, row), value in after if one == types[index][:2]}
        assert (len(negative), 0) == (made.negative_sample_count, made.cut_sample_count)


@given(pprofs(), st.sampled_from(sorted(FAULTS)))
def test_fault(pprof: Any, says: str) -> None:
    """What contradicts itself is refused, and the thing is named."""
    FAULTS[says](pprof)

    with pytest.raises(ValueError, match=r"."):
        Reader(pprof)
    with pytest.raises(InvalidRequestError, match=re.escape(says)):
        Profiles.from_pprof(pprof.SerializeToString())


@given(pprofs(), st.randoms(use_true_random=False))
def test_mutated(pprof: Any, chance: Random) -> None:
    """Whatever is done to its bytes, a pprof is refused, or read as the reference reads it."""
    body = bytearray(pprof.SerializeToString())
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(body) + 1)
        body[place : place + chance.randint(0, 2)] = chance.randbytes(chance.randint(0, 2))
    with contextlib.suppress(*REFUSALS):
        profiles = Profiles.from_pprof(bytes(body))
        twin = expected(to_otlp(Reader(Profile.FromString(bytes(body)))), PlainBounds())
        assert ([], []) == difference(
            meaning(twin, with_ids=False), meaning(on_the_wire(profiles), with_ids=False)
        )


def test_flags() -> None:
    """There are flags, so that what is said of them above says something."""
    mapping = Profile.DESCRIPTOR.fields_by_name["mapping"].message_type
    assert {field.name for field in mapping.fields} > set(FLAGS)
