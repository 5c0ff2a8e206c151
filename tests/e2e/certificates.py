"""Certificates for a test, made by openssl."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from pathlib import Path

OPENSSL: Final = shutil.which("openssl")
needs_openssl: Final = pytest.mark.skipif(
    OPENSSL is None, reason="openssl, which makes the certificates, is not here"
)
_CURVE: Final = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")


def make_authority(folder: Path, name: str) -> None:
    """`{name}.pem` and `{name}.key`, which can sign."""
    files = ("-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.pem")
    _openssl("req", "-x509", *_CURVE, "-subj", f"/CN={name}", *files)


def make_certificate(folder: Path, name: str, authority: str) -> None:
    """`{name}.pem` and `{name}.key`, for this machine, signed by an authority in the same folder."""
    files = ("-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.pem")
    signed = ("-CA", f"{folder}/{authority}.pem", "-CAkey", f"{folder}/{authority}.key")
    names = ("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    _openssl("req", "-x509", *_CURVE, "-subj", f"/CN={name}", *names, *signed, *files)


def _openssl(*arguments: str) -> None:
    assert OPENSSL is not None
    subprocess.run([OPENSSL, *arguments], check=True, capture_output=True, timeout=20)  # noqa: S603 - a test's own
