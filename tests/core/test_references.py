"""A key or string by reference says what an inline one says, wherever attributes are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest,
)

from otelprof._core import Merger, Policy, Profiles, Redaction, RedactionRule, Rule
from tests.recordings import OWN, name, recordings
from tests.reference.compare import on_the_wire, rows
from tests.reference.meaning import meaning

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from pathlib import Path

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue

RECORDINGS = {path.parent: path for path in recordings() if OWN in path.parents}.values()
"""One of each profiler's."""
SERVICE = [("service.name", ["linked-java", "mdsvc"])]
CONTAINER = [("process.executable.name", ["python3.11", "java", "node"])]


def by_reference(request: ExportProfilesServiceRequest) -> ExportProfilesServiceRequest:
    """The same request, every inline key and string of its attributes in the string table."""
    result = ExportProfilesServiceRequest()
    result.CopyFrom(request)
    strings = Strings(result)
    for group in result.resource_profiles:
        strings.refer(group.resource.attributes)
        for scope in group.scope_profiles:
            strings.refer(scope.scope.attributes)
    for attribute in result.dictionary.attribute_table:
        strings.refer_value(attribute.value)
    return result


class Strings:
    """A string table that grows."""

    def __init__(self, request: ExportProfilesServiceRequest) -> None:
        self._table = request.dictionary.string_table
        if not self._table:
            self._table.append("")
        self._known = {text: index for index, text in reversed(list(enumerate(self._table)))}

    def _index(self, text: str) -> int:
        if text not in self._known:
            self._known[text] = len(self._table)
            self._table.append(text)
        return self._known[text]

    def refer(self, pairs: Any) -> None:
        """Put the keys and strings of some attributes into the table."""
        for pair in pairs:
            if pair.key:
                pair.key_strindex, pair.key = self._index(pair.key), ""
            self.refer_value(pair.value)

    def refer_value(self, value: AnyValue) -> None:
        """Put the strings of a value into the table."""
        match value.WhichOneof("value"):
            case "string_value":
                value.string_value_strindex = self._index(value.string_value)
            case "array_value":
                for item in value.array_value.values:
                    self.refer_value(item)
            case "kvlist_value":
                self.refer(value.kvlist_value.values)


def said(profiles: Profiles) -> Hashable:
    """What is handed on, whichever way its strings are written, and what a request is counted as."""
    return meaning(on_the_wire(profiles), with_ids=False), tuple(rows(profiles))


VERBS: dict[str, Callable[[Profiles], list[Hashable]]] = {
    "decode": lambda profiles: [said(profiles)],
    "link": lambda profiles: [
        said(profiles.link(["process.context.label.trace_id", "process.context.label.span_id"]).profiles)
    ],
    "match a service": lambda profiles: [
        said(profiles.select(Policy([Rule("drop", resource=SERVICE)])).profiles)
    ],
    "match a resource": lambda profiles: [
        said(profiles.select(Policy([Rule("demote", resource=CONTAINER)])).profiles)
    ],
    "redact": lambda profiles: [
        said(
            profiles.redact(
                Redaction(
                    [
                        RedactionRule("attribute", "mask", key="service.name", mask="x"),
                        RedactionRule("attribute", "mask", pattern="java", mask="j"),
                        RedactionRule("attribute", "drop", key="thread.name"),
                    ],
                    key=b"a key of 16 byte",
                )
            ).profiles
        )
    ],
    "merge": lambda profiles: [said(Merger().merge([profiles, profiles]))],
    "split": lambda profiles: [said(piece) for piece in profiles.split(1 << 30)],
    "fold": lambda profiles: [str(profiles.fold()), str(profiles.fold(service="mdsvc"))],
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("path", RECORDINGS, ids=name)
def test_every_verb(path: Path, verb: str) -> None:
    """A verb does the same with a recording, its strings inline or by reference."""
    inline = ExportProfilesServiceRequest.FromString(path.read_bytes())
    bodies = [message.SerializeToString() for message in (inline, by_reference(inline))]
    first, second = (VERBS[verb](Profiles.decode(body)) for body in bodies)
    assert first == second


def test_there_is_something_to_match() -> None:
    """The names that the verbs above look for are in the recordings."""
    names = {row.service for path in RECORDINGS for row in Profiles.decode(path.read_bytes()).summary}
    assert {"linked-java", "mdsvc"} & names
