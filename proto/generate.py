"""`make proto`: the Python of our protocol buffers, into `otelprof/admin/v1/`.

protoc writes down for which protobuf its code is, and the code refuses any older one. What it writes beside
has been the same, byte for byte, since the oldest protobuf that pyproject.toml allows; so it is that version
that is written down, and nobody who installs otelprof beside something else is held to the newest.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Final

from grpc_tools import protoc

ROOT: Final = Path(__file__).resolve().parents[1]
# The generated code is imported from where it stands in the package.
_MAPPING: Final = f"otelprof/admin/v1={ROOT / 'proto/otelprof/v1'}"
_CODE: Final = Path("otelprof/admin/v1/admin_pb2.py")
_FLOOR: Final = re.compile(r"protobuf>=(\d+)\.(\d+)\.(\d+)")
_COMMENT: Final = re.compile(r"(# Protobuf Python Version: )[\d.]+")
_CHECK: Final = re.compile(r"(Domain\.PUBLIC,\n) +\d+,\n +\d+,\n +\d+,\n")


def generate(folder: Path) -> None:
    """Write the code of every .proto below a folder, which stands for the root of the repository.

    Raises:
        RuntimeError: protoc failed, or writes its version in another way than it used to.
    """
    outputs = [f"--python_out={folder}", f"--pyi_out={folder}"]
    source = str(ROOT / "proto/otelprof/v1/admin.proto")
    if protoc.main(["protoc", f"-I{_MAPPING}", f"-I{_well_known()}", *outputs, source]):
        message = f"protoc failed on {source}"
        raise RuntimeError(message)
    code = folder / _CODE
    code.write_text(_lowered(code.read_text(encoding="utf-8")), encoding="utf-8")


def _well_known() -> Path:
    """Where google/protobuf/*.proto are."""
    return Path(protoc.__file__).parent / "_proto"


def _lowered(code: str) -> str:
    """Generated code that takes the oldest protobuf of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (floor,) = [found for one in project["dependencies"] if (found := _FLOOR.fullmatch(one))]
    numbers = floor.groups()
    code, comments = _COMMENT.subn(rf"\g<1>{'.'.join(numbers)}", code)
    code, checks = _CHECK.subn(r"\1" + "".join(f"    {one},\n" for one in numbers), code)
    if (comments, checks) != (1, 1):
        message = "protoc does not write its version where it used to"
        raise RuntimeError(message)
    return code


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
