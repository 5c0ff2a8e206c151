"""What an older revision can say is understood, and never taken for something else."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from otelprof._core import Profiles
from otelprof.errors import AmbiguousRevisionError
from tests.reference.compare import assert_agreement
from tests.reference.detection import MISREAD, outcomes
from tests.reference.generate import requests
from tests.reference.meaning import difference, meaning
from tests.reference.normal_form import expected
from tests.reference.revisions import CURRENT, OLD, as_current, as_old, sayable
from tests.reference.senders import Sender
from tests.reference.validate import PlainBounds

if TYPE_CHECKING:
    from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
        ExportProfilesServiceRequest,
    )

LIMITS = PlainBounds()


@given(requests(clean=True), st.sampled_from(OLD))
def test_what_an_older_revision_says(request: ExportProfilesServiceRequest, revision: str) -> None:
    """A request of an older revision comes out meaning the same, or is refused as ambiguous."""
    said = sayable(request, revision)
    body = as_old(said, revision)
    truth = as_current(body, revision)
    told, twin = (meaning(expected(message, LIMITS)) for message in (said, truth))
    assert difference(told, twin) == ([], [])
    try:
        profiles = Profiles.decode(body)
    except AmbiguousRevisionError:
        event(f"{revision} is ambiguous")
        return
    event(f"{revision} is read as {profiles.revision}")
    assert_agreement(profiles, truth, LIMITS)


@given(requests())
def test_current_requests(request: ExportProfilesServiceRequest) -> None:
    """A request of the current revision is never taken for an older one."""
    assert CURRENT == Profiles.decode(request.SerializeToString()).revision


@pytest.mark.parametrize("revision", [CURRENT, *OLD])
def test_senders(revision: str) -> None:
    """Of requests as senders write them none is misread, and every current one is read as current."""
    found = outcomes(revision, 500, seed=7)
    assert 0 == found[MISREAD]
    assert revision != CURRENT or {CURRENT: 500} == found


def test_translated_once() -> None:
    """What was translated is a request of the current revision: it is read as one, and says the same."""
    for seed in range(100):
        request = Sender(Random(seed)).request()  # noqa: S311 - to be had again
        for revision in OLD:
            try:
                once = Profiles.decode(as_old(sayable(request, revision), revision))
            except AmbiguousRevisionError:
                continue
            again = Profiles.decode(once.to_otlp())
            assert (CURRENT, once.to_otlp()) == (again.revision, again.to_otlp())
