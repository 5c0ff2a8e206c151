"""Requests written down by hand: a few lines for what a test is about, and tables that are always right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.proto.profiles.v1development.profiles_pb2 import Profile, Sample, ScopeProfiles

START: Final = 1_790_000_000_000_000_000
SECOND: Final = 1_000_000_000

Plain = str | bytes | bool | int | float
"""What an attribute of a test may be."""


def any_value(plain: Plain | None) -> AnyValue:
    """A value as the wire has it; None is the empty one."""
    if plain is None:
        return AnyValue()
    if isinstance(plain, bool):
        return AnyValue(bool_value=plain)
    if isinstance(plain, int):
        return AnyValue(int_value=plain)
    if isinstance(plain, float):
        return AnyValue(double_value=plain)
    return AnyValue(bytes_value=plain) if isinstance(plain, bytes) else AnyValue(string_value=plain)


class Build:
    """One request that grows.

    Attributes:
        request: what was built so far; valid at any time once it has a Profile.
    """

    def __init__(self) -> None:
        self.request = ExportProfilesServiceRequest()
        self._tables = self.request.dictionary
        self._tables.string_table.append("")
        for entries in (
            self._tables.mapping_table,
            self._tables.location_table,
            self._tables.function_table,
            self._tables.link_table,
            self._tables.attribute_table,
            self._tables.stack_table,
        ):
            entries.add()
        self._strings = {"": 0}
        self._stacks: dict[str, int] = {}

    @property
    def body(self) -> bytes:
        """The request on the wire."""
        return self.request.SerializeToString()

    def string(self, text: str) -> int:
        """Where a string stands in its table."""
        if text not in self._strings:
            self._strings[text] = len(self._tables.string_table)
            self._tables.string_table.append(text)
        return self._strings[text]

    def attributes(self, plain: Mapping[str, Plain | None]) -> list[int]:
        """New entries of the attribute table."""
        first = len(self._tables.attribute_table)
        for key, value in plain.items():
            entry = self._tables.attribute_table.add(key_strindex=self.string(key))
            if value is not None:
                entry.value.CopyFrom(any_value(value))
        return list(range(first, first + len(plain)))

    def link(self, trace_id: bytes, span_id: bytes) -> int:
        """A new entry of the link table."""
        self._tables.link_table.add(trace_id=trace_id, span_id=span_id)
        return len(self._tables.link_table) - 1

    def stack(self, name: str) -> int:
        """A stack of one function."""
        if name not in self._stacks:
            self._tables.function_table.add(name_strindex=self.string(name))
            location = self._tables.location_table.add()
            location.lines.add(function_index=len(self._tables.function_table) - 1)
            self._tables.stack_table.add(location_indices=[len(self._tables.location_table) - 1])
            self._stacks[name] = len(self._tables.stack_table) - 1
        return self._stacks[name]

    def scope(self, resource: Mapping[str, Plain] | None = None) -> ScopeProfiles:
        """A scope in a new Resource with these attributes."""
        found = self.request.resource_profiles.add()
        for key, value in (resource or {}).items():
            found.resource.attributes.add(key=key, value=any_value(value))
        return found.scope_profiles.add()

    def profile(self, scope: ScopeProfiles, profile_id: bytes = b"", sample_type: str = "cpu") -> Profile:
        """A Profile of ten seconds."""
        result = scope.profiles.add(
            time_unix_nano=START, duration_nano=10 * SECOND, profile_id=profile_id, period=7
        )
        result.sample_type.type_strindex = self.string(sample_type)
        result.sample_type.unit_strindex = self.string("count")
        return result

    def sample(
        self,
        profile: Profile,
        *values: int,
        link: tuple[bytes, bytes] | None = None,
        stack: str = "main",
        attributes: Mapping[str, Plain | None] | None = None,
        moments: Sequence[int] = (),
    ) -> Sample:
        """A Sample with these values, or with moments after the start of its Profile, or with both."""
        return profile.samples.add(
            stack_index=self.stack(stack),
            link_index=self.link(*link) if link else 0,
            attribute_indices=self.attributes(attributes or {}),
            values=values,
            timestamps_unix_nano=[START + moment for moment in moments],
        )


def ambiguous() -> ExportProfilesServiceRequest:
    """A request of the current revision that is whole as one of OTLP 1.9, too, with another meaning."""
    build = Build()
    profile = build.profile(build.scope({"service.name": "checkout"}))
    build.sample(profile, moments=[0], attributes={"thread.name": "main"})
    # The Profile has the attribute as well: it is no orphan when the Sample has the value 1 instead.
    profile.attribute_indices.extend(profile.samples[0].attribute_indices)
    return build.request
