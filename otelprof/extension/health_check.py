"""The `health_check` extension: whether otelprof is ready, over HTTP as the collector says it, and alive.

*Ready*: requests may be sent here. *Alive*: there is no reason to restart it. While it starts and while it
drains it is the second and not the first. A full queue changes neither: clients come back by themselves, and
a backend that is away would make every instance unready at once.
"""

import json
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Self

from pydantic import Field, model_validator

from otelprof.component import ComponentConfig, ComponentSettings, ExtensionFactory
from otelprof.config.endpoint import Endpoint

if TYPE_CHECKING:
    from otelprof.control import ServiceControl
    from otelprof.telemetry.server import Page

_PATH: Final = r"^/[A-Za-z0-9/._~-]*$"


class HealthCheckConfig(ComponentConfig):
    """The `health_check` extension.

    Attributes:
        endpoint: where to listen.
        path: of the page that says whether it is ready.
        liveness_path: of the one that says whether it is alive.
        allow_unauthenticated: let anybody ask who can reach a non-loopback endpoint.
    """

    endpoint: Endpoint = Endpoint("127.0.0.1", 13133)
    path: str = Field(default="/", pattern=_PATH)
    liveness_path: str = Field(default="/live", pattern=_PATH)
    allow_unauthenticated: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not (self.endpoint.is_loopback or self.allow_unauthenticated):
            message = (
                f"{self.endpoint} can be reached from other machines: write allow_unauthenticated: true to "
                "let anybody ask"
            )
            raise ValueError(message)
        if self.path == self.liveness_path:
            message = f"path and liveness_path are both {self.path}, and say different things: change one"
            raise ValueError(message)
        return self


class HealthCheck:
    """Ready is 200 while everything has started and nothing stops yet, and 503 otherwise; alive is 200."""

    def __init__(
        self, config: HealthCheckConfig, settings: ComponentSettings, control: "ServiceControl"
    ) -> None:
        from otelprof.telemetry.server import PageServer  # noqa: PLC0415 - `validate` does without HTTP

        self._settings = settings
        self._ready_since = control.ready_since
        self._host = config.endpoint.host
        self._server = PageServer(
            self._host,
            config.endpoint.port,
            {config.path: self._readiness, config.liveness_path: self._liveness},
            config_path=f"extensions.{settings.id}",
        )

    def start(self) -> None:
        """Listen.

        Raises:
            ConfigError: the endpoint cannot be listened on.
        """
        self._server.start()
        endpoint = str(Endpoint(self._host or "*", self._server.port))
        self._settings.logger.info("health check listens", endpoint=endpoint)

    def shutdown(self) -> None:
        """Stop listening."""
        self._server.shutdown()

    def _liveness(self) -> "Page":
        from otelprof.telemetry.server import Page  # noqa: PLC0415 - as above

        return Page(HTTPStatus.OK, "application/json", json.dumps({"status": "Server alive"}).encode())

    def _readiness(self) -> "Page":
        from otelprof.telemetry.server import Page  # noqa: PLC0415 - as above

        since = self._ready_since()
        status = HTTPStatus.OK if since is not None else HTTPStatus.SERVICE_UNAVAILABLE
        told: dict[str, Any] = {"status": "Server available" if since is not None else "Server not available"}
        if since is not None:
            told["upSince"] = datetime.fromtimestamp(since, UTC).isoformat()
            told["uptime"] = f"{self._settings.clock.now() - since:.3f}s"
        return Page(status, "application/json", json.dumps(told).encode())


factory: Final = ExtensionFactory(HealthCheckConfig, HealthCheck)
