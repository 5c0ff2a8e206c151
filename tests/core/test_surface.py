"""The surface of `otelprof._core`: what it exports, what is frozen, and what threads may do with it."""

from __future__ import annotations

import ast
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest,
)

from otelprof import _core
from otelprof._core import REJECTION_REASONS, REPAIRS, Limits, Profiles
from tests.reference.compare import on_the_wire
from tests.reference.faults import FAULTS, inject
from tests.reference.graft import example
from tests.reference.meaning import meaning
from tests.reference.validate import REASONS

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
DEFAULTS = {
    "max_body_bytes": 16_777_216,
    "max_table_entries": 1_000_000,
    "max_stack_depth": 4096,
    "max_attributes": 256,
    "max_attribute_depth": 16,
}


def large_body(sample_count: int) -> bytes:
    """The small request, its first Profile with many samples."""
    request = example()
    profile = request.resource_profiles[0].scope_profiles[0].profiles[0]
    field = b"\x12" + bytes([profile.samples[0].ByteSize()]) + profile.samples[0].SerializeToString()
    inner = profile.SerializeToString() + field * sample_count
    for key in (b"\x12", b"\x12", b"\x0a"):
        inner = key + varint(len(inner)) + inner
    return inner + ExportProfilesServiceRequest(dictionary=request.dictionary).SerializeToString()


def varint(number: int) -> bytes:
    """A number as the wire writes it."""
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*written, number])


def test_names() -> None:
    """The core exports what its stub says, and nothing else."""
    stub = ast.parse((ROOT / "otelprof" / "_core.pyi").read_text())
    listed = [node.value for node in stub.body if isinstance(node, ast.Assign)]
    assert set(ast.literal_eval(listed[0])) == set(_core.__all__)
    assert set(_core.__all__) - {"__version__"} == {name for name in vars(_core) if not name.startswith("_")}
    assert version("otelprof") == _core.__version__


def test_reasons() -> None:
    """The closed list of reasons is the specification's and the policy's; repairs are words, each once."""
    assert sorted((*REASONS, "policy", "values_types_mismatch")) == sorted(REJECTION_REASONS)
    assert len(set(REPAIRS)) == len(REPAIRS)
    assert all(word.replace("_", "").isalpha() for word in REPAIRS)


def test_limits() -> None:
    """Limits have the documented defaults, and keep what they are given."""
    assert {name: getattr(Limits(), name) for name in DEFAULTS} == DEFAULTS
    for name in DEFAULTS:
        assert getattr(Limits(**{name: 7}), name) == 7


@pytest.mark.parametrize("name", DEFAULTS)
@pytest.mark.parametrize("value", [0, 2**31 + 1, 2**64 - 1])
def test_limit_out_of_range(name: str, value: int) -> None:
    """A limit of nothing, or of more than can be, is an error that names it."""
    with pytest.raises(ValueError, match=name):
        Limits(**{name: value})


@pytest.mark.parametrize("name", DEFAULTS)
def test_limits_are_frozen(name: str) -> None:
    """Limits cannot be changed."""
    with pytest.raises(AttributeError):
        setattr(Limits(), name, 7)


def test_profiles_are_frozen() -> None:
    """A handle cannot be made but by decoding, nor changed, nor given anything more."""
    profiles = Profiles.decode(example().SerializeToString())

    with pytest.raises(TypeError):
        Profiles()
    for name in ("summary", "profile_count", "anything"):
        with pytest.raises(AttributeError):
            setattr(profiles, name, 1)


def test_repairs_are_a_copy() -> None:
    """Who changes the repairs of a handle changes a copy."""
    profiles = Profiles.decode(example().SerializeToString())
    profiles.repairs["spoiled"] = 1

    assert "spoiled" not in profiles.repairs
    assert set(profiles.repairs) <= set(REPAIRS)


@pytest.mark.parametrize("body", [None, "text", 5, [1]])
def test_body_type(body: Any) -> None:
    """Only bytes can be decoded."""
    with pytest.raises(TypeError):
        Profiles.decode(body)


def test_sizes() -> None:
    """A handle knows the size of its body, and that it holds at least as much memory."""
    body = example().SerializeToString()
    profiles = Profiles.decode(body)

    assert len(body) == profiles.body_bytes
    assert profiles.memory_bytes >= len(body)


def test_threads() -> None:
    """One handle serves several threads at once, each with the same answer."""
    body = large_body(20_000)
    profiles = Profiles.decode(body)
    views: list[Callable[[], Any]] = [
        profiles.to_otlp,
        profiles.fold,
        lambda: profiles.top_functions(3),
        lambda: Profiles.decode(body).to_otlp(),
    ]
    with ThreadPoolExecutor(8) as pool:
        answers = [list(pool.map(lambda _, view=view: view(), range(8))) for view in views]

    for view, same in zip(views, answers, strict=True):
        assert [view()] * 8 == same


def test_the_gil_is_released() -> None:
    """While the core decodes a large request, Python threads go on."""
    body = large_body(900_000)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()
        start = time.monotonic()
        future, ticks = pool.submit(Profiles.decode, body), 0
        while not future.done():
            time.sleep(0.0005)
            ticks += 1
        elapsed = time.monotonic() - start

    assert ticks > elapsed / 0.02  # far fewer than would fit, far more than the one of a held GIL


def test_handles_outlive_their_body() -> None:
    """A handle needs nothing of what it was decoded from."""
    body = bytearray(example().SerializeToString())
    profiles = Profiles.decode(bytes(body))
    body[:] = bytes(len(body))

    assert meaning(on_the_wire(profiles), with_ids=False) == meaning(example(), with_ids=False)


def test_rejection_rows() -> None:
    """A rejection has a word of the closed list, and names field, value and what is allowed."""
    fault = next(fault for fault in FAULTS if fault.name == "index_out_of_range: Sample.stack_index max")
    (row,) = Profiles.decode(inject(fault, example()).body).rejections

    assert row.reason in REJECTION_REASONS
    assert all(word in row.message for word in ("stack_index", "2147483647", "stack_table"))
