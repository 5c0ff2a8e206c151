"""House rules that no linter knows: sizes, names of modules, and one table for all errors."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from otelprof.errors import ANSWERS, OtelprofError

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).resolve().parents[2]
MAX_FILE_LINES: Final = 500
MAX_FUNCTION_LINES: Final = 60
# A module whose name says nothing collects what belongs elsewhere.
NAMES_THAT_SAY_NOTHING: Final = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}

PYTHON: Final = sorted(
    path
    for folder in ("otelprof", "tests", "benchmarks", "examples")
    for suffix in ("*.py", "*.pyi")
    for path in (ROOT / folder).rglob(suffix)
)
RUST: Final = sorted((ROOT / "src").rglob("*.rs"))
PACKAGES: Final = [path for path in PYTHON if path.name == "__init__.py"]


def named(path: Path) -> str:
    """A path as it is written in the repository."""
    return path.relative_to(ROOT).as_posix()


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """The functions of a Python file, each with how many lines it takes."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield f"{named(path)}:{node.lineno} {node.name}", node.end_lineno - node.lineno + 1


def rust_functions(path: Path) -> Iterator[tuple[str, int]]:
    """The functions of a Rust file, which rustfmt indents so that the closing brace stands under `fn`."""
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        match = re.match(r"( *)(?:pub(?:\([a-z]+\))? )?(?:const )?(?:unsafe )?fn (\w+)", line)
        if match and not line.endswith((";", "}")):
            end = next(at for at in range(number, len(lines)) if lines[at] == f"{match[1]}}}")
            yield f"{named(path)}:{number + 1} {match[2]}", end - number + 1


def tree(root: type[OtelprofError]) -> Iterator[type[OtelprofError]]:
    """A class and all that derive from it in the product; tests may make their own."""
    yield root
    for child in root.__subclasses__():
        if child.__module__.startswith("otelprof."):
            yield from tree(child)


def test_files_are_short() -> None:
    """No file is longer than a person reads at once."""
    lines = {named(path): len(path.read_text(encoding="utf-8").splitlines()) for path in [*PYTHON, *RUST]}
    assert {} == {name: count for name, count in lines.items() if count > MAX_FILE_LINES}


def test_functions_are_short() -> None:
    """No function is longer than a screen."""
    found = [one for path in PYTHON for one in functions(path)]
    found += [one for path in RUST for one in rust_functions(path)]
    assert [] == [one for one in found if one[1] > MAX_FUNCTION_LINES]


def test_rust_functions_are_seen() -> None:
    """The measure of Rust functions sees them: a file without any would pass by itself."""
    assert {"src/decode.rs", "src/wire.rs"} <= {
        name.partition(":")[0] for path in RUST for name, _ in rust_functions(path)
    }


def test_modules_are_named_for_what_they_hold() -> None:
    """There is no drawer for odds and ends."""
    modules = [*PYTHON, *RUST]
    found = [path for path in modules if {path.stem, path.parent.name} & NAMES_THAT_SAY_NOTHING]
    assert [] == [named(path) for path in found]


@pytest.mark.parametrize("path", PACKAGES, ids=named)
def test_a_package_is_only_its_docstring(path: Path) -> None:
    """`__init__.py` says what a package is for, and holds no code."""
    module = ast.parse(path.read_text(encoding="utf-8"))
    assert (True, 1) == (ast.get_docstring(module) is not None, len(module.body))


def test_every_error_has_its_answer() -> None:
    """What a client is told is decided for every class of the tree, not inherited by accident."""
    assert set(tree(OtelprofError)) == set(ANSWERS)
    assert [one.grpc_name for one in ANSWERS.values()] == [one.grpc_status.name for one in ANSWERS.values()]


def test_every_error_is_drawn() -> None:
    """The docstring of `otelprof.errors` draws the whole tree."""
    page = (ROOT / "otelprof/errors.py").read_text(encoding="utf-8").split('"""')[1]
    drawn = set(re.findall(r"^[ │├└─]*(\w+Error)\b", page, re.MULTILINE))
    assert {one.__name__ for one in tree(OtelprofError)} == drawn


def test_every_test_is_a_sentence() -> None:
    """Every test says in its docstring what it holds true, in at least two words and to the end."""
    missing = []
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                text = ast.get_docstring(node) or ""
                if not text.endswith(".") or " " not in text:
                    missing.append(f"{named(path)}:{node.lineno} {node.name}")
    assert [] == missing
