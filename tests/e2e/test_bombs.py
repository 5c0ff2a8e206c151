"""Bodies that are small and become large, sent to a process of its own: refused before memory is."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc
import httpx
import psutil
import pytest
import zstandard

from tests.e2e.harness import RECORDING, Answer, Client, Process, one_pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Send = Callable[[bytes, str], tuple[bool, str]]

MIB, GIB = 1 << 20, 1 << 30
MAX_GROWTH_BYTES: Final = 64 * MIB
BODY = RECORDING.read_bytes()
PATH = "/v1development/profiles"


def gzip_bomb(inflated_bytes: int) -> bytes:
    """One stream of zeros that says that it becomes 1000 bytes: a MiB for each GiB."""
    step = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = step.compress(bytes(MIB)) + step.flush(zlib.Z_FULL_FLUSH)
    head = b"\x1f\x8b\x08" + bytes(6) + b"\xff"
    return head + block * (inflated_bytes // MIB) + b"\x03\x00" + bytes(4) + (1000).to_bytes(4, "little")


def gzip_members(inflated_bytes: int) -> bytes:
    """Many small streams, one after another."""
    return gzip.compress(bytes(16 * MIB)) * (inflated_bytes // (16 * MIB))


def zstd_bomb(inflated_bytes: int) -> bytes:
    """A zstd frame of run-length blocks (RFC 8878): four bytes for each 128 KiB of zeros."""
    block_bytes = 128 << 10
    blocks = inflated_bytes // block_bytes
    header = b"\x28\xb5\x2f\xfd" + b"\x00" + b"\x38"  # no content size; a window of 128 KiB
    run = 0b010 | (block_bytes << 3)
    body = (run.to_bytes(3, "little") + b"\x00") * (blocks - 1)
    return header + body + (run | 1).to_bytes(3, "little") + b"\x00"


def zstd_window(log: int) -> bytes:
    """A zstd frame that wants a window of so many bits before its first byte (RFC 8878, 3.1.1.1.2)."""
    return b"\x28\xb5\x2f\xfd" + b"\x00" + bytes([(log - 10) << 3]) + b"\x01\x00\x00"


BOMBS: Final[dict[str, tuple[str, bytes]]] = {
    "gzip of 10 GiB": ("gzip", gzip_bomb(10 * GIB)),
    "gzip members of 10 GiB": ("gzip", gzip_members(10 * GIB)),
    "zstd of 10 GiB": ("zstd", zstd_bomb(10 * GIB)),
    "zstd window of 2 GiB": ("zstd", zstd_window(31)),
    "zstd of a long window": ("zstd", zstandard.ZstdCompressor(level=22).compress(bytes(GIB // 8))),
    "gzip in gzip": ("gzip", gzip.compress(gzip_bomb(GIB))),
    "zstd in zstd": ("zstd", zstandard.compress(zstandard.compress(zstd_bomb(10 * GIB)))),
    "gzip in zstd": ("zstd", zstandard.compress(gzip_bomb(GIB))),
}


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A service of both protocols, in a process of its own, that has seen plain bodies as large as a bomb."""
    config: dict[str, Any] = one_pipeline(exporters={"debug": {}})
    config["receivers"]["otlp"]["protocols"]["http"] = {"endpoint": "127.0.0.1:0"}
    with Process(config, tmp_path_factory.mktemp("process")) as process:
        for send in (over_grpc, over_http):
            assert not send(process, bytes(10 * MIB), "")[0]
        yield process


def endpoint(process: Process, protocol: str) -> str:
    """Where it listens."""
    return next(str(line["endpoint"]) for line in process.lines if line.get("protocol") == protocol)


def over_grpc(process: Process, body: bytes, _encoding: str) -> tuple[bool, str]:
    """Whether a request is taken, or else whether it is refused for good, and why."""
    with Client(endpoint(process, "grpc")) as client:
        answer = client.export(body)
    assert answer.retry_after_secs is None
    if answer == Answer(grpc.StatusCode.OK):
        return True, ""
    assert answer.code in {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT}
    return False, answer.message


def over_http(process: Process, body: bytes, encoding: str) -> tuple[bool, str]:
    """Whether a request is taken, or else whether it is refused for good, and why."""
    headers = {"content-type": "application/x-protobuf"}
    if encoding:
        headers["content-encoding"] = encoding
    with httpx.Client(trust_env=False, timeout=10) as client:
        response = client.post(f"http://{endpoint(process, 'http')}{PATH}", content=body, headers=headers)
    assert response.status_code in {200, 400, 413}
    return response.status_code == 200, response.text


def as_json(process: Process, body: bytes, encoding: str) -> tuple[bool, str]:
    """The same, as JSON, which is inflated elsewhere."""
    headers = {"content-type": "application/json", "content-encoding": encoding}
    with httpx.Client(trust_env=False, timeout=10) as client:
        response = client.post(f"http://{endpoint(process, 'http')}{PATH}", content=body, headers=headers)
    assert response.status_code in {400, 413}
    return False, response.text


def begin_peak(pid: int) -> int:
    """Have the system note the peak of a process's memory from now on; what it has."""
    clear = Path(f"/proc/{pid}/clear_refs")
    if clear.exists():
        clear.write_text("5", encoding="ascii")
    return int(psutil.Process(pid).memory_info().rss)


def peak(pid: int) -> int:
    """The most that a process had since; what it has where the system does not say."""
    status = Path(f"/proc/{pid}/status")
    if status.exists():
        lines = status.read_text(encoding="ascii").splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    return int(psutil.Process(pid).memory_info().rss)


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("send", [over_grpc, over_http, as_json])
def test_bombs_do_not_explode(process: Process, send: Any, name: str) -> None:
    """Up to 10 MiB that would become 10 GiB are refused for good, within 64 MiB over what they take plain."""
    encoding, bomb = BOMBS[name]
    assert len(bomb) < 11 * MIB
    assert [(True, "")] * 2 == [over_grpc(process, BODY, ""), (over_http(process, BODY, "")[0], "")]
    pid = process.popen.pid
    before_bytes = begin_peak(pid)
    is_taken, message = send(process, bomb, encoding)
    grown_bytes = peak(pid) - before_bytes
    assert (False, True) == (is_taken, bool(message))
    assert grown_bytes < MAX_GROWTH_BYTES
