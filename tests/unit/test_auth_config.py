"""Who may send, and what goes over a network in the clear: what the configuration says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from otelprof.config.resolve import load_config
from otelprof.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from otelprof.config.resolve import Config

GUARDED = """
receivers:
  otlp: {protocols: {grpc: {endpoint: ENDPOINT, auth: {authenticator: AUTHENTICATOR}}}}
exporters: {otlp: {endpoint: NEXT, tls: {insecure: true}, auth: {authenticator: bearertokenauth}}}
extensions: {bearertokenauth: {token: 0123456789abcdef}, health_check: {}}
service:
  extensions: [bearertokenauth, health_check]
  pipelines: {profiles: {receivers: [otlp], exporters: [otlp]}}
"""


def load(tmp_path: Path, text: str) -> Config:
    """Load a file with this text."""
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, {})


def problems(tmp_path: Path, text: str) -> list[str]:
    """What is wrong with a file with this text."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    return [str(one) for one in caught.value.problems]


def guarded(endpoint: str, authenticator: str, next_hop: str) -> str:
    """A configuration whose receiver asks for tokens, and whose exporter sends one."""
    text = GUARDED.replace("ENDPOINT", endpoint).replace("AUTHENTICATOR", authenticator)
    return text.replace("NEXT", next_hop)


def test_an_authenticator_runs_and_is_one(tmp_path: Path) -> None:
    """What `auth` names is among the extensions of the service, and knows clients."""
    path = "receivers.otlp.protocols.grpc.auth.authenticator"
    running = "not in service.extensions, which has bearertokenauth, health_check"
    assert [f"{path}: bearertokenaut is {running} (did you mean 'bearertokenauth'?)"] == problems(
        tmp_path, guarded("127.0.0.1:1", "bearertokenaut", "127.0.0.1:2")
    )
    assert [f"{path}: health_check knows no clients: name a bearertokenauth"] == problems(
        tmp_path, guarded("127.0.0.1:1", "health_check", "127.0.0.1:2")
    )


def test_tokens_in_the_clear_are_a_warning(tmp_path: Path) -> None:
    """A token opens an endpoint to other machines; without TLS, that is a warning, and so is sending one."""
    near = load(tmp_path, guarded("127.0.0.1:1", "bearertokenauth", "localhost:2"))
    far = load(tmp_path, guarded("0.0.0.0:1", "bearertokenauth", "far:2"))
    assert () == near.warnings
    assert [
        (
            "receivers.otlp.protocols.grpc.tls: tokens come to 0.0.0.0:1 in the clear: give tls.cert_file "
            "and tls.key_file, unless something in front of it has TLS"
        ),
        "exporters.otlp.tls.insecure: the token of bearertokenauth goes to far:2 in the clear",
    ] == [str(one) for one in far.warnings]
