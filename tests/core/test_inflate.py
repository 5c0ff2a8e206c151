"""Compressed bodies: which are read, which are refused, and that a bomb costs nothing."""

from __future__ import annotations

import gzip
import subprocess
import sys
import zlib
from typing import TYPE_CHECKING

import pytest

from otelprof._core import Limits, Profiles
from otelprof._core import gzip as gzip_core
from otelprof.errors import InvalidRequestError, RequestTooLargeError, UnsupportedEncodingError
from tests.reference.graft import example

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
BOMB_BYTES = 10 * MIB
BLOCK_BYTES = 128 * 1024  # the largest block of zstd
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
RAW, RLE = 0, 1

MEASURE = """
import resource, sys
from otelprof._core import Profiles
from otelprof.errors import RequestTooLargeError, InvalidRequestError
body = open(sys.argv[1], "rb").read()
Profiles.decode(b"")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    Profiles.decode(body)
    print("accepted")
except (RequestTooLargeError, InvalidRequestError) as error:
    print(type(error).__name__)
unit = 1 if sys.platform == "darwin" else 1024
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit)
"""


def zstd_block(kind: int, size: int, content: bytes, *, last: bool = False) -> bytes:
    """A block of a zstd frame."""
    return (last | kind << 1 | size << 3).to_bytes(3, "little") + content


def zstd(body: bytes) -> bytes:
    """A zstd frame that holds a body as it is, in blocks, with its size in front."""
    blocks = [body[start : start + BLOCK_BYTES] for start in range(0, len(body), BLOCK_BYTES)] or [b""]
    written = [
        zstd_block(RAW, len(block), block, last=number == len(blocks) - 1)
        for number, block in enumerate(blocks)
    ]
    return ZSTD_MAGIC + b"\xa0" + len(body).to_bytes(4, "little") + b"".join(written)


def zstd_bomb() -> bytes:
    """Some 300 GiB of zeros in a zstd frame that does not say how much is in it."""
    block = zstd_block(RLE, BLOCK_BYTES, b"\0")
    return ZSTD_MAGIC + b"\x00\x38" + block * (BOMB_BYTES // len(block))


def zstd_wide_bomb() -> bytes:
    """A zstd frame that asks for a window of 2 TiB."""
    return ZSTD_MAGIC + b"\x00\xf8" + zstd_block(RLE, BLOCK_BYTES, b"\0") * 1000


def zstd_boast() -> bytes:
    """A zstd frame that claims to hold 2**60 bytes."""
    return ZSTD_MAGIC + b"\xe0" + (1 << 60).to_bytes(8, "little") + zstd_block(RLE, 8, b"\0", last=True)


def gzip_bomb() -> bytes:
    """Some 10 GiB of zeros in gzip."""
    packer = zlib.compressobj(9, wbits=-15)
    packer.compress(bytes(MIB))
    packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    return gzip.compress(b"")[:10] + block * (BOMB_BYTES // len(block))


def gzip_many_bomb() -> bytes:
    """Many small gzip members, each of 10 MiB of zeros."""
    return gzip.compress(bytes(10 * MIB)) * 1000


ENCODERS = {"gzip": gzip.compress, "zstd": zstd}


@pytest.mark.parametrize("encode", ENCODERS.values(), ids=ENCODERS.keys())
def test_compressed(encode: object) -> None:
    """A compressed body says what the plain one says; its size is that of the plain one."""
    body = example().SerializeToString()
    plain, inflated = Profiles.decode(body), Profiles.decode(encode(body))  # type: ignore[operator]

    assert plain.to_otlp() == inflated.to_otlp()
    assert len(body) == inflated.body_bytes


@pytest.mark.parametrize("encode", ENCODERS.values(), ids=ENCODERS.keys())
def test_compressed_nothing(encode: object) -> None:
    """Nothing, compressed, is an empty request."""
    assert Profiles.decode(encode(b"")).profile_count == 0  # type: ignore[operator]


@pytest.mark.parametrize("encode", ENCODERS.values(), ids=ENCODERS.keys())
def test_limit(encode: object) -> None:
    """The limit holds for the inflated body, to the byte."""
    body = example().SerializeToString()
    packed = encode(body)  # type: ignore[operator]
    Profiles.decode(packed, Limits(max_body_bytes=len(body)))

    with pytest.raises(RequestTooLargeError, match="max_body_bytes"):
        Profiles.decode(packed, Limits(max_body_bytes=len(body) - 1))


@pytest.mark.parametrize("encode", ENCODERS.values(), ids=ENCODERS.keys())
def test_parts(encode: object) -> None:
    """Several gzip members, or zstd frames, are one body, as both formats say."""
    body = example().SerializeToString()
    parts = encode(body[:50]) + encode(body[50:])  # type: ignore[operator]

    assert Profiles.decode(body).to_otlp() == Profiles.decode(parts).to_otlp()


@pytest.mark.parametrize("encode", ENCODERS.values(), ids=ENCODERS.keys())
@pytest.mark.parametrize("garbage", [b"\0", b"garbage", bytes(100)])
def test_garbage(encode: object, garbage: bytes) -> None:
    """Bytes after the compressed body refuse it: they may be half of another."""
    with pytest.raises(InvalidRequestError):
        Profiles.decode(encode(example().SerializeToString()) + garbage)  # type: ignore[operator]


@pytest.mark.parametrize("encode", ENCODERS.values(), ids=ENCODERS.keys())
def test_truncated(encode: object) -> None:
    """A compressed body that ends too early is refused, wherever it ends."""
    packed = encode(example().SerializeToString())  # type: ignore[operator]
    for end in range(4, len(packed)):  # with fewer there is no magic number, and it is a tiny request
        with pytest.raises(InvalidRequestError):
            Profiles.decode(packed[:end])


def test_gzip_checksum() -> None:
    """A gzip body whose checksum is wrong is refused."""
    packed = bytearray(gzip.compress(example().SerializeToString()))
    packed[-8] ^= 1

    with pytest.raises(InvalidRequestError):
        Profiles.decode(bytes(packed))


@pytest.mark.parametrize(
    "packed",
    [
        zlib.compress(example().SerializeToString()),
        zlib.compress(example().SerializeToString(), 1),
        b"\xff\x06\x00\x00sNaPpY\x01\x05\x00\x00\x00\x00\x00\x00a",
        b"\x04\x22\x4d\x18\x64\x40\xa7\x01\x00\x00\x80a\x00\x00\x00\x00",
        b"\xfd7zXZ\x00\x00\x04",
        b"BZh91AY&SY",
    ],
    ids=["zlib", "zlib fast", "snappy", "lz4", "xz", "bzip2"],
)
def test_unknown_compression(packed: bytes) -> None:
    """Another compression is refused, never taken for a request."""
    with pytest.raises((UnsupportedEncodingError, InvalidRequestError)):
        Profiles.decode(packed)


def test_snappy_and_lz4_and_zlib_are_recognised() -> None:
    """Compressions that collectors offer are refused by name."""
    for packed in (zlib.compress(b"hello"), b"\xff\x06\x00\x00sNaPpY", b"\x04\x22\x4d\x18\x64\x40\xa7"):
        with pytest.raises(UnsupportedEncodingError):
            Profiles.decode(packed)


@pytest.mark.parametrize(
    "bomb",
    [zstd_bomb, zstd_wide_bomb, zstd_boast, gzip_bomb, gzip_many_bomb],
    ids=lambda bomb: bomb.__name__,
)
def test_bomb(bomb: object, tmp_path: Path) -> None:
    """A bomb is refused while memory grows by less than 64 MiB."""
    path = tmp_path / "bomb"
    path.write_bytes(bomb())  # type: ignore[operator]
    command = [sys.executable, "-c", MEASURE, str(path)]
    answer, growth = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()  # noqa: S603

    assert answer in {"RequestTooLargeError", "InvalidRequestError"}
    assert int(growth) < 64 * MIB


@pytest.mark.parametrize("level", [1, 6, 9])
@pytest.mark.parametrize("body", [b"", b"a", bytes(range(256)) * 1000], ids=["empty", "one", "many"])
def test_gzip(body: bytes, level: int) -> None:
    """What we compress every reader has back, and the same body is the same bytes."""
    packed = gzip_core(body, level)

    assert body == gzip.decompress(packed)
    assert packed == gzip_core(body, level)


@pytest.mark.parametrize("level", [0, 10])
def test_levels_of_gzip(level: int) -> None:
    """There are nine of them."""
    with pytest.raises(ValueError, match=f"level is 1 to 9, not {level}"):
        gzip_core(b"", level)
