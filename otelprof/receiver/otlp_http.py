"""OTLP over HTTP/1.1: an uvicorn server in a thread of its own. Imported only where it is configured.

The server reads and answers; decode and what is behind it run in further threads, so that a large request
does not hold up the others. HTTP is parsed by h11, which bounds the head of a request; httptools does not.
"""

from __future__ import annotations

import os
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil
from threading import Event, Thread
from typing import TYPE_CHECKING

import uvicorn

from otelprof.config.server_certificates import ServerCertificates, reloading_context
from otelprof.errors import ConfigError, ConfigProblem
from otelprof.receiver.admission import Readers
from otelprof.receiver.auth import Clients
from otelprof.receiver.http_connection import connection_factory
from otelprof.receiver.http_endpoint import (
    PATH,
    TRACES_PATH,
    EndpointSettings,
    Entry,
    OtlpEndpoint,
    profiles_target,
    traces_target,
)
from otelprof.receiver.otlp_intake import GRACE_SECS, OtlpIntake
from otelprof.receiver.traces_intake import TracesIntake

if TYPE_CHECKING:
    import ssl

    from otelprof._core import Limits
    from otelprof.component import ComponentSettings
    from otelprof.config.auth import AuthConfig
    from otelprof.config.endpoint import Endpoint
    from otelprof.config.tls import ServerTLS
    from otelprof.consumer import Consumer


@dataclass(frozen=True)
class HttpSettings:
    """How to listen, and what to take."""

    endpoint: Endpoint
    max_body_bytes: int
    max_concurrent_requests: int
    max_connections: int
    max_header_bytes: int
    read_header_timeout_secs: float
    read_timeout_secs: float
    idle_timeout_secs: float
    tls: ServerTLS | None
    auth: AuthConfig | None
    limits: Limits


class HttpReceiver:
    """Listens, and stops; what comes is `http_endpoint.py`'s."""

    def __init__(self, settings: HttpSettings, component: ComponentSettings, consumer: Consumer) -> None:
        self._settings = settings
        self._component = component
        self._id = component.id
        self._logger = component.logger
        key = "protocols.http.max_concurrent_requests"
        readers = Readers(settings.max_concurrent_requests, key, component.metrics)
        self._entry = Entry(Clients(settings.auth, component), consumer.reserve, readers)
        limits = settings.limits
        self._targets = {PATH: profiles_target(OtlpIntake(limits, component, consumer, "http"))}
        if consumer.traces is not None:
            self._targets[TRACES_PATH] = traces_target(TracesIntake(limits, component, consumer.traces))
        self._threads: ThreadPoolExecutor | None = None
        self._server: _Server | None = None
        self._thread: Thread | None = None

    def start(self) -> None:
        """Listen.

        Raises:
            ConfigError: the endpoint is taken or not this machine's, or a TLS file cannot be used.
        """
        settings = self._settings
        context = None if settings.tls is None else self._tls(settings.tls)
        listener = self._listen()
        threads = ThreadPoolExecutor(settings.max_concurrent_requests, f"otelprof-{self._id}-http")
        bounds = EndpointSettings(
            settings.max_body_bytes,
            settings.max_header_bytes,
            settings.max_concurrent_requests,
            settings.read_timeout_secs,
        )
        config = uvicorn.Config(
            OtlpEndpoint(bounds, self._targets, threads, self._entry).app,
            http=connection_factory(settings.read_header_timeout_secs),  # type: ignore[arg-type] # makes one
            loop="asyncio",
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            # It warns of each request that is no HTTP.
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            # Further ones are answered with 503.
            limit_concurrency=settings.max_connections,
            timeout_keep_alive=ceil(settings.idle_timeout_secs),
            timeout_graceful_shutdown=ceil(GRACE_SECS),
            # What comes at once is not counted here, but by the endpoint.
            h11_max_incomplete_event_size=settings.max_header_bytes,
        )
        config.load()
        config.ssl = context
        self._threads, self._server = threads, _Server(config)
        self._thread = Thread(
            target=self._run, args=(self._server, listener), name=f"otelprof-{self._id}-http"
        )
        port = listener.getsockname()[1]
        self._thread.start()
        self._server.listens.wait()
        self._logger.info(
            "receiver listens", endpoint=f"{settings.endpoint.host or '*'}:{port}", protocol="http"
        )

    def begin_shutdown(self) -> None:
        """Take no new request from now on."""
        if self._server is not None:
            self._server.should_exit = True

    def shutdown(self) -> None:
        """Take no new request, and give those being worked on up to `GRACE_SECS`."""
        self.begin_shutdown()
        thread, self._thread, self._server = self._thread, None, None
        if thread is not None:
            thread.join()
        if self._threads is not None:
            self._threads.shutdown()

    def _run(self, server: _Server, listener: socket.socket) -> None:
        try:
            server.run([listener])
        except Exception:
            self._logger.exception("the HTTP server ended because of a bug")
        finally:
            server.listens.set()
            listener.close()

    def _listen(self) -> socket.socket:
        endpoint = self._settings.endpoint
        is_any = not endpoint.host and socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if is_any or ":" in endpoint.host else socket.AF_INET
        try:
            listener = socket.create_server(
                (endpoint.host, endpoint.port), family=family, dualstack_ipv6=is_any
            )
        except OSError as error:
            # Its own text repeats the address.
            why = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
            path = f"receivers.{self._id}.protocols.http.endpoint"
            problem = ConfigProblem(path, f"cannot listen on {endpoint}: {why}")
            raise ConfigError([problem]) from error
        # asyncio sets it only on sockets that were made for TCP by name, which this one was not. Head and
        # body of an answer are two writes: without it the second waits 40 ms for an acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener

    def _tls(self, tls: ServerTLS) -> ssl.SSLContext:
        path = f"receivers.{self._id}.protocols.http.tls"
        return reloading_context(ServerCertificates(tls, path, self._component))


class _Server(uvicorn.Server):
    """A server that says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listens.set()
