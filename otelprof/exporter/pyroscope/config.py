"""The configuration of the `pyroscope` exporter."""

import re
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, ByteSize, Field, SecretStr, field_validator, model_validator

from otelprof.config.exporter import ExporterConfig
from otelprof.config.header import check_header, check_headers
from otelprof.config.tls import ClientTLS
from otelprof.config.units import Duration, Size
from otelprof.exporter.http_client import HttpUrl
from otelprof.exporter.pyroscope.labels import MAX_LABELS, MAX_VALUE_BYTES, SERVICE_NAME, label_name

_KIB: Final = 1 << 10
_MIB: Final = 1 << 20
_NAME: Final = re.compile(r"[a-zA-Z_][0-9a-zA-Z_]{0,1023}")
# What the exporter says for itself, or HTTP does.
_OWN_HEADERS: Final = frozenset(
    ("content-type", "content-encoding", "content-length", "transfer-encoding", "connection", "host")
)
LABELS: Final = (
    "service.namespace",
    "service.version",
    "deployment.environment.name",
    "deployment.environment",
    "k8s.cluster.name",
    "k8s.namespace.name",
    "k8s.pod.name",
    "k8s.container.name",
    "k8s.node.name",
    "host.name",
    "cloud.region",
    "cloud.availability_zone",
)
# What Go's own profilers count so.
CUMULATIVE: Final = ("alloc_objects", "alloc_space", "contentions", "delay")


def _check_label(name: str) -> str:
    """Accept a name that every version of the server takes.

    Raises:
        ValueError: it takes another one only since version 2, or keeps it for itself.
    """
    if not _NAME.fullmatch(name) or name.startswith("__"):
        message = f"{name!r} is not a label: letters, digits and _, not beginning with a digit or with __"
        raise ValueError(message)
    return name


LabelName = Annotated[str, AfterValidator(_check_label)]
"""A name that is no reserved one."""


class PyroscopeExporterConfig(ExporterConfig):
    """Where to send, as whom, and under which names.

    Attributes:
        endpoint: the base of the URL.
        mode: `push`, Pyroscope's own API, or `otlp`, its OTLP/gRPC intake, which loses more.
        compression: of requests.
        tenant_id: sent as `X-Scope-OrgID`; empty sends none.
        basic_auth_username: of Grafana Cloud, the number of the instance.
        basic_auth_password: of Grafana Cloud, a token.
        bearer_token: instead of these.
        headers: sent with each push; values are never logged.
        tls: how a server of an https URL is proved.
        proxy: the URL of a proxy; the environment's are not looked at.
        labels: resource attributes that become labels, the most important first; dots become underscores.
        external_labels: labels of every series.
        sample_labels: sample attributes that become labels of samples, and with that of series.
        profile_names: `__name__` by the name of a sample type, in place of what it would be.
        cumulative: sample types that count from the start of a process, in profiles without a duration: sent
            as differences; none sends them as they come.
        max_age: what is older is dropped, counted; 0 sends everything.
        max_profile_size: a pprof, not compressed; what is larger is split.
        max_profile_samples: samples of one pprof; likewise.
        max_stack_depth: locations of one stack; of a deeper one the middle goes.
        max_labels: of one series.
        max_concurrent_pushes: how many are under way at once, of all requests together.
        resend_unanswered: send again what the server may have taken, and count it twice when it has.
    """

    endpoint: HttpUrl
    mode: Literal["push", "otlp"] = "push"
    compression: Literal["gzip", "none"] = "gzip"
    timeout: Duration = Field(default=15.0, gt=0)
    tenant_id: str = ""
    basic_auth_username: str = ""
    basic_auth_password: SecretStr | None = None
    bearer_token: SecretStr | None = None
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    tls: ClientTLS = ClientTLS()
    proxy: HttpUrl | None = None
    labels: tuple[str, ...] = LABELS
    external_labels: dict[LabelName, str] = Field(default_factory=dict)
    sample_labels: tuple[str, ...] = ()
    profile_names: dict[str, LabelName] = Field(default_factory=dict)
    cumulative: tuple[str, ...] = CUMULATIVE
    max_age: Duration = 3300.0
    max_profile_size: Size = Field(default=ByteSize(2 * _MIB), ge=64 * _KIB)
    max_profile_samples: int = Field(default=16_000, ge=1)
    max_stack_depth: int = Field(default=1_000, ge=2, le=4096)
    max_labels: int = Field(default=MAX_LABELS, ge=3, le=256)
    max_concurrent_pushes: int = Field(default=20, ge=1, le=200)
    resend_unanswered: bool = False

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        checked = check_headers(headers, _OWN_HEADERS)
        # What a variable leaves empty is not there.
        return {name: value for name, value in checked.items() if value.get_secret_value()}

    @field_validator("tenant_id")
    @classmethod
    def _check_tenant(cls, tenant: str) -> str:
        check_header("x-scope-orgid", tenant)
        if "|" in tenant:
            message = f"{tenant!r} is more than one tenant: a profile is written to one"
            raise ValueError(message)
        return tenant

    @field_validator("labels", "sample_labels")
    @classmethod
    def _check_labels(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        for key in keys:
            name = label_name(key)
            if name.startswith("__") or name == SERVICE_NAME or not key:
                message = f"{key!r} would become the label {name!r}, which is set by the exporter: remove it"
                raise ValueError(message)
        return keys

    @field_validator("external_labels")
    @classmethod
    def _check_values(cls, values: dict[str, str]) -> dict[str, str]:
        for name, value in values.items():
            if not value or len(value.encode()) > MAX_VALUE_BYTES:
                message = f"the value of {name!r} must have 1 to {MAX_VALUE_BYTES} bytes"
                raise ValueError(message)
        return values

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.basic_auth_password is None) != (not self.basic_auth_username):
            message = "basic_auth_username and basic_auth_password need each other"
            raise ValueError(message)
        ways = [
            self.basic_auth_password is not None,
            self.bearer_token is not None,
            "authorization" in self.headers,
        ]
        if sum(ways) > 1:
            message = "basic_auth_password, bearer_token and an authorization header exclude each other"
            raise ValueError(message)
        if self.tenant_id and "x-scope-orgid" in self.headers:
            message = "tenant_id and the header X-Scope-OrgID say the same: remove one"
            raise ValueError(message)
        if self.mode == "otlp" and self.proxy is not None:
            message = "proxy is for mode: push; gRPC looks for https_proxy in the environment"
            raise ValueError(message)
        if self.endpoint.startswith("https://") and self.tls.insecure:
            message = f"{self.endpoint} and tls.insecure: true contradict each other: remove one"
            raise ValueError(message)
        if len(self.external_labels) + 2 > self.max_labels:
            message = (
                f"{len(self.external_labels)} external_labels do not fit into max_labels ({self.max_labels})"
            )
            raise ValueError(message)
        return self
