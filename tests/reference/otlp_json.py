"""OTLP/JSON over the official classes: protobuf's JSON, with ids in hexadecimal. Slow and right."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Final

from google.protobuf import json_format
from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest,
)

if TYPE_CHECKING:
    from collections.abc import Callable

IDS: Final = {"traceId", "spanId", "profileId", "trace_id", "span_id", "profile_id"}


def to_json(request: ExportProfilesServiceRequest, *, snake_case: bool = False) -> Any:
    """A request as what `json.dumps` writes, in either spelling."""
    mapped = json_format.MessageToDict(request, preserving_proto_field_name=snake_case)
    return with_ids(mapped, lambda text: base64.b64decode(text).hex())


def from_json(text: bytes) -> ExportProfilesServiceRequest:
    """A request that was written in JSON."""
    mapped = with_ids(json.loads(text), lambda text: base64.b64encode(bytes.fromhex(text)).decode())
    return json_format.ParseDict(mapped, ExportProfilesServiceRequest(), ignore_unknown_fields=True)


def with_ids(node: Any, convert: Callable[[str], str]) -> Any:
    """The same with every id converted. Only names of fields are keys: those of attributes are values."""
    if isinstance(node, list):
        return [with_ids(one, convert) for one in node]
    if isinstance(node, dict):
        return {
            name: convert(value) if name in IDS else with_ids(value, convert) for name, value in node.items()
        }
    return node


def with_numbers(node: Any) -> Any:
    """The same with the integers that stand in texts as numbers; texts themselves must not look like some."""
    if isinstance(node, list):
        return [with_numbers(one) for one in node]
    if isinstance(node, dict):
        return {name: with_numbers(value) for name, value in node.items()}
    is_number = isinstance(node, str) and node.removeprefix("-").isdecimal() and node.isascii()
    return int(node) if is_number else node
