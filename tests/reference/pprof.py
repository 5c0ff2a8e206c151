"""pprof as its own specification has it, over the official protobuf runtime and nothing of ours.

No package on PyPI keeps pprof's compiled schema up to date, so the descriptor stands here. It is proto2, so
that the presence of a field can be asked for: an empty text and the number 0 differ in nothing else.

Source: google/pprof `proto/profile.proto` and `profile/profile.go`.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_FIELDS: Final = {
    "ValueType": "type int64, unit int64",
    "Sample": "location_id uint64*, value int64*, label Label*",
    "Label": "key int64, str int64, num int64, num_unit int64",
    "Mapping": "id uint64, memory_start uint64, memory_limit uint64, file_offset uint64, filename int64, "
    "build_id int64, has_functions bool, has_filenames bool, has_line_numbers bool, has_inline_frames bool",
    "Location": "id uint64, mapping_id uint64, address uint64, line Line*, is_folded bool",
    "Line": "function_id uint64, line int64, column int64",
    "Function": "id uint64, name int64, system_name int64, filename int64, start_line int64",
    "Profile": "sample_type ValueType*, sample Sample*, mapping Mapping*, location Location*, "
    "function Function*, string_table bytes*, drop_frames int64, keep_frames int64, time_nanos int64, "
    "duration_nanos int64, period_type ValueType, period int64, comment int64*, default_sample_type int64, "
    "doc_url int64",
}
FLAGS: Final = ("has_functions", "has_filenames", "has_line_numbers", "has_inline_frames")
KEYS_IN_BYTES: Final = ("bytes", "request", "alignment")


def _schema() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="pprof_reference.proto", package="perftools.profiles")
    scalar = descriptor_pb2.FieldDescriptorProto
    for message, fields in _FIELDS.items():
        kind = file.message_type.add(name=message)
        for number, field in enumerate(fields.split(", "), 1):
            name, _, what = field.partition(" ")
            what, repeated = what.rstrip("*"), what.endswith("*")
            made = kind.field.add(name=name, number=number)
            made.label = scalar.LABEL_REPEATED if repeated else scalar.LABEL_OPTIONAL
            if what in _FIELDS:
                made.type, made.type_name = scalar.TYPE_MESSAGE, f".perftools.profiles.{what}"
            else:
                made.type = getattr(scalar, f"TYPE_{what.upper()}")
                if repeated and what != "bytes":
                    made.options.packed = True
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("perftools.profiles.Profile"))


Profile: Final = _schema()
"""`perftools.profiles.Profile`."""


class Label(NamedTuple):
    """A label: a text, or a number with its unit."""

    key: str
    value: str | int
    unit: str


class Row(NamedTuple):
    """What tells a sample from others."""

    stack: tuple[Any, ...]
    labels: frozenset[tuple[Label, int]]


def bag(labels: list[Label]) -> frozenset[tuple[Label, int]]:
    """Labels, each with how often it is there."""
    return frozenset(Counter(labels).items())


class Reader:
    """Looks up what a pprof names by index or id.

    Raises:
        ValueError: the pprof contradicts itself.
    """

    def __init__(self, pprof: Any) -> None:
        self.pprof = pprof
        self.strings = [text.decode() for text in pprof.string_table] or [""]
        if self.strings[0]:
            msg = "string_table[0]"
            raise ValueError(msg)
        self.mappings = _by_id(pprof.mapping)
        self.functions = _by_id(pprof.function)
        self.locations = _by_id(pprof.location)
        self._told: dict[int, tuple[Any, ...]] = {}
        self.types = [self.value_type(kind) for kind in pprof.sample_type]
        self._check()

    def string(self, index: int) -> str:
        """An entry of the string table."""
        if not 0 <= index < len(self.strings):
            msg = f"string {index}"
            raise ValueError(msg)
        return str(self.strings[index])

    def value_type(self, kind: Any) -> tuple[str, str]:
        """Name and unit."""
        return self.string(kind.type), self.string(kind.unit)

    def _check(self) -> None:
        pprof = self.pprof
        fields = ("drop_frames", "keep_frames", "default_sample_type", "doc_url")
        for index in (*(getattr(pprof, field) for field in fields), *pprof.comment):
            self.string(index)
        for entry in (*pprof.mapping, *pprof.function):
            for field in ("filename", "build_id", "name", "system_name"):
                self.string(getattr(entry, field, 0))
        self.value_type(pprof.period_type)
        known = all(
            (location.mapping_id in self.mappings or not location.mapping_id)
            and all(line.function_id in self.functions for line in location.line)
            for location in pprof.location
        )
        samples = all(
            len(sample.value) == len(self.types) and all(ref in self.locations for ref in sample.location_id)
            for sample in pprof.sample
        )
        if not (known and samples and self.types) or min(pprof.time_nanos, pprof.duration_nanos) < 0:
            msg = "ids, values, types or times"
            raise ValueError(msg)
        for sample in pprof.sample:
            self.labels(sample)

    def labels(self, sample: Any) -> list[Label]:
        """The labels of a sample, those of one key in their order."""
        found = []
        for label in sample.label:
            key, text, unit = self.string(label.key), self.string(label.str), self.string(label.num_unit)
            is_text = label.str or (label.HasField("str") and not label.num and not label.num_unit)
            if not is_text and not unit and key in KEYS_IN_BYTES:
                unit = "bytes"
            found.append(Label(key, text, "") if is_text else Label(key, label.num, unit))
        kinds = {(label.key, isinstance(label.value, str), label.unit) for label in found}
        if len(kinds) != len({label.key for label in found}) or any(not label.key for label in found):
            msg = "labels"
            raise ValueError(msg)
        return found

    def function(self, ref: int) -> tuple[str, str, str, int]:
        """Name, system name, file, start line."""
        function = self.functions[ref]
        names = (function.name, function.system_name, function.filename)
        name, system_name, filename = (self.string(index) for index in names)
        return name, system_name, filename, max(function.start_line, 0)

    def mapping(self, ref: int) -> tuple[Any, ...] | None:
        """Range, file, build id and flags; what is no range is none."""
        if not ref:
            return None
        mapping = self.mappings[ref]
        bounds = (mapping.memory_start, mapping.memory_limit)
        if bounds[0] >= bounds[1]:
            bounds = (0, 0)
        build_id, flags = self.string(mapping.build_id), tuple(getattr(mapping, flag) for flag in FLAGS)
        return (*bounds, mapping.file_offset, self.string(mapping.filename), build_id, flags)

    def location(self, ref: int) -> tuple[Any, ...]:
        """Mapping, address, lines leaf first, whether it is folded; one object for each location."""
        if ref not in self._told:
            told = self.locations[ref]
            lines = tuple(
                (self.function(line.function_id), max(line.line, 0), max(line.column, 0))
                for line in told.line
            )
            self._told[ref] = self.mapping(told.mapping_id), told.address, lines, told.is_folded
        return self._told[ref]

    def rows(self) -> list[tuple[Row, tuple[int, ...]]]:
        """The samples, with their values."""
        return [
            (
                Row(tuple(map(self.location, sample.location_id)), bag(self.labels(sample))),
                tuple(sample.value),
            )
            for sample in self.pprof.sample
        ]

    def header(self) -> tuple[Any, ...]:
        """All else. A default type that is none of the types says nothing."""
        pprof = self.pprof
        default = self.string(pprof.default_sample_type)
        return (
            tuple(self.types),
            self.value_type(pprof.period_type),
            pprof.period,
            pprof.time_nanos,
            pprof.duration_nanos,
            tuple(self.string(index) for index in pprof.comment),
            default if default in {name for name, _ in self.types} else "",
            *(self.string(index) for index in (pprof.drop_frames, pprof.keep_frames, pprof.doc_url)),
        )


def _by_id(entries: Any) -> dict[int, Any]:
    found = {entry.id: entry for entry in entries}
    if len(found) != len(entries) or 0 in found:
        msg = "ids"
        raise ValueError(msg)
    return found


def read(body: bytes) -> Reader:
    """A pprof, not compressed.

    Raises:
        ValueError: it contradicts itself.
        google.protobuf.message.DecodeError: it is no protobuf.
    """
    return Reader(Profile.FromString(body))
