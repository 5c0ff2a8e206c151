"""The `service` section: which pipelines run, and how otelprof speaks of itself."""

import math
from typing import Annotated, Any, Final, Literal, LiteralString, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from otelprof.config.endpoint import Endpoint
from otelprof.config.section import Section
from otelprof.config.units import Duration
from otelprof.model import ComponentId
from otelprof.telemetry.self_profile import missing_agent

UNDEFINED_REFERENCE: Final = "undefined_reference"


def _component_id(value: object, info: ValidationInfo) -> ComponentId:
    component = value if isinstance(value, ComponentId) else ComponentId.parse(str(value))
    if info.context is not None:
        known = [str(one) for one in info.context[info.field_name]]
        if str(component) not in known:
            template: LiteralString = "'{wrong}' is not defined under {section}"
            names = {"wrong": str(component), "section": info.field_name, "known": known}
            raise PydanticCustomError(UNDEFINED_REFERENCE, template, names)
    return component


def _pipeline_id(value: object) -> ComponentId:
    pipeline = value if isinstance(value, ComponentId) else ComponentId.parse(str(value))
    if pipeline.type != "profiles":
        message = f"'{pipeline}' is not a pipeline of profiles: write profiles, or profiles/name"
        raise ValueError(message)
    return pipeline


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _once(ids: tuple[ComponentId, ...]) -> tuple[ComponentId, ...]:
    twice = sorted({str(one) for one in ids if ids.count(one) > 1})
    if twice:
        message = f"{', '.join(twice)} is listed more than once"
        raise ValueError(message)
    return ids


Reference = Annotated[ComponentId, PlainValidator(_component_id)]
References = Annotated[tuple[Reference, ...], AfterValidator(_once)]


class PipelineConfig(Section):
    """Which components a pipeline is made of, in the order that a request goes through them.

    Validated with a context, a mapping from `receivers`, `processors` and `exporters` to the ids that are
    defined there, a reference to any other is a problem.
    """

    receivers: References
    processors: References = ()
    exporters: References

    @field_validator("receivers", "exporters")
    @classmethod
    def _not_empty(cls, ids: tuple[ComponentId, ...], info: ValidationInfo) -> tuple[ComponentId, ...]:
        if not ids:
            message = f"a pipeline needs {info.field_name}: list at least one"
            raise ValueError(message)
        return ids


class LogsConfig(Section):
    """How otelprof logs, to stderr.

    Attributes:
        level: the least severe that is written.
        encoding: for people (`console`) or for machines (`json`, one object a line).
    """

    level: Annotated[Literal["debug", "info", "warn", "error"], BeforeValidator(_lower)] = "info"
    encoding: Literal["console", "json"] = "console"


class MetricsConfig(Section):
    """Where otelprof serves its metrics.

    Attributes:
        endpoint: for `GET /metrics`; None serves none.
        allow_unauthenticated: let anybody who can reach a non-loopback endpoint read them.
    """

    endpoint: Endpoint | None = Endpoint("127.0.0.1", 8888)
    allow_unauthenticated: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not (self.endpoint is None or self.endpoint.is_loopback or self.allow_unauthenticated):
            message = (
                f"{self.endpoint} can be reached from other machines, and metrics name services: write "
                "allow_unauthenticated: true to let anybody read them"
            )
            raise ValueError(message)
        return self


class PyroscopeConfig(Section):
    """How otelprof profiles itself: the options of Pyroscope's agent for Python, under its names.

    Attributes:
        server_address: of a Pyroscope server, as http://localhost:4040; empty profiles nothing.
        application_name: what the profiles are called there; not empty.
        basic_auth_username: of Grafana Cloud, the number of the instance.
        basic_auth_password: of Grafana Cloud, a token.
        tenant_id: sent as X-Scope-OrgID; empty sends none.
        tags: labels of every profile.
        sample_rate: stacks a second, 1 to 1000.
        upload_interval: seconds between two pushes, whole ones, 1 s to 1 h.
        oncpu: only threads that run, not those that wait.
        gil_only: only threads that hold the interpreter's lock; the core works without it.
        mem_enabled: profile the memory that Python allocates, too.
    """

    server_address: str = ""
    application_name: str = Field(default="otelprof", min_length=1)
    basic_auth_username: str = ""
    basic_auth_password: SecretStr = SecretStr("")
    tenant_id: str = ""
    tags: dict[str, str] = Field(default={})
    sample_rate: int = Field(default=100, ge=1, le=1000)
    upload_interval: Duration = Field(default=10.0, ge=1, le=3600)
    oncpu: bool = True
    gil_only: bool = False
    mem_enabled: bool = False

    @field_validator("server_address")
    @classmethod
    def _is_a_url(cls, address: str) -> str:
        url = urlsplit(address)
        if address and (url.scheme not in {"http", "https"} or not url.hostname):
            message = "must be a URL, as http://localhost:4040; empty profiles nothing"
            raise ValueError(message)
        if url.username is not None or url.password is not None:
            message = "must not hold credentials: write basic_auth_username and basic_auth_password"
            raise ValueError(message)
        return address

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.server_address and (missing := missing_agent()):
            raise ValueError(missing)
        return self

    def agent_options(self) -> dict[str, Any]:
        """What the agent is started with, its password in the clear."""
        options = self.model_dump()
        return options | {
            "basic_auth_password": self.basic_auth_password.get_secret_value(),
            "upload_interval": math.ceil(self.upload_interval),
        }


class ProfilesConfig(Section):
    """Where the profiles of otelprof itself go."""

    pyroscope: PyroscopeConfig = PyroscopeConfig()


class TelemetryConfig(Section):
    """How otelprof speaks of itself."""

    logs: LogsConfig = LogsConfig()
    metrics: MetricsConfig = MetricsConfig()
    profiles: ProfilesConfig = ProfilesConfig()


class AdmissionConfig(Section):
    """Who is let in. The key is that of the collector's `otelarrow` receiver.

    Attributes:
        request_limit_mib: what the requests of all receivers may take while they are read and worked on, in
            MiB, 1 to 1048576; None is half of what `memory_limiter` lets the process have, or 256 without.
    """

    request_limit_mib: int | None = Field(default=None, ge=1, le=1 << 20)


class ServiceConfig(Section):
    """What runs.

    Attributes:
        extensions: what runs beside the pipelines, in the order of their start.
        pipelines: by id, `profiles` or `profiles/name`; at least one.
        telemetry: how otelprof speaks of itself.
        admission: how much is let in at once.
        shutdown_delay: seconds between saying that it is not ready any more and taking nothing more, so that
            load balancers notice.
        drain_timeout: seconds that queues are given to empty themselves at shutdown; what is left then is
            dropped, counted.
    """

    extensions: References = ()
    pipelines: dict[Annotated[ComponentId, PlainValidator(_pipeline_id)], PipelineConfig] = Field(
        min_length=1
    )
    telemetry: TelemetryConfig = TelemetryConfig()
    admission: AdmissionConfig = AdmissionConfig()
    shutdown_delay: Duration = 0.0
    drain_timeout: Duration = 20.0
