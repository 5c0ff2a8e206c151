"""Policies to draw, and requests whose Samples they are about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hypothesis import strategies as st

from tests.reference.adjustments import PlainAdjustments
from tests.reference.build import Build, Plain
from tests.reference.policy import ACTIONS, BY, RANGE, PlainRule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypothesis.strategies import DrawFn
    from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
        ExportProfilesServiceRequest,
    )

THRESHOLDS: Final = st.one_of(
    st.sampled_from([0, 1, RANGE // 2, RANGE // 10 * 9, RANGE - 1]), st.integers(0, RANGE - 1)
)
BOUNDS: Final = st.one_of(st.sampled_from([0, 1, 2**62, 2**63 - 1, 2**63]), st.integers(0, 2**64 - 1))
SERVICES: Final = ("checkout", "cart", "unknown_service")
RESOURCES: Final = st.one_of(
    st.just(()),
    st.lists(st.sampled_from(SERVICES), min_size=1, max_size=2).map(
        lambda names: (("service.name", tuple(names)),)
    ),
    st.just((("host.id", ("7", "true")),)),
    st.just((("service.name", ("checkout",)), ("host.id", ("7",)))),
)
RESOURCE_ATTRIBUTES: Final[list[dict[str, Plain]]] = [
    {},
    {"service.name": "checkout", "host.id": 7},
    {"service.name": "cart", "host.id": True},
]
SAMPLE_TYPES: Final = st.sampled_from([(), (), ("cpu",), ("cpu", "wall"), ("",)])
LINKED: Final = st.sampled_from([None, None, True, False])
TRACE: Final = st.sampled_from([None, None, None, ("kept",), ("error",), ("unknown",), ("error", "unknown")])
SLOWER: Final = st.sampled_from([None, None, 0, 5])


def plain_rules(
    actions: Sequence[str] = ACTIONS, otherwise: Sequence[str] = ("drop", "demote")
) -> st.SearchStrategy[PlainRule]:
    """Rules with some of the actions."""
    return st.builds(
        PlainRule,
        action=st.sampled_from(actions),
        resource=RESOURCES,
        sample_types=SAMPLE_TYPES,
        linked=LINKED,
        trace=TRACE,
        slower_than_nanos=SLOWER,
        by=st.sampled_from(BY),
        threshold=THRESHOLDS,
        bound=BOUNDS,
        otherwise=st.sampled_from(otherwise),
    )


RULES: Final = st.lists(plain_rules(), max_size=4)
DEMOTING: Final = st.lists(plain_rules(("keep", "demote", "sample"), ("demote",)), max_size=4)

_BY_SERVICE: Final = st.dictionaries(st.sampled_from(["", *SERVICES]), THRESHOLDS, max_size=3)
ADJUSTMENTS: Final = st.builds(
    PlainAdjustments,
    thresholds=_BY_SERVICE,
    spared=_BY_SERVICE,
    lifted=st.frozensets(st.sampled_from(["", *SERVICES]), max_size=1),
)

LOW_BITS: Final = st.one_of(
    st.sampled_from([0, 1, RANGE // 2 - 1, RANGE // 2, RANGE - 1, 2**63, 2**64 - 1]),
    st.integers(0, 2**64 - 1),
)
VALUES: Final = st.one_of(
    st.integers(-3, 99), st.sampled_from([0, 2**63 - 1, -(2**63), 2**62]), st.integers(-(2**63), 2**63 - 1)
)


@st.composite
def traced_requests(draw: DrawFn) -> ExportProfilesServiceRequest:
    """A request of few traces, stacks and attributes, so that they meet in many Profiles."""
    build = Build()
    links = draw(st.lists(LOW_BITS, min_size=1, max_size=4))
    for _ in range(draw(st.integers(1, 2))):
        resource = draw(st.sampled_from(RESOURCE_ATTRIBUTES))
        scope = build.scope(resource)
        for _ in range(draw(st.integers(1, 3))):
            profile_id = draw(st.uuids()).bytes
            profile = build.profile(scope, profile_id, draw(st.sampled_from(["cpu", "wall", ""])))
            profile.attribute_indices.extend(build.attributes({"of": "the profile"}))
            if draw(st.booleans()):
                profile.original_payload, profile.original_payload_format = b"payload", "pprof"
            shape = draw(st.sampled_from(["values", "timestamps", "both"]))
            for _ in range(draw(st.integers(0, 6))):
                count = 1 if shape == "values" else draw(st.integers(1, 3))
                low = draw(st.sampled_from([None, *links, *links]))
                build.sample(
                    profile,
                    *([] if shape == "timestamps" else [draw(VALUES) for _ in range(count)]),
                    link=None if low is None else (bytes(7) + b"\1" + low.to_bytes(8), b"spanspan"),
                    stack=draw(st.sampled_from(["main", "work"])),
                    attributes=draw(st.sampled_from([{}, {"thread": 1}, {"thread": 2}])),
                    moments=[] if shape == "values" else [draw(st.integers(0, 9)) for _ in range(count)],
                )
    return build.request
