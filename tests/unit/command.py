"""The command `otelprof`, run in the process of a test."""

from __future__ import annotations

import sys

import pytest

from otelprof.cli.app import main


def otelprof(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Run the command: exit code, stdout, stderr."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["otelprof", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
    captured = capsys.readouterr()
    assert isinstance(caught.value.code, int)
    return caught.value.code, captured.out, captured.err
