"""The `admin` extension's configuration: nobody is let in by accident."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from pydantic import ValidationError

from otelprof.admin.endpoint import UnixSocket, parse_endpoint, target_of
from otelprof.admin.extension import AdminConfig
from otelprof.admin.service import SERVICE, AdminService
from otelprof.admin.v1 import admin_pb2
from otelprof.component import ComponentSettings, Kind
from otelprof.config.explain import explain
from otelprof.control import ServiceControl
from otelprof.model import ComponentId
from otelprof.telemetry.metrics import Metrics
from otelprof.testing.clock import SimulatedClock

TOKEN = "sixteen or more characters"  # noqa: S105 - of a test
TLS = {"cert_file": "cert.pem", "key_file": "key.pem"}


def test_the_default_is_a_unix_socket() -> None:
    """Without a key it is a socket in /run/otelprof, which needs no token."""
    assert UnixSocket(Path("/run/otelprof/admin.sock")) == AdminConfig().endpoint
    assert "unix:///run/otelprof/admin.sock" == str(AdminConfig().endpoint)


@pytest.mark.parametrize(
    "config",
    [
        {"endpoint": "unix:///tmp/a.sock", "token": TOKEN},
        {"endpoint": "127.0.0.1:4000", "token": TOKEN},
        {"endpoint": "10.0.0.1:4000", "token": TOKEN, "tls": TLS},
        {"endpoint": "10.0.0.1:4000", "tls": {**TLS, "client_ca_file": "ca.pem"}},
    ],
)
def test_ways_in(config: dict[str, Any]) -> None:
    """A socket, a token where it stays on the machine or is encrypted, and mutual TLS are good."""
    AdminConfig.model_validate(config)


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (
            {"endpoint": "127.0.0.1:4000"},
            "whoever reaches 127.0.0.1:4000 could turn sampling off: give a token",
        ),
        (
            {"endpoint": "127.0.0.1:4000", "tls": TLS},
            "whoever reaches 127.0.0.1:4000 could turn sampling off",
        ),
        (
            {"endpoint": ":4000", "token": TOKEN},
            "the token would go to :4000 in the clear: give tls.cert_file",
        ),
        ({"token": "short"}, "admin.token: Value should have at least 16 items"),
        (
            {"token": "sixteen or möre characters"},
            "admin.token: the value of 'authorization' is not printable",
        ),
        ({"tls": TLS}, "tls means nothing there, remove it"),
        ({"endpoint": "unix://run/a.sock"}, "admin.endpoint: 'unix://run/a.sock' is not a unix socket"),
        ({"endpoint": "unix:///run/"}, "admin.endpoint: 'unix:///run/' is not a unix socket"),
        ({"endpoint": "unix:/run/a.sock"}, "admin.endpoint: 'unix:/run/a.sock' is not a unix socket"),
        ({"endpoint": "unix:///run/a%41.sock"}, "has one of % ? # , or a control character"),
        ({"endpoint": "unix:///run/a\0.sock"}, "has one of % ? # , or a control character"),
        ({"endpoint": f"unix:///{'é' * 60}"}, "has 121 bytes, and the path of a socket has 103 at most"),
        ({"endpoint": 4000}, "admin.endpoint: 4000 is not an endpoint"),
    ],
)
def test_mistakes(config: dict[str, Any], problem: str) -> None:
    """What would let anybody in, or give the token away, is refused; the token is not told."""
    with pytest.raises(ValidationError) as caught:
        AdminConfig.model_validate(config)
    (found,) = explain(caught.value, AdminConfig, config, "extensions.admin")
    assert problem in str(found)
    assert "short" not in str(found)


@pytest.mark.parametrize(
    ("endpoint", "target"),
    [
        ("unix:///run/a b.sock", "unix:/run/a b.sock"),
        ("localhost:1", "localhost:1"),
        (":1", "127.0.0.1:1"),
        ("[::1]:1", "[::1]:1"),
    ],
)
def test_targets(endpoint: str, target: str) -> None:
    """Each form of an endpoint as gRPC writes it; no host is this machine."""
    assert target == target_of(parse_endpoint(endpoint))


def test_every_method_is_answered() -> None:
    """The service has a handler for each method of the .proto, and for no other."""
    settings = ComponentSettings(
        ComponentId("admin"), Kind.EXTENSION, structlog.get_logger("test"), Metrics(), SimulatedClock()
    )
    service: Any = AdminService(None, settings, ServiceControl({}, [], SimulatedClock(), lambda: None))
    methods = [one.name for one in admin_pb2.DESCRIPTOR.services_by_name["Admin"].methods]
    answered = [
        service.service(SimpleNamespace(method=f"/{SERVICE}/{name}")) is not None
        for name in (*methods, "StartWar")
    ]
    assert [True] * len(methods) + [False] == answered
