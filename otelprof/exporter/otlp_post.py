"""One request, one POST of OTLP/HTTP: what exporters that send it have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceResponse,
)

from otelprof.errors import UnavailableError
from otelprof.exporter.http_client import HttpClient
from otelprof.exporter.otlp_answer import NextHop
from otelprof.exporter.otlp_http_answer import error_of, parse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otelprof._core import Profiles
    from otelprof.component import ComponentSettings
    from otelprof.exporter.http_client import HttpSettings


class OtlpPost(ABC):
    """Sends each request as one POST.

    Args:
        url: where to.
        settings: of the exporter.
    """

    def __init__(self, url: str, settings: ComponentSettings) -> None:
        self._url = url
        self._id = str(settings.id)
        self._clock = settings.clock
        self._next_hop = NextHop(url, settings)
        self._client: HttpClient | None = None

    @abstractmethod
    def _http_settings(self) -> HttpSettings:
        """How to reach the far side, with the headers of every request."""

    def _authorization(self) -> Mapping[str, str]:
        """Headers of one request, beside those of every one; none by default."""
        return {}

    @abstractmethod
    def _written(self, profiles: Profiles) -> bytes:
        """A request as it is sent, before compression."""

    @abstractmethod
    def _compressed(self, body: bytes) -> bytes:
        """It as the headers say."""

    def start(self) -> None:
        """Make the client; it connects with the first request.

        Raises:
            ConfigError: a TLS file cannot be used.
        """
        self._client = HttpClient(self._http_settings(), self._clock)

    def export(self, profiles: Profiles) -> None:
        """Send a request.

        Raises:
            RetryableError: the far side is away, or asks to wait.
            PermanentError: it refuses the request, or us.
        """
        client = self._client
        if client is None:
            message = f"the exporter of {self._url} does not run"
            raise UnavailableError(message)
        body = self._written(profiles)
        sent = client.post(self._url, self._compressed(body), self._authorization())
        if not sent.response.is_success:
            raise error_of(sent, self._url, self._clock)
        answer = ExportProfilesServiceResponse()
        is_read = parse(answer, sent)
        self._next_hop.took(profiles, len(body), answer if is_read else None)

    def shutdown(self) -> None:
        """Close the connections; a request that is under way fails."""
        client, self._client = self._client, None
        if client is not None:
            client.close()
