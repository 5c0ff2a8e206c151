"""How a command reaches the admin service, and who it says that it is."""

from __future__ import annotations

import getpass
import os

import pytest
import typer

from otelprof.cli.admin import caller, connect


@pytest.mark.parametrize(
    ("who", "environ", "expected"),
    [
        ("grace", {"SUDO_USER": "ada", "LOGNAME": "root"}, "grace"),
        (None, {"SUDO_USER": "ada", "LOGNAME": "root"}, "ada"),
        (None, {"LOGNAME": "bob"}, "bob"),
        ("", {"LOGNAME": "bob"}, ""),
    ],
)
def test_who(
    monkeypatch: pytest.MonkeyPatch, who: str | None, environ: dict[str, str], expected: str
) -> None:
    """What is said wins over who called sudo, and that over the login name."""
    monkeypatch.delenv("SUDO_USER", raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert expected == caller(who)


def test_a_token_that_cannot_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that no header can hold is refused by the name of its variable, and not told."""
    monkeypatch.setenv("OTELPROF_ADMIN_TOKEN", "sécret")
    with pytest.raises(typer.BadParameter, match="is not printable ASCII") as caught:
        connect("127.0.0.1:1", None, None, None)
    assert "OTELPROF_ADMIN_TOKEN" == caught.value.param_hint
    assert "cret" not in str(caught.value)


def test_a_user_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container a user may have a number only."""

    def nobody() -> str:
        raise KeyError(os.getuid())

    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setattr(getpass, "getuser", nobody)
    assert f"uid {os.getuid()}" == caller(None)
