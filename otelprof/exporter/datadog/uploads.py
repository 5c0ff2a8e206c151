"""From a plan to what the intake is sent: converted, compressed, and cut until it fits."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import blake2b
from threading import Lock
from typing import TYPE_CHECKING, Final

import zstandard

from otelprof.errors import RequestTooLargeError
from otelprof.exporter.datadog.event import event
from otelprof.exporter.datadog.multipart import Part, multipart

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from otelprof._core import JoinedPprof, PprofLayout, Profiles
    from otelprof.clock import Clock
    from otelprof.exporter.datadog.config import DatadogExporterConfig
    from otelprof.exporter.datadog.dialects import Attachment, Dialect
    from otelprof.exporter.datadog.origin import Origin
    from otelprof.exporter.datadog.planning import PlannedAttachment, PlannedUpload

MAX_ATTACHMENT_BYTES: Final = 10 << 20
"""A larger pprof is taken, and then skipped (libdatadog); whether it is measured compressed, nobody says."""

# What samples may take before anything is compressed; names and frames come on top.
_MAX_SAMPLE_BYTES: Final = 4 << 20
# Datadog's Python uploader uses the same.
_ZSTD_LEVEL: Final = 1
_BOUNDARY_BYTES: Final = 30
_MAX_ORIGINS: Final = 10_000
_DIGEST_BYTES: Final = 32


@dataclass(frozen=True)
class File:
    """A pprof that was made.

    Attributes:
        planned: what it was made of.
        skip: how many observations stand in others before it.
        pprof: it.
        data: it, compressed.
    """

    planned: PlannedAttachment
    skip: int
    pprof: JoinedPprof
    data: bytes

    @property
    def sample_type(self) -> str:
        """What its samples are called when they are lost."""
        return ":".join(self.pprof.sample_types[0])


@dataclass(frozen=True)
class Upload:
    """What is sent at once.

    Attributes:
        planned: what it is a piece of.
        files: its attachments; at least one.
        digest: of what is in it: the same for the same request, always.
    """

    planned: PlannedUpload
    files: Sequence[File]
    digest: bytes


class Sequences:
    """How many uploads there were of an origin: the tag `profile_seq`. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._next: OrderedDict[Origin, int] = OrderedDict()

    def take(self, origin: Origin) -> int:
        """The next number, from 0; that of an origin that was long silent begins anew."""
        with self._lock:
            number = self._next.pop(origin, 0)
            self._next[origin] = number + 1
            if len(self._next) > _MAX_ORIGINS:
                self._next.popitem(last=False)
        return number


class Converter:
    """Makes uploads of what was planned.

    Args:
        config: of the exporter.
        clock: says the time of Profiles without one.
    """

    def __init__(self, config: DatadogExporterConfig, clock: Clock) -> None:
        self._custom_attributes = config.custom_attributes
        self._timeline = config.timeline
        self._clock = clock
        self._layouts: dict[tuple[str, str], PprofLayout] = {}
        self._sequences = Sequences()

    def uploads(self, profiles: Profiles, planned: PlannedUpload) -> Iterator[Upload]:
        """The pieces of a planned upload: one, unless there is more than a pprof may hold."""
        skips = dict.fromkeys(planned.attachments, 0)
        while skips:
            files = [
                self._file(profiles, planned, planned.attachments[name], skip=skip)
                for name, skip in skips.items()
            ]
            yield _upload(planned, files)
            skips = {
                file.planned.attachment.name: file.skip + file.pprof.observation_count
                for file in files
                if not file.pprof.is_complete
            }

    def halves(self, profiles: Profiles, upload: Upload) -> list[Upload]:
        """An upload as smaller ones: each attachment by itself, or the halves of one; or nothing."""
        if len(upload.files) > 1:
            return [_upload(upload.planned, [file]) for file in upload.files]
        (file,) = upload.files
        count, planned = file.pprof.observation_count, upload.planned
        half = count // 2
        if not half:
            return []
        parts = [(file.skip, half), (file.skip + half, count - half)]
        return [
            _upload(planned, [self._file(profiles, planned, file.planned, skip=skip, most=most)])
            for skip, most in parts
        ]

    def body(self, upload: Upload) -> tuple[bytes, dict[str, str]]:
        """The body of an upload, and its headers.

        Raises:
            RequestTooLargeError: the intake would take it and skip it.
        """
        for file in upload.files:
            if _is_too_large(file):
                message = f"{file.planned.attachment.name} is over {MAX_ATTACHMENT_BYTES:,} bytes"
                raise RequestTooLargeError(message)
        origin, framing = upload.planned.origin, upload.planned.origin.dialect.framing
        told = event(
            origin.dialect,
            window_nanos=self._window(upload.planned),
            tags=[*origin.tags, f"profile_seq:{self._sequences.take(origin)}"],
            files={file.planned.attachment.name: file.pprof.label_keys for file in upload.files},
        )
        parts = [
            Part(
                file.planned.attachment.name, file.planned.attachment.name, framing.attachment_type, file.data
            )
            for file in upload.files
        ]
        parts.insert(
            0 if framing.event_first else len(parts), Part("event", "event.json", "application/json", told)
        )
        boundary = secrets.token_hex(_BOUNDARY_BYTES)
        content_type = f"multipart/form-data; boundary={boundary}"
        return multipart(parts, boundary), {"content-type": content_type, **dict(origin.headers)}

    def _window(self, planned: PlannedUpload) -> tuple[int, int]:
        if planned.start_nanos:
            return planned.start_nanos, planned.end_nanos
        # Nobody said when it was: when it came is near.
        now = int(self._clock.now() * 10**9)
        return max(0, now - planned.end_nanos), now

    def _file(
        self,
        profiles: Profiles,
        upload: PlannedUpload,
        planned: PlannedAttachment,
        *,
        skip: int,
        most: int | None = None,
    ) -> File:
        pprof = self._layout(upload.origin.dialect, planned.attachment).join(
            profiles,
            planned.members,
            period_type=planned.period_type,
            period=planned.period,
            skip=skip,
            max_observations=most,
            max_bytes=_MAX_SAMPLE_BYTES,
        )
        return File(planned, skip, pprof, zstandard.ZstdCompressor(_ZSTD_LEVEL).compress(pprof.body))

    def _layout(self, dialect: Dialect, attachment: Attachment) -> PprofLayout:
        key = (dialect.family, attachment.name)
        if key not in self._layouts:
            self._layouts[key] = dialect.layout(attachment, self._custom_attributes, timeline=self._timeline)
        return self._layouts[key]


def _is_too_large(file: File) -> bool:
    """Whether it is over the limit, or better cut: of a single observation only what is sent counts."""
    can_be_cut = file.pprof.observation_count > 1
    return max(len(file.data), len(file.pprof.body) if can_be_cut else 0) > MAX_ATTACHMENT_BYTES


def _upload(planned: PlannedUpload, files: Sequence[File]) -> Upload:
    digest = blake2b(digest_size=_DIGEST_BYTES)
    for text in (planned.origin.dialect.family, *planned.origin.tags, *map(str, planned.origin.headers)):
        digest.update(f"{len(text)}:{text}".encode())
    for file in files:
        digest.update(file.planned.attachment.name.encode() + len(file.pprof.body).to_bytes(8))
        digest.update(file.pprof.body)
    return Upload(planned, files, digest.digest())
