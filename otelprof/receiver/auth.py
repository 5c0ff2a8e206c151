"""Who sends: known by the authenticator that the receiver names, by their address where it names none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otelprof.component import Principal
from otelprof.errors import OtelprofError
from otelprof.receiver.admission import client_at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otelprof.component import ComponentSettings
    from otelprof.config.auth import AuthConfig
    from otelprof.receiver.otlp_intake import OtlpIntake
    from otelprof.receiver.traces_intake import TracesIntake

AUTHORIZATION: Final = "authorization"


class Clients:
    """The clients of one protocol of a receiver.

    Args:
        auth: who authenticates them; None lets anybody in.
        component: of the receiver.
    """

    def __init__(self, auth: AuthConfig | None, component: ComponentSettings) -> None:
        self._auth = auth
        self._authenticators = component.authenticators

    @property
    def are_known(self) -> bool:
        """Whether they have to say who they are."""
        return self._auth is not None

    def authenticate(self, headers: Sequence[str], host: str) -> Principal:
        """Who sends.

        Args:
            headers: each `authorization` of the request.
            host: the address that it came from.

        Raises:
            UnauthenticatedError: they have to say, and do not.
        """
        if self._auth is None:
            return Principal(client_at(host), _anything)
        return self._authenticators[self._auth.authenticator].authenticate(headers)


def charge(intake: OtlpIntake | TracesIntake, principal: Principal, size_bytes: int) -> None:
    """Have a request counted for who sends it, before it is read.

    Raises:
        OverloadedError: more came than they may send; it is counted as unread.
    """
    try:
        principal.charge(size_bytes)
    except OtelprofError as error:
        intake.counts.unread(error)
        raise


def _anything(_size_bytes: int) -> None:
    """Nobody counts."""
