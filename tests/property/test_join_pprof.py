"""The laws of joined pprofs: they are what the slow twin adds up, however much is told at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelprof._core import JoinedPprof, PprofLayout, Profiles
from tests.reference.compare import on_the_wire
from tests.reference.generate import requests
from tests.reference.joined import Member, PlainLayout, joined
from tests.reference.pprof import read
from tests.reference.pprof_otlp import pprof_totals

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
        ExportProfilesServiceRequest,
    )

COLUMNS = (("cpu-samples", "count"), ("cpu-time", "nanoseconds"), ("wall-time", "nanoseconds"))
FORMS = ("text", "number", "id", "id_text", "decimal_id", "decimal_id_text")
PERIOD = ("cpu-time", "nanoseconds")


def layout_of(plain: PlainLayout, **keys: Any) -> PprofLayout:
    """The core's layout."""
    label, form = plain.span_id
    return PprofLayout(
        plain.sample_types,
        labels=plain.labels,
        other_labels=plain.other_labels,
        span_id_label=label,
        span_id_form=form,
        timestamp_label=plain.timestamp_label,
        max_locations=plain.max_locations,
        **keys,
    )


def pieces(
    profiles: Profiles, layout: PprofLayout, members: Sequence[Member], most: int | None
) -> Iterator[JoinedPprof]:
    """All of some Profiles, so many observations in a pprof."""
    told, is_complete = 0, False
    while not is_complete:
        piece = layout.join(profiles, members, period_type=PERIOD, period=1, skip=told, max_observations=most)
        told, is_complete = told + piece.observation_count, piece.is_complete
        yield piece


@given(requests(), st.data())
def test_joining(request: ExportProfilesServiceRequest, data: st.DataObject) -> None:
    """Every value of every Profile is there, in its columns, by stack and labels in the layout's form."""
    profiles = Profiles.decode(request.SerializeToString())
    wire = on_the_wire(profiles)
    strings = list(wire.dictionary.string_table)
    keys = [strings[attribute.key_strindex] for attribute in wire.dictionary.attribute_table] or [""]
    rules = data.draw(st.lists(st.tuples(st.sampled_from(keys), st.sampled_from(("a", "b")))))
    plain = PlainLayout(
        COLUMNS,
        [(key, label, data.draw(st.sampled_from(FORMS))) for key, label in dict(rules).items()],
        data.draw(st.none() | st.lists(st.sampled_from(keys))),
        (data.draw(st.sampled_from(("", "span id", "a"))), data.draw(st.sampled_from(("id", "id_text")))),
        data.draw(st.sampled_from(("", "end_timestamp_ns"))),
        data.draw(st.sampled_from((2, 3, 600))),
    )
    members: list[Member] = [
        (at, [(at % 3, at % 2 == 0)] + [(2, False)] * (at % 3 == 0), [("process_id", str(at % 2))])
        for at in range(profiles.profile_count)
    ]
    most = data.draw(st.sampled_from((None, 1, 3)))
    made = list(pieces(profiles, layout_of(plain), members, most)) if members else []
    found, (wanted, unreadable) = pprof_totals(read(one.body) for one in made), joined(wire, plain, members)

    assert unreadable == sum(one.unreadable_labels for one in made)
    assert {key for key, value in wanted.items() if value} <= set(found)
    if not any(one.clipped_values for one in made):
        assert wanted == found
    for one in made:
        reader = read(one.body)
        assert (one.sample_count, one.sample_types) == (len(reader.pprof.sample), tuple(reader.types))
        labels = [reader.labels(sample) for sample in reader.pprof.sample]
        assert all(len(owned) == len({label.key for label in owned}) for owned in labels)
        assert one.label_keys == tuple(sorted({label.key for owned in labels for label in owned}))
        rows = [(tuple(sample.location_id), sorted(map(str, sample.label))) for sample in reader.pprof.sample]
        assert len(rows) == len({repr(row) for row in rows}) or plain.max_locations < 600


@given(requests())
def test_outlines(request: ExportProfilesServiceRequest) -> None:
    """An outline says what its Profile says, and where its Resource stands."""
    profiles = Profiles.decode(request.SerializeToString())
    wire = on_the_wire(profiles)
    strings = list(wire.dictionary.string_table) or [""]
    wanted = [
        (
            at,
            scope.scope.name,
            strings[profile.sample_type.type_strindex],
            *(profile.time_unix_nano, profile.duration_nano, profile.period, len(profile.samples)),
        )
        for at, resource in enumerate(wire.resource_profiles)
        for scope in resource.scope_profiles
        for profile in scope.profiles
    ]
    found = [
        (
            one.resource,
            one.scope,
            one.sample_type[0],
            *(one.time_unix_nano, one.duration_nano, one.period, one.sample_count),
        )
        for one in profiles.outlines
    ]
    assert wanted == found
    assert len(wire.resource_profiles) == len(profiles.resources)


def test_arguments() -> None:
    """What is not there, and forms that are none, are refused."""
    profiles = Profiles.decode(b"")
    with pytest.raises(ValueError, match="max_locations"):
        PprofLayout(COLUMNS, max_locations=1)
    with pytest.raises(ValueError, match="is no form of a label"):
        PprofLayout(COLUMNS, labels=[("a", "b", "hex")])
    with pytest.raises(ValueError, match="0 Profiles"):
        PprofLayout(COLUMNS).join(profiles, [(0, [], [])], period_type=PERIOD, period=1)
