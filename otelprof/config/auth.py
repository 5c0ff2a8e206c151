"""Which extension knows a receiver's clients, or speaks for an exporter (the collector's `configauth`)."""

from collections.abc import Mapping

from pydantic import field_validator

from otelprof.config.section import Section
from otelprof.model import ComponentId


class AuthConfig(Section):
    """Who authenticates.

    Attributes:
        authenticator: the id of an extension that does, as `bearertokenauth`.
    """

    authenticator: ComponentId

    @field_validator("authenticator", mode="before")
    @classmethod
    def _read_id(cls, value: object) -> object:
        return ComponentId.parse(value) if isinstance(value, str) else value


def authenticator_of(auth: AuthConfig | None) -> Mapping[str, ComponentId]:
    """The authenticator of an exporter by its key, where it names one."""
    return {} if auth is None else {"auth.authenticator": auth.authenticator}
