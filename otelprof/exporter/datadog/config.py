"""Where the `datadog` exporter sends, and how."""

import re
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, TypeAdapter, field_validator, model_validator

from otelprof.config.exporter import ExporterConfig
from otelprof.config.tls import ClientTLS
from otelprof.config.units import Duration
from otelprof.exporter.datadog.tags import tag
from otelprof.exporter.http_client import HttpUrl

_AGENT: Final = "http://127.0.0.1:8126"
_UNIX: Final = "unix://"
_PATHS: Final = {
    "agent": "/profiling/v1/input",
    "agentless": "/api/v2/profile",
    "otlp": "/v1development/profiles",
}
_HOSTS: Final = {"agentless": "intake.profile", "otlp": "otlp"}
_SITE: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
# What Datadog's own clients ask of a key (dd-trace-go, `isAPIKeyValid`).
_API_KEY: Final = re.compile(r"[0-9a-z]{32}")
_HTTP_URL: Final[TypeAdapter[str]] = TypeAdapter(HttpUrl)

MAX_CUSTOM_ATTRIBUTES: Final = 10
"""So many are announced to Datadog; its Go client takes no more."""


def _check_endpoint(text: str) -> str:
    """Accept `http://host:port`, `https://host:port`, or `unix:///path/of/a.socket`.

    Raises:
        ValueError: it has another form.
    """
    if not text.startswith(_UNIX):
        _HTTP_URL.validate_python(text)
    elif not Path(text.removeprefix(_UNIX)).is_absolute():
        message = f"{text!r} is not the path of a socket: write unix:///var/run/datadog/apm.socket"
        raise ValueError(message)
    return text


class DatadogExporterConfig(ExporterConfig):
    """Where to send, and how.

    Attributes:
        mode: `agent` sends to a Datadog Agent; `agentless` to Datadog's profile intake, which Datadog does
            not support for others; `otlp` to its OTLP intake, a preview.
        endpoint: the base of the URL, or `unix:///path` of the Agent's socket; where the mode says when None.
        site: Datadog's site, for `agentless` and `otlp`.
        api_key: for `agentless` and `otlp`; never logged. An Agent has its own.
        tls: how a server of an https URL is proved.
        tags: of every upload; they go before those that the resource says.
        custom_attributes: sample attributes that become labels under their own names; all of them when None.
        timeline: one sample for each timestamp, instead of one for each stack and labels.
        off_cpu: what becomes of off-CPU samples: dropped and counted, or sent as wall time.
        timeout: seconds that one upload may take.
    """

    mode: Literal["agent", "agentless", "otlp"] = "agent"
    endpoint: Annotated[str, AfterValidator(_check_endpoint)] | None = None
    site: str = "datadoghq.com"
    api_key: SecretStr | None = None
    tls: ClientTLS = ClientTLS()
    tags: dict[str, str] = Field(default_factory=dict)
    custom_attributes: tuple[str, ...] | None = None
    timeline: bool = False
    off_cpu: Literal["drop", "wall"] = "drop"
    # As long as Datadog's own clients wait.
    timeout: Duration = Field(default=10.0, gt=0)

    @field_validator("site")
    @classmethod
    def _check_site(cls, site: str) -> str:
        if not _SITE.fullmatch(site):
            message = (
                f"{site!r} is not a site: write datadoghq.com, datadoghq.eu, us3.datadoghq.com or the like"
            )
            raise ValueError(message)
        return site

    @field_validator("api_key")
    @classmethod
    def _check_api_key(cls, api_key: SecretStr | None) -> SecretStr | None:
        if api_key is not None and not _API_KEY.fullmatch(api_key.get_secret_value()):
            message = (
                "this is not an API key of Datadog: that has 32 characters, digits and lower-case letters"
            )
            raise ValueError(message)
        return api_key

    @field_validator("tags")
    @classmethod
    def _check_tags(cls, tags: dict[str, str]) -> dict[str, str]:
        for key, value in tags.items():
            if tag(key, value) != f"{key}:{value}":
                message = (
                    f"{key}:{value} is not a tag: letters, digits and _ - . / :, up to 200 characters, "
                    "beginning with a letter"
                )
                raise ValueError(message)
        return tags

    @field_validator("custom_attributes")
    @classmethod
    def _check_custom_attributes(cls, keys: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if keys is not None and len(keys) > MAX_CUSTOM_ATTRIBUTES:
            message = (
                f"{len(keys)} attributes are more than Datadog takes: write up to {MAX_CUSTOM_ATTRIBUTES}"
            )
            raise ValueError(message)
        return keys

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.mode != "agent":
            self._check_intake()
        if self.url.startswith("https://") and self.tls.insecure:
            message = f"{self.url} and tls.insecure: true contradict each other: remove one"
            raise ValueError(message)
        return self

    def _check_intake(self) -> None:
        if self.api_key is None:
            message = f"mode: {self.mode} needs api_key: write ${{env:DD_API_KEY}}"
            raise ValueError(message)
        if self.socket is not None:
            message = f"{self.endpoint} is an Agent's socket, and mode: {self.mode} has no Agent: remove one"
            raise ValueError(message)
        if self.url.startswith("http://") and not self.tls.insecure:
            message = f"{self.url} is in the clear: write tls.insecure: true as well, or https://"
            raise ValueError(message)

    @property
    def socket(self) -> Path | None:
        """The Agent's socket, when it is one."""
        endpoint = self.endpoint or ""
        return Path(endpoint.removeprefix(_UNIX)) if endpoint.startswith(_UNIX) else None

    @property
    def url(self) -> str:
        """Where requests go."""
        if self.socket is not None:
            base = "http://localhost"
        elif self.mode == "agent":
            base = self.endpoint or _AGENT
        else:
            base = self.endpoint or f"https://{_HOSTS[self.mode]}.{self.site}"
        return base.rstrip("/") + _PATHS[self.mode]

    @property
    def place(self) -> str:
        """What the far side is called in errors."""
        return self.url if self.socket is None else f"{self.endpoint} {_PATHS[self.mode]}"

    def in_words(self) -> tuple[str, ...]:
        """What it will do, one line each."""
        lines = [f"sends to {self.place}"]
        if self.mode == "agent" and self.api_key is not None:
            lines.append("api_key is not sent: the Agent has its own; mode: agentless would send it")
        if self.mode != "otlp" and self.sending_queue.batch is None:
            lines.append(
                "uploads each request by itself: sending_queue.batch.flush_timeout: 60s makes one upload a "
                "service and minute, as Datadog's own profilers do"
            )
        return tuple(lines)
