"""The strict intake is strict: it takes what Datadog's own uploaders sent, and refuses what breaks a rule."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
import zstandard

from otelprof._core import Profiles
from otelprof.clock import SystemClock
from otelprof.exporter.datadog.config import DatadogExporterConfig
from otelprof.exporter.datadog.multipart import Part, multipart
from otelprof.exporter.datadog.planning import Planner
from otelprof.exporter.datadog.uploads import Converter
from tests.e2e.datadog_intake import AGENT_PATH, API_KEY, INTAKE_PATH, RefusedError, inflated, receive
from tests.e2e.harness import RECORDING
from tests.recordings import SHARED
from tests.reference.pprof import Profile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_LABELLED = {"profile.pprof", "cpu.pprof", "wall.pprof"}
CAPTURES = sorted(SHARED.with_name("datadog").glob("*.body"))
each_capture = pytest.mark.parametrize("path", CAPTURES, ids=[path.stem for path in CAPTURES])


@dataclass(frozen=True)
class Sent:
    """An upload in its parts."""

    path: str
    headers: dict[str, str]
    boundary: str
    parts: list[Part]

    @property
    def body(self) -> bytes:
        """It, framed anew."""
        return multipart(self.parts, self.boundary)

    def with_part(self, index: int, **keys: Any) -> Sent:
        """It, with one part changed."""
        parts = list(self.parts)
        parts[index] = replace(parts[index], **keys)
        return replace(self, parts=parts)

    @property
    def event_at(self) -> int:
        """Where the event stands."""
        return next(at for at, part in enumerate(self.parts) if part.name == "event")

    @property
    def pprof_at(self) -> int:
        """Where the last pprof stands that has samples with labels."""
        return max(at for at, part in enumerate(self.parts) if part.name in _LABELLED)


def parted(path: str, headers: dict[str, str], body: bytes) -> Sent:
    """Take an upload apart, whatever it is."""
    boundary = headers["content-type"].partition("boundary=")[2]
    parts = []
    for text in body.removeprefix(b"--" + boundary.encode()).split(b"\r\n--" + boundary.encode())[:-1]:
        head, _, data = text.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        names = re.findall(r'name="([^"]+)"', head.decode())
        content_type = head.decode().partition("Content-Type: ")[2] or None
        parts.append(Part(names[0], names[1], content_type, data))
    return Sent(path, headers, boundary, parts)


def captured(path: Path) -> Sent:
    """A captured upload."""
    request, *lines = path.with_suffix(".head").read_bytes().decode().rstrip("\r\n").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return parted(request.split()[1], headers, path.read_bytes())


@cache
def ours() -> Sent:
    """An upload of ours: it has what every rule asks about, wherever this runs."""
    config = DatadogExporterConfig.model_validate({"timeline": True})
    profiles = Profiles.decode(RECORDING.read_bytes())
    converter = Converter(config, SystemClock())
    plan = Planner(config).plan(profiles)
    uploads = [upload for planned in plan.uploads for upload in converter.uploads(profiles, planned)]
    largest = max(uploads, key=lambda upload: upload.files[0].pprof.sample_count)
    body, headers = converter.body(largest)
    return parted(AGENT_PATH, {"dd-evp-origin": "o", "dd-evp-origin-version": "1", **headers}, body)


# One of each framing; the others say the same in more bytes.
SMALL = {"ddup-1", "ebpf-1", "node-1"}
BASES: dict[str, Callable[[], Sent]] = {
    "ours": ours,
    **{path.stem: lambda path=path: captured(path) for path in CAPTURES if path.stem in SMALL},  # type: ignore[misc] # bound now
}


@each_capture
def test_captures_are_taken(path: Path) -> None:
    """What Datadog's uploaders sent obeys every rule."""
    sent = captured(path)
    assert "demo" == receive(sent.path, sent.headers, path.read_bytes()).tag("service")


@each_capture
def test_captures_are_framed_as_we_frame(path: Path) -> None:
    """A captured body, taken apart, is made of its parts again, byte for byte."""
    assert path.read_bytes() == captured(path).body


@pytest.mark.parametrize("base", BASES)
def test_bases_are_taken(base: str) -> None:
    """What the mutants are made of is taken, also agentless."""
    sent = BASES[base]()
    receive(sent.path, sent.headers, sent.body)
    receive(INTAKE_PATH, {**sent.headers, "dd-api-key": API_KEY}, sent.body)


def header(**headers: str | None) -> Callable[[Sent], Sent]:
    """A mutant with other headers; None takes one away."""

    def mutant(sent: Sent) -> Sent:
        told = {**sent.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return replace(sent, headers={name: value for name, value in told.items() if value is not None})

    return mutant


def event(change: Callable[[dict[str, Any]], object]) -> Callable[[Sent], Sent]:
    """A mutant with another event."""

    def mutant(sent: Sent) -> Sent:
        told = json.loads(sent.parts[sent.event_at].data)
        change(told)
        return sent.with_part(sent.event_at, data=json.dumps(told).encode())

    return mutant


def pprof(change: Callable[[Any], object]) -> Callable[[Sent], Sent]:
    """A mutant with another pprof."""

    def mutant(sent: Sent) -> Sent:
        data = sent.parts[sent.pprof_at].data
        told = Profile.FromString(inflated(data))
        change(told)
        return sent.with_part(sent.pprof_at, data=zstandard.compress(told.SerializeToString()))

    return mutant


def label(key: str, value: str | int, times: int = 1) -> Callable[[Any], None]:
    """Give the first sample a label."""

    def change(told: Any) -> None:
        told.string_table.extend([key.encode(), str(value).encode()])
        at = len(told.string_table)
        sample = told.sample[0]
        kept = [one for one in sample.label if told.string_table[one.key].decode() != key]
        del sample.label[:]
        sample.label.extend(kept)
        for _ in range(times):
            made = sample.label.add(key=at - 2)
            if isinstance(value, str):
                made.str = at - 1
            else:
                made.num = value

    return change


def part(**keys: Any) -> Callable[[Sent], Sent]:
    """A mutant whose pprof is another part."""
    return lambda sent: sent.with_part(sent.pprof_at, **keys)


def retyped(told: Any) -> None:
    """Call the first sample type something else."""
    told.string_table.append(b"unheard-of")
    told.sample_type[0].type = len(told.string_table) - 1


def deepened(told: Any) -> None:
    """Make the first stack too deep."""
    location = told.location[0].id
    told.sample[0].location_id.extend([location] * 600)


OTHER = {"python": "go", "ebpf": "node", "node": "go"}
MUTANTS: dict[str, tuple[int, Callable[[Sent], Sent]]] = {
    "path": (404, lambda sent: replace(sent, path="/v1/profiles")),
    "no key": (403, lambda sent: replace(sent, path=INTAKE_PATH)),
    "bad key": (403, lambda sent: replace(header(dd_api_key="x")(sent), path=INTAKE_PATH)),
    "no origin": (400, header(dd_evp_origin=None)),
    "compressed": (400, header(content_encoding="gzip")),
    "no boundary": (400, header(content_type="multipart/form-data")),
    "junk": (400, header(content_type="text/plain")),
    "container without entity": (400, header(datadog_container_id="abc", datadog_entity_id="in-7")),
    "no event": (400, lambda sent: replace(sent, parts=[one for one in sent.parts if one.name != "event"])),
    "two events": (400, lambda sent: replace(sent, parts=[*sent.parts, sent.parts[sent.event_at]])),
    "event's file name": (400, lambda sent: sent.with_part(sent.event_at, filename="event")),
    "event's type": (400, lambda sent: sent.with_part(sent.event_at, content_type="text/plain")),
    "event is no JSON": (400, lambda sent: sent.with_part(sent.event_at, data=b"{")),
    "event is a list": (400, lambda sent: sent.with_part(sent.event_at, data=b"[]")),
    "file name": (400, part(filename="other.pprof")),
    "file type": (400, part(content_type="text/plain")),
    "file not listed": (400, event(lambda told: told.update(attachments=[]))),
    "listed, no file": (400, event(lambda told: told["attachments"].append("more.pprof"))),
    "not compressed": (400, part(data=b"\x0a\x00")),
    "too large": (413, part(data=b"\x28\xb5\x2f\xfd" + bytes(10 << 20))),
    "version": (400, event(lambda told: told.update(version="3"))),
    "version is a number": (400, event(lambda told: told.update(version=4))),
    "family": (400, event(lambda told: told.update(family="fortran"))),
    "other family's files": (400, event(lambda told: told.update(family=OTHER[told["family"]]))),
    "no start": (400, event(lambda told: told.pop("start"))),
    "local time": (400, event(lambda told: told.update(start=told["start"].replace("Z", "+02:00")))),
    "ends before": (400, event(lambda told: told.update(end="2001-01-01T00:00:00Z"))),
    "unknown key": (400, event(lambda told: told.update(tags=[]))),
    "kind of a key": (400, event(lambda told: told.update(endpoint_counts=[]))),
    "eleven attributes": (400, event(lambda told: told.update(custom_attributes=["a"] * 11))),
    "no service": (400, event(lambda told: told.update(tags_profiler="env:test"))),
    "tag without a value": (400, event(lambda told: told.update(tags_profiler="service:a,env:"))),
    "tag without a colon": (400, event(lambda told: told.update(tags_profiler="service:a,env"))),
    "long tag": (400, event(lambda told: told.update(tags_profiler="service:" + "a" * 200))),
    "sample type": (400, pprof(retyped)),
    "types in another order": (400, pprof(lambda told: told.sample_type.reverse())),
    "values": (400, pprof(lambda told: told.sample[0].value.append(1))),
    "location": (400, pprof(lambda told: told.sample[0].location_id.append(10**6))),
    "deep": (400, pprof(deepened)),
    "period": (400, pprof(lambda told: told.ClearField("period"))),
    "label twice": (400, pprof(label("a", "b", times=2))),
    "span id of zero": (400, pprof(label("span id", 0))),
    "span id as hexadecimal": (400, pprof(label("span id", "0123456789abcdef"))),
    "empty endpoint": (400, pprof(label("trace endpoint", ""))),
}


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("mutant", MUTANTS)
def test_mutants_are_refused(base: str, mutant: str) -> None:
    """What breaks a rule is refused, with the status that says so."""
    status, change = MUTANTS[mutant]
    sent = change(BASES[base]())
    with pytest.raises(RefusedError) as caught:
        receive(sent.path, sent.headers, sent.body)
    assert status == caught.value.status


@pytest.mark.parametrize("end", [b"", b"\r\n", b"--"])
def test_framing(end: bytes) -> None:
    """A body that does not end as it should is refused."""
    sent = ours()
    with pytest.raises(RefusedError, match="framing"):
        receive(sent.path, sent.headers, sent.body[:-4] + end)


@pytest.mark.parametrize(
    ("family", "key", "value"),
    [
        ("python", "span id", "1"),
        ("python", "local root span id", "1"),
        ("python", "thread id", "1"),
        ("go", "span id", 1),
        ("node", "span id", "1"),
        ("node", "thread id", 1),
        ("ebpf", "span id", 1),
        ("ebpf", "thread id", 1),
        ("ebpf", "end_timestamp_ns", 1),
        ("python", "timestamp_ns", 1),
    ],
)
def test_forms_of_labels(family: str, key: str, value: str | int) -> None:
    """A label in another form than the family's own uploader has is refused."""
    if family == "ebpf":
        sent = ours()
    else:
        path = next((path for path in CAPTURES if path.stem == f"{family}-1"), None)
        if path is None:
            pytest.skip("the captured uploads are not here")
        sent = captured(path)
    sent = pprof(label(key, value))(sent)
    with pytest.raises(RefusedError, match=key):
        receive(sent.path, sent.headers, sent.body)
