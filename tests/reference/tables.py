"""Reading the dictionary of a request the way the reference does: slowly, and with every index checked.

An empty table counts as holding just its zero value, so that a sender that leaves out a table it does not
use is understood. Everything here stands on the official classes, and on nothing of ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from opentelemetry.proto.profiles.v1development.profiles_pb2 import (
    Function,
    KeyValueAndUnit,
    Link,
    Location,
    Mapping,
    Profile,
    ProfilesDictionary,
    ResourceProfiles,
    ScopeProfiles,
    Stack,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
        ExportProfilesServiceRequest,
    )

T = TypeVar("T")

TABLES: Final = (
    "mapping_table",
    "location_table",
    "function_table",
    "link_table",
    "string_table",
    "attribute_table",
    "stack_table",
)

TRACE_ID_BYTES: Final = 16
SPAN_ID_BYTES: Final = 8


class Tables:
    """The seven tables of one dictionary, each with at least its zero value."""

    def __init__(self, dictionary: ProfilesDictionary) -> None:
        self.strings: Sequence[str] = list(dictionary.string_table) or [""]
        self.mappings: Sequence[Mapping] = list(dictionary.mapping_table) or [Mapping()]
        self.locations: Sequence[Location] = list(dictionary.location_table) or [Location()]
        self.functions: Sequence[Function] = list(dictionary.function_table) or [Function()]
        self.links: Sequence[Link] = list(dictionary.link_table) or [Link()]
        self.attributes: Sequence[KeyValueAndUnit] = list(dictionary.attribute_table) or [KeyValueAndUnit()]
        self.stacks: Sequence[Stack] = list(dictionary.stack_table) or [Stack()]


def in_range(table: Sequence[object], index: int) -> bool:
    """Whether an index names an entry: checked at both ends."""
    return 0 <= index < len(table)


def at(table: Sequence[T], index: int) -> T:
    """The entry that an index names.

    Raises:
        IndexError: the index is negative or past the end.
    """
    if not in_range(table, index):
        message = f"index {index} is not in [0, {len(table)})"
        raise IndexError(message)
    return table[index]


def is_empty_link(link: Link) -> bool:
    """Whether a Link says nothing: no ids at all, or both of full length and all zero."""
    return (link.trace_id, link.span_id) in {
        (b"", b""),
        (bytes(TRACE_ID_BYTES), bytes(SPAN_ID_BYTES)),
    }


def is_zero_attribute(attribute: KeyValueAndUnit) -> bool:
    """Whether an attribute is the zero value; an empty AnyValue in it is as good as none."""
    return (
        not attribute.key_strindex
        and not attribute.unit_strindex
        and attribute.value.WhichOneof("value") is None
    )


def profiles_of(
    request: ExportProfilesServiceRequest,
) -> Iterator[tuple[ResourceProfiles, ScopeProfiles, Profile]]:
    """Every Profile of a request with what it stands in, in order."""
    for resource_profiles in request.resource_profiles:
        for scope_profiles in resource_profiles.scope_profiles:
            for profile in scope_profiles.profiles:
                yield resource_profiles, scope_profiles, profile
