"""TLS on both sides, with certificates made for the test."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import grpc
import pytest
from structlog.testing import capture_logs

from otelprof.cli.admin import connect
from otelprof.errors import ConfigError, UnavailableError
from otelprof.testing.sink import Sink
from tests.e2e.certificates import make_authority, make_certificate, needs_openssl
from tests.e2e.harness import EXPORT, exporter, one_pipeline, request, running

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = needs_openssl


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.pem, and {server,client}.{pem,key} that it signed; other.pem, another authority."""
    folder = tmp_path_factory.mktemp("tls")
    for name in ("ca", "other"):
        make_authority(folder, name)
    for name in ("server", "client"):
        make_certificate(folder, name, "ca")
    return folder


def server_tls(folder: Path) -> dict[str, str]:
    """The `tls` of a receiver that asks clients for a certificate."""
    names = {"cert_file": "server.pem", "key_file": "server.key", "client_ca_file": "ca.pem"}
    return {key: str(folder / name) for key, name in names.items()}


def call(endpoint: str, folder: Path, *, with_certificate: bool) -> grpc.StatusCode:
    """Export over TLS: the status."""
    roots = (folder / "ca.pem").read_bytes()
    key = (folder / "client.key").read_bytes() if with_certificate else None
    chain = (folder / "client.pem").read_bytes() if with_certificate else None
    credentials = grpc.ssl_channel_credentials(roots, key, chain)
    with grpc.secure_channel(endpoint, credentials) as channel:
        try:
            channel.unary_unary(EXPORT, None, None)(request().SerializeToString(), timeout=5.0)
        except grpc.RpcError as error:
            return error.code()
    return grpc.StatusCode.OK


def test_clients_must_prove_themselves(folder: Path, tmp_path: Path) -> None:
    """With client_ca_file, only who has a certificate of that authority can send."""
    with Sink() as sink:
        config = one_pipeline(exporters={"otlp": exporter(sink.endpoint)}, tls=server_tls(folder))
        with running(config, tmp_path) as service:
            without = call(service.endpoint, folder, with_certificate=False)
            shown = call(service.endpoint, folder, with_certificate=True)
            sink.wait_for(1)
    assert (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.OK) == (without, shown)


def test_the_exporter_speaks_mutual_tls(folder: Path, tmp_path: Path) -> None:
    """The exporter checks the server against ca_file, and shows its own certificate."""
    key, chain, roots = ((folder / name).read_bytes() for name in ("server.key", "server.pem", "ca.pem"))
    credentials = grpc.ssl_server_credentials([(key, chain)], roots, require_client_auth=True)
    names = {"ca_file": "ca.pem", "cert_file": "client.pem", "key_file": "client.key"}
    tls = {name: str(folder / file) for name, file in names.items()}
    with Sink(credentials=credentials) as sink:
        config = one_pipeline(exporters={"otlp": exporter(sink.endpoint, tls=tls)})
        with running(config, tmp_path) as service:
            service.export(request().SerializeToString())
            assert 1 == len(sink.wait_for(1))


def test_a_server_of_another_authority_gets_nothing(folder: Path, tmp_path: Path) -> None:
    """Who is not signed by ca_file is not sent a byte of a profile."""
    key, chain = ((folder / name).read_bytes() for name in ("server.key", "server.pem"))
    credentials = grpc.ssl_server_credentials([(key, chain)])
    tls = {"ca_file": str(folder / "other.pem")}
    queue = {"enabled": False}
    with Sink(credentials=credentials) as sink:
        config = one_pipeline(exporters={"otlp": exporter(sink.endpoint, tls=tls, sending_queue=queue)})
        with running(config, tmp_path) as service:
            answer = service.export(request().SerializeToString())
        assert [] == sink.requests
    assert grpc.StatusCode.UNAVAILABLE is answer.code
    assert "CERTIFICATE_VERIFY_FAILED" in answer.message


@pytest.mark.parametrize("kind", ["otlp", "otlp_http"])
def test_servers_are_proved_by_default(folder: Path, tmp_path: Path, kind: str) -> None:
    """Without a word about TLS, a server that no authority of the system has signed gets nothing."""
    key, chain = ((folder / name).read_bytes() for name in ("server.key", "server.pem"))
    queue = {"sending_queue": {"enabled": False}}
    with Sink(credentials=grpc.ssl_server_credentials([(key, chain)])) as sink:
        endpoint = sink.endpoint if kind == "otlp" else f"https://{sink.endpoint}"
        with running(one_pipeline(exporters={kind: {"endpoint": endpoint, **queue}}), tmp_path) as service:
            answer = service.export(request().SerializeToString())
        assert [] == sink.requests
    assert grpc.StatusCode.UNAVAILABLE is answer.code
    assert "CERTIFICATE_VERIFY_FAILED" in answer.message


@pytest.mark.parametrize(("key", "content"), [("ca_file", None), ("ca_file", "not a certificate")])
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, key: str, content: str | None) -> None:
    """A missing file, or one that is no PEM, is an error at the start that names the key and the file."""
    path = tmp_path / "file.pem"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    config = one_pipeline(exporters={"otlp": exporter("127.0.0.1:1", tls={key: str(path)})})
    with pytest.raises(ConfigError) as caught, running(config, tmp_path):
        pass
    why = "cannot be read: No such file or directory" if content is None else "is not a PEM file"
    assert f"exporters.otlp.tls.{key}: {path} {why}" == str(caught.value)


def test_the_admin_service_knows_its_callers(folder: Path, tmp_path: Path) -> None:
    """Over mutual TLS only who has a certificate of that authority changes something, and is named by it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        endpoint = f"127.0.0.1:{free.getsockname()[1]}"
    config = one_pipeline(
        exporters={"debug": {}}, processors={"sampling": {"rules": [{"sampling_probability": 0.5}]}}
    )
    config["extensions"] = {"admin": {"endpoint": endpoint, "tls": server_tls(folder)}}
    config["service"]["extensions"] = ["admin"]
    ca_file, cert_file, key_file = (folder / name for name in ("ca.pem", "client.pem", "client.key"))
    with running(config, tmp_path), capture_logs():
        with connect(endpoint, ca_file, cert_file, key_file) as calls:
            who = calls.start_incident("checkout", "errors", 60.0, "ada").who
        with connect(endpoint, ca_file, None, None) as calls, pytest.raises(UnavailableError):
            calls.stop_incident("checkout", "mallory")
        with connect(endpoint, None, None, None) as calls, pytest.raises(UnavailableError):
            calls.stop_incident("checkout", "mallory")
    assert who.startswith("ada, from 127.0.0.1:")
    assert who.endswith(" with the certificate of client")
