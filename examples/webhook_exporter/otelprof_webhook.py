"""The `webhook` exporter for otelprof: POSTs each request to a URL, as OTLP."""

import httpx
from pydantic import HttpUrl, SecretStr

from otelprof.component import ComponentSettings, ExporterFactory
from otelprof.config.exporter import ExporterConfig
from otelprof.errors import PermanentError, UnavailableError
from otelprof.profiles import Profiles


class WebhookConfig(ExporterConfig):
    url: HttpUrl
    token: SecretStr = SecretStr("")


class WebhookExporter:
    def __init__(self, config: WebhookConfig, settings: ComponentSettings) -> None:
        self._url, self._logger = str(config.url), settings.logger
        headers = {"Authorization": f"Bearer {config.token.get_secret_value()}"}
        self._client = httpx.Client(headers=headers, timeout=config.timeout)

    def start(self) -> None:
        self._logger.info("web hook is called", host=httpx.URL(self._url).host)

    def shutdown(self) -> None:
        self._client.close()

    def export(self, profiles: Profiles) -> None:
        try:
            answer = self._client.post(self._url, content=profiles.to_otlp())
        except (httpx.TransportError, RuntimeError) as error:  # RuntimeError: it was shut down
            raise UnavailableError(f"the web hook cannot be reached: {error}") from error
        if not answer.is_success:
            kind = UnavailableError if answer.status_code in {429, 502, 503, 504} else PermanentError
            raise kind(f"the web hook answered {answer.status_code}")


factory = ExporterFactory(WebhookConfig, WebhookExporter)
