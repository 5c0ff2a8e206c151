"""Lists of requests as a batch collects them: mostly the same symbols, each time written another way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hypothesis import strategies as st
from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from tests.reference.generate import Ways, profile, requests
from tests.reference.permute import permuted
from tests.reference.tables import TABLES

if TYPE_CHECKING:
    from random import Random

    from hypothesis.strategies import DrawFn

MAX_REQUESTS: Final = 4
RANDOMS: Final = st.randoms(use_true_random=False)
KINDS: Final = st.sampled_from(["new", "again", "shuffled", "reworded", "next window"])


@st.composite
def batches(draw: DrawFn) -> list[ExportProfilesServiceRequest]:
    """Up to four requests: new ones, and earlier ones again, shuffled, reworded, or with other Profiles."""
    found: list[ExportProfilesServiceRequest] = []
    for _ in range(draw(st.integers(0, MAX_REQUESTS))):
        kind = draw(KINDS) if found else "new"
        if kind == "new":
            found.append(draw(requests()))
            continue
        earlier = draw(st.sampled_from(found))
        if kind == "shuffled":
            earlier = permuted(earlier, draw(RANDOMS))
        elif kind == "reworded":
            earlier = reworded(earlier, draw(RANDOMS))
        elif kind == "next window":
            earlier = next_window(draw, earlier)
        found.append(earlier)
    return found


def next_window(draw: DrawFn, request: ExportProfilesServiceRequest) -> ExportProfilesServiceRequest:
    """The same resources, scopes and symbols with other Profiles, the tables in another order."""
    copy = permuted(request, draw(RANDOMS))
    ways = Ways(draw, clean=False, strings=list(copy.dictionary.string_table))
    for resource_profiles in copy.resource_profiles:
        for scope_profiles in resource_profiles.scope_profiles:
            del scope_profiles.profiles[:]
            for _ in range(ways.draw(st.integers(0, 2))):
                scope_profiles.profiles.append(profile(ways, copy.dictionary))
    if not any(len(getattr(copy.dictionary, table)) for table in TABLES):
        copy.dictionary.string_table.append("")
    return copy


def reworded(request: ExportProfilesServiceRequest, random: Random) -> ExportProfilesServiceRequest:
    """A copy that says the same with other words.

    Attributes stand in another order, and strings of resources, scopes and attribute values are by reference
    instead of inline, or the other way round.
    """
    copy = ExportProfilesServiceRequest()
    copy.CopyFrom(request)
    reword(copy, copy.dictionary.string_table, random)
    return copy


def reword(message: Any, strings: Any, random: Random) -> None:
    """Reword a message and all that it holds."""
    for field, value in message.ListFields():
        if field.name in {"attribute_indices", "attributes"}:
            shuffled = list(value)
            random.shuffle(shuffled)
            del value[:]
            value.extend(shuffled)
        if field.message_type is not None:
            for inner in [value] if hasattr(value, "ListFields") else value:
                reword(inner, strings, random)
    if random.random() < 0.5:
        return
    if isinstance(message, AnyValue):
        reword_value(message, strings)
    elif isinstance(message, KeyValue):
        reword_key(message, strings)


def reword_value(value: AnyValue, strings: Any) -> None:
    """A string by reference instead of inline, or the other way round."""
    kind = value.WhichOneof("value")
    if kind == "string_value":
        value.string_value_strindex = place(value.string_value, strings)
    elif kind == "string_value_strindex":
        value.string_value = strings[value.string_value_strindex] if strings else ""


def reword_key(pair: KeyValue, strings: Any) -> None:
    """A key by reference instead of inline, or the other way round; an absent key has no reference."""
    if pair.key_strindex:
        pair.key = strings[pair.key_strindex]
        pair.key_strindex = 0
    elif pair.key:
        pair.key_strindex = place(pair.key, strings)
        pair.key = ""


def place(text: str, strings: Any) -> int:
    """Where a string stands in the string table, at the end when it did not stand there."""
    if not strings:
        strings.append("")
    if text not in strings:
        strings.append(text)
    return list(strings).index(text)
