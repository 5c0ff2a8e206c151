"""The slow twin of `Profiles.redact`: by role, the first rule that matches a text decides."""

from __future__ import annotations

import hashlib
import hmac
import math
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest,
)

from otelprof._core import Redaction, RedactionRule
from tests.reference.tables import profiles_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue

COMMAND_LINES: Final = (
    "process.command",
    "process.command_line",
    "process.command_args",
    "process.args",
)
ROLES: Final = ("attribute", "command_line", "file_path", "symbol")
TREATMENTS: Final = ("keep", "drop", "hash", "mask")
GONE: Final = "***"
HASH_BYTES: Final = 16


@dataclass(frozen=True)
class PlainRedactionRule:
    """The arguments of `otelprof._core.RedactionRule`; the pattern means the same to Python."""

    role: str
    treatment: str
    key: str | None = None
    pattern: str | None = None
    mask: str = GONE

    def matches(self, role: str, key: str, text: str) -> bool:
        """Whether it decides about a text; a rule for attributes is for command lines too.

        Args:
            role: of the text; an attribute's is `attribute`, whatever its key.
            key: of the attribute; empty for others, which no rule with a key is for.
            text: what it says.
        """
        if role == "attribute":
            is_role = self.role == "attribute" or (self.role == "command_line" and key in COMMAND_LINES)
        else:
            is_role = self.role == role
        is_key = self.key in {None, key}
        return is_role and is_key and (self.pattern is None or re.search(self.pattern, text) is not None)


def redaction(rules: Sequence[PlainRedactionRule], key: bytes) -> Redaction:
    """Rules as the core takes them."""
    return Redaction(
        [
            RedactionRule(rule.role, rule.treatment, key=rule.key, pattern=rule.pattern, mask=rule.mask)
            for rule in rules
        ],
        key=key,
    )


def double_text(value: float) -> str:
    """A double as Rust writes it: the shortest digits that mean it, never with an exponent."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return str(value)
    return f"{Decimal(repr(value)):f}".removesuffix(".0")


def hashed(key: bytes, text: bytes) -> str:
    """The first 16 bytes of the HMAC-SHA256 of a text."""
    return hmac.digest(key, text, hashlib.sha256)[:HASH_BYTES].hex()


def redacted(
    request: ExportProfilesServiceRequest, rules: Sequence[PlainRedactionRule], key: bytes
) -> ExportProfilesServiceRequest:
    """A request in normal form with its texts treated; the order of everything stays."""
    result = ExportProfilesServiceRequest()
    result.CopyFrom(request)
    Treatment(result, rules, key).carry_out()
    return result


class Treatment:
    """Treats one request in place.

    Args:
        request: is changed.
        rules: in their order.
        key: of the hashes.
    """

    def __init__(
        self, request: ExportProfilesServiceRequest, rules: Sequence[PlainRedactionRule], key: bytes
    ) -> None:
        self._request = request
        self._rules = rules
        self._key = key
        self._strings = request.dictionary.string_table
        self._texts = list(self._strings)

    def carry_out(self) -> None:
        """Treat everything."""
        dictionary = self._request.dictionary
        for function in dictionary.function_table[1:]:
            function.name_strindex = self._reference("symbol", function.name_strindex)
            function.system_name_strindex = self._reference("symbol", function.system_name_strindex)
            function.filename_strindex = self._reference("file_path", function.filename_strindex)
        for mapping in dictionary.mapping_table[1:]:
            mapping.filename_strindex = self._reference("file_path", mapping.filename_strindex)
        gone = set()
        for index, entry in enumerate(dictionary.attribute_table):
            if not self._value(self._texts[entry.key_strindex], entry.value):
                gone.add(index)
        owners: list[Any] = [*dictionary.location_table, *dictionary.mapping_table]
        for resource_profiles in self._request.resource_profiles:
            self._pairs(resource_profiles.resource.attributes)
            for scope_profiles in resource_profiles.scope_profiles:
                self._pairs(scope_profiles.scope.attributes)
        for _, _, profile in profiles_of(self._request):
            owners += [profile, *profile.samples]
            profile.ClearField("original_payload")
            profile.ClearField("original_payload_format")
        for owner in owners:
            kept = [index for index in owner.attribute_indices if index not in gone]
            owner.attribute_indices[:] = kept

    def _pairs(self, pairs: Any) -> None:
        kept = [
            pair
            for pair in pairs
            if self._value(self._texts[pair.key_strindex] if pair.key_strindex else pair.key, pair.value)
        ]
        del pairs[:]
        pairs.extend(kept)

    def _reference(self, role: str, index: int) -> int:
        if not self._texts or not self._texts[index]:
            return index  # nothing is no name
        made = self._text(role, "", self._texts[index].encode())
        if made is None:
            made = GONE
        self._strings.append(made)
        return len(self._strings) - 1

    def _value(self, key: str, value: AnyValue) -> bool:
        """Treat a value and all that it holds; whether the attribute stays."""
        kind = value.WhichOneof("value")
        if kind == "array_value":
            return self._values(key, value.array_value.values)
        if kind == "kvlist_value":
            return self._values(key, [pair.value for pair in value.kvlist_value.values])
        if kind is None:
            return True  # nothing is no text
        text = self._text_of(value, kind)
        made = self._text("attribute", key, text)
        if made is not None and made.encode() != text.decode(errors="replace").encode():
            value.string_value = made
        return made is not None

    def _values(self, key: str, values: Iterable[AnyValue]) -> bool:
        stays = [self._value(key, value) for value in values]
        return all(stays)

    def _text_of(self, value: AnyValue, kind: str) -> bytes:
        if kind == "string_value_strindex":
            return self._texts[value.string_value_strindex].encode()
        if kind == "bytes_value":
            return value.bytes_value
        plain = getattr(value, kind)
        if kind == "double_value":
            return double_text(plain).encode()
        return (str(plain).lower() if kind == "bool_value" else str(plain)).encode()

    def _text(self, role: str, key: str, raw: bytes) -> str | None:
        """What a text becomes; None when it goes."""
        text = raw.decode(errors="replace")
        rule = next((rule for rule in self._rules if rule.matches(role, key, text)), None)
        if rule is None or rule.treatment == "keep":
            return text
        if rule.treatment == "drop":
            return None
        if rule.treatment == "hash":
            return hashed(self._key, raw)
        return rule.mask if rule.pattern is None else re.sub(rule.pattern, lambda _: rule.mask, text)


def without_empty_payloads(request: ExportProfilesServiceRequest) -> ExportProfilesServiceRequest:
    """A request in which a payload of no bytes has no format either: it says nothing."""
    for _, _, profile in profiles_of(request):
        if not profile.original_payload:
            profile.ClearField("original_payload_format")
    return request
