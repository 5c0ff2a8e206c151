"""The generated code of the admin service is that of its .proto."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
FILES: Final = ("admin_pb2.py", "admin_pb2.pyi")


def test_the_generated_code_is_that_of_the_proto(tmp_path: Path) -> None:
    """`make proto` would change nothing."""
    command = [sys.executable, str(ROOT / "proto/generate.py"), str(tmp_path)]
    subprocess.run(command, check=True, timeout=30)  # noqa: S603 - our own program
    folder = Path("otelprof/admin/v1")
    assert [(ROOT / folder / name).read_text(encoding="utf-8") for name in FILES] == [
        (tmp_path / folder / name).read_text(encoding="utf-8") for name in FILES
    ]


def test_the_generated_code_takes_the_oldest_protobuf() -> None:
    """It asks for no newer protobuf than pyproject.toml does."""
    code = (ROOT / "otelprof/admin/v1/admin_pb2.py").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = re.findall(r"Domain\.PUBLIC,\s+(\d+),\s+(\d+),\s+(\d+),", code)
    floors = [one for one in project["dependencies"] if one.startswith("protobuf")]
    assert floors == [f"protobuf>={'.'.join(numbers)}" for numbers in asked]
