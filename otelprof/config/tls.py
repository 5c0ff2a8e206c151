"""Transport security, with the collector's keys (`configtls`). A client's files are read at its start."""

from pathlib import Path
from typing import Self

from pydantic import model_validator

from otelprof.config.section import Section
from otelprof.config.units import Duration


class ClientTLS(Section):
    """How a client proves the server, and itself.

    There is no `insecure_skip_verify`: a connection that is encrypted to anybody protects from nobody.

    Attributes:
        insecure: no TLS at all.
        ca_file: certificates to trust, PEM; the system's when None.
        cert_file: this client's certificate, PEM; needs `key_file`.
        key_file: its private key, PEM.
        server_name_override: the name to expect in the server's certificate, instead of the endpoint's host.
    """

    insecure: bool = False
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    server_name_override: str | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            message = "cert_file and key_file need each other"
            raise ValueError(message)
        return self


class ServerTLS(Section):
    """How a server proves itself, and whether clients must.

    Attributes:
        cert_file: the server's certificate, PEM, with the chain.
        key_file: its private key, PEM.
        client_ca_file: PEM; clients must show a certificate that one of these signed (mutual TLS). When
            None, clients are not asked for one.
        reload_interval: seconds for which a look at the files is enough; those that changed are used for
            connections that begin then. 0 reads them at the start alone.
    """

    cert_file: Path
    key_file: Path
    client_ca_file: Path | None = None
    reload_interval: Duration = 10.0
