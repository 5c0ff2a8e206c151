"""The message classes of older OTLP revisions, made from the numbers of their fields.

Official classes of several revisions cannot be loaded side by side, so these are built in a pool of their own
for each. A field that means the same has today's name, whatever the revision called it; only numbers and
types are on the wire. Source: profiles.proto of opentelemetry-proto v1.7.0, v1.8.0 and v1.9.0.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.resource.v1 import resource_pb2

PACKAGE: Final = "profiles"
_COMMON: Final = ".opentelemetry.proto.common.v1."

Fields = dict[str, tuple[int, str]]
"""Name to number and type; a type with `*` is repeated, with `?` optional, and with a capital a message."""

_SHARED: Final[dict[str, Fields]] = {
    "Request": {"resource_profiles": (1, "ResourceProfiles*"), "dictionary": (2, "Dictionary")},
    "ResourceProfiles": {
        "resource": (1, ".opentelemetry.proto.resource.v1.Resource"),
        "scope_profiles": (2, "ScopeProfiles*"),
        "schema_url": (3, "string"),
    },
    "ScopeProfiles": {
        "scope": (1, _COMMON + "InstrumentationScope"),
        "profiles": (2, "Profile*"),
        "schema_url": (3, "string"),
    },
    "Line": {"function_index": (1, "int32"), "line": (2, "int64"), "column": (3, "int64")},
    "Function": {
        "name_strindex": (1, "int32"),
        "system_name_strindex": (2, "int32"),
        "filename_strindex": (3, "int32"),
        "start_line": (4, "int64"),
    },
    "Link": {"trace_id": (1, "bytes"), "span_id": (2, "bytes")},
    "ValueType": {"type_strindex": (1, "int32"), "unit_strindex": (2, "int32")},
    "Mapping": {
        "memory_start": (1, "uint64"),
        "memory_limit": (2, "uint64"),
        "file_offset": (3, "uint64"),
        "filename_strindex": (4, "int32"),
        "attribute_indices": (5, "int32*"),
    },
}

_V1_9: Final[dict[str, Fields]] = {
    **_SHARED,
    "Dictionary": {
        "mapping_table": (1, "Mapping*"),
        "location_table": (2, "Location*"),
        "function_table": (3, "Function*"),
        "link_table": (4, "Link*"),
        "string_table": (5, "string*"),
        "attribute_table": (6, "KeyValueAndUnit*"),
        "stack_table": (7, "Stack*"),
    },
    "Profile": {
        "sample_type": (1, "ValueType"),
        "samples": (2, "Sample*"),
        "time_unix_nano": (3, "fixed64"),
        "duration_nano": (4, "uint64"),
        "period_type": (5, "ValueType"),
        "period": (6, "int64"),
        "profile_id": (7, "bytes"),
        "dropped_attributes_count": (8, "uint32"),
        "original_payload_format": (9, "string"),
        "original_payload": (10, "bytes"),
        "attribute_indices": (11, "int32*"),
    },
    "Sample": {
        "stack_index": (1, "int32"),
        "values": (2, "int64*"),
        "attribute_indices": (3, "int32*"),
        "link_index": (4, "int32"),
        "timestamps_unix_nano": (5, "fixed64*"),
    },
    "Stack": {"location_indices": (1, "int32*")},
    "Location": {
        "mapping_index": (1, "int32"),
        "address": (2, "uint64"),
        "lines": (3, "Line*"),
        "attribute_indices": (4, "int32*"),
    },
    "KeyValueAndUnit": {
        "key_strindex": (1, "int32"),
        "value": (2, _COMMON + "AnyValue"),
        "unit_strindex": (3, "int32"),
    },
}

_V1_8: Final[dict[str, Fields]] = {
    **_V1_9,
    "ValueType": {**_V1_9["ValueType"], "aggregation_temporality": (3, "int32")},
    "Profile": {
        "sample_type": (1, "ValueType"),
        "samples": (2, "Sample*"),
        "time_unix_nano": (3, "fixed64"),
        "duration_nano": (4, "uint64"),
        "period_type": (5, "ValueType"),
        "period": (6, "int64"),
        "comment_strindices": (7, "int32*"),
        "profile_id": (8, "bytes"),
        "dropped_attributes_count": (9, "uint32"),
        "original_payload_format": (10, "string"),
        "original_payload": (11, "bytes"),
        "attribute_indices": (12, "int32*"),
    },
}

_V1_7: Final[dict[str, Fields]] = {
    **_SHARED,
    "Dictionary": {
        "mapping_table": (1, "Mapping*"),
        "location_table": (2, "Location*"),
        "function_table": (3, "Function*"),
        "link_table": (4, "Link*"),
        "string_table": (5, "string*"),
        "attribute_table": (6, _COMMON + "KeyValue*"),
        "attribute_units": (7, "AttributeUnit*"),
    },
    "ValueType": _V1_8["ValueType"],
    "Profile": {
        "sample_type": (1, "ValueType*"),
        "samples": (2, "Sample*"),
        "location_indices": (3, "int32*"),
        "time_unix_nano": (4, "int64"),
        "duration_nano": (5, "int64"),
        "period_type": (6, "ValueType"),
        "period": (7, "int64"),
        "comment_strindices": (8, "int32*"),
        "default_sample_type_index": (9, "int32"),
        "profile_id": (10, "bytes"),
        "dropped_attributes_count": (11, "uint32"),
        "original_payload_format": (12, "string"),
        "original_payload": (13, "bytes"),
        "attribute_indices": (14, "int32*"),
    },
    "AttributeUnit": {"attribute_key_strindex": (1, "int32"), "unit_strindex": (2, "int32")},
    "Sample": {
        "locations_start_index": (1, "int32"),
        "locations_length": (2, "int32"),
        "values": (3, "int64*"),
        "attribute_indices": (4, "int32*"),
        "link_index": (5, "int32?"),
        "timestamps_unix_nano": (6, "uint64*"),
    },
    "Mapping": {
        **_SHARED["Mapping"],
        "has_functions": (6, "bool"),
        "has_filenames": (7, "bool"),
        "has_line_numbers": (8, "bool"),
        "has_inline_frames": (9, "bool"),
    },
    "Location": {
        "mapping_index": (1, "int32?"),
        "address": (2, "uint64"),
        "lines": (3, "Line*"),
        "is_folded": (4, "bool"),
        "attribute_indices": (5, "int32*"),
    },
}

SCHEMAS: Final[dict[str, dict[str, Fields]]] = {"1.7": _V1_7, "1.8": _V1_8, "1.9": _V1_9}


@cache
def request_class(revision: str) -> Any:
    """The class of an `ExportProfilesServiceRequest` of a revision."""
    pool = descriptor_pool.DescriptorPool()
    file = descriptor_pb2.FileDescriptorProto(
        name=f"profiles_{revision}.proto", package=PACKAGE, syntax="proto3"
    )
    for module in (common_pb2, resource_pb2):
        depended = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(depended)
        pool.Add(depended)
        file.dependency.append(depended.name)
    for name, fields in SCHEMAS[revision].items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            _add_field(message, field, number, kind)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.Request"))


def _add_field(message: descriptor_pb2.DescriptorProto, name: str, number: int, kind: str) -> None:
    bare = kind.rstrip("*?")
    field = message.field.add(name=name, number=number)
    field.label = field.LABEL_REPEATED if kind.endswith("*") else field.LABEL_OPTIONAL
    if bare[0] == "." or bare[0].isupper():
        field.type, field.type_name = field.TYPE_MESSAGE, bare if bare[0] == "." else f".{PACKAGE}.{bare}"
    else:
        field.type = descriptor_pb2.FieldDescriptorProto.Type.Value(f"TYPE_{bare.upper()}")
    if kind.endswith("?"):
        field.proto3_optional, field.oneof_index = True, len(message.oneof_decl)
        message.oneof_decl.add(name=f"_{name}")
