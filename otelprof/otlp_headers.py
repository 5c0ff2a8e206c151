"""What the two sides of an OTLP hop say to each other in headers, over gRPC and over HTTP alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

# The newest collector refuses other values; absent means 1.
VERSION_HEADER: Final = "otlp-profiles-development-version"
VERSION: Final = "1"
# otelprof's own: with it a next otelprof need not tell the revision by the bytes, which a few small requests
# leave open.
REVISION_HEADER: Final = "otelprof-otlp-revision"


class SenderHeaders(NamedTuple):
    """What a client says of a request.

    Attributes:
        version: the development version of profiles; None when it does not say.
        revision: the OTLP revision that it is written in, as otelprof names them; None when it does not say.
    """

    version: str | None = None
    revision: str | None = None

    @classmethod
    def of(cls, headers: Iterable[tuple[str, str | bytes]]) -> Self:
        """Find it, by names in lower case. Different values of one header are joined, and so mean nothing."""
        said: dict[str, set[str]] = {VERSION_HEADER: set(), REVISION_HEADER: set()}
        for name, value in headers:
            if name in said:
                said[name].add(str(value))
        version, revision = (", ".join(sorted(values)) if values else None for values in said.values())
        return cls(version, revision)
