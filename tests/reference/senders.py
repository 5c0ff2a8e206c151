"""Requests as senders write them: seeded, quick to make by the hundred thousand, and of every style.

A sender makes an entry of a table when something refers to it, so there are no orphans. Styles differ in what
a Sample has (values, timestamps, both), how many attributes and Links, what else has attributes, and how
large values are. Small on purpose: the less a request says, the more readings it has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest,
)

if TYPE_CHECKING:
    from random import Random

    from opentelemetry.proto.profiles.v1development.profiles_pb2 import Profile, ProfilesDictionary

START = 1_790_000_000_000_000_000


class Sender:
    """One sender: its style is drawn when it is made, its requests differ.

    Args:
        random: where everything is drawn from.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._shape = random.choice(("values", "timestamps", "both"))
        self._most_attributes = random.choice((0, 0, 1, 1, 2, 3))
        self._attribute_values = random.choice((1, 2, 8))
        self._linked = random.choice((0.0, 0.0, 0.3, 1.0))
        self._most_timestamps = random.choice((1, 1, 3))
        self._values = random.choice(((1, 1), (0, 3), (1, 40), (10**6, 10**9)))
        self._has_ids, self._has_period, self._owners = (random.random() < 0.5 for _ in range(3))
        self._has_payload = random.random() < 0.1

    def request(self) -> ExportProfilesServiceRequest:
        """A request with one to three Profiles of one to six Samples."""
        message = ExportProfilesServiceRequest()
        tables = Entries(message.dictionary)
        for service in range(self._random.randint(1, 2)):
            group = message.resource_profiles.add()
            group.resource.attributes.add(key="service.name").value.string_value = f"service-{service}"
            scope = group.scope_profiles.add()
            for _ in range(self._random.choice((1, 1, 2))):
                self._fill(scope.profiles.add(), tables)
        return message

    def _fill(self, profile: Profile, tables: Entries) -> None:
        random = self._random
        profile.time_unix_nano, profile.duration_nano = START, 10**10
        profile.sample_type.type_strindex = tables.string("samples")
        profile.sample_type.unit_strindex = tables.string("count")
        if self._has_period:
            profile.period_type.type_strindex = tables.string("cpu")
            profile.period = 50_000_000
        if self._has_ids:
            profile.profile_id = random.randbytes(16)
        if self._owners and random.random() < 0.5:
            profile.attribute_indices.append(tables.attribute("process.pid", 1))
        if self._has_payload:
            profile.original_payload_format, profile.original_payload = "jfr", random.randbytes(3)
        for _ in range(random.randint(1, 6)):
            sample = profile.samples.add(stack_index=tables.stack(random.randrange(6), owners=self._owners))
            for key in range(random.randint(0, self._most_attributes)):
                value = random.randrange(self._attribute_values)
                sample.attribute_indices.append(tables.attribute(f"key.{key}", value))
            if random.random() < self._linked:
                sample.link_index = tables.link(random)
            count = random.randint(1, self._most_timestamps)
            if self._shape != "values":
                sample.timestamps_unix_nano.extend(START + random.randrange(10**10) for _ in range(count))
            if self._shape != "timestamps":
                count = 1 if self._shape == "values" else count
                sample.values.extend(random.randint(*self._values) for _ in range(count))


class Entries:
    """Tables that grow as they are referred to; entry 0 of each is the zero value.

    Args:
        dictionary: where they stand.
    """

    def __init__(self, dictionary: ProfilesDictionary) -> None:
        self._tables = dictionary
        self._known: dict[Any, int] = {"": 0}
        dictionary.string_table.append("")
        for entries in (
            dictionary.mapping_table,
            dictionary.location_table,
            dictionary.function_table,
            dictionary.link_table,
            dictionary.attribute_table,
            dictionary.stack_table,
        ):
            entries.add()

    def string(self, text: str) -> int:
        """Where a string stands."""
        if text not in self._known:
            self._known[text] = len(self._tables.string_table)
            self._tables.string_table.append(text)
        return self._known[text]

    def attribute(self, key: str, value: int) -> int:
        """Where an attribute stands."""
        if (key, value) not in self._known:
            self._known[key, value] = len(self._tables.attribute_table)
            entry = self._tables.attribute_table.add(key_strindex=self.string(key))
            entry.value.int_value = value
        return self._known[key, value]

    def link(self, random: Random) -> int:
        """Where a new Link stands."""
        self._tables.link_table.add(trace_id=random.randbytes(16), span_id=random.randbytes(8))
        return len(self._tables.link_table) - 1

    def stack(self, number: int, *, owners: bool) -> int:
        """Where a stack of two frames stands; its Mapping and Locations may have attributes."""
        if ("stack", number) in self._known:
            return self._known["stack", number]
        if "mapping" not in self._known:
            self._known["mapping"] = len(self._tables.mapping_table)
            mapping = self._tables.mapping_table.add(memory_start=4096, memory_limit=8192)
            mapping.filename_strindex = self.string("/usr/bin/app")
            if owners:
                mapping.attribute_indices.append(self.attribute("process.executable.build_id.gnu", 7))
        stack = self._tables.stack_table.add()
        for depth in range(2):
            function = self._tables.function_table.add(name_strindex=self.string(f"f{number + depth}"))
            location = self._tables.location_table.add(mapping_index=self._known["mapping"])
            location.lines.add(
                function_index=len(self._tables.function_table) - 1, line=function.name_strindex
            )
            if owners:
                location.attribute_indices.append(self.attribute("profile.frame.type", depth))
            stack.location_indices.append(len(self._tables.location_table) - 1)
        self._known["stack", number] = len(self._tables.stack_table) - 1
        return self._known["stack", number]
