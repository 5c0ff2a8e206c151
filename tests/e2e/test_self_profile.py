"""otelprof profiles itself with the real agent, and a server on loopback sees what it pushes."""

from __future__ import annotations

import gzip
import signal
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import pytest
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from otelprof.config.resolve import load_config
from otelprof.errors import ConfigError
from otelprof.telemetry import self_profile
from otelprof.telemetry.self_profile import SelfProfile
from tests.e2e.harness import Process, one_pipeline

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

PUSH_PATH = "/push.v1.PusherService/Push"
PUSH_SECS = 20.0


class Push(NamedTuple):
    """One push, as it came."""

    path: str
    headers: dict[str, str]
    body: bytes


class Pyroscope:
    """A server that takes every push, from entering the context to leaving it."""

    def __enter__(self) -> Self:
        self.pushes = pushes = SimpleQueue[Push]()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                pushes.put(Push(self.path, dict(self.headers), body))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}"


def message_classes() -> dict[str, Any]:
    """What Pyroscope's push.v1 and pprof's profile.proto say, as far as the test reads it."""
    field = descriptor_pb2.FieldDescriptorProto
    fields = {
        "PushRequest": [("series", 1, "Series")],
        "Series": [("labels", 1, "Label"), ("samples", 2, "RawSample")],
        "Label": [("name", 1, "string"), ("value", 2, "string")],
        "RawSample": [("raw_profile", 1, "bytes")],
        "Profile": [("string_table", 6, "string")],
    }
    types = {"string": field.TYPE_STRING, "bytes": field.TYPE_BYTES}
    repeated = {"series", "labels", "samples", "string_table"}
    file = descriptor_pb2.FileDescriptorProto(name="push_test.proto", package="push_test", syntax="proto3")
    for name, members in fields.items():
        message = file.message_type.add(name=name)
        for member, number, kind in members:
            label = field.LABEL_REPEATED if member in repeated else field.LABEL_OPTIONAL
            added = message.field.add(name=member, number=number, label=label)
            if kind in types:
                added.type = types[kind]
            else:
                added.type, added.type_name = field.TYPE_MESSAGE, f".push_test.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"push_test.{name}"))
        for name in ("PushRequest", "Profile")
    }


def test_the_agent_pushes_profiles_of_otelprof(tmp_path: Path) -> None:
    """The real agent pushes, by push.v1 and with credentials, pprof that has functions of otelprof in it."""
    config = one_pipeline(exporters={"debug": {}})
    with Pyroscope() as server:
        config["service"]["telemetry"]["profiles"] = {
            "pyroscope": {
                "server_address": server.address,
                "basic_auth_username": "ada",
                "basic_auth_password": "lovelace",
                "tenant_id": "blue",
                "tags": {"region": "eu"},
                "upload_interval": "1s",
                "oncpu": False,  # what waits is sampled, too, and otelprof mostly waits
            }
        }
        with Process(config, tmp_path) as process:
            push = server.pushes.get(timeout=PUSH_SECS)
            process.signal(signal.SIGTERM)
            code = process.exit_code()
    assert (0, PUSH_PATH, "application/proto") == (code, push.path, push.headers["content-type"])
    assert ("Basic YWRhOmxvdmVsYWNl", "blue") == (
        push.headers["authorization"],
        push.headers["x-scope-orgid"],
    )
    assert "otelprof profiles itself" in process.events
    assert "lovelace" not in str(process.lines)
    classes = message_classes()
    (series,) = classes["PushRequest"].FromString(gzip.decompress(push.body)).series
    labels = {label.name: label.value for label in series.labels}
    assert ("process_cpu", "otelprof", "eu") == (
        labels["__name__"],
        labels["service_name"],
        labels["region"],
    )
    raw = series.samples[0].raw_profile
    profile = classes["Profile"].FromString(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw)
    assert any(name.endswith("otelprof/cli/run.py") for name in profile.string_table)


def test_nothing_is_loaded_when_it_is_off() -> None:
    """Without a server address the agent is not even imported."""
    before = set(sys.modules)
    profile = SelfProfile({"server_address": ""})
    profile.start()
    profile.shutdown()
    assert "pyroscope" not in set(sys.modules) - before


def test_a_missing_agent_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever switches it on without the package is told what to install, by `validate` and by `run`."""
    monkeypatch.setattr(self_profile, "find_spec", lambda _: None)
    monkeypatch.setitem(sys.modules, "pyroscope", None)  # an import fails
    config = one_pipeline(exporters={"debug": {}})
    config["service"]["telemetry"]["profiles"] = {"pyroscope": {"server_address": "http://127.0.0.1:4040"}}
    expected = (
        "service.telemetry.profiles.pyroscope: needs the package pyroscope-io: "
        "pip install 'otelprof[self-profile]'"
    )
    with pytest.raises(ConfigError) as validated:
        load(config, tmp_path)
    with pytest.raises(ConfigError) as started:
        SelfProfile({"server_address": "http://127.0.0.1:4040"}).start()
    assert (expected, expected) == (str(validated.value), str(started.value))


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("localhost:4040", "must be a URL, as http://localhost:4040; empty profiles nothing"),
        ("http://", "must be a URL, as http://localhost:4040; empty profiles nothing"),
        (
            "http://me:secret@far",
            "must not hold credentials: write basic_auth_username and basic_auth_password",
        ),
    ],
)
def test_an_address_is_a_url(tmp_path: Path, address: str, message: str) -> None:
    """What is no URL is refused before anything starts, and so are credentials in one, unrepeated."""
    config = one_pipeline(exporters={"debug": {}})
    config["service"]["telemetry"]["profiles"] = {"pyroscope": {"server_address": address}}
    with pytest.raises(ConfigError) as caught:
        load(config, tmp_path)
    assert f"service.telemetry.profiles.pyroscope.server_address: {message}" == str(caught.value)


def load(config: dict[str, Any], folder: Path) -> None:
    """Read a configuration."""
    path = folder / "otelprof.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    load_config(path, {})
