"""Certificates that change while a listener runs, over real sockets."""

from __future__ import annotations

import shutil
import ssl
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import grpc
import httpx
import pytest
from structlog.testing import capture_logs

from otelprof.errors import ConfigError
from otelprof.telemetry.admission_metrics import FILE_RELOADS
from tests.e2e.certificates import make_authority, make_certificate, needs_openssl
from tests.e2e.harness import EXPORT, Running, Yaml, one_pipeline, request, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Call = Callable[[Running, Path, str], bool]

pytestmark = needs_openssl
BODY: Final = request().SerializeToString()
WAIT_SECS: Final = 5.0


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two authorities, `old` and `new`, each with a certificate of a server and of a client."""
    folder = tmp_path_factory.mktemp("made")
    for authority in ("old", "new"):
        make_authority(folder, authority)
        for name in ("server", "client"):
            make_certificate(folder, f"{authority}-{name}", authority)
    return folder


def over_grpc(service: Running, made: Path, authority: str) -> bool:
    """Whether a client of an authority, which trusts that one, is served."""
    parts = ((made / f"{authority}{end}").read_bytes() for end in (".pem", "-client.key", "-client.pem"))
    with grpc.secure_channel(
        service.endpoint,
        grpc.ssl_channel_credentials(*parts),
        [("grpc.use_local_subchannel_pool", 1)],
    ) as channel:
        try:
            channel.unary_unary(EXPORT, None, None)(BODY, timeout=5.0)
        except grpc.RpcError:
            return False
    return True


def over_http(service: Running, made: Path, authority: str) -> bool:
    """Whether a client of an authority, which trusts that one, is served."""
    context = ssl.create_default_context(cafile=made / f"{authority}.pem")
    context.load_cert_chain(made / f"{authority}-client.pem", made / f"{authority}-client.key")
    url = service.url.replace("http://127.0.0.1", "https://localhost")
    with httpx.Client(verify=context, trust_env=False) as client:
        try:
            headers = {"content-type": "application/x-protobuf"}
            return client.post(url, content=BODY, headers=headers).status_code == 200
        except (httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError):
            return False


both_ways = pytest.mark.parametrize("call", [over_grpc, over_http])


def put(made: Path, authority: str, folder: Path) -> None:
    """Put the files of an authority where the listener looks, each in one step."""
    for source, name in (
        (f"{authority}-server.key", "server.key"),
        (f"{authority}-server.pem", "server.pem"),
        (f"{authority}.pem", "ca.pem"),
    ):
        shutil.copy(made / source, folder / "being-written")
        (folder / "being-written").replace(folder / name)


@contextmanager
def listening(folder: Path, **keys: Any) -> Iterator[Running]:
    """A service with mutual TLS over both protocols, with the files that are in a folder."""
    tls: Yaml = {"reload_interval": "20ms", **keys}
    for key, name in (("cert_file", "server.pem"), ("key_file", "server.key"), ("client_ca_file", "ca.pem")):
        tls[key] = str(folder / name)
    config = one_pipeline(exporters={"debug": {}})
    protocols = {name: {"endpoint": "127.0.0.1:0", "tls": tls} for name in ("grpc", "http")}
    config["receivers"]["otlp"]["protocols"] = protocols
    with running(config, folder) as service:
        yield service


def reloads(service: Running, outcome: str) -> float:
    """How often files were read again."""
    return service.metrics.value(FILE_RELOADS, component="otlp", outcome=outcome)


@both_ways
def test_new_certificates_are_used(made: Path, tmp_path: Path, call: Call) -> None:
    """Server and client certificates change without a restart, and with them who is served."""
    put(made, "old", tmp_path)
    with listening(tmp_path) as service:
        assert [True, False] == [call(service, made, one) for one in ("old", "new")]
        put(made, "new", tmp_path)
        deadline = time.monotonic() + WAIT_SECS
        while not call(service, made, "new") and time.monotonic() < deadline:
            time.sleep(0.02)
        assert [False, True] == [call(service, made, one) for one in ("old", "new")]
        assert reloads(service, "reloaded") >= 1


@both_ways
@pytest.mark.parametrize("broken", ["another key", "no PEM", "gone"])
def test_bad_certificates_change_nothing(made: Path, tmp_path: Path, call: Call, broken: str) -> None:
    """A key of another certificate, a file that is none or is gone: the old ones stay, logged and counted."""
    put(made, "old", tmp_path)
    with listening(tmp_path) as service, capture_logs() as logs:
        if broken == "another key":
            shutil.copy(made / "new-server.key", tmp_path / "server.key")
        elif broken == "no PEM":
            (tmp_path / "server.pem").write_text("not yet", encoding="utf-8")
        else:
            (tmp_path / "ca.pem").unlink()
        deadline = time.monotonic() + WAIT_SECS
        while not reloads(service, "failed") and time.monotonic() < deadline:
            assert call(service, made, "old")
            time.sleep(0.02)
        assert [True, False] == [call(service, made, one) for one in ("old", "new")]
        assert (0, 1) == (reloads(service, "reloaded"), reloads(service, "failed"))
        put(made, "new", tmp_path)
        while not call(service, made, "new") and time.monotonic() < deadline:
            time.sleep(0.02)
        assert call(service, made, "new")
    (line,) = [one for one in logs if one["log_level"] == "error"][:1]
    assert "receivers.otlp.protocols." in line["error"]
    assert "PRIVATE" not in str(logs)


@both_ways
def test_zero_never_looks(made: Path, tmp_path: Path, call: Call) -> None:
    """With reload_interval 0 the files are read at the start, as a collector does by default."""
    put(made, "old", tmp_path)
    with listening(tmp_path, reload_interval=0) as service:
        put(made, "new", tmp_path)
        assert [True, False] == [call(service, made, one) for one in ("old", "new")]
        assert 0 == reloads(service, "reloaded")


def test_files_that_do_not_belong_together(made: Path, tmp_path: Path) -> None:
    """At the start a key of another certificate is an error, over gRPC too."""
    put(made, "old", tmp_path)
    shutil.copy(made / "new-server.key", tmp_path / "server.key")
    with (
        pytest.raises(ConfigError, match=r"receivers\.otlp.protocols\.grpc\.tls: the files cannot be used"),
        listening(tmp_path),
    ):
        pass
