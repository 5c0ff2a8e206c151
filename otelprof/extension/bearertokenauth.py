"""The `bearertokenauth` extension: tokens that receivers ask for, and that exporters send.

Keys are those of the collector's extension of this name; `tenants` and `bytes_per_second` are further ones.
"""

import hmac
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Annotated, Final, Self

from pydantic import AfterValidator, BaseModel, Field, SecretStr, model_validator

from otelprof.component import ComponentConfig, ComponentSettings, ExtensionFactory, Principal
from otelprof.config.file_watch import FileWatch, WatchedContent
from otelprof.config.header import check_header
from otelprof.config.section import Section
from otelprof.config.units import Size
from otelprof.errors import ConfigError, ConfigProblem, OtelprofError, UnauthenticatedError, UnavailableError
from otelprof.extension.rate_limit import RateLimit
from otelprof.telemetry.admission_metrics import ADMISSION_REFUSED, TENANT_BYTES

if TYPE_CHECKING:
    from otelprof.control import ServiceControl

_Known = tuple[tuple[bytes, Principal], ...]

_HEADER: Final = "authorization"
_MIN_TOKEN_CHARS: Final = 16
# Each request is compared with every token.
MAX_TOKENS: Final = 1000
_MAX_FILE_BYTES: Final = 1 << 20
_LOOK_SECS: Final = 1.0


def _check_token(token: SecretStr) -> SecretStr:
    """Accept what can be sent in a header and not be guessed.

    Raises:
        ValueError: it cannot; it is not in the message.
    """
    text = token.get_secret_value()
    if len(text) < _MIN_TOKEN_CHARS:
        message = f"a token has {_MIN_TOKEN_CHARS} characters or more, and this one {len(text)}"
        raise ValueError(message)
    if " " in text:
        message = "a token has no spaces"
        raise ValueError(message)
    check_header(_HEADER, text)
    return token


Token = Annotated[SecretStr, AfterValidator(_check_token)]


class _TokensConfig(BaseModel):
    """Some tokens.

    Attributes:
        token: one; 16 printable ASCII characters or more.
        tokens: several.
        filename: of a file with one a line, which is read again when it changes.
        bytes_per_second: of request bodies as they come; None sets no limit.
    """

    token: Token | None = None
    tokens: tuple[Token, ...] = ()
    filename: Path | None = None
    bytes_per_second: Annotated[Size, Field(gt=0)] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is no token and no file of tokens."""
        return self.token is None and not self.tokens and self.filename is None

    def written(self) -> Iterator[SecretStr]:
        """Those of the configuration itself."""
        if self.token is not None:
            yield self.token
        yield from self.tokens


class TenantConfig(_TokensConfig, Section):
    """The tokens of one tenant, who may send `bytes_per_second` with all of them together."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.is_empty:
            message = "give token, tokens or filename"
            raise ValueError(message)
        return self


class BearerTokenAuthConfig(_TokensConfig, ComponentConfig):
    """The `bearertokenauth` extension. Its own tokens have no tenant, and `bytes_per_second` each.

    Attributes:
        scheme: what stands before a token in the header.
        tenants: further tokens, by who has them.
    """

    scheme: Annotated[str, Field(pattern=r"^[!-~]{1,40}$")] = "Bearer"
    tenants: dict[Annotated[str, Field(pattern=r"^[\w.-]{1,100}$")], TenantConfig] = Field(
        default_factory=dict
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.is_empty and not self.tenants:
            message = "give token, tokens, filename or tenants"
            raise ValueError(message)
        return self

    @property
    def authenticates(self) -> bool:
        """Receivers and exporters can name it."""
        return True

    @property
    def sections(self) -> Mapping[str, _TokensConfig]:
        """All tokens by tenant; those of nobody in particular under the empty name."""
        return {"": self, **self.tenants}


class BearerTokenAuth:
    """Knows the tokens, as they are in the files now."""

    def __init__(
        self, config: BearerTokenAuthConfig, settings: ComponentSettings, _control: "ServiceControl"
    ) -> None:
        self._config = config
        self._settings = settings
        self._path = f"extensions.{settings.id}"
        self._lock = Lock()
        self._rates: dict[str, RateLimit] = {}
        self._known: WatchedContent[_Known] | None = None

    def start(self) -> None:
        """Read the files.

        Raises:
            ConfigError: one cannot be read, or holds something else.
        """
        files = [one.filename for one in self._config.sections.values() if one.filename is not None]
        watch = FileWatch(files, _LOOK_SECS, self._settings.clock)
        self._known = WatchedContent("tokens", watch, self._read, self._settings)

    def shutdown(self) -> None:
        """Forget the tokens."""
        self._known = None

    def authenticate(self, headers: Sequence[str]) -> Principal:
        """Who sends.

        Raises:
            UnauthenticatedError: the token is missing, there twice, or not known.
        """
        given, found = self._given(headers), None
        # All are compared, and each in constant time: what it takes says nothing about any token.
        for token, principal in self._current():
            if hmac.compare_digest(token, given):
                found = principal
        if found is None:
            self._settings.metrics.add(ADMISSION_REFUSED, reason="credentials")
            message = f"send a token that is known here as `{_HEADER}: {self._config.scheme} TOKEN`"
            raise UnauthenticatedError(message)
        return found

    def authorization(self) -> tuple[str, str]:
        """The header that an exporter sends: with the first token.

        Raises:
            UnavailableError: the extension does not run.
        """
        known = self._current()
        if not known:
            message = f"{self._settings.id} does not run"
            raise UnavailableError(message)
        return _HEADER, f"{self._config.scheme} {known[0][0].decode()}"

    def _given(self, headers: Sequence[str]) -> bytes:
        """The token of a request; empty when there is none, which is none of ours."""
        if len(headers) != 1:
            return b""
        scheme, _, token = headers[0].partition(" ")
        return token.strip().encode() if scheme.lower() == self._config.scheme.lower() else b""

    def _current(self) -> _Known:
        """The tokens; none when it does not run."""
        known = self._known
        return () if known is None else known.current()

    def _read(self) -> _Known:
        """All tokens, with who has them.

        Raises:
            ConfigError: a file cannot be used, or two have one token.
        """
        known: dict[str, Principal] = {}
        for tenant, section in self._config.sections.items():
            path = f"{self._path}.tenants.{tenant}" if tenant else self._path
            tokens = [one.get_secret_value() for one in section.written()]
            if section.filename is not None:
                tokens += _tokens_of(section.filename, f"{path}.filename")
            for token in tokens:
                if token in known:
                    raise ConfigError([ConfigProblem(path, "a token is here that was given before")])
                known[token] = self._principal(tenant, section.bytes_per_second, token)
        if len(known) > MAX_TOKENS:
            problem = ConfigProblem(self._path, f"has {len(known)} tokens; up to {MAX_TOKENS} are allowed")
            raise ConfigError([problem])
        return tuple((token.encode(), principal) for token, principal in known.items())

    def _principal(self, tenant: str, bytes_per_second: int | None, token: str) -> Principal:
        """Who has a token. A rate goes on over a new reading of the files."""
        name = tenant or f"token {blake2b(token.encode(), digest_size=16).hexdigest()}"
        rate = None
        if bytes_per_second is not None:
            rate = self._rates.setdefault(name, RateLimit(bytes_per_second, self._settings.clock))
        metrics, component = self._settings.metrics, str(self._settings.id)

        def charge(size_bytes: int) -> None:
            try:
                if rate is not None:
                    rate.charge(size_bytes)
            except OtelprofError:
                metrics.add(ADMISSION_REFUSED, reason="rate")
                raise
            metrics.add(TENANT_BYTES, size_bytes, authenticator=component, tenant=tenant)

        return Principal(name, charge)


def _tokens_of(path: Path, key: str) -> list[str]:
    """The tokens of a file, one a line; empty lines are none.

    Raises:
        ConfigError: it cannot be read, is too large, or a line is no token; no token is in the message.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError([ConfigProblem(key, f"{path} cannot be read: {error.strerror}")]) from error
    if len(content) > _MAX_FILE_BYTES:
        raise ConfigError([ConfigProblem(key, f"{path} has more than {_MAX_FILE_BYTES} bytes")])
    tokens = [line.strip() for line in content.decode(errors="replace").splitlines()]
    for number, token in enumerate(tokens, 1):
        try:
            if token:
                _check_token(SecretStr(token))
        except ValueError as error:
            raise ConfigError([ConfigProblem(key, f"{path}, line {number}: {error}")]) from None
    found = [token for token in tokens if token]
    if not found:
        raise ConfigError([ConfigProblem(key, f"{path} has no token")])
    return found


factory: Final = ExtensionFactory(BearerTokenAuthConfig, BearerTokenAuth)
