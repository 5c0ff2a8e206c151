"""Every error that crosses a stage, and what the client is told about it.

    OtelprofError
    ├── ConfigError               the configuration cannot be used; carries every problem at once
    ├── PermanentError            the same input will fail again: never retried
    │   ├── InvalidRequestError       not the wire form of a request
    │   │   └── AmbiguousRevisionError    that of two revisions, with different meanings
    │   ├── UnsupportedEncodingError  a compression or a revision that is not spoken here
    │   ├── RequestTooLargeError      over a limit
    │   ├── UnauthenticatedError      the credentials were refused
    │   ├── ControlError              a change of the running service that cannot be made
    │   └── StoreError                the tables of a store are not what this version reads or writes
    │       └── EmptyStoreError           there are none
    └── RetryableError            may succeed later; may say when (`retry_after_secs`)
        ├── OverloadedError           no memory or no room in a queue
        └── UnavailableError          the far side cannot be reached, or says so
            └── ConflictError             somebody else works on the same files of a store

Nothing else is raised on the data path: an exception that is not in this tree is a bug, logged with its
traceback and treated as permanent. `ANSWERS` is the only table from an error to a status; a test fails on a
class it lacks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    import grpc

    from otelprof._core import Profiles


class OtelprofError(Exception):
    """Root of the tree. The message names the thing, its value, and what to do."""


@dataclass(frozen=True)
class ConfigProblem:
    """One thing wrong with a configuration.

    Attributes:
        path: where, as `exporters.otlp.endpoint`; empty for the file as a whole.
        message: what is wrong, with the offending value and what is allowed.
        hint: the nearest known key or value, when there is one.
    """

    path: str
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        return f"{where}{self.message}" + (f" (did you mean {self.hint!r}?)" if self.hint else "")


class ConfigError(OtelprofError):
    """A configuration that cannot be used.

    Attributes:
        problems: all of them, in the order of the file.
    """

    def __init__(self, problems: Sequence[ConfigProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class PermanentError(OtelprofError):
    """The same input will fail again."""


class InvalidRequestError(PermanentError):
    """The body is not the wire form of a request; says at which byte and in which field."""


class AmbiguousRevisionError(InvalidRequestError):
    """Two revisions of OTLP read the body with different meanings; names both."""


class UnsupportedEncodingError(PermanentError):
    """The body is compressed, or its revision is one, that is not spoken here."""


class RequestTooLargeError(PermanentError):
    """The request is over a limit; names the limit and its key."""


class UnauthenticatedError(PermanentError):
    """The credentials were refused: by the far side, or by this."""


class ControlError(PermanentError):
    """A change of the running service that cannot be made; says what stands in its way."""


class StoreError(PermanentError):
    """A store cannot be used as it is; says which table, and what to do."""


class EmptyStoreError(StoreError):
    """There is no table there."""


class RetryableError(OtelprofError):
    """May succeed later.

    Attributes:
        retry_after_secs: how long to wait at least, when known.
        undelivered: what of a request is still to be delivered, when an exporter delivered the rest; None is
            all of it. The Collector's `consumererror.NewProfiles` carries the same.
    """

    def __init__(
        self, message: str, *, retry_after_secs: float | None = None, undelivered: Profiles | None = None
    ) -> None:
        super().__init__(message)
        self.retry_after_secs = retry_after_secs
        self.undelivered = undelivered


class OverloadedError(RetryableError):
    """There is no memory, or no room in a queue, for this request now."""


class UnavailableError(RetryableError):
    """The far side cannot be reached, timed out, or says that it is unavailable."""


class ConflictError(UnavailableError):
    """Somebody else works on the same files of a store; nothing has changed, and a fresh look may help."""


@dataclass(frozen=True)
class Answer:
    """What a client is told: its gRPC status, and its HTTP status.

    Source: OTLP specification, "OTLP/gRPC Response" and "OTLP/HTTP Response".

    Attributes:
        grpc_name: of the gRPC status.
        http_status: the other.
    """

    grpc_name: Literal[
        "FAILED_PRECONDITION",
        "INTERNAL",
        "INVALID_ARGUMENT",
        "RESOURCE_EXHAUSTED",
        "UNAUTHENTICATED",
        "UNAVAILABLE",
        "UNIMPLEMENTED",
    ]
    http_status: int

    @property
    def grpc_status(self) -> grpc.StatusCode:
        """The gRPC status itself."""
        import grpc  # noqa: PLC0415 - every command knows errors, and few answer over gRPC

        return grpc.StatusCode[self.grpc_name]


ANSWERS: Final[dict[type[OtelprofError], Answer]] = {
    InvalidRequestError: Answer("INVALID_ARGUMENT", 400),
    AmbiguousRevisionError: Answer("INVALID_ARGUMENT", 400),
    UnsupportedEncodingError: Answer("UNIMPLEMENTED", 415),
    # Without RetryInfo, RESOURCE_EXHAUSTED says: do not send this again (OTLP specification, "Failures").
    RequestTooLargeError: Answer("RESOURCE_EXHAUSTED", 413),
    UnauthenticatedError: Answer("UNAUTHENTICATED", 401),
    ControlError: Answer("FAILED_PRECONDITION", 409),
    StoreError: Answer("INTERNAL", 500),
    EmptyStoreError: Answer("INTERNAL", 500),
    PermanentError: Answer("INVALID_ARGUMENT", 400),
    OverloadedError: Answer("UNAVAILABLE", 503),
    UnavailableError: Answer("UNAVAILABLE", 503),
    ConflictError: Answer("UNAVAILABLE", 503),
    RetryableError: Answer("UNAVAILABLE", 503),
    ConfigError: Answer("INTERNAL", 500),
    OtelprofError: Answer("INTERNAL", 500),
}


def answer_for(error: OtelprofError) -> Answer:
    """The answer to give for an error: its own, or that of its nearest ancestor."""
    return next(ANSWERS[cls] for cls in type(error).__mro__ if cls in ANSWERS)
