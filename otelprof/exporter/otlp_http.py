"""The `otlp_http` exporter: to the next hop that speaks OTLP/HTTP, a collector or another otelprof.

Keys are those of the collector's `otlp_http` exporter. HTTP/1.1, with a pool of connections that are kept.
"""

import gzip
import re
import ssl
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import Annotated, Final, Literal, Self

import httpx
import zstandard
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceResponse,
)
from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from otelprof._core import Profiles
from otelprof.clock import Clock
from otelprof.component import ComponentSettings, ExporterFactory
from otelprof.config.exporter import ExporterConfig
from otelprof.config.header import check_header
from otelprof.config.pem import read_pem
from otelprof.config.tls import ClientTLS
from otelprof.errors import (
    ConfigError,
    ConfigProblem,
    OtelprofError,
    OverloadedError,
    PermanentError,
    RequestTooLargeError,
    RetryableError,
    UnauthenticatedError,
    UnavailableError,
    UnsupportedEncodingError,
)
from otelprof.exporter.otlp_answer import VERSION_HEADER, NextHop
from otelprof.telemetry.text import printable

PATH: Final = "/v1development/profiles"
# An answer may be so long; the rest is not read. The collector's exporter does the same.
MAX_ANSWER_BYTES: Final = 64 << 10

_MEDIA_TYPES: Final = {"proto": "application/x-protobuf", "json": "application/json"}
# Fast, and smaller than gzip at any level; zstandard's own default is 3.
_ZSTD_LEVEL: Final = 1
# Go's servers close a connection after 60 seconds or more.
_KEEP_ALIVE_SECS: Final = 30.0
_MAX_PORT: Final = 65535
_SECONDS: Final = re.compile(r"[0-9]{1,9}")
# HTTP's own, and what this exporter says for itself.
_OWN_HEADERS: Final = frozenset(
    ("content-type", "content-encoding", "content-length", "transfer-encoding", "connection", "host")
)

# OTLP specification, "OTLP/HTTP Response", "Failures": what is not here is not retried.
ERRORS: Final[dict[int, type[OtelprofError]]] = {
    401: UnauthenticatedError,
    403: UnauthenticatedError,
    413: RequestTooLargeError,
    415: UnsupportedEncodingError,
    429: OverloadedError,
    502: UnavailableError,
    503: UnavailableError,
    504: UnavailableError,
}


def _check_url(text: str) -> str:
    """Accept an http or https URL without credentials, query or fragment.

    Raises:
        ValueError: it is another one.
    """
    if "@" in text:
        # Not shown: what stands before it is probably a password.
        message = "a URL holds no credentials: write https://host:port, and put them into headers"
        raise ValueError(message)
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        message = f"{text!r} is not a URL: {error}"
        raise ValueError(message) from None
    is_port = (url.port or 0) <= _MAX_PORT
    if url.scheme not in {"http", "https"} or not (url.host and is_port) or url.query or url.fragment:
        message = f"{text!r} is not an endpoint: write http://host:port or https://host:port"
        raise ValueError(message)
    return text


_Url = Annotated[str, AfterValidator(_check_url)]


class OtlpHttpExporterConfig(ExporterConfig):
    """Where to send, and how.

    Attributes:
        endpoint: the base of the URL, to which `/v1development/profiles` is added.
        profiles_endpoint: the whole URL, instead of it.
        encoding: of requests, `proto` or `json`.
        compression: of requests, `zstd`, `gzip` or `none`.
        headers: sent with each request; values are never logged.
        tls: how a server of an https URL is proved.
    """

    endpoint: _Url | None = None
    profiles_endpoint: _Url | None = None
    encoding: Literal["proto", "json"] = "proto"
    compression: Literal["zstd", "gzip", "none"] = "zstd"
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    tls: ClientTLS = ClientTLS()

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        checked = {check_header(name, value.get_secret_value()): value for name, value in headers.items()}
        for name in checked.keys() & _OWN_HEADERS:
            message = f"{name!r} is set by the exporter: remove it"
            raise ValueError(message)
        return checked

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.endpoint is None and self.profiles_endpoint is None:
            message = "endpoint or profiles_endpoint is required"
            raise ValueError(message)
        if self.url.startswith("https://") and self.tls.insecure:
            message = f"{self.url} and tls.insecure: true contradict each other: remove one"
            raise ValueError(message)
        return self

    @property
    def url(self) -> str:
        """Where requests go."""
        return self.profiles_endpoint or f"{self.endpoint}".rstrip("/") + PATH


class OtlpHttpExporter:
    """Sends each request as one POST."""

    def __init__(self, config: OtlpHttpExporterConfig, settings: ComponentSettings) -> None:
        self._config = config
        self._id = str(settings.id)
        self._clock = settings.clock
        self._next_hop = NextHop(config.url, settings)
        self._client: httpx.Client | None = None

    def start(self) -> None:
        """Make the pool; it connects with the first request.

        Raises:
            ConfigError: a TLS file cannot be used.
        """
        config = self._config
        encoding = {} if config.compression == "none" else {"content-encoding": config.compression}
        connections = config.sending_queue.num_consumers
        self._client = httpx.Client(
            headers={
                "user-agent": f"otelprof/{version('otelprof')}",
                # What is not compressed cannot be a bomb.
                "accept-encoding": "identity",
                "content-type": _MEDIA_TYPES[config.encoding],
                **encoding,
                **dict([VERSION_HEADER]),
                **{name: value.get_secret_value() for name, value in config.headers.items()},
            },
            timeout=config.timeout,
            limits=httpx.Limits(
                max_connections=connections,
                max_keepalive_connections=connections,
                keepalive_expiry=_KEEP_ALIVE_SECS,
            ),
            verify=self._tls() if config.url.startswith("https://") else False,
            # No proxy and no password of the environment: only what the configuration says.
            trust_env=False,
        )

    def export(self, profiles: Profiles) -> None:
        """Send a request.

        Raises:
            RetryableError: the far side is away, or asks to wait.
            PermanentError: it refuses the request, or us.
        """
        client = self._client
        if client is None:
            message = f"the exporter of {self._config.url} does not run"
            raise UnavailableError(message)
        body = profiles.to_json() if self._config.encoding == "json" else profiles.to_otlp()
        try:
            response, content = self._post(client, self._compressed(body))
        except httpx.HTTPError as error:
            message = f"{self._config.url}: {printable(str(error)) or type(error).__name__}"
            raise UnavailableError(message) from error
        except RuntimeError as error:
            # How httpx says that the client was closed in the meantime.
            raise UnavailableError(str(error)) from error
        if not response.is_success:
            raise error_of(response, content, self._config.url, self._clock)
        answer = ExportProfilesServiceResponse()
        is_read = content is not None and parse(answer, content, response)
        self._next_hop.took(profiles, len(body), answer if is_read else None)

    def shutdown(self) -> None:
        """Close the connections; a request that is under way fails."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _post(self, client: httpx.Client, body: bytes) -> tuple[httpx.Response, bytes | None]:
        """The answer, and its content; None when that is too long.

        Raises:
            httpx.HTTPError: there is no answer, or not in time.
        """
        deadline = self._clock.monotonic() + self._config.timeout
        name = self._config.tls.server_name_override
        extensions = {"sni_hostname": name} if name else None
        with client.stream("POST", self._config.url, content=body, extensions=extensions) as response:
            content = bytearray()
            for chunk in response.iter_raw():
                content += chunk
                if len(content) > MAX_ANSWER_BYTES:
                    return response, None
                if self._clock.monotonic() > deadline:
                    message = "the answer did not come in time"
                    raise httpx.ReadTimeout(message)
        return response, bytes(content)

    def _compressed(self, body: bytes) -> bytes:
        if self._config.compression == "zstd":
            return zstandard.ZstdCompressor(_ZSTD_LEVEL).compress(body)
        return gzip.compress(body, mtime=0) if self._config.compression == "gzip" else body

    def _tls(self) -> ssl.SSLContext:
        tls, path = self._config.tls, f"exporters.{self._id}.tls"
        for key, file in (("ca_file", tls.ca_file), ("cert_file", tls.cert_file), ("key_file", tls.key_file)):
            if file is not None:
                read_pem(file, f"{path}.{key}")
        try:
            context = ssl.create_default_context(cafile=tls.ca_file)
            if tls.cert_file is not None:
                context.load_cert_chain(tls.cert_file, tls.key_file)
        except ssl.SSLError as error:
            raise ConfigError([ConfigProblem(path, f"the files cannot be used: {error}")]) from error
        return context


def error_of(response: httpx.Response, content: bytes | None, url: str, clock: Clock) -> OtelprofError:
    """What an answer that is no success means: permanent or retryable, and when to try again."""
    status = Status()
    if content is not None and parse(status, content, response) and status.message:
        why = status.message
    else:
        why = (content or b"").decode(errors="replace").strip() or "no details"
    if response.has_redirect_location:
        why = f"redirects are not followed: {response.headers['location']}"
    message = f"{url} answered {response.status_code}: {printable(why)}"
    kind = ERRORS.get(response.status_code, PermanentError)
    if issubclass(kind, RetryableError):
        return kind(message, retry_after_secs=retry_after_secs(response.headers.get("retry-after"), clock))
    return kind(message)


def parse(message: Message, content: bytes, response: httpx.Response) -> bool:
    """Read a message of the answer's content type; whether it could be read."""
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if media_type == "application/json":
            json_format.Parse(content, message, ignore_unknown_fields=True)
        elif media_type == "application/x-protobuf":
            message.ParseFromString(content)
        else:
            # A success without a body says that all went well.
            return not content
    except (DecodeError, json_format.ParseError, UnicodeDecodeError, RecursionError):
        return False
    return True


def retry_after_secs(header: str | None, clock: Clock) -> float | None:
    """What Retry-After asks for: seconds, or a date; None when it is absent or cannot be read."""
    if header is None:
        return None
    if _SECONDS.fullmatch(header):
        return float(header)
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - clock.now())
    except (ValueError, OverflowError):
        return None


factory: Final = ExporterFactory(OtlpHttpExporterConfig, OtlpHttpExporter)
