"""One otelprof behind another: what the first one took, the second one takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest

from otelprof.otlp_headers import REVISION_HEADER
from tests.e2e.harness import Answer, Yaml, exporter, one_pipeline, running
from tests.reference.build import ambiguous

if TYPE_CHECKING:
    from pathlib import Path

BODY = ambiguous().SerializeToString()
CURRENT = ((REVISION_HEADER, "1.10"),)
OK = Answer(grpc.StatusCode.OK)


@pytest.mark.parametrize("transport", ["grpc", "http"])
def test_what_is_left_open_by_the_bytes_is_said_in_a_header(tmp_path: Path, transport: str) -> None:
    """A small request may read as one of an older revision, too: from hop to hop it is the current one."""
    far = one_pipeline(exporters={"debug": {}})
    far["receivers"]["otlp"]["protocols"] = {transport: {"endpoint": "127.0.0.1:0"}}
    for folder in ("near", "far"):
        (tmp_path / folder).mkdir()
    with running(far, tmp_path / "far") as second:
        # Its answer is the client's.
        keys: Yaml = {"sending_queue": {"enabled": False}}
        if transport == "grpc":
            sends = {"otlp": exporter(second.endpoint, **keys)}
        else:
            url = second.url.removesuffix("/v1development/profiles")
            sends = {"otlp_http": {"endpoint": url, **keys}}
        with running(one_pipeline(exporters=sends), tmp_path / "near") as first:
            assert OK == first.export(BODY, CURRENT)


@pytest.mark.parametrize("said", [(), ((REVISION_HEADER, "1.9"),), (*CURRENT, (REVISION_HEADER, "1.9"))])
def test_a_client_that_does_not_say_it_is_asked_to(tmp_path: Path, said: tuple[tuple[str, str], ...]) -> None:
    """What another header says, or two of them, is no reason to guess."""
    with running(one_pipeline(exporters={"debug": {}}), tmp_path) as service:
        assert grpc.StatusCode.INVALID_ARGUMENT == service.export(BODY, said).code
