"""A gRPC server made to listen as it is configured, or the reason why it cannot."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import grpc

from otelprof.config.pem import read_pem
from otelprof.errors import ConfigError, ConfigProblem

if TYPE_CHECKING:
    from otelprof.config.endpoint import Endpoint
    from otelprof.config.tls import ServerTLS


def listen(server: grpc.Server, endpoint: Endpoint, tls: ServerTLS | None, path: str) -> int:
    """Bind a server that has not started yet.

    Args:
        server: what is to listen.
        endpoint: where; an empty host is every interface.
        tls: None listens in the clear.
        path: of the section that holds `endpoint` and `tls`, for errors.

    Returns:
        The port: that of the endpoint, or the one that the system chose.

    Raises:
        ConfigError: the endpoint is taken or not this machine's, or a TLS file cannot be used.
    """
    address = str(endpoint) if endpoint.host else f"[::]{endpoint}"
    try:
        if tls is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, _credentials(tls, f"{path}.tls"))
    except RuntimeError as error:
        message = f"cannot listen on {endpoint}: {_why_not(endpoint)}"
        raise ConfigError([ConfigProblem(f"{path}.endpoint", message)]) from error


def _credentials(tls: ServerTLS, path: str) -> grpc.ServerCredentials:
    key = read_pem(tls.key_file, f"{path}.key_file")
    certificate = read_pem(tls.cert_file, f"{path}.cert_file")
    client_ca = None
    if tls.client_ca_file is not None:
        client_ca = read_pem(tls.client_ca_file, f"{path}.client_ca_file")
    return grpc.ssl_server_credentials(
        [(key, certificate)], root_certificates=client_ca, require_client_auth=client_ca is not None
    )


def _why_not(endpoint: Endpoint) -> str:
    """Why an endpoint cannot be listened on, in the system's words; gRPC only writes it to stderr."""
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    try:
        socket.create_server((endpoint.host, endpoint.port), family=family, reuse_port=False).close()
    except OSError as error:
        # Its own text repeats the address.
        return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
    return "the system does not say why"
