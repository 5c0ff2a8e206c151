"""The `admin` extension: its configuration, and the server that it is."""

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated, Final, Self

import grpc
from pydantic import Field, PlainValidator, SecretStr, field_validator, model_validator

from otelprof.admin.endpoint import DEFAULT_ENDPOINT, UnixSocket, parse_endpoint, target_of
from otelprof.admin.unix_socket import make_room, owner_only
from otelprof.component import ComponentConfig, ComponentSettings, ExtensionFactory
from otelprof.config.endpoint import Endpoint
from otelprof.config.header import check_header
from otelprof.config.listen import listen
from otelprof.config.tls import ServerTLS
from otelprof.errors import ConfigError, ConfigProblem

if TYPE_CHECKING:
    from otelprof.control import ServiceControl

_MAX_MESSAGE_BYTES: Final = 64 << 10
# A call takes microseconds: who calls more at once waits for it.
_MAX_CONCURRENT_CALLS: Final = 4
_GRACE_SECS: Final = 1.0
_MIN_TOKEN_CHARS: Final = 16


class AdminConfig(ComponentConfig):
    """The `admin` extension.

    Attributes:
        endpoint: a unix socket, which is its owner's alone, or `host:port`.
        token: what a caller must send; 16 printable ASCII characters or more.
        tls: of a `host:port`.
    """

    endpoint: Annotated[UnixSocket | Endpoint, PlainValidator(parse_endpoint)] = parse_endpoint(
        DEFAULT_ENDPOINT
    )
    token: Annotated[SecretStr, Field(min_length=_MIN_TOKEN_CHARS)] | None = None
    tls: ServerTLS | None = None

    @field_validator("token")
    @classmethod
    def _can_be_sent(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None:
            check_header("authorization", token.get_secret_value())
        return token

    @model_validator(mode="after")
    def _check(self) -> Self:
        if isinstance(self.endpoint, UnixSocket):
            if self.tls is not None:
                message = f"{self.endpoint} never leaves this machine: tls means nothing there, remove it"
                raise ValueError(message)
            return self
        if self.tls is not None and self.tls.client_ca_file is not None:
            return self
        if self.token is None:
            message = (
                f"whoever reaches {self.endpoint} could turn sampling off: give a token, or "
                "tls.client_ca_file so that callers prove themselves, or a unix socket"
            )
            raise ValueError(message)
        if self.tls is None and not self.endpoint.is_loopback:
            message = (
                f"the token would go to {self.endpoint} in the clear: give tls.cert_file and tls.key_file"
            )
            raise ValueError(message)
        return self


class Admin:
    """Serves `otelprof.v1.Admin`."""

    def __init__(self, config: AdminConfig, settings: ComponentSettings, control: "ServiceControl") -> None:
        self._config = config
        self._settings = settings
        self._control = control
        self._server: grpc.Server | None = None
        self._threads: ThreadPoolExecutor | None = None

    def start(self) -> None:
        """Listen.

        Raises:
            ConfigError: the endpoint cannot be listened on, or a TLS file cannot be used.
        """
        from otelprof.admin.service import AdminService  # noqa: PLC0415 - `validate` does without its messages

        config = self._config
        token = None if config.token is None else config.token.get_secret_value()
        threads = ThreadPoolExecutor(_MAX_CONCURRENT_CALLS, f"otelprof-{self._settings.id}")
        server = grpc.server(
            threads,
            handlers=[AdminService(token, self._settings, self._control)],
            options=[
                ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
                ("grpc.max_concurrent_streams", _MAX_CONCURRENT_CALLS),
                ("grpc.so_reuseport", 0),
            ],
        )
        where = self._listen(server)
        server.start()
        self._server, self._threads = server, threads
        self._settings.logger.info("admin service listens", endpoint=where)

    def shutdown(self) -> None:
        """Take no new call, and give those under way a second. A socket goes as soon as it is closed."""
        server, self._server = self._server, None
        if server is None or self._threads is None:
            return
        server.stop(_GRACE_SECS).wait()
        self._threads.shutdown()

    def _listen(self, server: grpc.Server) -> str:
        """Bind, and say where."""
        endpoint = self._config.endpoint
        path = f"extensions.{self._settings.id}"
        if isinstance(endpoint, Endpoint):
            port = listen(server, endpoint, self._config.tls, path, self._settings)
            return f"{endpoint.host or '*'}:{port}"
        try:
            make_room(endpoint.path)
            with owner_only():
                server.add_insecure_port(target_of(endpoint))
        except (OSError, RuntimeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "the system does not say why"
            message = f"cannot listen on {endpoint}: {reason}"
            raise ConfigError([ConfigProblem(f"{path}.endpoint", message)]) from error
        return str(endpoint)


factory: Final = ExtensionFactory(AdminConfig, Admin)
