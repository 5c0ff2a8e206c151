"""`event.json`: what an upload says of itself."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from otelprof.exporter.datadog.config import MAX_CUSTOM_ATTRIBUTES
from otelprof.exporter.datadog.tags import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from otelprof.exporter.datadog.dialects import Dialect

FORMAT_VERSION: Final = "4"
_NANOS: Final = 10**9


def timestamp(nanos: int) -> str:
    """A time as every uploader writes it: RFC 3339, UTC, and here always nine digits of a second."""
    secs, rest = divmod(nanos, _NANOS)
    return f"{datetime.fromtimestamp(secs, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09}Z"


def announced(dialect: Dialect, label_keys: Iterable[str]) -> list[str]:
    """The labels that Datadog is told of, so that it can be asked for them: ten at most."""
    known = dialect.known_labels()
    # A tag could not say others.
    custom = [key for key in sorted(label_keys) if key not in known and clean(key) == key]
    return custom[:MAX_CUSTOM_ATTRIBUTES]


def event(
    dialect: Dialect, *, window_nanos: tuple[int, int], tags: Sequence[str], files: dict[str, Sequence[str]]
) -> bytes:
    """The event of an upload.

    Args:
        dialect: how it is written.
        window_nanos: start and end.
        tags: in their order.
        files: the labels of each attachment, by its name.
    """
    custom = announced(dialect, {key for keys in files.values() for key in keys})
    if dialect.is_ebpf:
        tags = [*(f"ddprof.custom_ctx:{key}" for key in custom), *tags]
    start, end = window_nanos
    told: dict[str, object] = {
        "attachments": list(files),
        "tags_profiler": ",".join(tags),
        "start": timestamp(start),
        "end": timestamp(end),
        "family": dialect.family,
        "version": FORMAT_VERSION,
    }
    if dialect.announces and custom:
        told["custom_attributes"] = custom
    if dialect.framing.writes_absent:
        told |= {"endpoint_counts": None, "process_tags": None, "internal": {}, "info": {}}
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode() + dialect.framing.event_end
