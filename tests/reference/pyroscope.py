"""What a Pyroscope server says to a push, and what of it is there afterwards: rules that were measured.

Measured against grafana/pyroscope v2 (main of 2026-08-21, default limits, several tenants). Where an older
server is stricter, so is this: label names are those that every version shows.
"""

from __future__ import annotations

import gzip
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from tests.reference.pprof import Reader, read

MAX_LABELS: Final = 30
MAX_NAME: Final = 1024
MAX_VALUE: Final = 2048
MAX_SAMPLES: Final = 16_000
MAX_SAMPLE_LABELS: Final = 100
MAX_PROFILE_BYTES: Final = 4 << 20
BURST_BYTES: Final = 2 << 20
MAX_DEPTH: Final = 1_000
OLDER_SECS: Final = 3_600
NEWER_SECS: Final = 600
SPAN_LABELS: Final = {"trace_id": 32, "span_id": 16, "profile_id": 16}

_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_HEX: Final = re.compile(r"[0-9a-fA-F]+")


def _schema() -> Any:
    """`push.v1.PushRequest`, by the numbers of its fields."""
    file = descriptor_pb2.FileDescriptorProto(name="pyroscope_push_reference.proto", package="push_reference")
    scalar = descriptor_pb2.FieldDescriptorProto
    for message, fields in {
        "LabelPair": "name string, value string",
        "RawSample": "raw_profile bytes, ID string",
        "Series": "labels LabelPair*, samples RawSample*",
        "PushRequest": "series Series*",
    }.items():
        kind = file.message_type.add(name=message)
        for number, told in enumerate(fields.split(", "), 1):
            name, what = told.rstrip("*").split()
            made = kind.field.add(name=name, number=number)
            made.label = scalar.LABEL_REPEATED if told.endswith("*") else scalar.LABEL_OPTIONAL
            made.type = getattr(scalar, f"TYPE_{what.upper()}", scalar.TYPE_MESSAGE)
            if made.type == scalar.TYPE_MESSAGE:
                made.type_name = f".push_reference.{what}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("push_reference.PushRequest"))


PushRequest: Final = _schema()


class Kept(NamedTuple):
    """A sample of one type as it is there in the end.

    Attributes:
        labels: of its series, those of the sample among them.
        profile_type: `__name__:type:unit:period_type:period_unit`.
        stack: function names, the leaf first.
        span_id: in lower case; empty without.
        trace_id: likewise.
        value: in the unit of the type.
    """

    labels: frozenset[tuple[str, str]]
    profile_type: str
    stack: tuple[str, ...]
    span_id: str
    trace_id: str
    value: int


@dataclass
class Verdict:
    """What is said, and what is kept.

    Attributes:
        status: HTTP's; 200 is a success.
        code: of the Connect error.
        message: of it.
        kept: samples that are there in the end, even when something else was refused.
        lost: how many samples went without a word, by why.
    """

    status: int = 200
    code: str = ""
    message: str = ""
    kept: list[Kept] = field(default_factory=list)
    lost: Counter[str] = field(default_factory=Counter)

    def refuse(self, status: int, code: str, message: str) -> None:
        """Say no."""
        self.status, self.code, self.message = status, code, message


def judge(body: bytes, now: float) -> Verdict:
    """What becomes of a request's body."""
    verdict = Verdict()
    try:
        request = PushRequest.FromString(body)
    except DecodeError:
        verdict.refuse(400, "invalid_argument", "unmarshal message")
        return verdict
    if not request.series:
        verdict.refuse(400, "invalid_argument", "no profiles received")
    for series in request.series:
        pairs = [(label.name, label.value) for label in series.labels]
        for sample in series.samples:
            wrong = _labels_are_wrong(pairs) or _take(verdict, dict(pairs), sample.raw_profile, now)
            if wrong:
                verdict.refuse(*wrong)
    return verdict


_Wrong = tuple[int, str, str]


def _invalid(message: str) -> _Wrong:
    return 400, "invalid_argument", message


def _labels_are_wrong(pairs: list[tuple[str, str]]) -> _Wrong | None:
    names = [name for name, _ in pairs]
    if not dict(pairs).get("__name__"):
        return _invalid("invalid metric name")
    if len(names) > MAX_LABELS:
        return _invalid(f"{len(names)} labels")
    if len(set(names)) != len(names):
        return _invalid("duplicate label name")
    for name, value in pairs:
        if not _LABEL.fullmatch(name) or len(name) > MAX_NAME:
            return _invalid(f"label name {name[:20]!r}")
        if len(value.encode()) > MAX_VALUE:
            return _invalid("label value too long")
    return None


def _take(verdict: Verdict, labels: dict[str, str], raw: bytes, now: float) -> _Wrong | None:
    pprof = gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw
    if len(pprof) > MAX_PROFILE_BYTES:
        return _invalid("uncompressed profile payload size exceeds limit of 4.2 MB")
    size = len(pprof) + sum(len(name) + len(value.encode()) for name, value in labels.items())
    if size > BURST_BYTES:
        return 429, "resource_exhausted", "push rate limit (4.0 MiB) exceeded"
    try:
        reader = read(pprof)
    except DecodeError:
        return 500, "unknown", "proto: wrong wireType"
    except (UnicodeDecodeError, ValueError) as error:
        return _invalid(f"invalid profile: {error}")
    wrong = _profile_is_wrong(reader, now)
    if wrong is None:
        _keep(verdict, labels, reader)
    return wrong


def _profile_is_wrong(reader: Reader, now: float) -> _Wrong | None:
    pprof = reader.pprof
    age = now - pprof.time_nanos / 1e9
    if pprof.time_nanos and not -NEWER_SECS <= age <= OLDER_SECS:
        return _invalid("outside of ingestion window")
    if len(pprof.sample) > MAX_SAMPLES:
        return _invalid(f"{len(pprof.sample)} samples")
    if any(len(sample.label) > MAX_SAMPLE_LABELS for sample in pprof.sample):
        return _invalid("labels of a sample")
    if any("-" in name for name, _ in reader.types):
        return _invalid("sample type contains -")
    return None


def _keep(verdict: Verdict, labels: dict[str, str], reader: Reader) -> None:
    labels = {"service_name": "unknown_service", **labels}
    period = reader.value_type(reader.pprof.period_type)
    for sample in reader.pprof.sample:
        if any(value < 0 for value in sample.value):
            verdict.lost["negative"] += 1
            continue
        if len(sample.location_id) > MAX_DEPTH:
            verdict.lost["deep"] += 1
        texts = {label.key: label.value for label in reader.labels(sample) if isinstance(label.value, str)}
        spans = {name: texts.pop(name, "") for name in SPAN_LABELS}
        spans = {
            name: value if len(value) == SPAN_LABELS[name] and _HEX.fullmatch(value) else ""
            for name, value in spans.items()
        }
        stack = [
            reader.function(line.function_id)[0]
            for location in sample.location_id[-MAX_DEPTH:]
            for line in reader.locations[location].line
        ]
        series = frozenset({**texts, **labels}.items())
        for (name, unit), value in zip(reader.types, sample.value, strict=True):
            profile_type = ":".join((labels["__name__"], name, unit, *period))
            ids = (spans["span_id"] or spans["profile_id"]).lower(), spans["trace_id"].lower()
            if value:
                verdict.kept.append(Kept(series, profile_type, tuple(stack), *ids, value))
