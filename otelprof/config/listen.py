"""A gRPC server made to listen as it is configured, or the reason why it cannot."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import grpc

from otelprof.config.server_certificates import ServerCertificates
from otelprof.errors import ConfigError, ConfigProblem

if TYPE_CHECKING:
    from otelprof.component import ComponentSettings
    from otelprof.config.endpoint import Endpoint
    from otelprof.config.server_certificates import Certificates
    from otelprof.config.tls import ServerTLS


def listen(
    server: grpc.Server, endpoint: Endpoint, tls: ServerTLS | None, path: str, component: ComponentSettings
) -> int:
    """Bind a server that has not started yet.

    Args:
        server: what is to listen.
        endpoint: where; an empty host is every interface.
        tls: None listens in the clear.
        path: of the section that holds `endpoint` and `tls`, for errors.
        component: whose server it is.

    Returns:
        The port: that of the endpoint, or the one that the system chose.

    Raises:
        ConfigError: the endpoint is taken or not this machine's, or a TLS file cannot be used.
    """
    address = str(endpoint) if endpoint.host else f"[::]{endpoint}"
    try:
        if tls is None:
            return server.add_insecure_port(address)
        certificates = ServerCertificates(tls, f"{path}.tls", component)
        return server.add_secure_port(address, _credentials(certificates))
    except RuntimeError as error:
        message = f"cannot listen on {endpoint}: {_why_not(endpoint)}"
        raise ConfigError([ConfigProblem(f"{path}.endpoint", message)]) from error


def _credentials(certificates: ServerCertificates) -> grpc.ServerCredentials:
    """Credentials that are looked up for each connection."""
    used: list[Certificates] = [certificates.current()]

    def changed() -> grpc.ServerCertificateConfiguration | None:
        current = certificates.current()
        if current is used[0]:
            return None
        used[0] = current
        return _configuration(current)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(used[0]),
        changed,  # type: ignore[arg-type] # None is "as before", which its stubs do not know
        require_client_authentication=used[0].client_ca is not None,
    )


def _configuration(certificates: Certificates) -> grpc.ServerCertificateConfiguration:
    pairs = [(certificates.key, certificates.chain)]
    return grpc.ssl_server_certificate_configuration(pairs, certificates.client_ca)


def _why_not(endpoint: Endpoint) -> str:
    """Why an endpoint cannot be listened on, in the system's words; gRPC only writes it to stderr."""
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    try:
        socket.create_server((endpoint.host, endpoint.port), family=family, reuse_port=False).close()
    except OSError as error:
        # Its own text repeats the address.
        return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
    return "the system does not say why"
