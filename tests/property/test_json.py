"""JSON means what its protobuf twin means, both ways."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from otelprof._core import Profiles
from otelprof.errors import InvalidRequestError, UnsupportedEncodingError
from tests.reference.compare import on_the_wire, rejected
from tests.reference.faults import Faulty, faulty_requests
from tests.reference.generate import requests
from tests.reference.otlp_json import from_json, to_json

if TYPE_CHECKING:
    from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
        ExportProfilesServiceRequest,
    )


@given(requests(), st.booleans())
def test_reading(request: ExportProfilesServiceRequest, snake_case: bool) -> None:  # noqa: FBT001 - drawn
    """A request in JSON, in either spelling, becomes the very bytes that it becomes from protobuf."""
    request.DiscardUnknownFields()
    text = json.dumps(to_json(request, snake_case=snake_case)).encode()
    assert Profiles.decode(request.SerializeToString()).to_otlp() == Profiles.from_json(text).to_otlp()


@given(faulty_requests())
def test_refusals(faulty: Faulty) -> None:
    """Bad Profiles are refused for the same reasons as from protobuf."""
    request = faulty.request
    request.DiscardUnknownFields()
    text = json.dumps(to_json(request)).encode()
    assert rejected(Profiles.decode(request.SerializeToString())) == rejected(Profiles.from_json(text))


@given(requests())
def test_writing(request: ExportProfilesServiceRequest) -> None:
    """What `to_json` writes is what `to_otlp` writes, as the official classes read it; and it comes back."""
    profiles = Profiles.decode(request.SerializeToString())
    text = profiles.to_json()
    expected = on_the_wire(profiles)
    expected.DiscardUnknownFields()
    assert expected.SerializeToString(deterministic=True) == from_json(text).SerializeToString(
        deterministic=True
    )
    assert text == Profiles.from_json(text).to_json()


@given(requests(), st.data())
def test_damage(request: ExportProfilesServiceRequest, data: st.DataObject) -> None:
    """A text with a piece taken out or put in is read, or refused; nothing else comes of it."""
    text = json.dumps(to_json(request), separators=(",", ":")).encode()
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(start + 8, len(text))))
    piece = data.draw(st.one_of(st.binary(max_size=4), st.sampled_from([b"{}", b"[]", b"null", b"1", b'"'])))
    damaged = text[:start] + piece + text[end:]
    with contextlib.suppress(InvalidRequestError, UnsupportedEncodingError):
        Profiles.from_json(damaged)
