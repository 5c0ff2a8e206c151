"""A strict intake of profiles: what Datadog's own uploaders keep to, it asks of everybody.

Datadog's real intake says little about why it skips an upload. The rules here are those that the captured
uploads of four of its uploaders obey, and those that its libraries, documentation and Agent state; the tests
hold the captures against them before any exporter of ours.
"""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import zstandard
from google.protobuf.message import DecodeError

from tests.e2e.http_sink import HttpAnswer, HttpSink
from tests.reference.pprof import Label, Reader, read

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

AGENT_PATH: Final = "/profiling/v1/input"
INTAKE_PATH: Final = "/api/v2/profile"
API_KEY: Final = "0123456789abcdef0123456789abcdef"
MAX_BYTES: Final = 10 << 20
MAX_FRAMES: Final = 600
MAX_CUSTOM: Final = 10

_DISPOSITION: Final = re.compile(r'form-data; name="([^"\r\n]+)"; filename="([^"\r\n]+)"')
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")
_CLOCKS: Final = ["cpu-time", "cpu-samples", "wall-time", "wall-samples", "exception-samples"]
_LOCKS: Final = ["lock-acquire-wait", "lock-acquire", "lock-release-hold", "lock-release"]
_MEMORY: Final = ["alloc-space", "alloc-samples", "heap-space", "heap-live-samples"]
_GPU: Final = ["time", "samples", "space", "alloc-samples", "flops", "flops-samples"]
_LIBDATADOG: Final = [*_CLOCKS, *_LOCKS, *_MEMORY, *(f"gpu-{kind}" for kind in _GPU)]
_CONTENTION: Final = ["contentions", "delay"]
_HEAP: Final = ["alloc_objects", "alloc_space", "inuse_objects", "inuse_space"]
_EBPF: Final = ["cpu-samples", "cpu-time", "wall-samples", "wall-time"]
_EBPF_MEMORY: Final = ["alloc-samples", "alloc-space", "heap-live-samples", "heap-space"]
# By family, the pprofs that it may send, and the sample types of each in their order.
PPROFS: Final[dict[str, dict[str, list[str]]]] = {
    **{one: {"profile.pprof": _LIBDATADOG} for one in ("python", "ruby", "php", "dotnet")},
    "go": {
        "cpu.pprof": ["samples", "cpu"],
        **dict.fromkeys(("heap.pprof", "delta-heap.pprof"), _HEAP),
        **{f"{delta}{kind}.pprof": _CONTENTION for delta in ("", "delta-") for kind in ("mutex", "block")},
        "goroutines.pprof": ["goroutine"],
    },
    "node": {
        "wall.pprof": ["sample", "wall", "cpu"],
        "space.pprof": ["inuse_objects", "inuse_space"],
        "events.pprof": ["timeline"],
    },
    "ebpf": {"cpu.pprof": [*_EBPF, *_EBPF_MEMORY]},
}
_BESIDE: Final = frozenset(("metrics.json", "code-provenance.json"))
_FORMS: Final[dict[str, tuple[type, type]]] = {
    # span ids, thread ids
    **dict.fromkeys(("python", "ruby", "php", "dotnet"), (int, int)),
    "node": (int, str),
    "go": (str, str),
    "ebpf": (str, str),
}
_TIMESTAMPS: Final = ("end_timestamp_ns", "timestamp_ns")
_OPTIONAL: Final[dict[str, type]] = {
    "endpoint_counts": dict,
    "custom_attributes": list,
    "process_tags": str,
    "internal": dict,
    "info": dict,
}
_REQUIRED: Final[dict[str, type]] = {
    "version": str,
    "family": str,
    "start": str,
    "end": str,
    "attachments": list,
    "tags_profiler": str,
}


class RefusedError(Exception):
    """An upload that breaks a rule, and what is answered."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class Received:
    """An upload that obeys all rules.

    Attributes:
        headers: names in lower case.
        event: the event.
        pprofs: by the attachment's name.
    """

    headers: dict[str, str]
    event: dict[str, Any]
    pprofs: dict[str, Reader]

    @property
    def tags(self) -> list[tuple[str, str]]:
        """The tags, in their order."""
        return [(key, value) for key, _, value in self._parted()]

    def tag(self, key: str) -> str | None:
        """The first tag of a key."""
        return dict(reversed(self.tags)).get(key)

    def _parted(self) -> list[tuple[str, str, str]]:
        return [one.partition(":") for one in str(self.event["tags_profiler"]).split(",")]


def _ask(is_kept: object, reason: str, status: int = 400) -> None:
    if not is_kept:
        raise RefusedError(reason, status)


def receive(path: str, headers: dict[str, str], body: bytes) -> Received:
    """Read an upload.

    Raises:
        RefusedError: it breaks a rule.
    """
    _ask(path in {AGENT_PATH, INTAKE_PATH}, "no such path", 404)
    _ask(path != INTAKE_PATH or re.fullmatch("[0-9a-z]{32}", headers.get("dd-api-key", "")), "key", 403)
    _ask(headers.get("dd-evp-origin") and headers.get("dd-evp-origin-version"), "origin")
    _ask("content-encoding" not in headers, "the body is compressed")
    container, entity = (headers.get(f"datadog-{one}-id") for one in ("container", "entity"))
    _ask(container is None or entity == f"ci-{container}", "container and entity")
    match = re.fullmatch(
        r'multipart/form-data; boundary="?([0-9a-f-]{16,70})"?', headers.get("content-type", "")
    )
    _ask(match, "content type")
    assert match is not None
    parts = _parts(body, match[1])
    names = [name for name, _, _ in parts]
    _ask(names.count("event") == 1 and len(names) == len(set(names)), "events, or names given twice")
    _ask("event" in {names[0], names[-1]}, "the event is neither first nor last")
    event = _event(next(data for name, _, data in parts if name == "event"))
    files = {name: data for name, _, data in parts if name != "event"}
    _ask(event["attachments"] == list(files), "attachments")
    pprofs = {}
    for name, data in files.items():
        _ask(len(data) <= MAX_BYTES, f"{name} is too large", 413)
        if name not in _BESIDE:
            _ask(name in PPROFS[event["family"]], f"{name} of {event['family']}")
            pprofs[name] = _pprof(inflated(data), event["family"], name)
    return Received(headers, event, pprofs)


def _parts(body: bytes, boundary: str) -> list[tuple[str, str, bytes]]:
    """Field, Content-Type and data of each part."""
    delimiter = f"--{boundary}".encode()
    _ask(body.startswith(delimiter + b"\r\n") and body.endswith(b"\r\n" + delimiter + b"--\r\n"), "framing")
    inner = body[len(delimiter) : -len(b"\r\n" + delimiter + b"--\r\n")]
    parts = []
    for part in inner.split(b"\r\n" + delimiter):
        head, end, data = part.partition(b"\r\n\r\n")
        _ask(end and head.startswith(b"\r\n"), "framing of a part")
        lines = dict(line.partition(": ")[::2] for line in head[2:].decode().split("\r\n"))
        match = _DISPOSITION.fullmatch(lines.pop("Content-Disposition", ""))
        content_type = lines.pop("Content-Type", "")
        _ask(match and not lines, "headers of a part")
        assert match is not None
        name, filename = match.groups()
        wanted = ("event.json", {"application/json"})
        if name != "event":
            wanted = (name, {"application/octet-stream", ""})
        _ask(filename == wanted[0] and content_type in wanted[1], f"name or type of {name}")
        parts.append((name, content_type, data))
    return parts


def _event(data: bytes) -> dict[str, Any]:
    try:
        event: dict[str, Any] = json.loads(data)
    except ValueError as error:
        reason = f"the event is no JSON: {error}"
        raise RefusedError(reason) from None
    _ask(isinstance(event, dict), "the event is no object")
    for key, kind in _REQUIRED.items():
        _ask(isinstance(event.get(key), kind), f"event.{key}")
    for key in event.keys() - _REQUIRED.keys():
        _ask(key in _OPTIONAL, f"event.{key} is unknown")
        _ask(event[key] is None or isinstance(event[key], _OPTIONAL[key]), f"event.{key}")
    _ask(event["version"] == "4", "version")
    _ask(event["family"] in PPROFS, "family")
    _ask(all(_TIME.fullmatch(event[key]) for key in ("start", "end")), "times")
    start, end = (datetime.fromisoformat(event[key]) for key in ("start", "end"))
    _ask(start <= end, "the end is before the start")
    _ask(len(event.get("custom_attributes") or []) <= MAX_CUSTOM, "custom attributes")
    tags = event["tags_profiler"].split(",")
    for tag in tags:
        key, colon, value = tag.partition(":")
        _ask(key and colon and value and not value.endswith(":") and len(tag) <= 200, f"tag {tag!r}")
    _ask(sum(tag.startswith("service:") for tag in tags) == 1, "no service")
    return event


def inflated(data: bytes) -> bytes:
    """An attachment, as its magic number says."""
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    _ask(data.startswith(b"\x1f\x8b"), "an attachment is neither zstd nor gzip")
    return gzip.decompress(data)


def _pprof(body: bytes, family: str, name: str) -> Reader:
    try:
        reader = read(body)
    except (ValueError, DecodeError) as error:
        msg = f"{name}: {error}"
        raise RefusedError(msg) from None
    known = iter(PPROFS[family][name])
    _ask(all(kind in known for kind, _ in reader.types), f"{name}: sample types {reader.types}")
    _ask(reader.pprof.period > 0 or name == "heap.pprof", f"{name}: period")
    for sample in reader.pprof.sample:
        _ask(len(sample.location_id) <= MAX_FRAMES, f"{name}: too deep")
        labels = reader.labels(sample)
        _ask(len(labels) == len({label.key for label in labels}), f"{name}: a label twice")
        for label in labels:
            _ask(_is_right(label, family), f"{name}: label {label}")
    return reader


def _is_right(label: Label, family: str) -> bool:
    """Whether a label has the form that the family's own uploader gives to it."""
    key, value, _ = label
    span, thread = _FORMS[family]
    match key:
        case "span id" | "local root span id":
            return isinstance(value, span) and str(value).lstrip("-").isdecimal() and int(value) != 0
        case "thread id":
            return isinstance(value, thread)
        case "trace endpoint" | "thread name" | "process_id" | "process name":
            return isinstance(value, str) and value != ""
        case _ if key in _TIMESTAMPS:
            return isinstance(value, int) and value > 0 and (key == _TIMESTAMPS[1]) == (family == "ebpf")
    return True


class DatadogIntake(HttpSink):
    """An Agent, or the intake: takes what obeys the rules.

    Args:
        path: of a unix socket to listen on.
        takes: whether an upload is not too large.

    Attributes:
        received: the uploads that were taken.
        seen: those that obey the rules, taken or not.
    """

    def __init__(self, path: Path | None = None, takes: Callable[[Received], bool] = bool) -> None:
        super().__init__(path=path)
        self._takes = takes
        self.received: list[Received] = []
        self.seen: list[Received] = []
        self._forever: HttpAnswer | None = None

    def answer_forever(self, answer: HttpAnswer) -> None:
        """Say this from now on, whatever comes."""
        self._forever = answer

    def judge(self, path: str, headers: dict[str, str], sent: bytes) -> HttpAnswer:
        """Take an upload, or say which rule it breaks."""
        if self._forever is not None:
            return self._forever
        try:
            received = receive(path, headers, sent)
            self.seen.append(received)
            _ask(self._takes(received), "too much for this one", 413)
        except RefusedError as error:
            return HttpAnswer(error.status, str(error).encode(), {})
        self.received.append(received)
        return HttpAnswer(200, b"", {})
