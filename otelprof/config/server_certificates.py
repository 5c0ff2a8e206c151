"""The certificates of a listener, read again when their files change; a bad file changes nothing."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from otelprof.config.file_watch import FileWatch, WatchedContent
from otelprof.config.pem import read_pem
from otelprof.errors import ConfigError, ConfigProblem

if TYPE_CHECKING:
    from otelprof.component import ComponentSettings
    from otelprof.config.tls import ServerTLS

# How often files are read until they are the same before and after.
_ATTEMPTS: Final = 3


@dataclass(frozen=True)
class Certificates:
    """What the files held at one time.

    Attributes:
        key: of the server, PEM.
        chain: its certificate and what signed it, PEM.
        client_ca: what clients are checked against, PEM; None asks them for nothing.
        context: made of the same, for servers that use Python's TLS.
    """

    key: bytes
    chain: bytes
    client_ca: bytes | None
    context: ssl.SSLContext


class ServerCertificates:
    """The certificates of one listener, as they are in the files now. Safe to use from any thread.

    Asked at the beginning of each connection; those that are open keep what they began with.

    Args:
        tls: where the files are, and how often to look.
        path: of this section in the configuration.
        component: whose listener it is.

    Raises:
        ConfigError: a file cannot be used.
    """

    def __init__(self, tls: ServerTLS, path: str, component: ComponentSettings) -> None:
        self._tls = tls
        self._path = path
        files = [one for one in (tls.cert_file, tls.key_file, tls.client_ca_file) if one is not None]
        is_watched = tls.reload_interval > 0
        watch = FileWatch(files if is_watched else (), tls.reload_interval, component.clock)
        self._content = WatchedContent(f"certificates of {path}", watch, self._read, component)

    def current(self) -> Certificates:
        """Those to use now."""
        return self._content.current()

    def _read(self) -> Certificates:
        """The files, which belong together.

        Raises:
            ConfigError: one cannot be read, is no PEM, or the key is not the certificate's.
        """
        content = self._files()
        for _ in range(_ATTEMPTS):
            context = self._context()
            before, content = content, self._files()
            if content == before:
                break
        key, chain, client_ca = content
        return Certificates(key, chain, client_ca, context)

    def _files(self) -> tuple[bytes, bytes, bytes | None]:
        tls, path = self._tls, self._path
        client_ca = None
        if tls.client_ca_file is not None:
            client_ca = read_pem(tls.client_ca_file, f"{path}.client_ca_file")
        key = read_pem(tls.key_file, f"{path}.key_file")
        return key, read_pem(tls.cert_file, f"{path}.cert_file"), client_ca

    def _context(self) -> ssl.SSLContext:
        """What Python makes of the files. It says when they do not belong together, which gRPC does not."""
        tls = self._tls
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(tls.cert_file, tls.key_file)
            if tls.client_ca_file is not None:
                context.load_verify_locations(tls.client_ca_file)
                context.verify_mode = ssl.CERT_REQUIRED
        except OSError as error:
            # An SSLError is one.
            message = f"the files cannot be used: {error}"
            raise ConfigError([ConfigProblem(self._path, message)]) from error
        return context


def reloading_context(certificates: ServerCertificates) -> ssl.SSLContext:
    """A context whose connections begin with the certificates of then."""
    context = certificates.current().context

    def use_current(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = certificates.current().context

    # Called for each connection, also for one that names no server.
    context.sni_callback = use_current
    return context
