"""The laws of redaction: what is to go is nowhere in what goes on, and all else is as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otelprof._core import Profiles, Redaction, RedactionRule
from tests.recordings import OWN, name, recordings
from tests.reference.build import Build
from tests.reference.compare import assert_conformance, on_the_wire
from tests.reference.generate import requests
from tests.reference.meaning import difference, meaning
from tests.reference.redaction import (
    COMMAND_LINES,
    ROLES,
    TREATMENTS,
    PlainRedactionRule,
    hashed,
    redacted,
    redaction,
    without_empty_payloads,
)
from tests.reference.selected import assert_read_again, totals
from tests.reference.tables import profiles_of

if TYPE_CHECKING:
    from pathlib import Path

    from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
        ExportProfilesServiceRequest,
    )
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue

FEWER = settings(max_examples=settings().max_examples // 2)
"""For laws that take long to look at."""
RECORDINGS = [path for path in recordings() if OWN in path.parents]
KEY = b"a key of 16 byte"
SECRET = "s3cret"  # noqa: S105 - marks the texts that must go
KEYS = st.sampled_from([None, None, "main", "process.command", "service.name"])
PATTERNS = st.sampled_from([None, "a", "^main$", SECRET, "^[0-9]+$", "^/usr"])
MASKS = st.sampled_from(["***", "", "x"])
RULES = st.lists(
    st.builds(PlainRedactionRule, st.sampled_from(ROLES), st.sampled_from(TREATMENTS), KEYS, PATTERNS, MASKS),
    max_size=4,
)
EVERYWHERE = {
    treatment: [PlainRedactionRule(role, treatment, pattern=SECRET) for role in ROLES]
    for treatment in ("drop", "hash", "mask")
}


def secretive() -> Build:
    """A request with a secret in every place that a rule can name, and in a payload and an orphan."""
    build = Build()
    text = f"/home/{SECRET}/x"
    scope = build.scope({"host.name": text, "token": text.encode(), "process.command_line": f"run {text}"})
    resource = build.request.resource_profiles[0].resource
    resource.attributes.add(key="by reference").value.string_value_strindex = build.string(text)
    nested(build, resource.attributes.add(key="nested").value, text)
    scope.scope.attributes.add(key="of the scope").value.string_value = text
    profile = build.profile(scope)
    of_profile = build.attributes({"of the profile": text, "raw": b"\xff" + text.encode()})
    profile.attribute_indices.extend(of_profile)
    profile.original_payload, profile.original_payload_format = text.encode(), "pprof"
    of_sample = {"of the sample": text, **dict.fromkeys(COMMAND_LINES, text)}
    sample = build.sample(profile, 7, stack=text, attributes=of_sample)
    tables = build.request.dictionary
    sample.attribute_indices.append(len(tables.attribute_table))
    nested(build, tables.attribute_table.add(key_strindex=build.string("nested")).value, text)
    tables.function_table[1].system_name_strindex = build.string(text)
    tables.function_table[1].filename_strindex = build.string(f"{text}.py")
    of_mapping = build.attributes({"of a mapping": text})
    tables.mapping_table.add(filename_strindex=build.string(f"{text}.so"), attribute_indices=of_mapping)
    tables.location_table[1].mapping_index = 1
    tables.location_table[1].attribute_indices.extend(build.attributes({"of a location": text}))
    build.string(f"an orphan with {text}")
    return build


def nested(build: Build, value: AnyValue, text: str) -> None:
    """An array with a key-value list with an array, and the text in each: inline, by reference, as bytes."""
    inner = value.array_value.values
    inner.add(string_value="harmless")
    inner.add(string_value=text)
    pairs = inner.add().kvlist_value.values
    pairs.add(key="a").value.string_value_strindex = build.string(text)
    deep = pairs.add(key="b").value.array_value.values
    deep.add(bytes_value=text.encode())
    deep.add(string_value=text)


def assert_redacted(profiles: Profiles, rules: list[PlainRedactionRule]) -> None:
    """The core treats every text as the reference does, and nothing else."""
    found = profiles.redact(redaction(rules, KEY))
    request = on_the_wire(profiles)
    out = without_empty_payloads(on_the_wire(found.profiles))
    payloads = sum(1 for *_, profile in profiles_of(request) if profile.original_payload)

    assert ([], []) == difference(meaning(redacted(request, rules, KEY)), meaning(out))
    assert payloads == found.payloads_dropped
    assert len(rules) == len(found.changed)
    assert_conformance(out)
    assert_read_again(found.profiles)


@given(requests(), RULES)
def test_anything(request: ExportProfilesServiceRequest, rules: list[PlainRedactionRule]) -> None:
    """Whatever is sent, each text becomes what the first rule for it says, and all else stays."""
    assert_redacted(Profiles.decode(request.SerializeToString()), rules)


@given(RULES)
def test_every_place(rules: list[PlainRedactionRule]) -> None:
    """Each text becomes what the first rule for it says, in every place of a request."""
    assert_redacted(Profiles.decode(secretive().body), rules)


@pytest.mark.parametrize("rules", EVERYWHERE.values(), ids=EVERYWHERE.keys())
def test_secret(rules: list[PlainRedactionRule]) -> None:
    """A secret that rules find is nowhere in the bytes that go on."""
    body = secretive().body
    after = Profiles.decode(body).redact(redaction(rules, KEY)).profiles

    assert SECRET.encode() in body
    assert SECRET.encode() not in after.to_otlp()
    assert [] == [stack for stack, _ in after.fold() if SECRET in stack]


@pytest.mark.parametrize("path", RECORDINGS, ids=name)
def test_recording(path: Path) -> None:
    """The names, paths and attributes of a recording are hashed, and its totals are as they were."""
    rules = [
        PlainRedactionRule("symbol", "keep", pattern="^runtime"),
        *(PlainRedactionRule(role, "hash") for role in ROLES),
    ]
    profiles = Profiles.decode(path.read_bytes())

    assert_redacted(profiles, rules[:2])
    assert_redacted(profiles, rules)
    assert sum(totals(on_the_wire(profiles)).values()) == sum(
        totals(on_the_wire(profiles.redact(redaction(rules, KEY)).profiles)).values()
    )


@FEWER
@given(requests(), RULES)
def test_again(request: ExportProfilesServiceRequest, rules: list[PlainRedactionRule]) -> None:
    """The same request gives the same bytes; without rules only payloads go."""
    body = request.SerializeToString()
    first = Profiles.decode(body)
    bare = without_empty_payloads(on_the_wire(first.redact(Redaction([])).profiles))

    assert (
        first.redact(redaction(rules, KEY)).profiles.to_otlp()
        == Profiles.decode(body).redact(redaction(rules, KEY)).profiles.to_otlp()
    )
    assert ([], []) == difference(
        meaning(redacted(on_the_wire(first), [], KEY)),
        meaning(bare),
    )


def test_hash() -> None:
    """The same text has the same hash wherever it stands: the start of its HMAC-SHA256."""
    build = Build()
    profile = build.profile(build.scope({"a": SECRET}))
    build.sample(profile, 1, stack=SECRET, attributes={"b": SECRET, "c": SECRET.encode()})
    rules = [PlainRedactionRule(role, "hash") for role in ROLES]
    out = on_the_wire(Profiles.decode(build.body).redact(redaction(rules, KEY)).profiles)
    found = [out.resource_profiles[0].resource.attributes[0].value.string_value]
    found += [entry.value.string_value for entry in out.dictionary.attribute_table[1:]]
    found += [out.dictionary.string_table[out.dictionary.function_table[1].name_strindex]]

    assert [hashed(KEY, SECRET.encode())] * 4 == found


def test_keep_protects() -> None:
    """A `keep` before other rules protects, and after them it comes too late."""
    build = Build()
    build.sample(build.profile(build.scope()), 1, stack=SECRET)
    keep, drop = RedactionRule("symbol", "keep", pattern="^s3"), RedactionRule("symbol", "drop")
    profiles = Profiles.decode(build.body)
    folded = [profiles.redact(Redaction(rules)).profiles.fold() for rules in ([keep, drop], [drop, keep])]

    assert [[(SECRET, 1)], [("***", 1)]] == folded


def test_groups() -> None:
    """A mask may name groups of its pattern."""
    build = Build()
    build.sample(build.profile(build.scope()), 1, stack="a=1 b=2")
    rule = RedactionRule("symbol", "mask", pattern="(?<key>[a-z])=([0-9])", mask="${key}:$2$2")
    folded = Profiles.decode(build.body).redact(Redaction([rule])).profiles.fold()

    assert [("a:11 b:22", 1)] == folded


def test_roles_apart() -> None:
    """A string that is a symbol and an attribute is treated for one of them, and stays for the other."""
    build = Build()
    sample = build.sample(build.profile(build.scope()), 1, stack=SECRET, attributes={"a": None})
    entry = build.request.dictionary.attribute_table[sample.attribute_indices[0]]
    entry.value.string_value_strindex = build.string(SECRET)
    profiles = Profiles.decode(build.body)
    symbols = profiles.redact(Redaction([RedactionRule("symbol", "mask")]))
    attributes = profiles.redact(Redaction([RedactionRule("attribute", "mask")]))

    assert [[("***", 1)], [(SECRET, 1)]] == [found.profiles.fold() for found in (symbols, attributes)]
    assert [[1], [1]] == [list(found.changed) for found in (symbols, attributes)]
    assert [True, True] == [SECRET.encode() in found.profiles.to_otlp() for found in (symbols, attributes)]


@pytest.mark.parametrize("key", [None, b""])
def test_no_key(key: bytes | None) -> None:
    """Rules that hash without a key are refused."""
    with pytest.raises(ValueError, match="key"):
        Redaction([RedactionRule("symbol", "hash")], key=key)
