"""An S3 API on loopback: the server of moto, a real counterpart of the object store."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def s3_api(log: Path | None = None) -> Iterator[dict[str, str]]:
    """An S3 API with an empty bucket `profiles`: the options by which it is reached.

    Args:
        log: where it writes a line for each request that it answers.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    endpoint = f"http://127.0.0.1:{port}"
    with (
        Path(log or os.devnull).open("wb") as lines,
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=lines) as server,  # noqa: S603 - our own interpreter
    ):
        try:
            with httpx.Client(transport=httpx.HTTPTransport(retries=10), timeout=30) as client:
                client.put(f"{endpoint}/profiles").raise_for_status()
            yield {
                "aws_endpoint": endpoint,
                "aws_region": "us-east-1",
                "aws_access_key_id": "test",
                "aws_secret_access_key": "test",
                "aws_allow_http": "true",
            }
        finally:
            server.terminate()
